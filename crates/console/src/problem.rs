//! RFC 9457 problem documents. Writes what an [`Error`] says; decides nothing.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use paybell_core::place::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::answer::{Body, with_type};
use crate::error::{Error, seconds};
use crate::explain::explained;

/// The answer for a refused request.
pub(crate) fn respond(error: &Error) -> Response<Body> {
    let (status, slug, title) = error.kind();
    let mut document = Map::new();
    document.insert("type".to_owned(), json!(format!("urn:paybell:problem:{slug}")));
    document.insert("title".to_owned(), json!(title));
    document.insert("status".to_owned(), json!(status.as_u16()));
    document.insert("detail".to_owned(), json!(error.to_string()));
    if let Some([cause, remedy]) = explanation(error, slug) {
        document.insert("cause".to_owned(), json!(cause));
        document.insert("remedy".to_owned(), json!(remedy));
    }
    if let Some((name, value)) = extension(error) {
        document.insert(name.to_owned(), value);
    }
    if let Error::Demand(refusal) = error {
        document.extend(particulars(refusal));
    }
    let text = Value::Object(document).to_string();
    let body = Full::new(Bytes::from(text)).boxed_unsync();
    let mut response = with_type(status, "application/problem+json", body);
    if let Some((name, value)) = header(error, status) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A text in both languages.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct InBoth<'t> {
    en: &'t str,
    zh: &'t str,
}

pub(crate) fn in_both<'t>(en: &'t str, zh: &'t str) -> InBoth<'t> {
    InBoth { en, zh }
}

/// Cause and remedy: of a refusal of WeChat's own code, else of the kind of refusal.
fn explanation<'e>(error: &'e Error, slug: &str) -> Option<[InBoth<'e>; 2]> {
    if let Error::RefundRefused { refusal } = error {
        let cause = in_both(&refusal.cause, &refusal.cause_zh);
        return Some([cause, in_both(&refusal.remedy, &refusal.remedy_zh)]);
    }
    if let Error::Demand(refusal) = error {
        let words = &refusal.words;
        let cause = in_both(&words.cause, &words.cause_zh);
        return Some([cause, in_both(&words.remedy, &words.remedy_zh)]);
    }
    let explained = explained(slug)?;
    let cause = in_both(explained.cause, explained.cause_zh);
    Some([cause, in_both(explained.remedy, explained.remedy_zh)])
}

/// What a program needs besides the text.
fn extension(error: &Error) -> Option<(&'static str, Value)> {
    match error {
        Error::Field { field, .. } => Some(("field", json!(field))),
        Error::Different { fields } | Error::DifferentRefund { fields } => Some(("fields", json!(fields))),
        Error::NotAsPaid { field, .. } => Some(("field", json!(field))),
        Error::RefundRefused { refusal } => Some(("code", json!(refusal.code))),
        Error::NotRefundable { state } | Error::NotWaiting { state, .. } => {
            Some(("state", json!(state.as_str())))
        }
        Error::Gone { oldest } => Some(("oldest", json!(oldest.to_text()))),
        Error::WrongScope { needed, .. } => Some(("scope", json!(needed.as_str()))),
        _ => None,
    }
}

/// The same of a refused demand; what is not known is left out.
fn particulars(refusal: &Refusal) -> Map<String, Value> {
    let named = [
        ("fields", (!refusal.fields.is_empty()).then(|| json!(refusal.fields))),
        ("err_code", refusal.err_code.as_ref().map(|code| json!(code))),
        ("err_code_des", refusal.err_code_des.as_ref().map(|words| json!(words))),
        ("out_trade_no", refusal.out_trade_no.as_ref().map(|number| json!(number.as_str()))),
        ("state", refusal.state.map(|state| json!(state.as_str()))),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn header(error: &Error, status: StatusCode) -> Option<(hyper::header::HeaderName, HeaderValue)> {
    match error {
        Error::NoToken => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"paybell\""))),
        Error::WrongToken => Some((
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"paybell\", error=\"invalid_token\""),
        )),
        Error::Method { allow } => HeaderValue::from_str(allow).ok().map(|allow| (ALLOW, allow)),
        Error::ShutOut { wait, .. } | Error::TooFast { wait, .. } => {
            Some((RETRY_AFTER, HeaderValue::from(seconds(wait))))
        }
        Error::Demand(refusal) if refusal.retry_after.is_some() => {
            let millis = refusal.retry_after.map_or(0, |wait| wait.0);
            let wait = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
            Some((RETRY_AFTER, HeaderValue::from(seconds(&wait))))
        }
        Error::OwnStreams { .. } => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
        _ => None,
    }
}
