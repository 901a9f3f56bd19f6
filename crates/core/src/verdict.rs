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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Due, LookAgain};
    use crate::samples::*;

    #[test]
    fn a_ruling_is_for_a_payment_that_waits_for_one() {
        for (state, accept, reject) in [
            (State::Pending, false, false),
            (State::Unpaid, false, false),
            (State::Closed, false, false),
            (State::Failed, false, false),
            (State::Mismatch, true, true),
            (State::Rejected, true, false),
            (State::Paid, false, false),
            (State::Refunded, false, false),
        ] {
            for (ruling, is_due) in [(Ruling::Accept, accept), (Ruling::Reject, reject)] {
                let mut desk = Desk::in_state(state, true);
                let before = desk.stored.clone();
                let expected = if is_due { Judged::Stored } else { Judged::NotWaiting(state) };
                assert_eq!(desk.judge(&judgement(ruling)), expected, "{ruling:?} of {state:?}");
                assert_eq!(desk.stored != before, is_due);
            }
        }
        assert_eq!(Desk::empty().judge(&judgement(Ruling::Accept)), Judged::Unknown);
    }

    #[test]
    fn accept_stores_who_when_and_the_amount_that_was_shown() {
        let mut desk = Desk::in_state(State::Mismatch, true);
        let facts = desk.record().facts;
        desk.judge(&judgement(Ruling::Accept));
        let verdict = desk.record().verdict.clone().unwrap();
        assert_eq!((verdict.who.as_str(), verdict.at), ("li", desk.now));
        assert_eq!((verdict.total_fee, verdict.fee_type), (fen(WRONG), Currency::CNY));
        assert_eq!(verdict.transaction_id, Some(tx(TX)));
        assert_eq!(desk.record().state, State::Mismatch, "the check that this makes due moves it");
        assert_eq!(desk.record().facts, facts + 1, "a decision made on older facts must be refused");
        assert!(desk.record().outgoing.is_empty(), "a ruling emits nothing itself");
        let line = desk.record().history.last().unwrap();
        assert_eq!(
            (line.what.as_str(), line.detail.as_str(), line.at),
            ("accepted", "by li: seen", desk.now)
        );
    }

    #[test]
    fn reject_is_a_state_at_once_and_takes_the_verdict_back() {
        let mut desk = Desk::in_state(State::Mismatch, true);
        desk.judge(&judgement(Ruling::Accept));
        let facts = desk.record().facts;
        assert_eq!(desk.judge(&judgement(Ruling::Reject)), Judged::Stored);
        let record = desk.record();
        assert_eq!((record.state, record.verdict.clone(), record.facts), (State::Rejected, None, facts + 1));
        assert_eq!(record.history.last().unwrap().what, "rejected");
    }

    #[test]
    fn a_ruling_on_another_transaction_than_the_one_shown_is_refused() {
        for ruling in [Ruling::Accept, Ruling::Reject] {
            let mut desk = Desk::in_state(State::Mismatch, true);
            let on = |id| Judgement { transaction_id: Some(tx(id)), ..judgement(ruling) };
            assert_eq!(desk.judge(&on(OTHER_TX)), Judged::OtherTransaction);
            assert_eq!(desk.judge(&on(TX)), Judged::Stored);
        }
    }

    #[test]
    fn a_ruling_makes_the_order_due_at_once_or_its_holder_look_again() {
        for ruling in [Ruling::Accept, Ruling::Reject] {
            let mut free = Desk::in_state(State::Mismatch, true);
            let mut held = free.clone();
            free.judge(&judgement(ruling));
            assert_eq!(free.record().due, Some(Due { at: free.now, cause: Cause::Accepted }));
            let due = held.hold(&manual()).due;
            held.judge(&judgement(ruling));
            assert_eq!(held.record().due, due, "the lease's end still stands");
            let again = LookAgain { cause: Cause::Accepted, notified: None };
            assert_eq!(held.record().look_again, Some(again));
        }
    }
}
