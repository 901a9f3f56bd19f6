//! Why a call brought no answer that can be believed, and whose fault that may be.
//!
//! Signed errors are answers, not faults. Everything here leaves the order's state unknown, so the caller asks again;
//! [`super::Client`] uses the same judgement to choose between another host, another key, and giving up.

use crate::answer::AnswerError;
use crate::sign::SignError;
use crate::xml::XmlError;

/// A call without a believable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent. Put the call off; nobody is at fault.
    #[error("the merchant's query rate left no slot in time")]
    NoSlot,
    /// The order's state is unknown: ask again later.
    #[error(transparent)]
    Transient(Cause),
    /// Every key of the merchant was refused: alarm the merchant's operator, and ask again later.
    #[error("every key of the merchant was refused: {0}")]
    KeyRefused(Cause),
}

/// What went wrong with the last attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("HTTP status {0}")]
    HttpStatus(u16),
    #[error("the answer is longer than any answer of API v2")]
    TooLarge,
    #[error("the answer is no document of API v2: {0}")]
    NotXml(XmlError),
    #[error("the answer is authentic, but its field {0} is missing or malformed")]
    MalformedAnswer(&'static str),
    #[error("the answer is return_code=FAIL, unsigned: {return_msg}")]
    UnsignedFail { return_msg: String },
    #[error("the answer is wrongly signed: {0}")]
    BadSignature(SignError),
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl Cause {
    /// A stable word for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::HttpStatus(_) => "http_status",
            Self::TooLarge => "too_large",
            Self::NotXml(_) => "not_xml",
            Self::MalformedAnswer(_) => "malformed_answer",
            Self::UnsignedFail { .. } => "unsigned_fail",
            Self::BadSignature(_) => "bad_signature",
            Self::NoRandomness => "no_randomness",
        }
    }

    /// Another host may do better: this one is away, overloaded, or not WeChat Pay at all.
    pub(super) fn is_the_hosts(&self) -> bool {
        match self {
            Self::Timeout | Self::Connect(_) | Self::Broken(_) => true,
            Self::HttpStatus(_) | Self::TooLarge | Self::NotXml(_) => true,
            Self::MalformedAnswer(_)
            | Self::UnsignedFail { .. }
            | Self::BadSignature(_)
            | Self::NoRandomness => false,
        }
    }

    /// Another key may do better. An unsigned FAIL has no reliable text, so all count but those about the rate.
    pub(super) fn may_be_the_keys(&self) -> bool {
        match self {
            Self::BadSignature(_) => true,
            Self::UnsignedFail { return_msg } => !mentions(return_msg, &["频率", "频繁", "frequen", "limit"]),
            _ => false,
        }
    }

    /// The key is the likely culprit.
    pub(super) fn is_the_keys(&self) -> bool {
        match self {
            Self::BadSignature(_) => true,
            Self::UnsignedFail { return_msg } => mentions(return_msg, &["签名", "密钥", "sign"]),
            _ => false,
        }
    }
}

impl From<AnswerError> for Cause {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::NotXml(error) => Self::NotXml(error),
            AnswerError::UnsignedFail { return_msg } => Self::UnsignedFail { return_msg },
            AnswerError::BadSignature(error) => Self::BadSignature(error),
            AnswerError::MalformedAnswer(field) => Self::MalformedAnswer(field),
        }
    }
}

fn mentions(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_texts_are_told_apart_only_as_far_as_they_go() {
        let fail = |return_msg: &str| Cause::UnsignedFail { return_msg: return_msg.to_owned() };
        for text in ["签名错误", "SIGN ERROR", "SignError"] {
            assert!(fail(text).may_be_the_keys() && fail(text).is_the_keys(), "{text}");
        }
        for text in ["频率限制", "FREQUENCY_LIMITED", "调用过于频繁"] {
            assert!(!fail(text).may_be_the_keys(), "{text}");
        }
        assert!(fail("系统繁忙").may_be_the_keys() && !fail("系统繁忙").is_the_keys());
        assert!(!Cause::Timeout.may_be_the_keys());
    }
}
