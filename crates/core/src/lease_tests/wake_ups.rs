//! No wake-up is lost: what arrives while the lease is taken makes the order due at once when it ends.

use super::*;
use crate::check::Lane;
use crate::ids::AppId;
use crate::record::SeenAs;
use crate::verdict::Ruling;

/// A holder whose look finds the order paid under [`TX`], while `meanwhile` happens.
fn paid_while(meanwhile: impl FnOnce(&mut Desk)) -> Desk {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    meanwhile(&mut desk);
    let change = desk.decide(&record, &manual(), &success(TX, FEE));
    assert_eq!(desk.commit(record.facts, &change), Committed::Outgoing);
    assert_eq!(desk.clear(), Cleared::Done);
    desk
}

fn comes(check: Check) -> impl FnOnce(&mut Desk) {
    move |desk| assert_eq!(desk.take(&check), Taken::Busy)
}

/// At once; only what a person asked waits a second, because the look that just ended answered it.
fn woken_at(desk: &Desk, check: &Check) -> Timestamp {
    if check.reason == Reason::Manual { desk.now + FRESH } else { desk.now }
}

#[test]
fn a_commit_with_nothing_outgoing_makes_the_order_due_at_once() {
    for check in [notified(TX), billed(TX), manual()] {
        let mut desk = Desk::registered();
        let record = desk.hold(&manual());
        assert_eq!(desk.take(&check), Taken::Busy);
        let change = desk.decide(&record, &manual(), &not_paid(NotPaid::NotPay));
        assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
        assert_eq!(desk.record().due, Some(Due { at: woken_at(&desk, &check), cause: check.cause() }));
        assert_eq!(desk.record().look_again, None);
        let was_notified = check.reason == Reason::Notified;
        assert_eq!(desk.record().progress.notified, was_notified);
        assert_eq!(desk.record().progress.quick.is_some(), was_notified, "the quick looks start with it");
    }
}

#[test]
fn the_clear_makes_the_order_due_at_once() {
    for check in [notified(OTHER_TX), Check::notified(key(), None), billed(TX), manual()] {
        let desk = paid_while(comes(check.clone()));
        let at = woken_at(&desk, &check);
        assert_eq!(desk.record().due, Some(Due { at, cause: check.cause() }));
    }
}

#[test]
fn i6_drops_a_notification_of_what_was_just_told() {
    let desk = paid_while(comes(notified(TX)));
    assert_eq!((desk.record().due, desk.record().look_again.clone()), (None, None));
}

#[test]
fn two_notifications_of_one_transaction_are_one_and_of_two_are_any() {
    let same = paid_while(|desk| {
        comes(notified(TX))(desk);
        comes(notified(TX))(desk);
    });
    assert_eq!(same.record().due, None);
    for other in [notified(OTHER_TX), Check::notified(key(), None)] {
        for is_first in [true, false] {
            let (one, two) =
                if is_first { (other.clone(), notified(TX)) } else { (notified(TX), other.clone()) };
            let desk = paid_while(|desk| {
                comes(one)(desk);
                comes(two)(desk);
            });
            assert_eq!(desk.record().due.unwrap().at, desk.now, "any is never a duplicate");
        }
    }
}

#[test]
fn a_wish_beside_a_notification_outlives_the_notification() {
    for wish in [manual(), billed(OTHER_TX)] {
        for is_first in [true, false] {
            let (one, two) =
                if is_first { (wish.clone(), notified(TX)) } else { (notified(TX), wish.clone()) };
            let desk = paid_while(|desk| {
                comes(one)(desk);
                comes(two)(desk);
            });
            assert_eq!(
                desk.record().due,
                Some(Due { at: desk.now, cause: wish.cause() }),
                "first: {is_first}"
            );
        }
    }
}

