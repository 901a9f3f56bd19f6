//! Payments of orders that nobody registered: emit, hold, ignore; too old ones; when an order is forgotten.

use super::kinds;
use crate::event::{EventType, Mismatch};
use crate::memory::{Kept, Memory};
use crate::observation::{NotPaid, Payment};
use crate::policy::{HOLD, Unregistered};
use crate::record::{Cause, Due, State};
use crate::register::Registered;
use crate::samples::*;
use crate::time::Millis;

fn desk(unregistered: Unregistered) -> Desk {
    let mut desk = Desk::empty();
    desk.policy.unregistered = unregistered;
    desk
}

#[test]
fn emit_tells_the_payment_as_unregistered() {
    let change = desk(Unregistered::Emit).look(&notified(TX), &success(TX, FEE));
    assert_eq!(kinds(&change), [EventType::Paid]);
    assert!(!change.events[0].order().unwrap().registered);
}

#[test]
fn hold_waits_sixty_seconds_then_tells_a_mismatch() {
    let mut desk = desk(Unregistered::Hold);
    let held = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!((held.state, kinds(&held), held.outcome), (State::Pending, vec![], "held"));
    assert_eq!(held.due, Some(Due { at: T0 + HOLD, cause: Cause::Notified }), "urgent");
    desk.wait(59);
    assert_eq!(
        desk.look(&manual(), &success(TX, FEE)).due.unwrap().at,
        at(60),
        "a look between moves nothing"
    );
    let told = desk.poll(&success(TX, FEE));
    assert_eq!((desk.now, told.state, kinds(&told)), (at(60), State::Mismatch, vec![EventType::Mismatch]));
    let disagreement = told.events[0].order().unwrap().disagreement.clone().unwrap();
    assert_eq!((disagreement.mismatch, disagreement.registered_fee), (Mismatch::Unregistered, None));
    assert_eq!(desk.record().progress.held_until, None);
}

#[test]
fn hold_ends_with_the_registration() {
    for (fee, kind) in [(FEE, EventType::Paid), (WRONG, EventType::Mismatch)] {
        let mut desk = desk(Unregistered::Hold);
        desk.look(&notified(TX), &success(TX, FEE));
        desk.wait(5);
        assert_eq!(desk.register(&application(fee)), Registered::Added);
        let change = desk.poll(&success(TX, FEE));
        assert_eq!((desk.now, kinds(&change)), (at(5), vec![kind]), "at once");
        assert!(change.events[0].order().unwrap().registered);
        assert_eq!(change.due, None);
    }
}

#[test]
fn hold_survives_a_transient_answer() {
    let mut desk = desk(Unregistered::Hold);
    desk.look(&notified(TX), &success(TX, FEE));
    desk.wait(30);
    desk.look(&manual(), &crate::Answer::Transient("time-out"));
    desk.now = at(61);
    assert_eq!(
        kinds(&desk.poll(&success(TX, FEE))),
        [EventType::Mismatch],
        "the hold began at the first look"
    );
}

#[test]
fn hold_does_not_stop_the_quick_looks_for_another_transaction() {
    let mut desk = desk(Unregistered::Hold);
    let held = desk.look(&notified(OTHER_TX), &success(TX, FEE));
    assert_eq!((held.outcome, held.due.unwrap().at), ("held", at(1)));
    for moment in [1, 3, 7, 15, 60] {
        desk.poll(&success(TX, FEE));
        assert_eq!(desk.now, at(moment));
    }
    assert_eq!(desk.record().state, State::Mismatch);
}

#[test]
fn ignore_forgets_the_order() {
    let mut desk = desk(Unregistered::Ignore);
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!((kinds(&change), change.forget), (vec![], true));
    assert_eq!(desk.stored, None);
}

#[test]
fn ignore_ends_with_the_registration() {
    let mut desk = desk(Unregistered::Ignore);
    desk.look(&notified(TX), &success(TX, FEE));
    desk.register(&application(FEE));
    assert_eq!(kinds(&desk.poll(&success(TX, FEE))), [EventType::Paid]);
}

#[test]
fn ignore_does_not_forget_what_it_has_already_told() {
    let mut desk = Desk::in_state(State::Closed, false);
    desk.policy.unregistered = Unregistered::Ignore;
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!((kinds(&change), change.due), (vec![], None));
    let record = desk.record();
    assert_eq!(
        (record.state, record.version),
        (State::Closed, 1),
        "or order.closed could come again as version 1"
    );
}

#[test]
fn a_payment_older_than_the_retention_tells_nothing() {
    for (refunded, state) in [(false, State::Paid), (true, State::Refunded)] {
        let mut desk = desk(Unregistered::Emit);
        let retention = desk.policy.retention;
        let paid_at = |millis| {
            answer(Payment { refunded, paid_at: Some(T0 - retention - Millis(millis)), ..payment(TX, FEE) })
        };
        let just_kept = desk.clone().look(&notified(TX), &paid_at(0));
        assert!(kinds(&just_kept).contains(&EventType::Paid));
        let change = desk.look(&notified(TX), &paid_at(1));
        assert_eq!((change.state, kinds(&change), change.due), (state, vec![], None));
        assert_eq!(desk.record().transaction_id(), Some(&tx(TX)), "a manual check shows the answer");
        desk.wait(2);
        assert_eq!(kinds(&desk.look(&manual(), &paid_at(1))), [], "nor later");
    }
}

