//! What the shop hears when WeChat's answer cannot be had: XML with FAIL, as its SDK expects, and a text for the person
//! who reads the SDK's error. Says whether repeating the call is safe; holds nothing that the caller sent.

use bytes::Bytes;
use http_server::BodyError;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use wechat_pay::xml;

use crate::answer::AnswerBody;
use crate::metrics::CallResult;
use crate::upstream::Failure;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

/// Why a call has no answer of WeChat's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Source,
    /// The call names a host that is not WeChat's.
    Host,
    Path,
    TooLarge,
    TooSlow,
    BrokenOff,
    NoCertificate,
    Unreachable,
    Broken,
    Timeout,
}

impl Refusal {
    pub(crate) fn respond(self) -> Response<AnswerBody> {
        let body = xml::write([("return_code", "FAIL"), ("return_msg", self.text())]);
        let mut response = Response::new(AnswerBody::ours(Bytes::from(body)));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, XML);
        response
    }

    pub(crate) fn result(self) -> CallResult {
        match self {
            Self::Source | Self::Host | Self::Path | Self::TooLarge | Self::TooSlow | Self::BrokenOff => {
                CallResult::Refused
            }
            Self::NoCertificate => CallResult::NoCertificate,
            Self::Unreachable => CallResult::Unreachable,
            Self::Broken => CallResult::Broken,
            Self::Timeout => CallResult::Timeout,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Source => StatusCode::FORBIDDEN,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Path | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoCertificate | Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// At most 128 characters, as `return_msg` has.
    fn text(self) -> &'static str {
        match self {
            Self::Source => {
                "Paybell: this address may not call the proxy, see [proxy] sources / 来源地址不在允许范围内"
            }
            Self::Host => "Paybell: this proxy forwards to WeChat Pay only / 本代理只转发到微信支付",
            Self::Path => "Paybell: no path that can be forwarded / 路径无效",
            Self::TooLarge => "Paybell: request too large, not sent / 请求过大，未发送",
            Self::TooSlow => "Paybell: request did not arrive in time, not sent / 请求未及时到达，未发送",
            Self::BrokenOff => "Paybell: request broken off / 请求中断",
            Self::NoCertificate => {
                "Paybell: set client_cert_file and client_key_file of this mch_id, not sent / 请为该商户配置 API 证书，请求未发送"
            }
            Self::Unreachable => {
                "Paybell: cannot connect to WeChat Pay, not sent, repeat / 无法连接微信支付，请求未发送，可重试"
            }
            Self::Broken => {
                "Paybell: WeChat Pay broke off, result unknown, query first / 连接中断，结果未知，请先查询"
            }
            Self::Timeout => {
                "Paybell: no answer of WeChat Pay in time, result unknown, query first / 微信支付应答超时，结果未知，请先查询"
            }
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge,
            BodyError::Timeout => Self::TooSlow,
            BodyError::Broken => Self::BrokenOff,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(_) => Self::Unreachable,
            Failure::Broken(_) => Self::Broken,
            Failure::Timeout => Self::Timeout,
            Failure::Body(error) => error.into(),
            Failure::Path => Self::Path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_a_return_msg() {
        for refusal in [
            Refusal::Source,
            Refusal::Host,
            Refusal::Path,
            Refusal::TooLarge,
            Refusal::TooSlow,
            Refusal::BrokenOff,
            Refusal::NoCertificate,
            Refusal::Unreachable,
            Refusal::Broken,
            Refusal::Timeout,
        ] {
            let length = refusal.text().chars().count();
            assert!((1..=128).contains(&length), "{refusal:?} has {length} characters");
            assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
        }
    }
}
