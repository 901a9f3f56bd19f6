//! Tests of the lease: taking it here; fencing, wake-ups and lost leases below.

#[path = "lease_tests/fence.rs"]
mod fence;
#[path = "lease_tests/lost.rs"]
mod lost;
#[path = "lease_tests/wake_ups.rs"]
mod wake_ups;

use super::*;
use crate::check::Claim;
use crate::observation::{Answer, NotPaid};
use crate::record::State;
use crate::samples::*;

#[test]
fn a_check_of_an_unknown_order_creates_its_record() {
    for check in [notified(TX), billed(TX), manual()] {
        let mut desk = Desk::empty();
        let record = desk.hold(&check);
        assert_eq!(
            (record.state, record.created_at, record.registration.clone()),
            (State::Pending, T0, None)
        );
        assert_eq!(desk.stored, Some(record), "what the holder sees is what is stored");
    }
}

#[test]
fn i5_a_lease_excludes_every_other_check_until_it_ends() {
    for check in [notified(TX), notified(OTHER_TX), billed(TX), manual()] {
        let mut desk = Desk::registered();
        let lease = desk.hold(&manual()).lease;
        desk.now = desk.now + LEASE - Millis(1);
        assert_eq!(desk.take(&check), Taken::Busy);
        assert_eq!(desk.record().lease, lease, "the holder keeps it");
        desk.now = desk.now + Millis(1);
        assert!(matches!(desk.take(&check), Taken::Leased(_)));
        assert_ne!(desk.record().lease, lease);
    }
}

#[test]
fn i8_taking_a_lease_writes_a_due_time_no_later_than_its_end() {
    for state in State::ALL {
        for check in [notified(OTHER_TX), billed(OTHER_TX), manual()] {
            let mut desk = Desk::in_state(state, true);
            let record = desk.hold(&check);
            let lease = record.lease.unwrap();
            assert_eq!((lease.until, record.due.unwrap().at), (desk.now + LEASE, lease.until));
            assert_eq!(record.due.unwrap().cause, check.cause(), "an urgent check's lease ends urgently");
        }
    }
}

#[test]
fn a_poll_s_lease_ends_as_a_poll() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let check = desk.claim().unwrap();
    assert_eq!(desk.hold(&check).due.unwrap().cause, Cause::Cadence);
}

#[test]
fn i6_a_duplicate_is_dropped_without_a_query() {
    for state in [State::Mismatch, State::Rejected, State::Paid, State::Refunded] {
        for check in [notified(TX), billed(TX)] {
            let mut desk = Desk::in_state(state, true);
            let before = desk.stored.clone();
            assert_eq!(desk.take(&check), Taken::Duplicate, "{state:?}");
            assert_eq!(desk.stored, before, "and leaves no trace");
        }
    }
}

#[test]
fn i6_nothing_else_is_a_duplicate() {
    let is_leased = |desk: &mut Desk, check: &Check| matches!(desk.take(check), Taken::Leased(_));
    for state in [State::Pending, State::Unpaid, State::Closed, State::Failed] {
        assert!(is_leased(&mut Desk::in_state(state, true), &notified(TX)), "{state:?} is not a last word");
    }
    for state in [State::Mismatch, State::Rejected, State::Paid, State::Refunded] {
        assert!(is_leased(&mut Desk::in_state(state, true), &notified(OTHER_TX)), "another transaction");
        assert!(is_leased(&mut Desk::in_state(state, true), &Check::notified(key(), None)), "no transaction");
        assert!(is_leased(&mut Desk::in_state(state, true), &manual()), "a person asks");
    }
}

#[test]
fn i6_seen_is_a_state_and_not_a_flag_outgoing_events_are_not_seen() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    assert_eq!(desk.take(&notified(TX)), Taken::Busy);
    desk.now = desk.now + LEASE;
    assert!(matches!(desk.take(&notified(TX)), Taken::Leased(_)), "somebody must publish");
}

