//! The last point: `close_unpaid`, its five minutes, its last query; and a clock that cannot be trusted.

use super::kinds;
use crate::decide::{
    CLOSE_AGAIN_GAP_MIN, CloseSaid, Closing, Decision, Look, STUCK_GAP, UNSTEADY_GAP, decide,
};
use crate::event::EventType;
use crate::observation::{Answer, NotPaid};
use crate::record::{Record, State};
use crate::register::Application;
use crate::samples::*;

const CLOSED: Closing = Closing::Answered(CloseSaid::Closed);

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
    let last = |look: &mut Look<'_>| look.closing = CLOSED;
    for answer in [lags(), not_paid(NotPaid::NotExist), closed()] {
        let change = committed(decides(true, 300, last, &answer));
        assert_eq!((change.state, kinds(&change)), (State::Closed, vec![EventType::Closed]), "{answer:?}");
    }
}

#[test]
fn after_closing_a_payment_still_wins_and_a_transient_answer_still_waits() {
    let last = |look: &mut Look<'_>| look.closing = CLOSED;
    assert_eq!(kinds(&committed(decides(true, 300, last, &success(TX, FEE)))), [EventType::Paid]);
    let waits = committed(decides(true, 300, last, &Answer::Transient("time-out")));
    assert_eq!((waits.state, waits.due.unwrap().at), (State::Pending, at(300) + RETRY));
}

fn said(said: CloseSaid) -> impl Fn(&mut Look<'_>) {
    move |look| look.closing = Closing::Answered(said)
}

#[test]
fn an_order_that_wechat_does_not_know_is_closed_once_no_payer_can_come_up_with_it() {
    let unknown = not_paid(NotPaid::NotExist);
    let waits = committed(decides(true, 300, said(CloseSaid::NotExist), &unknown));
    assert_eq!((waits.state, kinds(&waits)), (State::Closed, vec![EventType::Closed]), "it expired at 60");
    let mut desk = Desk::registered();
    desk.policy.close_unpaid = true;
    desk.policy.cadence = crate::cadence::Cadence::from_gaps([crate::time::Millis::seconds(60)]).unwrap();
    for (age_s, expected) in [(600, None), (7799, None), (7800, Some(State::Closed))] {
        desk.now = at(age_s);
        let record = desk.clone().hold(&manual());
        let check = manual();
        let mut circumstances = look(&check, &desk.policy, desk.now);
        said(CloseSaid::NotExist)(&mut circumstances);
        let change = committed(decide(&record, &unknown, &circumstances));
        match expected {
            None => {
                assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]), "{age_s}");
                assert_eq!((change.due.unwrap().at, change.outcome), (at(7800), "may_be_offered"));
            }
            Some(state) => assert_eq!((change.state, kinds(&change)), (state, vec![EventType::Closed])),
        }
    }
}

#[test]
fn what_wechat_did_not_close_is_not_closed_and_is_closed_again_at_growing_gaps() {
    for answer in [lags(), not_paid(NotPaid::UserPaying), not_paid(NotPaid::Accept)] {
        for told in [CloseSaid::NotExist, CloseSaid::NotClosed] {
            let change = committed(decides(true, 300, said(told), &answer));
            assert_eq!((change.state, kinds(&change)), (State::Pending, vec![]), "{told:?}, {answer:?}");
            // Four minutes after its last point.
            assert_eq!((change.due.unwrap().at, change.outcome), (at(540), "not_closed"));
        }
    }
    let not_yet = not_paid(NotPaid::NotExist);
    let change = committed(decides(true, 300, said(CloseSaid::NotClosed), &not_yet));
    assert_eq!((change.state, change.outcome), (State::Pending, "not_closed"), "WeChat contradicts itself");
    let late = committed(decides(true, 900_000, said(CloseSaid::NotClosed), &lags()));
    assert_eq!(late.due.unwrap().at, at(900_000) + STUCK_GAP);
    assert!(CLOSE_AGAIN_GAP_MIN < STUCK_GAP);
    let paid = committed(decides(true, 300, said(CloseSaid::NotClosed), &success(TX, FEE)));
    assert_eq!(kinds(&paid), [EventType::Paid], "ORDERPAID means paid");
}

#[test]
fn a_clock_that_jumped_denies_nothing_and_closes_nothing() {
    for closing in [Closing::NotTried, CLOSED] {
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
