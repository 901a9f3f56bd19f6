//! Orders that are known by their refunds only, and what becomes of a refund that is not.

use super::tests::denied;
use super::*;
use crate::dead::DeadLetter;
use crate::event::EventType;
use crate::lease::{Committed, Taken};
use crate::observation::NotPaid;
use crate::record::{Cause, Due, Hint, State};
use crate::samples::*;
use crate::time::Millis;

/// The order is known by nothing but the notification of a refund that WeChat confirms.
fn ghost(status: RefundStatus) -> Desk {
    let mut desk = Desk::empty();
    desk.look_at_refund(&refund_notified("R1"), &refund_is(status));
    desk
}

#[test]
fn an_order_known_by_a_refund_only_tells_that_refund_and_nothing_of_a_payment() {
    for (status, state, told) in [
        (RefundStatus::Processing, State::Pending, None),
        (RefundStatus::Success, State::Refunded, Some(EventType::RefundSucceeded)),
        (RefundStatus::Abnormal, State::Pending, Some(EventType::RefundAbnormal)),
        (RefundStatus::Closed, State::Paid, Some(EventType::RefundClosed)),
    ] {
        let mut desk = ghost(status);
        assert_eq!(desk.record().state, state);
        assert!(desk.record().progress.refund_only && !desk.record().progress.notified);
        assert_eq!(desk.published.iter().map(|event| event.kind).collect::<Vec<_>>(), Vec::from_iter(told));
        assert!(desk.record().keeps_its_due_time());
        for _ in 0..5 {
            if desk.record().due.is_some() {
                let record = desk.record().clone();
                desk.now = record.due.unwrap().at;
                let check = desk.claim().unwrap();
                assert!(
                    desk.hold(&check).refund_in_hand().is_some(),
                    "the order itself is never asked about"
                );
                desk.put_off(desk.now);
            }
        }
        // Even if it were asked about, nothing would be told.
        let change = desk.decide(desk.record(), &manual(), &success(TX, FEE));
        assert!(change.events.is_empty() && change.payment.is_none());
    }
}

#[test]
fn the_payment_of_such_an_order_is_told_as_soon_as_it_is_met_by_itself() {
    for status in [RefundStatus::Processing, RefundStatus::Success, RefundStatus::Closed] {
        for check in [notified(TX), manual(), billed(TX)] {
            let mut desk = ghost(status.clone());
            desk.wait(30);
            let change = desk.look(&check, &refund(TX, FEE));
            let kinds: Vec<EventType> = change.events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [EventType::Paid, EventType::Refunded], "{:?}", check.reason);
            assert_eq!(desk.record().state, State::Refunded);
            assert!(!desk.record().progress.refund_only);
        }
        let mut desk = ghost(status);
        desk.wait(30);
        desk.register(&application(FEE));
        assert_eq!((desk.record().state, desk.record().created_at), (State::Pending, desk.now));
        let change = desk.poll(&success(TX, FEE));
        assert_eq!(change.events[0].kind, EventType::Paid);
    }
}

#[test]
fn a_dead_letter_of_such_an_order_s_refund_is_replayed_without_its_payment() {
    let mut desk = ghost(RefundStatus::Processing);
    let stuck = RefundAnswer::Stuck { reason: DeadReason::UnknownMerchant, detail: "gone".into() };
    let letter = desk.poll_refund(&stuck).dead.unwrap();
    assert_eq!(letter.refund, Some(number("R1")));
    desk.wait(1);
    let change = desk.look_at_refund(&letter.check().unwrap(), &refund_is(RefundStatus::Success));
    assert_eq!(change.events[0].kind, EventType::RefundSucceeded);
    assert!(desk.record().progress.refund_only, "nobody told us of the payment itself");
    assert_eq!((desk.record().state, desk.record().due), (State::Refunded, None));
    assert_eq!(desk.take(&letter.check().unwrap()), Taken::Duplicate);
}

#[test]
fn a_look_at_the_order_answers_no_replay_of_its_refund_s_letter() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_taken());
    let letter = DeadLetter::about(&key(), DeadReason::RefundStuck, "", desk.now).of_refund(&number("R1"));
    desk.wait(30);
    desk.look(&manual(), &success(TX, FEE));
    let record = desk.hold(&letter.check().unwrap());
    assert!(record.refund_in_hand().is_some());
}

#[test]
fn poison_of_such_an_order_is_replayed_without_its_payment() {
    let mut desk = ghost(RefundStatus::Processing);
    let mut letter = None;
    for _ in 0..12 {
        desk.now = desk.record().due.unwrap().at;
        let check = desk.claim().unwrap();
        desk.hold(&check);
        letter = letter.or(desk.dead.pop());
    }
    assert_eq!(letter.unwrap().refund, Some(number("R1")));
}

