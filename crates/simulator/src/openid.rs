//! Who stands behind a code: the login codes of official accounts and mini programs, each good once and for five minutes,
//! and the apps whose secrets exchange them. Speaks no HTTP; the openid endpoints and the control API call it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use crate::{error::Error, world::World};

/// How long a code can be exchanged.
const CODE_LIFE: Duration = Duration::from_secs(300);
/// Codes remembered at most; beyond, dead ones are forgotten.
const CODES_MAX: usize = 100_000;

/// An official account or a mini program. One that is only bound to a merchant takes any secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    pub appid: String,
    pub secret: String,
    /// Hosts of `redirect_uri`; empty: any.
    #[serde(default)]
    pub redirect_hosts: Vec<String>,
}

impl fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppConfig").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// How a code was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// `snsapi_base`
    Base,
    /// `snsapi_userinfo`
    UserInfo,
    /// `wx.login`
    MiniProgram,
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) person: String,
    pub(crate) openid: String,
    pub(crate) login: Login,
}

/// Why a code is not exchanged: number and words.
pub(crate) type LoginRefusal = (i64, &'static str);

pub(crate) const INVALID_CODE: LoginRefusal = (40029, "invalid code");
const USED_CODE: LoginRefusal = (40163, "code been used");
const UNKNOWN_APP: LoginRefusal = (40013, "invalid appid");
const WRONG_SECRET: LoginRefusal = (40125, "invalid appsecret");
const BLOCKED: LoginRefusal = (40226, "code blocked");

#[derive(Default)]
pub(crate) struct LoginCodes(Mutex<HashMap<String, LoginCode>>);

struct LoginCode {
    appid: String,
    person: String,
    login: Login,
    issued: Duration,
    used: bool,
}

impl LoginCodes {
    fn codes(&self) -> MutexGuard<'_, HashMap<String, LoginCode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Whether anybody here has the app.
    pub(crate) fn knows_app(&self, appid: &str) -> bool {
        self.app(appid).is_some() || self.has_app(appid)
    }

    pub(crate) fn app(&self, appid: &str) -> Option<&AppConfig> {
        self.apps.iter().find(|app| app.appid == appid)
    }

    /// A person logs in to an app: the code that the app gets.
    pub(crate) fn login(&self, appid: &str, person: &str, login: Login) -> Result<String, Error> {
        if !self.knows_app(appid) {
            return Err(Error::UnknownApp(appid.to_owned()));
        }
        let now = self.clock.now();
        let code = format!("0{}", self.nonce().get(1..).unwrap_or_default());
        let mut codes = self.logins.codes();
        if codes.len() >= CODES_MAX {
            codes.retain(|_, code| now < code.issued + CODE_LIFE);
        }
        let (appid, person) = (appid.to_owned(), person.to_owned());
        codes.insert(code.clone(), LoginCode { appid, person, login, issued: now, used: false });
        Ok(code)
    }

    /// The app's server exchanges a code, once.
    pub(crate) fn exchange(
        &self,
        (appid, secret): (&str, &str),
        code: &str,
        is_kind: fn(Login) -> bool,
    ) -> Result<Session, LoginRefusal> {
        match self.app(appid) {
            Some(app) if app.secret != secret => return Err(WRONG_SECRET),
            None if !self.has_app(appid) => return Err(UNKNOWN_APP),
            _ => {}
        }
        let now = self.clock.now();
        let mut codes = self.logins.codes();
        let known = codes.get_mut(code).ok_or(INVALID_CODE)?;
        if known.appid != appid || !is_kind(known.login) || now >= known.issued + CODE_LIFE {
            return Err(INVALID_CODE);
        }
        if std::mem::replace(&mut known.used, true) {
            return Err(USED_CODE);
        }
        if self.settings().blocked_people.contains(&known.person) {
            return Err(BLOCKED);
        }
        let openid = self.people.openid(appid, &known.person);
        Ok(Session { person: known.person.clone(), openid, login: known.login })
    }
}
