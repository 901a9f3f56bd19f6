//! Leases that end without a result (I8): the backoff from the third on, the dead letter at the tenth, one look per
//! six hours after it.

use super::*;
use crate::dead::DeadReason;

/// Polls whose worker dies: each takes the lease at the due time and is never heard of again.
fn lose(desk: &mut Desk, leases: usize) {
    for _ in 0..leases {
        desk.now = desk.record().due.unwrap().at;
        let check = desk.claim().unwrap();
        desk.hold(&check);
    }
}

/// How long after the current lease's end the order is due.
fn delay_s(desk: &Desk) -> i64 {
    let record = desk.record();
    record.due.unwrap().at.since(record.lease.unwrap().until).0 / 1000
}

/// An order whose tenth lease in a row was just lost and whose eleventh has ended.
fn poisonous() -> Desk {
    let mut desk = Desk::registered();
    lose(&mut desk, 11);
    desk.now = desk.now + LEASE;
    desk
}

#[test]
fn from_the_third_lost_lease_on_the_due_time_lies_a_backoff_after_the_lease_s_end() {
    let mut desk = Desk::registered();
    let delays: Vec<_> = (0..12)
        .map(|_| {
            lose(&mut desk, 1);
            delay_s(&desk)
        })
        .collect();
    assert_eq!(delays, [0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 21_600, 21_600]);
}

#[test]
fn the_tenth_lost_lease_leaves_one_dead_letter() {
    let mut desk = Desk::registered();
    lose(&mut desk, 10);
    assert_eq!(desk.dead, []);
    lose(&mut desk, 1);
    assert_eq!((desk.dead.len(), desk.dead[0].reason.clone()), (1, DeadReason::Poison));
    lose(&mut desk, 5);
    assert_eq!(desk.dead.len(), 1);
}

#[test]
fn a_commit_a_put_off_and_a_clear_end_the_row_of_lost_leases() {
    let lost_by = |finish: &dyn Fn(&mut Desk, &Record)| {
        let mut desk = Desk::registered();
        lose(&mut desk, 6);
        assert_eq!(desk.record().leases_lost, 5);
        let record = desk.record().clone();
        finish(&mut desk, &record);
        desk.record().leases_lost
    };
    let commits = |desk: &mut Desk, record: &Record, answer: &Answer| {
        let change = desk.decide(record, &manual(), answer);
        desk.commit(record.facts, &change);
    };
    assert_eq!(lost_by(&|desk, record| commits(desk, record, &Answer::Transient("time-out"))), 0);
    assert_eq!(lost_by(&|desk, record| commits(desk, record, &success(TX, FEE))), 0);
    assert_eq!(lost_by(&|desk, _| assert_eq!(desk.put_off(at(900)), Cleared::Done)), 0);

    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    lose(&mut desk, 6);
    assert_eq!(desk.record().leases_lost, 5);
    assert_eq!(desk.clear(), Cleared::Done);
    assert_eq!(desk.record().leases_lost, 0);
}

#[test]
fn a_lease_lost_after_its_commit_is_not_counted_but_one_that_only_published_is() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    lose(&mut desk, 1);
    assert_eq!(desk.record().leases_lost, 0, "it had committed");
    lose(&mut desk, 1);
    assert_eq!(desk.record().leases_lost, 1, "this one never published");
    lose(&mut desk, 9);
    assert_eq!(desk.dead[0].reason, DeadReason::Poison, "events that kill whoever publishes them");
    assert_eq!(desk.record().outgoing.len(), 1, "and they are kept");
}

#[test]
fn a_poisonous_order_gets_one_look_per_six_hours_whatever_arrives() {
    for check in [notified(TX), billed(TX)] {
        let mut desk = poisonous();
        let due = desk.record().due;
        assert_eq!(desk.take(&check), Taken::Busy);
        let urgent = Due { cause: check.cause(), ..due.unwrap() };
        assert_eq!(desk.record().due, Some(urgent), "no sooner, and then before all polls");
        assert_eq!(desk.record().look_again.as_ref().unwrap().cause, check.cause(), "kept for that look");
        desk.now = due.unwrap().at;
        let poll = desk.claim().unwrap();
        assert_eq!(desk.hold(&poll).progress.notified, check.reason == Reason::Notified);
    }
}

#[test]
fn a_person_may_insist_on_a_poisonous_order() {
    let mut desk = poisonous();
    assert!(matches!(desk.take(&manual()), Taken::Leased(_)));
}

#[test]
fn a_poisonous_order_that_recovers_is_like_any_other() {
    let mut desk = poisonous();
    desk.poll(&not_paid(NotPaid::NotPay));
    assert_eq!(desk.record().leases_lost, 0);
    assert!(matches!(desk.take(&notified(TX)), Taken::Leased(_)));
}

fn request(token: u128, check: &Check) -> LeaseRequest {
    let (check, token) = (check.clone(), LeaseToken(token));
    LeaseRequest { check, token, length: LEASE, given_up: None, lost_delays: [Millis(0); 7] }
}

