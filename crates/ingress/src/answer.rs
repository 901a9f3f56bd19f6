//! What WeChat hears: exact bytes, an exact status, and a fixed phrase that tells an attacker nothing.

use hyper::StatusCode;

/// An answer of the public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Authentic and durable.
    Success,
    /// Over the limits of size or field count.
    TooLarge,
    /// Not a document of this protocol, or authentic with a field missing or malformed.
    Malformed,
    /// Not authentic, or not for us.
    Unauthorized,
    /// Not durable in time, overloaded or draining: WeChat comes again.
    Unavailable,
    /// Taken in, but somebody else is to answer WeChat: whoever asks us alone must come again, or nobody would tell.
    Shadow,
    /// The request did not arrive whole in time.
    TooSlow,
    NotFound,
    MethodNotAllowed,
}

impl Answer {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Answer::Success => StatusCode::OK,
            Answer::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Answer::Malformed => StatusCode::BAD_REQUEST,
            Answer::Unauthorized => StatusCode::UNAUTHORIZED,
            Answer::Unavailable | Answer::Shadow => StatusCode::SERVICE_UNAVAILABLE,
            Answer::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Answer::NotFound => StatusCode::NOT_FOUND,
            Answer::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The body. WeChat accepts SUCCESS only in this compact form: pretty-printed XML has made it come again.
    pub fn body(self) -> &'static [u8] {
        match self {
            Answer::Success => {
                b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
            }
            Answer::TooLarge => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[TOO LARGE]]></return_msg></xml>"
            }
            Answer::Malformed => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[MALFORMED]]></return_msg></xml>"
            }
            Answer::Unauthorized => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[REFUSED]]></return_msg></xml>"
            }
            Answer::Unavailable => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[TRY AGAIN]]></return_msg></xml>"
            }
            Answer::Shadow => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[SHADOW MODE]]></return_msg></xml>"
            }
            Answer::TooSlow => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[TOO SLOW]]></return_msg></xml>"
            }
            Answer::NotFound => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[NOT FOUND]]></return_msg></xml>"
            }
            Answer::MethodNotAllowed => {
                b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[POST ONLY]]></return_msg></xml>"
            }
        }
    }
}
