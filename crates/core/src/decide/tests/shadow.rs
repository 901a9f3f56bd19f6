//! Shadow mode: what is withheld, what is owed all the same, and what becomes of both when the mode changes.

use super::kinds;
use crate::check::Check;
use crate::decide::Change;
use crate::event::{EventType, event_id};
use crate::lease::{Committed, Taken};
use crate::observation::{Answer, NotPaid};
use crate::record::State;
use crate::samples::*;
use crate::shadow::{Mode, Telling, withheld_id};
use crate::verdict::{Judged, Ruling};

fn copied() -> Check {
    notified(TX).with_telling(Telling::Copied)
}

fn release() -> Check {
    manual().with_telling(Telling::Release)
}

fn in_shadow() -> Desk {
    let mut desk = Desk::registered();
    desk.policy.mode = Mode::Shadow;
    desk
}

/// Paid in shadow, the old handler having answered WeChat; live since.
fn taken_over() -> Desk {
    let mut desk = in_shadow();
    desk.look(&copied(), &success(TX, FEE));
    desk.policy.mode = Mode::Live;
    desk.wait(5);
    desk
}

/// What a change tells outside.
fn told(change: &Change) -> Vec<EventType> {
    change.events.iter().filter(|event| !event.is_shadow()).map(|event| event.kind).collect()
}

#[test]
fn in_shadow_a_payment_is_decided_and_withheld_under_an_id_of_its_own() {
    let mut desk = in_shadow();
    let change = desk.look(&copied(), &success(TX, FEE));
    assert_eq!((change.state, kinds(&change), told(&change)), (State::Paid, vec![EventType::Paid], vec![]));
    assert_eq!(change.events[0].id, withheld_id(&key(), EventType::Paid, TX));
    assert_ne!(change.events[0].id, event_id(&key(), EventType::Paid, TX));
    assert_eq!(desk.take(&copied()), Taken::Duplicate, "I6 holds in shadow too");
}

#[test]
fn in_shadow_denials_and_disagreements_are_withheld_too() {
    for (answer, kind) in [(closed(), EventType::Closed), (success(TX, WRONG), EventType::Mismatch)] {
        let change = in_shadow().look(&manual(), &answer);
        assert_eq!((kinds(&change), told(&change)), (vec![kind], vec![]));
    }
}

#[test]
fn in_shadow_nothing_is_closed_at_wechat() {
    let mut desk = in_shadow();
    desk.policy.close_unpaid = true;
    desk.now = at(86_640);
    // `look` panics if the decision is to close first.
    assert_eq!(desk.look(&manual(), &not_paid(NotPaid::NotPay)).state, State::Unpaid);
}

#[test]
fn taking_over_tells_nothing_of_the_shadow_period_again() {
    let mut desk = taken_over();
    assert_eq!(desk.take(&copied()), Taken::Duplicate);
    assert_eq!(kinds(&desk.look(&manual(), &success(TX, FEE))), []);
}

#[test]
fn taking_over_tells_what_is_decided_from_then_on() {
    let mut desk = in_shadow();
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    desk.policy.mode = Mode::Live;
    desk.wait(5);
    let change = desk.look(&manual(), &success(TX, FEE));
    assert_eq!(told(&change), [EventType::Paid]);
    assert_eq!(change.events[0].id, event_id(&key(), EventType::Paid, TX));
}

#[test]
fn a_refund_after_taking_over_is_told_although_the_payment_was_not() {
    assert_eq!(told(&taken_over().look(&manual(), &refund(TX, FEE))), [EventType::Refunded]);
}

#[test]
fn a_mismatch_withheld_in_shadow_and_accepted_when_live_is_told_as_paid() {
    let mut desk = in_shadow();
    desk.look(&copied(), &success(TX, WRONG));
    desk.policy.mode = Mode::Live;
    assert_eq!(desk.judge(&judgement(Ruling::Accept)), Judged::Stored);
    desk.wait(5);
    assert_eq!(told(&desk.look(&manual(), &success(TX, WRONG))), [EventType::Paid]);
}

