//! Who pays: the way to a payer's openid. The AppSecret and the session key stay behind the [`Cashier`]; a code and an
//! openid are repeated in no refusal and no log.
//!
//! [`Cashier`]: paybell_core::ports::Cashier

use hyper::{Response, StatusCode};
use paybell_core::AppId;
use paybell_core::place::CodeOf;
use paybell_core::ports::AuthorizeWish;
use serde::Serialize;

use crate::answer::{Body, json};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::query::id_error;

/// WeChat's codes have some thirty characters.
const CODE_BYTES_MAX: usize = 256;
const REDIRECT_URI_BYTES_MAX: usize = 1024;
const STATE_BYTES_MAX: usize = 128;

#[derive(Serialize)]
struct Address<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct WhoPaysView<'a> {
    openid: &'a str,
    unionid: Option<&'a str>,
}

/// `GET /v1/openid/authorize-url`.
pub(crate) async fn authorize_url(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["appid", "redirect_uri", "state", "scope"])?;
    let needed = |name: &'static str| query.get(name).ok_or_else(|| Error::field(name, "is missing"));
    let redirect_uri = needed("redirect_uri")?;
    let is_absolute = ["https://", "http://"].iter().any(|scheme| redirect_uri.starts_with(scheme));
    if !is_absolute || redirect_uri.len() > REDIRECT_URI_BYTES_MAX {
        let rule = format!("must be an absolute http(s) address of at most {REDIRECT_URI_BYTES_MAX} bytes");
        return Err(Error::field("redirect_uri", rule));
    }
    let state = needed("state")?;
    if !(1..=STATE_BYTES_MAX).contains(&state.len())
        || !state.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(Error::field(
            "state",
            "must be 1 to 128 letters and digits, new for each session: compare it when the payer comes back",
        ));
    }
    let with_profile = match query.get("scope") {
        None | Some("snsapi_base") => false,
        Some("snsapi_userinfo") => true,
        Some(_) => return Err(Error::field("scope", "must be snsapi_base or snsapi_userinfo")),
    };
    let appid = appid(needed("appid")?)?;
    let (redirect_uri, state) = (redirect_uri.to_owned(), state.to_owned());
    let wish = AuthorizeWish { appid, redirect_uri, state, with_profile };
    let url = shared.ports.cashier.authorize_url(&wish)?;
    Ok(json(StatusCode::OK, &Address { url: &url }))
}

/// `POST /v1/openid/code` and `POST /v1/openid/jscode`.
pub(crate) async fn exchange(shared: &Shared, call: &Call, of: CodeOf) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let fields = Fields::read(&call.body, &["appid", "code"])?;
    let needed = |name: &'static str| {
        fields.text(name)?.ok_or_else(|| Error::field(name, "is missing")).map(str::to_owned)
    };
    let appid = appid(&needed("appid")?)?;
    let code = needed("code")?;
    if code.is_empty() || code.len() > CODE_BYTES_MAX || !code.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::field("code", "is none of WeChat's codes: give it as it came"));
    }
    let who = shared.ports.cashier.who_pays(&appid, of, &code).await?;
    let unionid = who.unionid.as_ref().map(|unionid| unionid.0.as_str());
    Ok(json(StatusCode::OK, &WhoPaysView { openid: &who.openid.0, unionid }))
}

fn appid(text: &str) -> Result<AppId, Error> {
    AppId::new(text).map_err(|error| id_error("appid", &error))
}
