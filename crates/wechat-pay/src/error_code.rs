//! The `err_code` of signed answers: what each means, whose turn it is, what to do about it.
//!
//! Only codes from verified answers belong here; the `return_msg` of an unsigned answer proves nothing. The list is
//! open: WeChat adds codes, and an unknown one is for a person to look at. A caller's retry policy takes it from here.

mod call;
mod message;
mod more;
mod table;

use std::fmt;

pub use call::Interface;
pub use message::{KNOWN_MESSAGES, KnownMessage, known_message};

use table::{Entry, TABLE, UNKNOWN};

/// An `err_code` of any call.
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
    // Refunds.
    BizerrNeedRetry,
    TradeOverdue,
    Error,
    UserAccountAbnormal,
    InvalidReqTooMuch,
    InvalidTransactionId,
    RefundNotExist,
    RefundFeeMismatch,
    // Charging a payer's code, and reversing.
    BankError,
    UserPaying,
    OrderReversed,
    AuthCodeExpire,
    AuthCodeError,
    AuthCodeInvalid,
    NotSupportCard,
    BuyerMismatch,
    ReverseExpire,
    // Bills, as `downloadfundflow` spells them.
    NoBillExist,
    BillCreating,
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
        entries().find(|entry| entry.code == *self).unwrap_or(&UNKNOWN)
    }

    /// The same code means another thing in another call: `NOTENOUGH` is the payer's balance when an order is paid and
    /// the merchant's when it is refunded.
    #[must_use]
    pub fn explanation_in(&self, interface: Interface) -> Explanation {
        call::special(self, interface).unwrap_or_else(|| self.explanation())
    }

    /// Every known code, for tables and documents.
    pub fn known() -> impl Iterator<Item = &'static ErrCode> {
        entries().map(|entry| &entry.code)
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().chain(&more::TABLE)
}

impl From<&str> for ErrCode {
    fn from(text: &str) -> Self {
        match entries().find(|entry| entry.text == text) {
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
        assert_eq!((entries().count(), ErrCode::known().count()), (39, 39));
        for entry in entries() {
            assert_eq!(ErrCode::from(entry.text), entry.code);
            assert_eq!(entry.code.as_str(), entry.text);
            let Explanation { cause, remedy, cause_zh, remedy_zh } = entry.code.explanation();
            assert!(cause.is_ascii() && remedy.is_ascii() && !cause.is_empty() && !remedy.is_empty());
            assert!(!cause_zh.is_ascii() && !remedy_zh.is_ascii(), "{}", entry.text);
        }
    }

    /// Every code that WeChat's pages list for a call is known by its own name.
    #[test]
    fn every_call_s_codes_are_known() {
        let listed = "NOAUTH NOTENOUGH ORDERPAID ORDERCLOSED SYSTEMERROR APPID_NOT_EXIST MCHID_NOT_EXIST \
            APPID_MCHID_NOT_MATCH LACK_PARAMS PARAM_ERROR XML_FORMAT_ERROR REQUIRE_POST_METHOD POST_DATA_EMPTY NOT_UTF8 \
            SIGNERROR OUT_TRADE_NO_USED INVALID_REQUEST ORDERNOTEXIST FREQUENCY_LIMITED TRADE_STATE_ERROR \
            BIZERR_NEED_RETRY TRADE_OVERDUE ERROR USER_ACCOUNT_ABNORMAL INVALID_REQ_TOO_MUCH INVALID_TRANSACTIONID \
            REFUNDNOTEXIST REFUND_FEE_MISMATCH BANKERROR USERPAYING ORDERREVERSED AUTHCODEEXPIRE AUTH_CODE_ERROR \
            AUTH_CODE_INVALID NOTSUPORTCARD BUYER_MISMATCH REVERSE_EXPIRE NO_BILL_EXIST BILL_CREATING";
        for text in listed.split_whitespace() {
            let code = ErrCode::from(text);
            assert!(!matches!(code, ErrCode::Other(_)), "{text}");
            assert_eq!(code.as_str(), text);
            for interface in Interface::ALL {
                let Explanation { cause, remedy, cause_zh, remedy_zh } = code.explanation_in(interface);
                assert!(
                    cause.is_ascii() && remedy.is_ascii() && !cause_zh.is_ascii() && !remedy_zh.is_ascii()
                );
            }
        }
        let refused = ErrCode::NotEnough.explanation_in(Interface::Refund);
        assert!(refused.remedy.contains("RECHARGE") && refused != ErrCode::NotEnough.explanation());
        assert_eq!(
            ErrCode::NotEnough.explanation_in(Interface::UnifiedOrder),
            ErrCode::NotEnough.explanation()
        );
        assert_eq!(ErrCode::from("BIZERR_NEED_RETRY").class(), ErrorClass::Transient);
        assert_eq!(ErrCode::from("USERPAYING").class(), ErrorClass::Transient);
        assert_eq!(ErrCode::from("REFUNDNOTEXIST").class(), ErrorClass::NotExist);
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
