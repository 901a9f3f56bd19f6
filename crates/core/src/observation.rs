//! What WeChat said when it was asked.
//!
//! An [`Observation`] can only come from a *verified* orderquery answer about the right order; everything else that
//! can happen to a question is an [`Answer`] that proves nothing.

use serde::{Deserialize, Serialize};

use crate::dead::DeadReason;
use crate::ids::{AppId, MchId, TransactionId};
use crate::money::{Currency, Fen};
use crate::time::{Timestamp, rfc3339_option};

/// The outcome of asking WeChat about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Verified, about the right order.
    Observed(Observation),
    /// Time-out, 5xx, SYSTEMERROR, FREQUENCY_LIMITED, bad answer signature, unsigned FAIL: says nothing about the
    /// order, ask again later.
    Transient(&'static str),
    /// Authentic, and asking again will not help: a person must look.
    Refused { reason: DeadReason, detail: String },
}

/// What a verified orderquery answer says about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// `SUCCESS` or `REFUND`.
    Payment(Box<Payment>),
    /// `NOTPAY`, `USERPAYING`, `ACCEPT`, or a signed `ORDERNOTEXIST`.
    NotPaid(NotPaid),
    /// `CLOSED` or `REVOKED`.
    Closed(ClosedAs),
    /// `PAYERROR`.
    Failed,
    /// A trade state this version does not know.
    Unknown(String),
}

/// The ways of being unpaid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPaid {
    NotPay,
    UserPaying,
    Accept,
    /// WeChat has never accepted a unified order under this number (or the payer has not opened it yet).
    NotExist,
}

/// The ways of being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedAs {
    Closed,
    Revoked,
}

/// The payment block of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// At least part of it went back (`REFUND`).
    #[serde(default)]
    pub refunded: bool,
    pub appid: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_mch_id: Option<MchId>,
    /// Always present with `SUCCESS`; a `REFUND` answer may come without.
    pub transaction_id: Option<TransactionId>,
    pub total_fee: Option<Fen>,
    #[serde(default)]
    pub fee_type: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_fee: Option<Fen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement_total_fee: Option<Fen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon_fee: Option<Fen>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coupons: Vec<Coupon>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    #[serde(default, with = "rfc3339_option")]
    pub paid_at: Option<Timestamp>,
    /// Kept only where the configuration asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<Openid>,
}

/// One coupon of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    pub id: String,
    /// `CASH` or `NO_CASH`; missing in production even with coupons.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub fee: Fen,
}

/// The payer under an appid: personal data, shown in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Openid(pub String);

impl std::fmt::Debug for Openid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Openid(***)")
    }
}

impl Observation {
    /// WeChat's own word for it; `None` for an order that WeChat does not know.
    pub fn trade_state(&self) -> Option<&str> {
        match self {
            Observation::Payment(payment) if payment.refunded => Some("REFUND"),
            Observation::Payment(_) => Some("SUCCESS"),
            Observation::NotPaid(NotPaid::NotPay) => Some("NOTPAY"),
            Observation::NotPaid(NotPaid::UserPaying) => Some("USERPAYING"),
            Observation::NotPaid(NotPaid::Accept) => Some("ACCEPT"),
            Observation::NotPaid(NotPaid::NotExist) => None,
            Observation::Closed(ClosedAs::Closed) => Some("CLOSED"),
            Observation::Closed(ClosedAs::Revoked) => Some("REVOKED"),
            Observation::Failed => Some("PAYERROR"),
            Observation::Unknown(state) => Some(state),
        }
    }
}
