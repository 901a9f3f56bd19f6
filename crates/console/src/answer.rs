//! The shapes of an answer. Every one is private to its caller: nothing may be cached or sniffed.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// The body of an answer: whole, or a stream of events.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A JSON document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    // The documents are our own structs of texts and numbers, which always have a JSON form.
    let text = serde_json::to_vec(document).unwrap_or_default();
    with_type(status, "application/json", Full::new(Bytes::from(text)).boxed_unsync())
}

/// A body of a given media type.
pub(crate) fn with_type(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = bare(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 204.
pub(crate) fn no_content() -> Response<Body> {
    bare(StatusCode::NO_CONTENT, Full::default().boxed_unsync())
}

fn bare(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
