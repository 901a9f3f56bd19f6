//! A person's word on a payment that disagrees with its order: `accept` or `reject`.
//!
//! One compare-and-set that needs no lease. `accept` emits nothing itself: the check it makes due does, after it
//! has asked WeChat once more.

use serde::{Deserialize, Serialize};

use crate::ids::TransactionId;
use crate::money::{Currency, Fen};
use crate::record::{Cause, Entry, Record, State};
use crate::register::wake;
use crate::time::Timestamp;

/// What was accepted, by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub who: String,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<TransactionId>,
    pub total_fee: Fen,
    pub fee_type: Currency,
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    Accept,
    Reject,
}

/// A ruling with who gives it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub ruling: Ruling,
    pub who: String,
    pub why: String,
    /// The payment that is meant; if absent, the one the record shows.
    pub transaction_id: Option<TransactionId>,
}

/// What the ruling did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// 202.
    Stored,
    /// 404.
    Unknown,
    /// 409: the state does not wait for this ruling.
    NotWaiting(State),
    /// 409: the record shows another payment.
    OtherTransaction,
}

/// The record after the ruling, and what it did.
pub fn judge(stored: Option<&Record>, judgement: &Judgement, now: Timestamp) -> (Option<Record>, Judged) {
    let Some(record) = stored else { return (None, Judged::Unknown) };
    let waits = match judgement.ruling {
        Ruling::Accept => matches!(record.state, State::Mismatch | State::Rejected),
        Ruling::Reject => record.state == State::Mismatch,
    };
    if !waits {
        return (None, Judged::NotWaiting(record.state));
    }
    if judgement.transaction_id.is_some() && judgement.transaction_id.as_ref() != record.transaction_id() {
        return (None, Judged::OtherTransaction);
    }
    let mut record = record.clone();
    let what = match judgement.ruling {
        Ruling::Accept => {
            record.verdict = accepted(&record, judgement, now);
            "accepted"
        }
        Ruling::Reject => {
            record.verdict = None;
            record.state = State::Rejected;
            "rejected"
        }
    };
    record.facts = record.facts.wrapping_add(1);
    record.updated_at = now;
    record.note(Entry::new(now, what, format!("by {}: {}", judgement.who, judgement.why)));
    wake(&mut record, Cause::Accepted, now);
    (Some(record), Judged::Stored)
}

/// The amount is the one the record's mismatch showed: a later, different one is not what the person saw.
fn accepted(record: &Record, judgement: &Judgement, now: Timestamp) -> Option<Verdict> {
    let payment = record.payment.as_ref()?;
    Some(Verdict {
        who: judgement.who.clone(),
        at: now,
        transaction_id: payment.transaction_id.clone(),
        total_fee: payment.total_fee?,
        fee_type: payment.fee_type.clone(),
    })
}