#[test]
fn a_put_off_takes_the_wake_up_along() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let poll = desk.claim().unwrap();
    desk.hold(&poll);
    comes(notified(TX))(&mut desk);
    desk.put_off(at(17));
    let record = desk.record();
    assert_eq!(record.due, Some(Due { at: at(17), cause: Cause::Notified }), "urgent from now on");
    assert_eq!(record.progress.quick.as_ref().unwrap().hint, Hint::One(tx(TX)));
    assert_eq!(record.look_again, None);
}

/// WeChat has its SUCCESS by then, and behind a million polls the order would wait for hours.
#[test]
fn a_wake_up_of_a_leased_poll_makes_its_due_time_urgent_should_the_holder_die() {
    type Wish = fn(&mut Desk);
    let wishes: [(Cause, Wish); 5] = [
        (Cause::Notified, |desk| comes(notified(TX))(desk)),
        (Cause::Billed, |desk| comes(billed(TX))(desk)),
        (Cause::Manual, |desk| comes(manual())(desk)),
        (Cause::Registered, |desk| drop(desk.register(&application(FEE)))),
        (Cause::Refund, |desk| comes(refund_notified("R1"))(desk)),
    ];
    for (cause, wish) in wishes {
        let mut desk = Desk::empty();
        desk.look(&manual(), &not_paid(NotPaid::NotPay));
        desk.now = at(15);
        let poll = desk.claim().unwrap();
        let until = desk.hold(&poll).lease.unwrap().until;
        assert_eq!(desk.record().due, Some(Due { at: until, cause: Cause::Cadence }));
        wish(&mut desk);
        assert_eq!(desk.record().due, Some(Due { at: until, cause }), "and no sooner than it was");
        desk.now = until;
        assert_eq!(desk.claim().unwrap().lane(), Lane::Urgent, "{cause:?}");
    }
}

#[test]
fn a_poll_that_finds_a_poll_s_lease_taken_makes_nothing_urgent() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let poll = desk.claim().unwrap();
    desk.hold(&poll);
    desk.wait(15);
    let lost = Check { claim: poll.claim, ..poll.clone() };
    comes(lost)(&mut desk);
    assert_eq!(desk.record().due.unwrap().cause, Cause::Cadence);
}

#[test]
fn a_put_off_with_outgoing_events_keeps_the_wake_up_for_after_the_clear() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    comes(notified(OTHER_TX))(&mut desk);
    assert_eq!(desk.put_off(at(3)), Cleared::Done);
    desk.now = at(3);
    let check = desk.claim().unwrap();
    assert_eq!(desk.hold(&check).outgoing.len(), 1);
    desk.clear();
    assert_eq!(desk.record().due, Some(Due { at: at(3), cause: Cause::Notified }));
    assert!(matches!(desk.claim(), Some(check) if check.cause() == Cause::Notified));
}

#[test]
fn a_lease_that_expires_hands_the_wake_up_to_the_next_holder() {
    let mut desk = Desk::registered();
    desk.now = at(15);
    let poll = desk.claim().unwrap();
    desk.hold(&poll);
    comes(notified(TX))(&mut desk);
    desk.now = at(900);
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    assert_eq!(record.look_again, None, "taking a lease clears it");
    assert!(record.progress.notified);
    assert_eq!(record.progress.quick.unwrap().hint, Hint::One(tx(TX)));
    assert_eq!(record.due.unwrap().cause, Cause::Notified, "from now on this lease is a notification's");
}

#[test]
fn outgoing_events_go_first_and_the_check_s_own_wish_comes_after_them() {
    for check in [notified(OTHER_TX), billed(TX), manual()] {
        let mut desk = Desk::registered();
        commit_paid(&mut desk);
        desk.now = desk.now + LEASE;
        assert_eq!(desk.hold(&check).outgoing.len(), 1);
        desk.clear();
        assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: check.cause() }), "{check:?}");
    }
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    desk.now = desk.now + LEASE;
    desk.hold(&notified(TX));
    desk.clear();
    assert_eq!(desk.record().due, None, "I6: its news is what was just published");
}

