//! Tests of the decision table: one named test per row here, one subject per file below.

#[path = "tests/closing.rs"]
mod closing;
#[path = "tests/duplicates.rs"]
mod duplicates;
#[path = "tests/events.rs"]
mod events;
#[path = "tests/payments.rs"]
mod payments;
#[path = "tests/refund_doubts.rs"]
mod refund_doubts;
#[path = "tests/refunds.rs"]
mod refunds;
#[path = "tests/shadow.rs"]
mod shadow;
#[path = "tests/table.rs"]
mod table;
#[path = "tests/unregistered.rs"]
mod unregistered;
#[path = "tests/waiting.rs"]
mod waiting;

use crate::dead::DeadReason;
use crate::decide::{Change, STUCK_GAP};
use crate::event::{EventType, Mismatch};
use crate::observation::{Answer, ClosedAs, NotPaid, Observation};
use crate::record::State;
use crate::samples::*;

pub(super) fn kinds(change: &Change) -> Vec<EventType> {
    change.events.iter().map(|event| event.kind).collect()
}

#[test]
fn row_success_agrees_emits_paid() {
    let change = Desk::registered().look(&manual(), &success(TX, FEE));
    assert_eq!((change.state, kinds(&change)), (State::Paid, vec![EventType::Paid]));
    assert_eq!(change.events[0].order().unwrap().trade_state.as_deref(), Some("SUCCESS"));
    assert_eq!((change.due, change.outcome), (None, "paid"));
}

#[test]
fn row_success_differs_emits_mismatch_and_waits_for_a_person() {
    let mut desk = Desk::registered();
    let change = desk.look(&manual(), &success(TX, WRONG));
    assert_eq!((change.state, kinds(&change)), (State::Mismatch, vec![EventType::Mismatch]));
    let disagreement = change.events[0].order().unwrap().disagreement.clone().unwrap();
    assert_eq!(disagreement.mismatch, Mismatch::Amount);
    assert_eq!(disagreement.registered_fee, Some(fen(FEE)));
    assert_eq!((change.due, change.outcome), (None, "mismatch"), "only a person moves it on");
}

#[test]
fn row_refund_never_told_emits_paid_then_refunded() {
    let change = Desk::registered().look(&manual(), &refund(TX, FEE));
    assert_eq!((change.state, kinds(&change)), (State::Refunded, vec![EventType::Paid, EventType::Refunded]));
    assert_eq!(
        change.events[0].order().unwrap().trade_state.as_deref(),
        Some("REFUND"),
        "the paid event says so too"
    );
}

#[test]
fn row_refund_of_a_paid_order_emits_refunded_once() {
    let mut desk = Desk::in_state(State::Paid, true);
    assert_eq!(kinds(&desk.look(&manual(), &refund(TX, FEE))), [EventType::Refunded]);
    desk.wait(2);
    assert_eq!(kinds(&desk.look(&manual(), &refund(TX, FEE))), []);
    assert_eq!(desk.record().state, State::Refunded);
}

#[test]
fn row_refund_differs_emits_mismatch_then_refunded_never_paid() {
    let change = Desk::registered().look(&manual(), &refund(TX, WRONG));
    assert_eq!(
        (change.state, kinds(&change)),
        (State::Refunded, vec![EventType::Mismatch, EventType::Refunded])
    );
}

#[test]
fn row_not_paid_is_due_at_the_next_cadence_point() {
    for how in [NotPaid::NotPay, NotPaid::UserPaying, NotPaid::Accept, NotPaid::NotExist] {
        let change = Desk::registered().look(&manual(), &not_paid(how));
        assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]), "{how:?}");
        assert_eq!(change.due.unwrap().at, at(15), "{how:?}");
    }
}

#[test]
fn row_not_paid_at_the_last_point_emits_unpaid() {
    for how in [NotPaid::NotPay, NotPaid::UserPaying, NotPaid::Accept, NotPaid::NotExist] {
        let mut desk = Desk::registered();
        desk.now = at(86_640);
        let change = desk.look(&manual(), &not_paid(how));
        assert_eq!((change.state, kinds(&change)), (State::Unpaid, vec![EventType::Unpaid]), "{how:?}");
        assert_eq!(change.due, None);
    }
}

#[test]
fn row_closed_and_revoked_emit_closed() {
    for (how, word) in [(ClosedAs::Closed, "CLOSED"), (ClosedAs::Revoked, "REVOKED")] {
        let answer = Answer::Observed(Observation::Closed(how));
        let change = Desk::registered().look(&manual(), &answer);
        assert_eq!((change.state, kinds(&change)), (State::Closed, vec![EventType::Closed]));
        assert_eq!(change.events[0].order().unwrap().trade_state.as_deref(), Some(word));
        assert_eq!(change.due, None);
    }
}

#[test]
fn row_payerror_emits_failed() {
    let change = Desk::registered().look(&manual(), &failed());
    assert_eq!((change.state, kinds(&change)), (State::Failed, vec![EventType::Failed]));
    assert_eq!((change.due, change.outcome), (None, "failed"));
}

#[test]
fn row_transient_is_due_after_the_backoff_and_denies_nothing_even_after_the_last_point() {
    for now in [at(1), at(86_640), at(900_000)] {
        let mut desk = Desk::registered();
        desk.now = now;
        let change = desk.look(&manual(), &Answer::Transient("time-out"));
        assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]));
        assert_eq!(change.due.unwrap().at, now + RETRY);
        assert_eq!(change.dead, None, "a transient answer is nobody's work");
    }
}

#[test]
fn row_refused_leaves_a_dead_letter_and_the_next_cadence_point_then_six_hours() {
    let mut desk = Desk::registered();
    let change = desk.look(&manual(), &refused());
    assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]));
    assert_eq!(change.due.unwrap().at, at(15));
    desk.now = at(86_640);
    assert_eq!(desk.poll(&refused()).due.unwrap().at, at(86_640) + STUCK_GAP);
    assert_eq!(desk.record().state, State::Pending, "never the basis of a denial");
    assert_eq!(desk.dead.len(), 2);
    assert_eq!(desk.dead[0].id, desk.dead[1].id, "a repeat raises the count under one id");
    assert_eq!(
        (desk.dead[0].reason.clone(), desk.dead[0].detail.as_str()),
        (DeadReason::RefusedByWechat, "NOAUTH")
    );
}

#[test]
fn row_wrong_order_is_a_dead_letter_of_its_own() {
    let wrong = Answer::Refused { reason: DeadReason::WrongOrder, detail: "appid".into() };
    let mut desk = Desk::registered();
    desk.look(&manual(), &wrong);
    desk.poll(&refused());
    assert_ne!(desk.dead[0].id, desk.dead[1].id, "the id derives from order and reason");
    assert!(desk.published.is_empty());
}

#[test]
fn row_unknown_state_is_a_dead_letter_only_after_the_last_point() {
    let mut desk = Desk::registered();
    let early = desk.look(&manual(), &unknown());
    assert_eq!((early.dead, early.due.unwrap().at), (None, at(15)));
    desk.now = at(86_640);
    let late = desk.poll(&unknown());
    assert_eq!(late.dead.unwrap().reason, DeadReason::UnknownTradeState);
    assert_eq!(late.due.unwrap().at, at(86_640) + STUCK_GAP);
    assert_eq!(desk.record().state, State::Pending, "never the basis of a denial");
}
