//! Refunds: they live in their order's record, under its lease, its due time and its history.
//!
//! A refund begins as a wish of a shop ([`request`]) or as a notification of one that was made elsewhere. Only a
//! *verified* answer of WeChat about the right order and number moves it on, and only a settled one is told. WeChat
//! refunds a number once: a repeat keeps number and parameters, and asks first what became of the earlier try.
//!
//! Knows nothing of certificates, XML or routes. What an answer means is `crate::decide`'s.

mod again;
mod hint;
mod list;
mod request;

use serde::{Deserialize, Serialize};

use crate::dead::DeadReason;
use crate::ids::{AppId, MchId, OutRefundNo, RefundId, TransactionId};
use crate::money::{Currency, Fen};
use crate::time::{Millis, Timestamp, rfc3339_option};

pub(crate) use again::again;
pub(crate) use hint::{hint, is_news, make_place, take_in_hand, want, want_all, want_all_at};
pub(crate) use list::{apply, due, stands};
pub use request::{RefundApplication, RefundAsked, RefundDenial, request};

/// Refunds of one order: WeChat's own bound.
pub const REFUNDS_PER_ORDER_MAX: usize = 50;

/// How far a refund has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefundState {
    /// Stored here; WeChat is not known to have taken it. With a refusal: nor is it known not to have.
    Asked,
    /// A notification names it, and WeChat was not asked yet.
    Notified,
    /// WeChat took it; the money is on its way.
    Processing,
    Succeeded,
    /// The bank refused: a person acts in the merchant platform. It may still succeed or be closed.
    Abnormal,
    /// WeChat gave it up; the money stayed.
    Closed,
    /// WeChat refused to take it: nothing moved. The same number may be asked for again.
    Refused,
}

impl RefundState {
    /// Every state.
    pub const ALL: [RefundState; 7] = [
        RefundState::Asked,
        RefundState::Notified,
        RefundState::Processing,
        RefundState::Succeeded,
        RefundState::Abnormal,
        RefundState::Closed,
        RefundState::Refused,
    ];

    /// The word used in documents, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundState::Asked => "asked",
            RefundState::Notified => "notified",
            RefundState::Processing => "processing",
            RefundState::Succeeded => "succeeded",
            RefundState::Abnormal => "abnormal",
            RefundState::Closed => "closed",
            RefundState::Refused => "refused",
        }
    }

    /// Whether WeChat's word on it will not change.
    pub fn is_final(self) -> bool {
        matches!(self, RefundState::Succeeded | RefundState::Closed)
    }

    /// Whether its money counts against what was paid.
    pub fn holds_money(self) -> bool {
        !matches!(self, RefundState::Closed | RefundState::Refused)
    }
}

/// Where the money of a refund comes from; for merchants of the old settlement only. Never switched by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefundAccount {
    #[serde(rename = "REFUND_SOURCE_UNSETTLED_FUNDS")]
    UnsettledFunds,
    #[serde(rename = "REFUND_SOURCE_RECHARGE_FUNDS")]
    RechargeFunds,
}

impl RefundAccount {
    /// WeChat's word.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundAccount::UnsettledFunds => "REFUND_SOURCE_UNSETTLED_FUNDS",
            RefundAccount::RechargeFunds => "REFUND_SOURCE_RECHARGE_FUNDS",
        }
    }

    /// The account of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [RefundAccount::UnsettledFunds, RefundAccount::RechargeFunds]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

/// What is sent to WeChat, the same on every try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    pub refund_fee: Fen,
    /// The order's whole amount.
    pub total_fee: Fen,
    #[serde(default)]
    pub fee_type: Currency,
    /// WeChat's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_account: Option<RefundAccount>,
    /// Shown to the payer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_desc: Option<String>,
    /// The name of the token that asked.
    pub who: String,
    pub asked_at: Timestamp,
}

/// The account that the money went to, such as a bank and the end of a card's number: not shown in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Receiver(pub String);

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver(***)")
    }
}

/// What a verified answer said of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundFacts {
    pub refund_id: RefundId,
    pub refund_fee: Fen,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement_refund_fee: Option<Fen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_refund_fee: Option<Fen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon_refund_fee: Option<Fen>,
    /// WeChat's `refund_account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_by: Option<Receiver>,
    #[serde(default, with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub succeeded_at: Option<Timestamp>,
    /// Of the order, as the answer told it: for orders that are known by a refund only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<TransactionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_fee: Option<Fen>,
    #[serde(default)]
    pub fee_type: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_mch_id: Option<MchId>,
}

