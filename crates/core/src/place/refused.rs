//! Why something was not placed, not closed, or brought no openid: a word for programs, cause and remedy for people in
//! both languages.
//!
//! The words of our own refusals stand in one table ([`RefusalKind::words`]); those of WeChat's come from the protocol.

use std::borrow::Cow;

use crate::ids::OutTradeNo;
use crate::place::words::words_of;
use crate::ports::PortError;
use crate::record::State;
use crate::time::Millis;

/// What a shop's demand came to, if not to what it wanted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CashierError {
    #[error(transparent)]
    Refused(Box<Refusal>),
    #[error(transparent)]
    Engine(#[from] PortError),
}

/// A refusal, for a problem document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .words.cause)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub words: Words,
    /// What of the request is wrong, or differs from what was placed.
    pub fields: Vec<String>,
    /// WeChat's own.
    pub err_code: Option<String>,
    pub err_code_des: Option<String>,
    /// The other order that stands in the way.
    pub out_trade_no: Option<OutTradeNo>,
    /// What became of the order, or of the other one.
    pub state: Option<State>,
    /// When the same may be asked again.
    pub retry_after: Option<Millis>,
}

/// Cause and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub cause: Cow<'static, str>,
    pub remedy: Cow<'static, str>,
    pub cause_zh: Cow<'static, str>,
    pub remedy_zh: Cow<'static, str>,
}

/// Every way to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    InvalidRequest,
    UnknownMerchant,
    UnknownOrder,
    NoNotifyUrl,
    NoAppSecret,
    DifferentOrder,
    OrderPaid,
    OrderClosed,
    OrderOver,
    TooYoung,
    NotClosed,
    BusinessPaid,
    BusinessPaying,
    BusinessTooYoung,
    BusinessNotClosed,
    BusinessBusy,
    BusinessSuperseded,
    BusinessTooManyNumbers,
    NumberUsed,
    RefusedByWechat,
    RefusedUnsigned,
    KeysRefused,
    CodeRefused,
    WechatBusy,
    WechatAway,
    OutcomeUnknown,
}

impl RefusalKind {
    /// Every kind, for tables and documents.
    pub const ALL: [RefusalKind; 26] = [
        RefusalKind::InvalidRequest,
        RefusalKind::UnknownMerchant,
        RefusalKind::UnknownOrder,
        RefusalKind::NoNotifyUrl,
        RefusalKind::NoAppSecret,
        RefusalKind::DifferentOrder,
        RefusalKind::OrderPaid,
        RefusalKind::OrderClosed,
        RefusalKind::OrderOver,
        RefusalKind::TooYoung,
        RefusalKind::NotClosed,
        RefusalKind::BusinessPaid,
        RefusalKind::BusinessPaying,
        RefusalKind::BusinessTooYoung,
        RefusalKind::BusinessNotClosed,
        RefusalKind::BusinessBusy,
        RefusalKind::BusinessSuperseded,
        RefusalKind::BusinessTooManyNumbers,
        RefusalKind::NumberUsed,
        RefusalKind::RefusedByWechat,
        RefusalKind::RefusedUnsigned,
        RefusalKind::KeysRefused,
        RefusalKind::CodeRefused,
        RefusalKind::WechatBusy,
        RefusalKind::WechatAway,
        RefusalKind::OutcomeUnknown,
    ];

