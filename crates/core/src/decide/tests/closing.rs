//! The last point: `close_unpaid`, its five minutes, its last query; and a clock that cannot be trusted.

use super::kinds;
use crate::decide::{Closing, Decision, Look, UNSTEADY_GAP, decide};
use crate::event::EventType;
use crate::observation::{Answer, NotPaid};
use crate::record::{Record, State};
use crate::register::Application;
use crate::samples::*;

fn lags() -> Answer {
    not_paid(NotPaid::NotPay)
}

/// Decides at `age_s` about an order that expires 60 s after its creation, for a merchant that closes.
fn decides(is_registered: bool, age_s: i64, adjust: impl FnOnce(&mut Look<'_>), answer: &Answer) -> Decision {
    let mut desk = Desk::empty();
    if is_registered {
        desk.register(&Application { expires_at: Some(at(60)), ..application(FEE) });
    } else {
        desk.look(&manual(), &lags());
    }
    desk.policy.close_unpaid = true;
    desk.now = at(age_s);
    let record: Record = desk.hold(&manual());
    let check = manual();
    let mut circumstances = look(&check, &desk.policy, desk.now);
    adjust(&mut circumstances);
    decide(&record, answer, &circumstances)
}

fn committed(decision: Decision) -> crate::decide::Change {
    match decision {
        Decision::Commit(change) => *change,
        first => panic!("nothing had to come first: {first:?}"),
    }
}

#[test]
fn close_unpaid_closes_first_at_the_last_point() {
    assert_eq!(decides(true, 300, |_| {}, &lags()), Decision::CloseFirst);
}

#[test]
fn close_unpaid_never_closes_before_the_order_is_five_minutes_old() {
    for age_s in [60, 299] {
        let change = committed(decides(true, age_s, |_| {}, &lags()));
        assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]));
        assert_eq!(change.due.unwrap().at, at(300));
    }
}

#[test]
fn close_unpaid_waits_for_the_last_point() {
    let change = committed(decides(true, 59, |_| {}, &lags()));
    assert_eq!((change.state, change.due.unwrap().at), (State::Pending, at(60)));
}

#[test]
fn close_unpaid_is_for_registered_orders_only() {
    let change = committed(decides(false, 86_640, |_| {}, &lags()));
    assert_eq!((change.state, kinds(&change)), (State::Unpaid, vec![EventType::Unpaid]));
}

#[test]
fn after_closing_the_last_query_tells_only_closed() {
    let last = |look: &mut Look<'_>| look.closing = Closing::Answered;
    for answer in [lags(), not_paid(NotPaid::NotExist), closed()] {
        let change = committed(decides(true, 300, last, &answer));
        assert_eq!((change.state, kinds(&change)), (State::Closed, vec![EventType::Closed]), "{answer:?}");
    }
}

#[test]
fn after_closing_a_payment_still_wins_and_a_transient_answer_still_waits() {
    let last = |look: &mut Look<'_>| look.closing = Closing::Answered;
    assert_eq!(kinds(&committed(decides(true, 300, last, &success(TX, FEE)))), [EventType::Paid]);
    let waits = committed(decides(true, 300, last, &Answer::Transient("time-out")));
    assert_eq!((waits.state, waits.due.unwrap().at), (State::Pending, at(300) + RETRY));
}

#[test]
fn a_clock_that_jumped_denies_nothing_and_closes_nothing() {
    for closing in [Closing::NotTried, Closing::Answered] {
        for is_registered in [true, false] {
            let unsteady = |look: &mut Look<'_>| {
                look.is_clock_steady = false;
                look.closing = closing;
            };
            let change = committed(decides(is_registered, 900_000, unsteady, &lags()));
            assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]));
            assert_eq!(change.due.unwrap().at, at(900_000) + UNSTEADY_GAP);
        }
    }
}

#[test]
fn a_clock_that_jumped_stops_neither_a_payment_nor_what_wechat_itself_denies() {
    let unsteady = |look: &mut Look<'_>| look.is_clock_steady = false;
    for (answer, kind) in
        [(success(TX, FEE), EventType::Paid), (closed(), EventType::Closed), (failed(), EventType::Failed)]
    {
        assert_eq!(kinds(&committed(decides(true, 900_000, unsteady, &answer))), [kind]);
    }
}