#[test]
fn age_does_not_matter_with_a_registration_or_an_earlier_record() {
    let old = answer(Payment { paid_at: Some(T0 - Millis::seconds(36 * 86_400)), ..payment(TX, FEE) });
    assert_eq!(kinds(&Desk::registered().look(&notified(TX), &old)), [EventType::Paid]);
    let mut known = desk(Unregistered::Emit);
    known.look(&manual(), &not_paid(NotPaid::NotPay));
    known.now = T0 + known.policy.retention + known.policy.retention;
    assert_eq!(kinds(&known.poll(&success(TX, FEE))), [EventType::Paid], "we waited for this one");
}

/// A ledger that began at [`T0`], in the place of one that was lost.
fn emptied(unregistered: Unregistered) -> Desk {
    let mut desk = desk(unregistered);
    desk.memory = Memory { began: Some(T0), kept: None };
    desk
}

#[test]
fn a_payment_of_before_the_ledger_is_neither_told_nor_kept() {
    for unregistered in [Unregistered::Emit, Unregistered::Hold, Unregistered::Ignore] {
        let paid = |millis, refunded| {
            answer(Payment { refunded, paid_at: Some(T0 - Millis(millis)), ..payment(TX, FEE) })
        };
        for refunded in [false, true] {
            let mut desk = emptied(unregistered);
            let change = desk.look(&manual(), &paid(1_000, refunded));
            assert_eq!(
                (kinds(&change), change.outcome),
                (vec![], "before_ledger"),
                "it may have been disputed"
            );
            assert_eq!(desk.stored, None, "so that a notification or a registration is judged as ever");
        }
        let unknown = answer(Payment { paid_at: None, ..payment(TX, FEE) });
        assert_eq!(emptied(unregistered).look(&manual(), &unknown).outcome, "before_ledger");
    }
    let since = answer(Payment { paid_at: Some(T0 - Millis(999)), ..payment(TX, FEE) });
    let told = emptied(Unregistered::Emit).look(&manual(), &since);
    assert_eq!(kinds(&told), [EventType::Paid], "WeChat tells whole seconds: it may have been made since");
}

#[test]
fn a_registration_in_the_new_ledger_has_the_payment_judged() {
    let before = answer(Payment { paid_at: Some(T0 - Millis(1_000)), ..payment(TX, FEE) });
    for (fee, kind) in [(FEE, EventType::Paid), (WRONG, EventType::Mismatch)] {
        let mut desk = emptied(Unregistered::Emit);
        desk.look(&manual(), &before);
        assert_eq!(desk.register(&application(fee)), Registered::Added);
        assert_eq!(kinds(&desk.look(&manual(), &before)), [kind]);
    }
}

#[test]
fn what_went_before_the_retention_was_raised_tells_nothing() {
    let mut raised = desk(Unregistered::Emit);
    raised.policy.retention = Millis(2 * raised.policy.retention.0);
    let since = T0 - Millis::seconds(34 * 86_400);
    raised.memory = Memory { began: None, kept: Some(Kept { since, changed_at: T0 }) };
    let paid = |at| answer(Payment { paid_at: Some(at), ..payment(TX, FEE) });
    let told = raised.clone().look(&manual(), &paid(since));
    assert_eq!(kinds(&told), [EventType::Paid]);
    let change = raised.clone().look(&manual(), &paid(since - Millis(1)));
    assert_eq!((kinds(&change), change.outcome), (vec![], "old_payment"));
    // Met before the raise: had it been told, this would say so.
    raised.look(&manual(), &not_paid(NotPaid::NotPay));
    raised.memory.kept = Some(Kept { since, changed_at: T0 + Millis(1) });
    assert_eq!(kinds(&raised.poll(&paid(since - Millis(1)))), [EventType::Paid]);
}

#[test]
fn an_order_that_wechat_does_not_know_is_forgotten_at_once_without_a_notification() {
    let mut desk = desk(Unregistered::Emit);
    let change = desk.look(&manual(), &not_paid(NotPaid::NotExist));
    assert!(change.forget);
    assert_eq!(desk.stored, None);
}

#[test]
fn with_a_notification_it_is_forgotten_after_the_quick_looks() {
    let mut desk = desk(Unregistered::Emit);
    assert!(!desk.look(&notified(TX), &not_paid(NotPaid::NotExist)).forget);
    for (look, moment) in [1, 3, 7, 15].into_iter().enumerate() {
        let change = desk.poll(&not_paid(NotPaid::NotExist));
        assert_eq!(desk.now, at(moment));
        assert_eq!(change.forget, look == 3, "look {look}");
    }
    assert_eq!(desk.stored, None);
}

#[test]
fn a_registered_or_existing_order_is_never_forgotten() {
    assert!(!Desk::registered().look(&manual(), &not_paid(NotPaid::NotExist)).forget);
    assert!(!desk(Unregistered::Emit).look(&manual(), &not_paid(NotPaid::NotPay)).forget);
    for state in State::ALL.into_iter().filter(|state| *state != State::Pending) {
        assert!(
            !Desk::in_state(state, false).look(&manual(), &not_paid(NotPaid::NotExist)).forget,
            "{state:?}"
        );
    }
}
