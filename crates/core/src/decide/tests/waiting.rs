//! When a pending order is looked at again: cadence points, quick looks after a notification, transient answers.

use crate::cadence::WECHAT_GAPS_S;
use crate::check::{Check, Claim};
use crate::decide::STUCK_GAP;
use crate::observation::{Answer, NotPaid, Payment};
use crate::record::{Cause, Hint, State};
use crate::register::Application;
use crate::samples::*;
use crate::time::Millis;

fn lags() -> Answer {
    not_paid(NotPaid::NotPay)
}

/// The seconds after `T0` of the next `count` looks, if every one of them finds the order unpaid.
fn moments(desk: &mut Desk, count: usize) -> Vec<i64> {
    (0..count)
        .map(|_| {
            desk.poll(&lags());
            desk.now.since(T0).0 / 1000
        })
        .collect()
}

#[test]
fn a_registered_order_is_polled_on_every_cadence_point_then_called_unpaid() {
    let mut desk = Desk::registered();
    let points = moments(&mut desk, 15);
    let mut end = 0;
    let expected: Vec<_> = WECHAT_GAPS_S
        .iter()
        .map(|gap| {
            end += gap;
            end
        })
        .collect();
    assert_eq!(points, expected);
    assert_eq!((desk.record().state, desk.record().due), (State::Unpaid, None));
}

#[test]
fn missed_points_are_skipped() {
    let mut desk = Desk::registered();
    desk.now = at(100);
    let change = desk.poll(&lags());
    assert_eq!(change.due.unwrap().at, at(240), "the points at 15, 30 and 60 s are gone");
}

#[test]
fn the_next_point_lies_after_the_due_time_that_the_check_was_made_for() {
    let mut desk = Desk::registered();
    let claim = Claim { number: 0, due_for: at(15), cause: Cause::Cadence };
    desk.now = at(14);
    let change = desk.look(&Check::due(key(), claim), &lags());
    assert_eq!(change.due.unwrap().at, at(30), "not 15 s again, even if our clock is behind");
}

#[test]
fn expires_at_is_the_last_point() {
    let mut desk = Desk::empty();
    desk.register(&Application { expires_at: Some(at(40)), ..application(FEE) });
    assert_eq!(moments(&mut desk, 3), [15, 30, 40]);
    assert_eq!(desk.record().state, State::Unpaid);
}

#[test]
fn an_order_registered_after_all_its_points_gets_one_look_now() {
    let mut desk = Desk::empty();
    desk.register(&Application { created_at: Some(at(-90_000)), ..application(FEE) });
    assert_eq!(moments(&mut desk, 1), [0]);
    assert_eq!((desk.record().state, desk.record().due), (State::Unpaid, None));
}

#[test]
fn the_cadence_counts_from_created_at_and_else_from_the_first_record() {
    let mut given = Desk::empty();
    given.register(&Application { created_at: Some(at(-10)), ..application(FEE) });
    assert_eq!(moments(&mut given, 2), [5, 20]);
    let mut unknown = Desk::empty();
    unknown.wait(100);
    unknown.look(&manual(), &lags());
    assert_eq!(moments(&mut unknown, 2), [115, 130]);
}

#[test]
fn quick_looks_follow_an_unconfirmed_notification_then_the_cadence() {
    let mut desk = Desk::registered();
    desk.now = at(300);
    desk.look(&notified(TX), &lags());
    assert_eq!(moments(&mut desk, 6), [301, 303, 307, 315, 840, 2040]);
}

#[test]
fn quick_looks_neither_shorten_nor_lengthen_the_cadence() {
    let mut desk = Desk::registered();
    desk.now = at(12);
    desk.look(&notified(TX), &lags());
    assert_eq!(moments(&mut desk, 7), [13, 15, 19, 27, 30, 60, 240], "13, 15, 19 and 27 are the quick ones");
    let mut desk = Desk::registered();
    desk.now = at(14);
    desk.look(&notified(TX), &lags());
    assert_eq!(moments(&mut desk, 8), [15, 17, 21, 29, 30, 60, 240, 840]);
    let mut desk = Desk::registered();
    desk.now = at(9);
    desk.look(&notified(TX), &lags());
    assert_eq!(
        moments(&mut desk, 6),
        [10, 12, 15, 16, 24, 30],
        "15 is a cadence point between two quick looks"
    );
}

#[test]
fn a_point_that_comes_before_a_quick_look_must_not_wait_behind_other_polls() {
    let mut desk = Desk::registered();
    desk.now = at(9);
    desk.look(&notified(TX), &lags());
    moments(&mut desk, 2);
    let due = desk.record().due.unwrap();
    assert_eq!((desk.now, due.at), (at(12), at(15)));
    assert!(due.cause.is_urgent(), "or the quick look at 16 s would wait for a backlog of polls");
}

#[test]
fn quick_looks_are_urgent_and_the_cadence_is_not() {
    let mut desk = Desk::registered();
    desk.now = at(300);
    assert_eq!(desk.look(&notified(TX), &lags()).due.unwrap().cause, Cause::Notified);
    moments(&mut desk, 4);
    assert_eq!(desk.record().due.unwrap().cause, Cause::Cadence);
}

#[test]
fn quick_looks_start_again_with_a_new_notification() {
    let mut desk = Desk::registered();
    desk.now = at(300);
    desk.look(&notified(TX), &lags());
    moments(&mut desk, 3);
    desk.now = at(308);
    desk.look(&notified(TX), &lags());
    assert_eq!(moments(&mut desk, 5), [309, 311, 315, 323, 840]);
}