    /// The last word of a problem's type.
    pub fn slug(self) -> &'static str {
        match self {
            RefusalKind::InvalidRequest => "invalid-request",
            RefusalKind::UnknownMerchant => "unknown-merchant",
            RefusalKind::UnknownOrder => "unknown-order",
            RefusalKind::NoNotifyUrl => "no-notify-url",
            RefusalKind::NoAppSecret => "no-app-secret",
            RefusalKind::DifferentOrder => "different-order",
            RefusalKind::OrderPaid => "order-paid",
            RefusalKind::OrderClosed => "order-closed",
            RefusalKind::OrderOver => "order-over",
            RefusalKind::TooYoung => "too-young",
            RefusalKind::NotClosed => "not-closed",
            RefusalKind::BusinessPaid => "business-paid",
            RefusalKind::BusinessPaying => "business-paying",
            RefusalKind::BusinessTooYoung => "business-too-young",
            RefusalKind::BusinessNotClosed => "business-not-closed",
            RefusalKind::BusinessBusy => "business-busy",
            RefusalKind::BusinessSuperseded => "business-superseded",
            RefusalKind::BusinessTooManyNumbers => "business-too-many-numbers",
            RefusalKind::NumberUsed => "number-used",
            RefusalKind::RefusedByWechat => "refused-by-wechat",
            RefusalKind::RefusedUnsigned => "refused-unsigned",
            RefusalKind::KeysRefused => "keys-refused",
            RefusalKind::CodeRefused => "code-refused",
            RefusalKind::WechatBusy => "wechat-busy",
            RefusalKind::WechatAway => "wechat-away",
            RefusalKind::OutcomeUnknown => "outcome-unknown",
        }
    }

    /// The class of the answer, as HTTP counts them.
    pub fn status(self) -> u16 {
        match self {
            RefusalKind::InvalidRequest => 400,
            RefusalKind::UnknownMerchant | RefusalKind::UnknownOrder => 404,
            RefusalKind::DifferentOrder
            | RefusalKind::OrderPaid
            | RefusalKind::OrderClosed
            | RefusalKind::OrderOver
            | RefusalKind::TooYoung
            | RefusalKind::NotClosed
            | RefusalKind::BusinessPaid
            | RefusalKind::BusinessPaying
            | RefusalKind::BusinessTooYoung
            | RefusalKind::BusinessNotClosed
            | RefusalKind::BusinessBusy
            | RefusalKind::BusinessSuperseded
            | RefusalKind::BusinessTooManyNumbers
            | RefusalKind::NumberUsed
            | RefusalKind::NoNotifyUrl
            | RefusalKind::NoAppSecret
            | RefusalKind::CodeRefused => 409,
            RefusalKind::RefusedByWechat | RefusalKind::RefusedUnsigned | RefusalKind::KeysRefused => 502,
            RefusalKind::WechatBusy | RefusalKind::WechatAway => 503,
            RefusalKind::OutcomeUnknown => 504,
        }
    }

    /// The kind in words, the same for every refusal of it.
    pub fn title(self) -> &'static str {
        let [cause, ..] = words_of(self);
        cause
    }

    /// Cause and remedy where nothing more exact is known.
    pub fn words(self) -> Words {
        let [cause, remedy, cause_zh, remedy_zh] = words_of(self);
        Words {
            cause: cause.into(),
            remedy: remedy.into(),
            cause_zh: cause_zh.into(),
            remedy_zh: remedy_zh.into(),
        }
    }
}

impl From<RefusalKind> for Refusal {
    fn from(kind: RefusalKind) -> Self {
        Self {
            kind,
            words: kind.words(),
            fields: Vec::new(),
            err_code: None,
            err_code_des: None,
            out_trade_no: None,
            state: None,
            retry_after: None,
        }
    }
}

impl From<Refusal> for CashierError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<RefusalKind> for CashierError {
    fn from(kind: RefusalKind) -> Self {
        Refusal::from(kind).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_in_both_languages() {
        let mut slugs: Vec<&str> = RefusalKind::ALL.into_iter().map(RefusalKind::slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), RefusalKind::ALL.len());
        for kind in RefusalKind::ALL {
            let Words { cause, remedy, cause_zh, remedy_zh } = kind.words();
            for english in [&cause, &remedy] {
                assert!(english.is_ascii() && english.len() > 10, "{kind:?}");
            }
            for chinese in [&cause_zh, &remedy_zh] {
                assert!(!chinese.is_ascii() && chinese.chars().count() > 4, "{kind:?}");
            }
        }
    }
}
