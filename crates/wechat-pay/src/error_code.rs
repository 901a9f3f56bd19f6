//! The `err_code` of signed answers: what each means, whose turn it is, what to do about it.
//!
//! Only codes from verified answers belong here; the `return_msg` of an unsigned answer proves nothing. The list is
//! open: WeChat adds codes, and an unknown one is for a person to look at. A caller's retry policy takes it from here.

mod table;

use std::fmt;

use table::{Entry, TABLE, UNKNOWN};

/// An `err_code` of order query, close or unified order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrCode {
    OrderNotExist,
    SystemError,
    FrequencyLimited,
    OrderPaid,
    OrderClosed,
    TradeStateError,
    NotEnough,
    OutTradeNoUsed,
    InvalidRequest,
    SignError,
    NoAuth,
    AppidNotExist,
    MchidNotExist,
    AppidMchidNotMatch,
    LackParams,
    ParamError,
    XmlFormatError,
    RequirePostMethod,
    PostDataEmpty,
    NotUtf8,
    /// A code that this list does not have, as it was sent.
    Other(String),
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Unknown state: ask again later.
    Transient,
    /// Asking again changes nothing, and nothing is broken either.
    Permanent,
    /// Configuration or code is wrong, or the code is unknown: somebody must look.
    Operator,
    /// WeChat knows no such order (yet).
    NotExist,
    /// The order is paid: query it.
    Paid,
    /// The order is closed.
    Closed,
}

/// Cause and remedy for people, in English and Chinese.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub cause: &'static str,
    pub remedy: &'static str,
    pub cause_zh: &'static str,
    pub remedy_zh: &'static str,
}

impl ErrCode {
    /// The code on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => known.entry().text,
        }
    }

    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.entry().class
    }

    #[must_use]
    pub fn explanation(&self) -> Explanation {
        self.entry().explanation
    }

    fn entry(&self) -> &'static Entry {
        TABLE.iter().find(|entry| entry.code == *self).unwrap_or(&UNKNOWN)
    }
}

impl From<&str> for ErrCode {
    fn from(text: &str) -> Self {
        match TABLE.iter().find(|entry| entry.text == text) {
            Some(entry) => entry.code.clone(),
            None => Self::Other(text.to_owned()),
        }
    }
}

impl fmt::Display for ErrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_comes_back_and_is_explained_in_both_languages() {
        assert_eq!(TABLE.len(), 20);
        for entry in &TABLE {
            assert_eq!(ErrCode::from(entry.text), entry.code);
            assert_eq!(entry.code.as_str(), entry.text);
            let Explanation { cause, remedy, cause_zh, remedy_zh } = entry.code.explanation();
            assert!(cause.is_ascii() && remedy.is_ascii() && !cause.is_empty() && !remedy.is_empty());
            assert!(!cause_zh.is_ascii() && !remedy_zh.is_ascii(), "{}", entry.text);
        }
    }

    #[test]
    fn classes_steer_what_happens_to_an_order() {
        assert_eq!(ErrCode::from("SYSTEMERROR").class(), ErrorClass::Transient);
        assert_eq!(ErrCode::from("FREQUENCY_LIMITED").class(), ErrorClass::Transient);
        assert_eq!(ErrCode::from("ORDERNOTEXIST").class(), ErrorClass::NotExist);
        assert_eq!(ErrCode::from("ORDERPAID").class(), ErrorClass::Paid);
        assert_eq!(ErrCode::from("ORDERCLOSED").class(), ErrorClass::Closed);
        assert_eq!(ErrCode::from("SIGNERROR").class(), ErrorClass::Operator);
        assert_eq!(ErrCode::from("NOTENOUGH").class(), ErrorClass::Permanent);
        let new = ErrCode::from("BRAND_NEW");
        assert_eq!((new.as_str(), new.class()), ("BRAND_NEW", ErrorClass::Operator));
        assert_eq!(ErrCode::from("ordernotexist").class(), ErrorClass::Operator);
    }
}