/// Why WeChat refused to take a refund, and what to do: words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// WeChat's `err_code`, such as `NOTENOUGH`.
    pub code: String,
    /// WeChat's own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    pub cause: String,
    pub remedy: String,
    pub cause_zh: String,
    pub remedy_zh: String,
}

/// One refund of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub out_refund_no: OutRefundNo,
    pub state: RefundState,
    /// Absent where it was asked for elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RefundRequest>,
    /// When it was asked for, last, or first heard of, or was given up and is asked about again: its cadence counts from
    /// here.
    pub known_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<RefundFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// When we learned that it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// Somebody relies on our telling of it, whatever the mode: it was asked for here, or its notification was answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owed: bool,
    /// A notification of it was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notified: bool,
    /// Leases under which the request may have been sent, counted before anything is sent. From the second on WeChat is
    /// asked first what became of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// Answers in a row that said nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Answers in a row that knew nothing of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unseen: u32,
    /// Quick looks made since a notification of its end that no answer has borne out yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick: Option<u8>,
    /// When refundquery first denied a request that is in doubt; absent again where anything speaks against it.
    #[serde(default, with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub denied_at: Option<Timestamp>,
    /// Wishes to look at it at once that no look has answered yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hints: u32,
    /// What the present lease is for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_hand: bool,
    /// When it is looked at next; absent where nobody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Refund {
    /// Of which only the number is known.
    fn heard_of(out_refund_no: OutRefundNo, now: Timestamp) -> Self {
        Self {
            out_refund_no,
            state: RefundState::Notified,
            request: None,
            known_at: now,
            facts: None,
            refusal: None,
            settled_at: None,
            owed: false,
            notified: false,
            tries: 0,
            attempts: 0,
            unseen: 0,
            quick: None,
            denied_at: None,
            hints: 0,
            in_hand: false,
            next_at: Some(now),
        }
    }

    /// What goes back: as WeChat says it, else as it was asked for.
    pub fn fee(&self) -> Option<Fen> {
        let asked = self.request.as_ref().map(|request| request.refund_fee);
        self.facts.as_ref().map(|facts| facts.refund_fee).or(asked)
    }

    /// Whether the request is to be sent: nobody can have sent it before. Otherwise WeChat is asked first.
    pub fn is_unsent(&self) -> bool {
        self.may_be_sent() && self.tries <= 1
    }

    /// Whether the request may be sent where WeChat says that it has none. Not while a notification says otherwise, and
    /// not any more once a sending was refused: then it is only asked about.
    pub fn may_be_sent(&self) -> bool {
        self.state == RefundState::Asked
            && self.request.is_some()
            && self.quick.is_none()
            && !self.is_in_doubt()
    }

    /// A sending of the request was refused, and an earlier one may have been taken all the same.
    pub fn is_in_doubt(&self) -> bool {
        self.state == RefundState::Asked && self.refusal.is_some()
    }

    /// WeChat told of its end: no denial from before counts, and a refusal is in doubt again.
    pub(crate) fn speak_against_denials(&mut self) {
        self.denied_at = None;
        if self.state == RefundState::Refused {
            self.state = RefundState::Asked;
        }
    }
}

/// The outcome of a call about one refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The request was taken: the money is on its way, not returned.
    Accepted(Box<RefundFacts>),
    /// refundquery, verified, about this refund of this order.
    Observed(RefundStatus, Box<RefundFacts>),
    /// refundquery, verified: WeChat never took a refund of this number.
    NotExist,
    /// The only sending under this lease was refused, authentically, and refundquery knows no refund of this number. Where
    /// no earlier lease may have sent it either, nothing moved.
    Refused(Box<Refusal>),
    /// The same of a request that was sent more than once: an earlier sending may have been taken, and refundquery lag.
    Doubtful(Box<Refusal>),
    /// refundquery, verified: the number belongs to a refund of another order, so none of this order is under it.
    OtherOrder(Box<Refusal>),
    /// Says nothing about the refund, and the outcome of a request is unknown: ask again later, at the earliest after
    /// `at_least`.
    Transient { cause: &'static str, at_least: Millis },
    /// Authentic, and asking again will not help: a person must look.
    Stuck { reason: DeadReason, detail: String },
}

/// WeChat's word for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundStatus {
    Processing,
    Success,
    /// `CHANGE`
    Abnormal,
    /// `REFUNDCLOSE`
    Closed,
    /// One that this version does not know.
    Unknown(String),
}

impl RefundStatus {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            RefundStatus::Processing => "PROCESSING",
            RefundStatus::Success => "SUCCESS",
            RefundStatus::Abnormal => "CHANGE",
            RefundStatus::Closed => "REFUNDCLOSE",
            RefundStatus::Unknown(word) => word,
        }
    }
}

#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unknown_tests;
