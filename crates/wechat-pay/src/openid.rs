//! Who pays: the way to a payer's openid, for official accounts (网页授权) and mini programs (`jscode2session`).
//!
//! Addresses and answers only. The AppSecret travels in the address's query here, so such an address is an
//! [`AddressWithSecret`], which shows nothing of itself; session keys and tokens show nothing either and must never be
//! handed to a page or a mini program.

mod errcode;

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::error_code::Explanation;
use crate::pay_parameters::in_a_query;
use crate::query::OpenId;

use errcode::{MALFORMED, STATE, UNKNOWN_ERRCODE};

pub use errcode::KNOWN_ERRCODES;

/// Where payers are sent.
pub const AUTHORIZE_URL: &str = "https://open.weixin.qq.com/connect/oauth2/authorize";
/// The host of the two exchanges.
pub const API_BASE_URL: &str = "https://api.weixin.qq.com";

const STATE_BYTES_MAX: usize = 128;
const ERRMSG_CHARACTERS_MAX: usize = 128;

/// How much a page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The openid only, without asking the payer.
    Base,
    /// Asks the payer for the profile as well.
    UserInfo,
}

/// An AppSecret: shown nowhere, wiped when dropped.
#[derive(Clone)]
pub struct AppSecret(Zeroizing<String>);

/// Something that never leaves the server: a session key or an access token.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// An address with an AppSecret in it.
pub struct AddressWithSecret(Zeroizing<String>);

/// Whom a code stood for.
#[derive(Clone, Debug)]
pub struct Identity {
    pub openid: OpenId,
    /// The same person over all apps of one open platform account.
    pub unionid: Option<OpenId>,
    /// The access token of a page, or the session key of a mini program.
    pub secret: Option<Secret>,
}

/// Why there is no openid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdError {
    #[error("WeChat answered errcode {errcode}: {errmsg}")]
    Refused { errcode: i64, errmsg: String },
    #[error("the answer is no JSON with an openid")]
    Malformed,
    #[error("state must be 1 to {STATE_BYTES_MAX} letters and digits, bound to the payer's session")]
    State,
}

impl AppSecret {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }
}

impl Secret {
    /// For decrypting on the server, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl AddressWithSecret {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecret(***)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Debug for AddressWithSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressWithSecret(***)")
    }
}

/// Where to send a payer's browser. The host of `redirect_uri` must be the registered 网页授权域名. WeChat wants the
/// parameters in this order, and the fragment.
pub fn authorize_url(
    appid: &str,
    redirect_uri: &str,
    scope: Scope,
    state: &str,
) -> Result<String, OpenIdError> {
    let fits = (1..=STATE_BYTES_MAX).contains(&state.len());
    if !fits || !state.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(OpenIdError::State);
    }
    let scope = match scope {
        Scope::Base => "snsapi_base",
        Scope::UserInfo => "snsapi_userinfo",
    };
    let (appid, redirect_uri) = (in_a_query(appid), in_a_query(redirect_uri));
    Ok(format!(
        "{AUTHORIZE_URL}?appid={appid}&redirect_uri={redirect_uri}&response_type=code&scope={scope}&state={state}#wechat_redirect"
    ))
}

/// Exchanges a page's code, which works once and for five minutes.
#[must_use]
pub fn access_token_url(base: &str, appid: &str, secret: &AppSecret, code: &str) -> AddressWithSecret {
    let (appid, secret, code) = (in_a_query(appid), Zeroizing::new(in_a_query(&secret.0)), in_a_query(code));
    AddressWithSecret(Zeroizing::new(format!(
        "{base}/sns/oauth2/access_token?appid={appid}&secret={}&code={code}&grant_type=authorization_code",
        secret.as_str()
    )))
}

/// Exchanges a mini program's code.
#[must_use]
pub fn code_to_session_url(base: &str, appid: &str, secret: &AppSecret, code: &str) -> AddressWithSecret {
    let (appid, secret, code) = (in_a_query(appid), Zeroizing::new(in_a_query(&secret.0)), in_a_query(code));
    AddressWithSecret(Zeroizing::new(format!(
        "{base}/sns/jscode2session?appid={appid}&secret={}&js_code={code}&grant_type=authorization_code",
        secret.as_str()
    )))
}

impl Identity {
    /// Reads the answer to either exchange, whatever its content type says. An `errcode` of 0 is none.
    pub fn parse(body: &[u8]) -> Result<Self, OpenIdError> {
        let answer: Value = serde_json::from_slice(body).map_err(|_| OpenIdError::Malformed)?;
        let text = |name: &str| {
            answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(errcode) = answer.get("errcode").and_then(Value::as_i64).filter(|errcode| *errcode != 0) {
            let errmsg = text("errmsg").unwrap_or_default().chars().take(ERRMSG_CHARACTERS_MAX).collect();
            return Err(OpenIdError::Refused { errcode, errmsg });
        }
        let secret = text("session_key").or_else(|| text("access_token"));
        Ok(Self {
            openid: text("openid").map(OpenId::from).ok_or(OpenIdError::Malformed)?,
            unionid: text("unionid").map(OpenId::from),
            secret: secret.map(|secret| Secret(Zeroizing::new(secret))),
        })
    }
}

impl OpenIdError {
    /// Whether the same exchange may work later; a code that is used or expired never does.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused { errcode: -1 | 45011, .. })
    }