#[test]
fn a_due_check_whose_claim_is_not_the_current_one_is_stale_and_touches_nothing() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let lost = desk.claim().unwrap();
    desk.wait(60);
    let current = desk.claim().unwrap();
    let before = desk.stored.clone();
    assert_eq!(desk.take(&lost), Taken::Stale);
    assert_eq!(desk.stored, before);
    assert!(matches!(desk.take(&current), Taken::Leased(_)));
}

#[test]
fn a_stale_check_does_not_even_ask_a_holder_to_look_again() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let lost = desk.claim().unwrap();
    desk.wait(60);
    desk.claim().unwrap();
    desk.hold(&manual());
    assert_eq!(desk.take(&lost), Taken::Stale);
    assert_eq!(desk.record().look_again, None);
}

#[test]
fn a_due_check_whose_record_is_gone_creates_none() {
    let mut desk = Desk::empty();
    let claim = Claim { number: 0, due_for: T0, cause: Cause::Manual };
    assert_eq!(desk.take(&Check::due(key(), claim)), Taken::Stale);
    assert_eq!(desk.stored, None);
}

#[test]
fn a_commit_makes_older_claims_stale() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let check = desk.claim().unwrap();
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    assert_eq!(desk.take(&check), Taken::Stale);
}

#[test]
fn a_manual_check_within_a_second_of_a_look_is_answered_by_it() {
    let mut desk = Desk::registered();
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    let due = desk.record().due;
    desk.now = T0 + Millis(999);
    assert_eq!(desk.take(&manual()), Taken::Fresh);
    assert_eq!(
        desk.record().due,
        Some(Due { at: at(1), cause: Cause::Manual }),
        "what it asks for is not lost"
    );
    assert!(due.unwrap().at > at(1));
    let before = desk.stored.clone();
    assert_eq!(desk.take(&manual()), Taken::Fresh);
    assert_eq!(desk.stored, before, "and is asked for once");
    assert!(
        matches!(desk.clone().take(&notified(TX)), Taken::Leased(_)),
        "a notification is never put away so"
    );
    desk.now = T0 + Millis(1000);
    assert!(matches!(desk.take(&manual()), Taken::Leased(_)));
}

#[test]
fn a_look_without_an_answer_answers_nobody() {
    let mut desk = Desk::registered();
    desk.look(&manual(), &Answer::Transient("time-out"));
    assert!(matches!(desk.take(&manual()), Taken::Leased(_)));
}

#[test]
fn a_fresh_look_whose_events_are_still_outgoing_answers_nobody_either() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    desk.put_off(at(5));
    assert!(matches!(desk.take(&manual()), Taken::Leased(record) if record.outgoing.len() == 1));
}

#[test]
fn a_look_in_the_future_is_not_fresh() {
    let mut desk = Desk::registered();
    desk.wait(3600);
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    desk.wait(-3600);
    assert!(
        matches!(desk.take(&manual()), Taken::Leased(_)),
        "or a clock set back would silence a shop for an hour"
    );
}

#[test]
fn a_notification_restarts_the_quick_looks_with_both_hints() {
    let mut desk = Desk::registered();
    desk.look(&notified(TX), &not_paid(NotPaid::NotPay));
    assert_eq!(desk.record().progress.quick.as_ref().unwrap().made, 1);
    let one = desk.clone().hold(&notified(TX)).progress;
    assert_eq!(one.quick, Some(QuickLooks { made: 0, at: None, hint: Hint::One(tx(TX)) }));
    let two = desk.clone().hold(&notified(OTHER_TX)).progress;
    assert_eq!(two.quick.unwrap().hint, Hint::Any, "two different ones count as any");
    let without = desk.hold(&Check::notified(key(), None)).progress;
    assert!(without.notified);
    assert_eq!(without.quick.unwrap().hint, Hint::Any);
}

/// Commits `order.paid` and stops there, as a worker does that is killed before it publishes.
fn commit_paid(desk: &mut Desk) {
    let record = desk.hold(&notified(TX));
    let change = desk.decide(&record, &notified(TX), &success(TX, FEE));
    assert_eq!(desk.commit(record.facts, &change), Committed::Outgoing);
}