#[test]
fn a_lease_whose_holder_is_dead_is_free_and_counts_as_lost() {
    let mut desk = Desk::registered();
    desk.hold(&manual());
    for (holder, is_free) in [(Holder::Unknown, false), (Holder::Alive, false), (Holder::Dead, true)] {
        let taking = take_from(desk.stored.as_ref(), &request(99, &manual()), desk.now, holder);
        match taking.taken {
            Taken::Leased(record) => {
                assert!(is_free, "{holder:?}");
                assert_eq!((record.lease.unwrap().token, record.leases_lost), (LeaseToken(99), 1));
            }
            other => assert!(!is_free && other == Taken::Busy, "{holder:?}: {other:?}"),
        }
    }
}

#[test]
fn while_the_holder_lives_a_busy_order_is_looked_at_before_the_lease_s_end() {
    let mut desk = Desk::registered();
    let until = desk.hold(&manual()).lease.unwrap().until;
    let busy = |holder| {
        let taking = take_from(desk.stored.as_ref(), &request(99, &manual()), desk.now, holder);
        let Write::Put(record) = taking.write else { panic!("{:?}", taking.write) };
        assert!(record.look_again.is_some());
        record.due.unwrap().at
    };
    assert_eq!(busy(Holder::Alive), desk.now + HOLDER_LOOK);
    assert_eq!(busy(Holder::Unknown), until);
    assert!(HOLDER_LOOK < LEASE);
    desk.now = until - Millis(1);
    let taking = take_from(desk.stored.as_ref(), &request(99, &manual()), desk.now, Holder::Alive);
    let Write::Put(record) = taking.write else { panic!("{:?}", taking.write) };
    assert_eq!(record.due.unwrap().at, until, "never later than the lease's end");
}

#[test]
fn a_poll_whose_holder_died_between_commit_and_publish_is_not_left_until_the_lease_s_end() {
    let mut desk = Desk::registered();
    desk.now = desk.record().due.unwrap().at;
    let check = desk.claim().unwrap();
    let leased = desk.hold(&check);
    let again = |desk: &Desk, holder| {
        let taking = take_from(desk.stored.as_ref(), &request(99, &check), desk.now, holder);
        assert_eq!(taking.dead, None);
        (taking.taken, taking.write)
    };
    let change = desk.decide(&leased, &check, &success(TX, FEE));
    assert_eq!(desk.commit(leased.facts, &change), Committed::Outgoing);
    let committed = desk.record().clone();
    let until = leased.lease.unwrap().until;
    assert_eq!(committed.due.unwrap().at, until);
    assert_eq!(again(&desk, Holder::Unknown), (Taken::Stale, Write::Keep));
    for (holder, at) in [(Holder::Alive, desk.now + HOLDER_LOOK), (Holder::Dead, desk.now)] {
        let (taken, write) = again(&desk, holder);
        let due = committed.due.map(|due| Due { at, ..due });
        let sooner = Record { due, ..committed.clone() };
        assert_eq!(
            (taken, write),
            (Taken::Stale, Write::Put(Box::new(sooner))),
            "{holder:?}: the due time alone"
        );
    }
    desk.now = until - Millis(1);
    assert_eq!(again(&desk, Holder::Alive), (Taken::Stale, Write::Keep), "never later than the lease's end");
}

#[test]
fn a_check_that_comes_again_after_its_holder_s_death_shortens_no_backoff() {
    for leases in [4, 9, 11, 12] {
        let mut desk = Desk::registered();
        lose(&mut desk, leases);
        let due = desk.record().due;
        // The broker hands the dead worker's check out again, before anybody can know of the death.
        for check in [notified(TX), manual()] {
            let taking = take_from(desk.stored.as_ref(), &request(99, &check), desk.now, Holder::Alive);
            let Write::Put(record) = taking.write else { panic!("{:?}", taking.write) };
            let urgent = due.map(|due| Due { cause: check.cause(), ..due });
            assert_eq!((taking.taken, record.due), (Taken::Busy, urgent), "after {leases} leases");
        }
    }
}

#[test]
fn a_lease_that_its_taker_gave_up_on_is_free_to_it_and_not_counted_as_lost() {
    let mut desk = Desk::registered();
    desk.hold(&manual());
    let left = desk.token;
    let with = |given_up| LeaseRequest { given_up: Some(given_up), ..request(99, &manual()) };
    let taking = take(desk.stored.as_ref(), &with(LeaseToken(77)), desk.now);
    assert_eq!(taking.taken, Taken::Busy, "another one's lease is not given up by us");
    let Taken::Leased(record) = take(desk.stored.as_ref(), &with(left), desk.now).taken else { panic!() };
    assert_eq!((record.lease.unwrap().token, record.leases_lost), (LeaseToken(99), 0));
}

#[test]
fn a_wish_repeated_after_a_lost_answer_has_the_lease_that_it_got_and_no_other_one() {
    let mut desk = Desk::registered();
    desk.hold(&manual());
    let own = |token: LeaseToken| request(token.0, &manual());
    assert_eq!(take(desk.stored.as_ref(), &own(LeaseToken(77)), desk.now).taken, Taken::Busy);
    let now = desk.now + Millis::seconds(1);
    let Taken::Leased(record) = take(desk.stored.as_ref(), &own(desk.token), now).taken else { panic!() };
    let lease = record.lease.unwrap();
    assert_eq!((lease.token, lease.until, record.leases_lost), (desk.token, now + LEASE, 0));
}