    /// Why, and what to do.
    #[must_use]
    pub fn explanation(&self) -> Explanation {
        match self {
            Self::Refused { errcode, .. } => {
                let known = KNOWN_ERRCODES.iter().find(|(known, _)| known == errcode);
                known.map_or(UNKNOWN_ERRCODE, |(_, explanation)| *explanation)
            }
            Self::Malformed => MALFORMED,
            Self::State => STATE,
        }
    }

    /// What to do, in English and Chinese.
    #[must_use]
    pub fn remedy(&self) -> (&'static str, &'static str) {
        let Explanation { remedy, remedy_zh, .. } = self.explanation();
        (remedy, remedy_zh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errcode_is_explained_once_in_both_languages() {
        let others = [UNKNOWN_ERRCODE, MALFORMED, STATE];
        for explanation in KNOWN_ERRCODES.iter().map(|(_, explanation)| *explanation).chain(others) {
            let Explanation { cause, remedy, cause_zh, remedy_zh } = explanation;
            assert!(cause.is_ascii() && remedy.is_ascii() && !cause_zh.is_ascii() && !remedy_zh.is_ascii());
        }
        for (errcode, explanation) in &KNOWN_ERRCODES {
            let error = OpenIdError::Refused { errcode: *errcode, errmsg: String::new() };
            assert_eq!(error.explanation(), *explanation, "{errcode} stands twice");
        }
        let new = OpenIdError::Refused { errcode: 1, errmsg: String::new() };
        assert_eq!(new.explanation(), UNKNOWN_ERRCODE);
    }

    #[test]
    fn the_authorize_url_has_wechats_order_and_fragment() {
        let url = authorize_url("wx1", "https://shop.example.com/pay?a=1&b=中", Scope::Base, "s1").unwrap();
        assert_eq!(
            url,
            "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fshop.example.com%2Fpay%3Fa%3D1%26b%3D%E4%B8%AD&response_type=code&scope=snsapi_base&state=s1#wechat_redirect"
        );
        for state in ["", "a b", "a&b", &"s".repeat(129)] {
            assert_eq!(authorize_url("wx1", "https://x", Scope::UserInfo, state), Err(OpenIdError::State));
        }
    }

    #[test]
    fn secrets_go_into_the_address_and_nowhere_else() {
        let secret = AppSecret::new("s3cret&x\n");
        let page = access_token_url(API_BASE_URL, "wx1", &secret, "c0de&");
        assert_eq!(
            page.as_str(),
            "https://api.weixin.qq.com/sns/oauth2/access_token?appid=wx1&secret=s3cret%26x&code=c0de%26&grant_type=authorization_code"
        );
        let mini = code_to_session_url("http://x", "wx1", &secret, "c0de");
        assert_eq!(
            mini.as_str(),
            "http://x/sns/jscode2session?appid=wx1&secret=s3cret%26x&js_code=c0de&grant_type=authorization_code"
        );
        let identity = Identity::parse(br#"{"openid":"oP","session_key":"k3y","unionid":"uN"}"#).unwrap();
        assert_eq!(identity.secret.as_ref().unwrap().reveal(), "k3y");
        let shown = format!("{secret:?} {page:?} {mini:?} {identity:?}");
        for hidden in ["s3cret", "k3y", "oP", "uN"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }

    #[test]
    fn answers_are_identities_or_say_what_to_do() {
        assert_eq!(Identity::parse(br#"{"errcode":0,"openid":"o"}"#).unwrap().openid.as_str(), "o");
        for body in [&b""[..], b"<html>", b"{}", br#"{"openid":""}"#, br#"{"openid":5}"#, b"[]"] {
            assert_eq!(Identity::parse(body).unwrap_err(), OpenIdError::Malformed);
        }
        for errcode in [-1, 40029, 40163, 40013, 40125, 41002, 41004, 41008, 42003, 45011, 40226, 50002, 1] {
            let body = format!(r#"{{"errcode":{errcode},"errmsg":"m","openid":"o"}}"#);
            let error = Identity::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error, OpenIdError::Refused { errcode, errmsg: "m".to_owned() });
            assert_eq!(error.is_transient(), errcode == -1 || errcode == 45011);
            let (english, chinese) = error.remedy();
            assert!(english.is_ascii() && !chinese.is_ascii());
        }
    }
}