#[test]
fn an_early_look_does_not_use_up_a_quick_one() {
    let mut desk = Desk::registered();
    desk.now = at(300);
    desk.look(&notified(TX), &lags());
    moments(&mut desk, 2);
    desk.now = at(305);
    desk.look(&manual(), &lags());
    assert_eq!(moments(&mut desk, 3), [307, 315, 840]);
}

#[test]
fn quick_looks_stop_when_the_query_confirms_the_notification() {
    let mut desk = Desk::registered();
    desk.look(&notified(TX), &lags());
    desk.poll(&success(TX, FEE));
    assert_eq!((desk.record().due, desk.record().progress.quick.clone()), (None, None));
}

#[test]
fn quick_looks_go_on_for_a_transaction_that_the_query_does_not_show() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.look(&notified(OTHER_TX), &success(TX, FEE));
    for _ in 0..4 {
        assert!(desk.record().due.is_some());
        desk.poll(&success(TX, FEE));
    }
    assert_eq!((desk.now, desk.record().due), (at(85), None));
}

#[test]
fn quick_looks_follow_a_notification_of_a_denied_order_too() {
    for state in [State::Unpaid, State::Closed, State::Failed] {
        let mut desk = Desk::in_state(state, true);
        desk.look(&notified(TX), &closed());
        assert_eq!(moments(&mut desk, 4), [71, 73, 77, 85]);
        assert_eq!((desk.record().state, desk.record().due), (state, None));
    }
}

#[test]
fn quick_looks_end_with_an_answer_that_only_a_person_can_mend() {
    let mut desk = Desk::registered();
    let change = desk.look(&notified(TX), &refused());
    assert_eq!((change.due.unwrap().at, change.progress.quick), (at(15), None));
    let mut closed_order = Desk::in_state(State::Closed, true);
    assert_eq!(closed_order.look(&notified(TX), &refused()).due.unwrap().at, at(70) + STUCK_GAP);
}

#[test]
fn quick_looks_go_on_through_answers_that_decide_nothing() {
    let bare = Payment { refunded: true, transaction_id: None, ..payment(TX, FEE) };
    for undecided in [unknown(), answer(bare)] {
        let mut pending = Desk::registered();
        pending.now = at(300);
        pending.look(&notified(TX), &undecided);
        for moment in [301, 303, 307, 315, 840] {
            pending.poll(&undecided);
            assert_eq!(pending.now, at(moment), "{undecided:?}");
        }
        let mut paid = Desk::in_state(State::Paid, true);
        paid.look(&notified(OTHER_TX), &undecided);
        for moment in [71, 73, 77, 85] {
            paid.poll(&undecided);
            assert_eq!(paid.now, at(moment), "{undecided:?}");
        }
        assert_eq!(paid.record().due, None);
    }
}

#[test]
fn a_hint_is_answered_by_its_own_transaction_and_any_by_every_one() {
    let (one, other) = (tx(TX), tx(OTHER_TX));
    assert!(Hint::One(one.clone()).is_answered_by(Some(&one)));
    assert!(!Hint::One(one.clone()).is_answered_by(Some(&other)));
    assert!(!Hint::One(one.clone()).is_answered_by(None));
    assert!(Hint::Any.is_answered_by(Some(&one)));
    assert!(!Hint::Any.is_answered_by(None));
    assert_eq!(Hint::of(None), Hint::Any);
}

#[test]
fn a_transient_answer_is_never_a_cadence_step_nor_a_quick_look() {
    let mut desk = Desk::registered();
    desk.now = at(300);
    desk.look(&notified(TX), &Answer::Transient("time-out"));
    let due = desk.record().due.unwrap();
    assert_eq!((due.at, due.cause), (at(300) + RETRY, Cause::Notified), "its retries stay urgent");
    desk.poll(&lags());
    assert_eq!(
        desk.record().due.unwrap().at,
        at(301) + RETRY,
        "the first quick gap, counted from the first answer"
    );
}

#[test]
fn transient_answers_count_in_a_row() {
    let mut desk = Desk::registered();
    for attempts in 1..=3 {
        let change = desk.poll(&Answer::Transient("time-out"));
        assert_eq!(change.progress.attempts, attempts);
        assert_eq!(
            change.due.unwrap().cause,
            Cause::Cadence,
            "the retry of a poll is no more urgent than the poll"
        );
    }
    for answer in [lags(), success(TX, FEE), refused(), unknown(), closed()] {
        assert_eq!(desk.clone().poll(&answer).progress.attempts, 0, "{answer:?}");
    }
}

#[test]
fn a_retry_after_the_last_point_still_ends_the_waiting() {
    let mut desk = Desk::registered();
    desk.now = at(86_640);
    desk.poll(&Answer::Transient("time-out"));
    desk.poll(&lags());
    assert_eq!((desk.now, desk.record().state), (at(86_640) + RETRY, State::Unpaid));
}

#[test]
fn a_manual_look_leaves_the_cadence_where_it_was() {
    let mut desk = Desk::registered();
    moments(&mut desk, 2);
    desk.now = at(50);
    assert_eq!(desk.look(&manual(), &lags()).due.unwrap().at, at(60));
    assert_eq!(moments(&mut desk, 2), [60, 240]);
    assert_eq!(desk.record().progress.looked_at, Some(at(240)));
    assert_eq!(desk.record().updated_at.since(T0), Millis::seconds(240));
}
