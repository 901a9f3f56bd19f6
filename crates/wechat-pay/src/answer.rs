//! Opens any signed answer of API v2: return code, signature, the common block, result code.
//!
//! Judges nothing about orders. A [`Verified`] can only be made here; what is special to an interface is read by
//! [`crate::query`] and [`crate::close`].

use std::ops::Deref;

use crate::error_code::ErrCode;
use crate::fields::filled;
use crate::sign::{self, Algorithm, ApiKey, SignError};
use crate::xml::{Document, XmlError};

const RETURN_MSG_CHARACTERS_MAX: usize = 128;

/// Something read from an answer whose signature fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    key_used: KeyUsed,
    exchanges: u32,
}

impl<T> Verified<T> {
    fn of(value: T) -> Self {
        Self { value, key_used: KeyUsed::Current, exchanges: 1 }
    }

    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Which of the merchant's keys signed it; `Current` unless a client with two keys says otherwise.
    #[must_use]
    pub fn key_used(&self) -> KeyUsed {
        self.key_used
    }

    /// How often the client sent the request until it had this answer: a connection broke, a host was away, or a key was
    /// refused. WeChat may have acted on any of them.
    #[must_use]
    pub fn exchanges(&self) -> u32 {
        self.exchanges
    }

    pub(crate) fn with_key(self, key_used: KeyUsed) -> Self {
        Self { key_used, ..self }
    }

    pub(crate) fn after(self, exchanges: u32) -> Self {
        Self { exchanges, ..self }
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Which key of a merchant fitted: while a key is being changed, both may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsed {
    Current,
    Previous,
}

impl KeyUsed {
    /// A stable word for counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

/// `result_code=FAIL`, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredError {
    pub code: ErrCode,
    /// `err_code_des`, for people.
    pub description: Option<String>,
}

/// Why an answer says nothing that could be believed. All of these leave the order's state unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer is no document of API v2: {0}")]
    NotXml(#[from] XmlError),
    /// Unsigned by definition.
    #[error("the answer is return_code=FAIL without a signature: {return_msg}")]
    UnsignedFail { return_msg: String },
    #[error("the answer is wrongly signed: {0}")]
    BadSignature(#[from] SignError),
    #[error("the answer is authentic, but its field {0} is missing or malformed")]
    MalformedAnswer(&'static str),
}

/// The common block of a verified answer, and the document for the rest.
pub(crate) struct Opened<'a> {
    pub(crate) document: Document<'a>,
    pub(crate) appid: String,
    pub(crate) mch_id: String,
    pub(crate) sub_mch_id: Option<String>,
    /// `None` for `result_code=SUCCESS`.
    pub(crate) error: Option<AnsweredError>,
}

/// The only way to a [`Verified`]. `read` gets the answer only once its signature fits.
pub(crate) fn verified<'a, T>(
    body: &'a [u8],
    key: &ApiKey,
    algorithm: Algorithm,
    read: impl FnOnce(Opened<'a>) -> Result<T, AnswerError>,
) -> Result<Verified<T>, AnswerError> {
    let document = Document::parse(body)?;
    read(open(document, key, algorithm)?).map(Verified::of)
}

/// The same for answers that list things and have more fields than others.
pub(crate) fn verified_listing<'a, T>(
    body: &'a [u8],
    key: &ApiKey,
    algorithm: Algorithm,
    read: impl FnOnce(Opened<'a>) -> Result<T, AnswerError>,
) -> Result<Verified<T>, AnswerError> {
    let document = Document::parse_listing(body)?;
    read(open(document, key, algorithm)?).map(Verified::of)
}

/// A field that must be there and well formed.
pub(crate) fn read<T>(
    document: &Document<'_>,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, AnswerError> {
    filled(document, name).and_then(read).ok_or(AnswerError::MalformedAnswer(name))
}

pub(crate) fn required<'d>(document: &'d Document<'_>, name: &'static str) -> Result<&'d str, AnswerError> {
    filled(document, name).ok_or(AnswerError::MalformedAnswer(name))
}

/// An answer is signed by the algorithm and the key of its request and does not name them.
fn open<'a>(document: Document<'a>, key: &ApiKey, algorithm: Algorithm) -> Result<Opened<'a>, AnswerError> {
    if document.get("return_code") == Some("FAIL") {
        let message = document.get("return_msg").unwrap_or_default();
        let return_msg = message.chars().take(RETURN_MSG_CHARACTERS_MAX).collect();
        return Err(AnswerError::UnsignedFail { return_msg });
    }
    sign::verify(&document, key, algorithm)?;
    if document.get("return_code") != Some("SUCCESS") {
        return Err(AnswerError::MalformedAnswer("return_code"));
    }
    let error = match document.get("result_code") {
        Some("SUCCESS") => None,
        Some("FAIL") => Some(AnsweredError {
            code: ErrCode::from(required(&document, "err_code")?),
            description: filled(&document, "err_code_des").map(str::to_owned),
        }),
        _ => return Err(AnswerError::MalformedAnswer("result_code")),
    };
    Ok(Opened {
        appid: required(&document, "appid")?.to_owned(),
        mch_id: required(&document, "mch_id")?.to_owned(),
        sub_mch_id: filled(&document, "sub_mch_id").map(str::to_owned),
        error,
        document,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [(&str, &str); 5] = [
        ("return_code", "SUCCESS"),
        ("appid", "wx1"),
        ("mch_id", "1900000109"),
        ("result_code", "FAIL"),
        ("err_code", "ORDERPAID"),
    ];

    fn opened(change: (&str, &str)) -> Result<Option<AnsweredError>, AnswerError> {
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let mut fields = FIELDS.to_vec();
        fields.retain(|(name, _)| *name != change.0);
        fields.push(change);
        let sign = sign::sign(fields.iter().copied(), &key, Algorithm::Md5);
        fields.push(("sign", &sign));
        let body = crate::xml::write(fields);
        verified(body.as_bytes(), &key, Algorithm::Md5, |opened| Ok(opened.error)).map(Verified::into_inner)
    }

    #[test]
    fn the_three_levels_are_judged_in_order() {
        let error = AnsweredError { code: ErrCode::OrderPaid, description: Some("已支付".to_owned()) };
        assert_eq!(opened(("err_code_des", "已支付")), Ok(Some(error)));
        assert_eq!(opened(("result_code", "SUCCESS")), Ok(None));
        for name in ["return_code", "result_code", "err_code", "appid", "mch_id"] {
            assert_eq!(opened((name, "")), Err(AnswerError::MalformedAnswer(name)));
        }
        let unsigned = Err(AnswerError::UnsignedFail { return_msg: String::new() });
        assert_eq!(opened(("return_code", "FAIL")), unsigned, "a sign does not make FAIL trustworthy");
    }

    #[test]
    fn a_long_return_msg_is_cut() {
        let body = crate::xml::write([("return_code", "FAIL"), ("return_msg", &"错".repeat(1000))]);
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let error = verified(body.as_bytes(), &key, Algorithm::Md5, |_| Ok(())).unwrap_err();
        assert_eq!(error, AnswerError::UnsignedFail { return_msg: "错".repeat(RETURN_MSG_CHARACTERS_MAX) });
    }
}