#[test]
fn a_refund_from_before_anything_we_remember_is_told_only_to_whom_asked_for_it() {
    let succeeded = |at: crate::Timestamp| {
        let facts = RefundFacts { succeeded_at: Some(at), ..refund_facts(500) };
        RefundAnswer::Observed(RefundStatus::Success, Box::new(facts))
    };
    let remembered = Desk::empty().now + Millis(-policy().retention.0);
    for (at, count) in [(remembered + Millis(-1), 0), (remembered, 1)] {
        let mut replayed = Desk::empty();
        let change = replayed.look_at_refund(&refund_notified("R1"), &succeeded(at));
        assert_eq!(change.events.len(), count);
        assert_eq!((replayed.record().state, replayed.record().due), (State::Refunded, None));
        let mut asked = Desk::empty();
        let whole = RefundApplication { total_fee: Some(fen(FEE)), ..wants("R1", 500) };
        asked.ask_refund(&whole);
        assert_eq!(asked.poll_refund(&succeeded(at)).events.len(), 1);
    }
}

#[test]
fn money_that_goes_back_of_a_denied_order_has_its_payment_looked_at() {
    for state in [State::Unpaid, State::Closed, State::Failed] {
        let mut desk = Desk::in_state(state, true);
        desk.look_at_refund(&refund_notified("R1"), &refund_is(RefundStatus::Success));
        assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }), "{state:?}");
        let change = desk.poll(&refund(TX, FEE));
        let kinds: Vec<EventType> = change.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventType::Paid, EventType::Refunded], "{state:?}");
    }
}

#[test]
fn a_payment_notification_during_a_refund_s_look_is_not_lost_with_it() {
    let mut desk = Desk::empty();
    let check = refund_notified("R1");
    let record = desk.hold(&check);
    assert_eq!(desk.take(&notified(TX)), Taken::Busy);
    let change = desk.decide_refund(&record, &check, &refund_is(RefundStatus::Success));
    let Committed::Changed(changed) = desk.commit(record.facts, &change) else { panic!("the order was met") };
    let change = desk.decide_refund(&changed, &check, &refund_is(RefundStatus::Success));
    assert_eq!(desk.commit(changed.facts, &change), Committed::Outgoing);
    desk.clear();
    assert_eq!((desk.record().state, desk.record().due.unwrap().at), (State::Pending, desk.now));
    let told = desk.poll(&success(TX, FEE));
    assert_eq!(told.events[0].kind, EventType::Paid);
    assert_eq!(desk.record().progress.quick.as_ref().map(|quick| &quick.hint), None::<&Hint>);
}

#[test]
fn a_refund_that_is_not_leaves_nothing_of_an_order_that_is_not() {
    let mut desk = Desk::empty();
    desk.look_at_refund(&refund_notified("R1"), &RefundAnswer::NotExist);
    for _ in 0..4 {
        desk.poll_refund(&RefundAnswer::NotExist);
    }
    assert_eq!(desk.stored, None);
}

#[test]
fn a_notification_that_comes_while_its_refund_is_being_forgotten_is_not_forgotten_with_it() {
    let other = match refund_refused() {
        RefundAnswer::Refused(refusal) => RefundAnswer::OtherOrder(refusal),
        other => other,
    };
    for (looks, answer) in [(4, RefundAnswer::NotExist), (1, other)] {
        let mut desk = Desk::empty();
        desk.look_at_refund(&refund_notified("R1"), &RefundAnswer::NotExist);
        for _ in 1..looks {
            desk.poll_refund(&RefundAnswer::NotExist);
        }
        desk.now = desk.record().due.unwrap().at;
        let check = desk.claim().unwrap();
        let record = desk.hold(&check);
        // WeChat was asked, and this notification is answered SUCCESS.
        assert_eq!(desk.take(&refund_notified("R1")), Taken::Busy);
        let change = desk.decide_refund(&record, &check, &answer);
        assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
        let refund = desk.refund("R1");
        assert_eq!((refund.hints, refund.unseen, refund.next_at), (1, 0, Some(desk.now)));
        assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
        let told = desk.poll_refund(&refund_is(RefundStatus::Success));
        assert_eq!(told.events[0].kind, EventType::RefundSucceeded);
    }
}

#[test]
fn an_order_that_is_not_keeps_the_refunds_that_are() {
    let mut desk = ghost(RefundStatus::Processing);
    desk.wait(5);
    desk.look(&manual(), &not_paid(NotPaid::NotExist));
    assert!(desk.record().progress.refund_only, "it is known by its refund again");
    assert_eq!(desk.refund("R1").state, RefundState::Processing);
    assert!(desk.record().keeps_its_due_time());
}

#[test]
fn a_refund_of_an_order_nobody_here_knows_needs_its_whole_amount() {
    let mut desk = Desk::empty();
    assert_eq!(denied(&desk.ask_refund(&wants("R1", 500))), Some(&RefundDenial::TotalFeeNeeded));
    let whole = RefundApplication { total_fee: Some(fen(FEE)), ..wants("R1", 500) };
    assert_eq!(desk.ask_refund(&whole), RefundAsked::Added);
    assert!(desk.record().progress.refund_only);
    assert_eq!((desk.record().state, desk.record().due.unwrap().at), (State::Pending, desk.now));
    assert_eq!(desk.ask_refund(&wants("R2", FEE - 500)), RefundAsked::Added, "by now it is known");
    assert!(denied(&desk.ask_refund(&wants("R3", 1))).is_some());
    desk.poll_refund(&refund_refused());
    desk.poll_refund(&refund_refused());
    assert_eq!(
        (desk.record().state, desk.record().due),
        (State::Unpaid, None),
        "nothing says that it was paid"
    );
    assert!(desk.published.is_empty());
}