#[test]
fn a_second_payment_withheld_in_shadow_is_not_told_by_a_later_look() {
    let mut desk = in_shadow();
    desk.look(&copied(), &success(TX, FEE));
    desk.wait(5);
    assert_eq!(kinds(&desk.look(&manual(), &success(OTHER_TX, FEE))), [EventType::Mismatch]);
    desk.policy.mode = Mode::Live;
    desk.wait(5);
    assert_eq!(kinds(&desk.look(&manual(), &success(OTHER_TX, FEE))), []);
}

#[test]
fn wechat_coming_again_after_the_take_over_means_that_nobody_had_answered_it() {
    let mut desk = taken_over();
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!((told(&change), change.outcome), (vec![EventType::Paid], "released"));
    let event = &change.events[0];
    assert_eq!((event.id, event.order().unwrap().version), (event_id(&key(), EventType::Paid, TX), 2));
    assert_eq!(desk.take(&notified(TX)), Taken::Duplicate, "once");
}

#[test]
fn a_notification_answered_while_live_is_told_even_if_the_mode_is_shadow_by_then() {
    let mut desk = in_shadow();
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!(told(&change), [EventType::Paid]);
    // Replication lag: only a later look, made from a due time, finds the payment.
    let mut desk = in_shadow();
    desk.look(&notified(TX), &not_paid(NotPaid::NotPay));
    assert_eq!(told(&desk.poll(&success(TX, FEE))), [EventType::Paid]);
}

#[test]
fn a_notification_answered_during_a_look_in_shadow_makes_another_look_that_tells() {
    let mut desk = in_shadow();
    let record = desk.hold(&copied());
    let change = desk.decide(&record, &copied(), &success(TX, FEE));
    assert_eq!(desk.take(&notified(TX)), Taken::Busy);
    assert_eq!(desk.commit(record.facts, &change), Committed::Outgoing);
    desk.clear();
    assert_eq!(told(&desk.poll(&success(TX, FEE))), [EventType::Paid]);
}

#[test]
fn a_person_releases_what_was_withheld_in_either_mode_even_right_after_a_look() {
    for mode in [Mode::Live, Mode::Shadow] {
        let mut desk = in_shadow();
        desk.look(&copied(), &refund(TX, FEE));
        desk.policy.mode = mode;
        assert_eq!(desk.take(&manual()), Taken::Fresh);
        let change = desk.look(&release(), &refund(TX, FEE));
        assert_eq!(told(&change), [EventType::Paid, EventType::Refunded]);
        desk.wait(2);
        assert_eq!(kinds(&desk.look(&release(), &refund(TX, FEE))), []);
    }
}

#[test]
fn what_was_registered_differently_since_is_not_released_as_paid() {
    let mut desk = Desk::empty();
    desk.policy.mode = Mode::Shadow;
    desk.look(&copied(), &success(TX, FEE));
    desk.policy.mode = Mode::Live;
    desk.register(&application(WRONG));
    desk.wait(5);
    let change = desk.look(&release(), &success(TX, FEE));
    assert_eq!(told(&change), [EventType::Mismatch], "I3 holds for what is released, too");
    desk.wait(5);
    assert_eq!(desk.take(&notified(TX)), Taken::Duplicate);
}

#[test]
fn a_mismatch_that_a_person_settled_since_is_not_released() {
    let mut desk = in_shadow();
    desk.look(&copied(), &success(TX, WRONG));
    desk.judge(&judgement(Ruling::Accept));
    desk.wait(5);
    desk.poll(&success(TX, WRONG));
    desk.policy.mode = Mode::Live;
    desk.wait(5);
    assert_eq!(told(&desk.look(&notified(TX), &success(TX, WRONG))), [EventType::Paid]);
}

#[test]
fn an_owed_telling_outlives_answers_that_do_not_allow_it() {
    for answer in [refused(), not_paid(NotPaid::NotPay), unknown(), closed(), Answer::Transient("time-out")] {
        let mut desk = taken_over();
        desk.look(&notified(TX), &answer);
        for _ in 0..6 {
            assert_eq!(kinds(&desk.poll(&answer)), [], "{answer:?}");
        }
        assert_eq!(told(&desk.poll(&success(TX, FEE))), [EventType::Paid], "{answer:?}");
        assert_eq!(desk.record().due, None, "{answer:?}");
    }
}