#[test]
fn a_due_check_of_outgoing_events_wishes_for_nothing_more() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    desk.now = desk.now + LEASE;
    let check = desk.claim().unwrap();
    desk.hold(&check);
    desk.clear();
    assert_eq!(desk.record().due, None);
}

#[test]
fn a_due_check_that_finds_its_events_being_published_adds_no_wish_to_a_duplicate() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    desk.now = desk.now + LEASE;
    let check = desk.claim().unwrap();
    assert_eq!(check.cause(), Cause::Outgoing);
    desk.hold(&notified(TX));
    comes(check)(&mut desk);
    desk.clear();
    assert_eq!(desk.record().due, None);
}

#[test]
fn registering_and_rulings_during_a_lease_are_wake_ups_that_no_notification_hides() {
    let mut desk = Desk::empty();
    let record = desk.hold(&notified(TX));
    comes(notified(TX))(&mut desk);
    desk.register(&application(FEE));
    comes(notified(TX))(&mut desk);
    let Committed::Changed(record) =
        desk.commit(record.facts, &desk.decide(&record, &manual(), &success(TX, FEE)))
    else {
        panic!("the registration changed the facts")
    };
    desk.commit(record.facts, &desk.decide(&record, &manual(), &success(TX, FEE)));
    desk.clear();
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Registered }));

    let mut desk = Desk::in_state(State::Mismatch, true);
    desk.hold(&manual());
    desk.judge(&judgement(Ruling::Accept));
    assert_eq!(desk.record().look_again.as_ref().unwrap().cause, Cause::Accepted);
}

#[test]
fn a_poll_that_takes_the_lease_of_a_woken_order_ends_it_urgently() {
    let mut desk = Desk::empty();
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    desk.now = at(15);
    let poll = desk.claim().unwrap();
    desk.register(&application(FEE));
    assert_eq!(
        desk.hold(&poll).due.unwrap().cause,
        Cause::Registered,
        "its crash must not wait behind polls"
    );
}

#[test]
fn a_ruling_between_a_crash_and_the_publishing_outlives_the_clear() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = desk.decide(&record, &manual(), &success(TX, WRONG));
    desk.commit(record.facts, &change);
    desk.now = desk.now + LEASE;
    desk.judge(&judgement(Ruling::Accept));
    assert_eq!(desk.record().due.unwrap().at, desk.now);
    let check = desk.claim().unwrap();
    assert_eq!(desk.hold(&check).outgoing.len(), 1);
    desk.clear();
    assert_eq!(desk.poll(&success(TX, WRONG)).state, State::Paid);
}

#[test]
fn an_order_is_not_forgotten_while_a_wake_up_waits() {
    let mut desk = Desk::empty();
    let record = desk.hold(&manual());
    comes(notified(TX))(&mut desk);
    let change = desk.decide(&record, &manual(), &not_paid(NotPaid::NotExist));
    assert!(change.forget);
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Notified }));
}

#[test]
fn as_whose_order_a_notification_came_is_kept_whether_the_lease_was_free_or_taken() {
    let seen_as = |appid| SeenAs { appid: AppId::new(appid).unwrap(), sub_mch_id: None };
    let named = |appid| notified(TX).with_seen_as(seen_as(appid));
    let mut desk = Desk::empty();
    let record = desk.hold(&named("wx1"));
    assert_eq!(record.progress.seen_as, Some(seen_as("wx1")));
    comes(named("wx2"))(&mut desk);
    let change = desk.decide(&record, &named("wx1"), &not_paid(NotPaid::NotPay));
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert_eq!(desk.record().progress.seen_as, Some(seen_as("wx2")), "the commit does not undo it");
    desk.poll(&not_paid(NotPaid::NotPay));
    assert_eq!(
        desk.record().progress.seen_as,
        Some(seen_as("wx2")),
        "nor does a check that knows nothing of it"
    );
}
