//! What a holder may write, and that nobody else may: commit, clear, put-off.

use super::*;
use crate::register::Registered;
use crate::verdict::{Judged, Ruling};

fn paid_change(desk: &Desk, record: &Record) -> Change {
    desk.decide(record, &manual(), &success(TX, FEE))
}

#[test]
fn a_commit_after_the_lease_s_end_is_refused() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = paid_change(&desk, &record);
    desk.now = desk.now + LEASE;
    let before = desk.stored.clone();
    assert_eq!(desk.commit(record.facts, &change), Committed::Lost);
    assert_eq!(desk.stored, before);
}

#[test]
fn a_commit_a_clear_and_a_put_off_under_another_token_are_refused() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = paid_change(&desk, &record);
    let stale = desk.token;
    desk.now = desk.now + LEASE;
    desk.hold(&manual());
    let before = desk.stored.clone();
    desk.token = stale;
    assert_eq!(desk.commit(record.facts, &change), Committed::Lost);
    assert_eq!(desk.clear(), Cleared::Lost);
    assert_eq!(desk.put_off(at(900)), Cleared::Lost);
    assert_eq!(desk.stored, before);
}

#[test]
fn nothing_is_written_once_the_record_is_gone() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = paid_change(&desk, &record);
    desk.stored = None;
    assert_eq!(desk.commit(record.facts, &change), Committed::Lost);
    assert_eq!(desk.clear(), Cleared::Lost);
    assert_eq!(desk.put_off(at(900)), Cleared::Lost);
    assert_eq!(desk.stored, None);
}

#[test]
fn a_commit_with_nothing_outgoing_ends_the_lease() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = desk.decide(&record, &manual(), &not_paid(NotPaid::NotPay));
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert_eq!((desk.record().lease, desk.record().due), (None, change.due));
}

#[test]
fn i8_a_commit_with_outgoing_events_keeps_the_lease_s_due_time_until_the_clear() {
    let mut desk = Desk::registered();
    let lease_end = T0 + LEASE;
    commit_paid(&mut desk);
    let record = desk.record();
    assert_eq!(record.state, State::Paid);
    assert_eq!(record.due, Some(Due { at: lease_end, cause: Cause::Outgoing }));
    assert!(record.lease.unwrap().committed);
    assert_eq!(desk.clear(), Cleared::Done);
    let record = desk.record();
    assert_eq!((record.lease, record.due, record.due_decided), (None, None, None));
}

#[test]
fn the_clear_puts_the_decided_due_time_in_place() {
    let mut desk = Desk::registered();
    let record = desk.hold(&notified(OTHER_TX));
    let change = desk.decide(&record, &notified(OTHER_TX), &success(TX, FEE));
    desk.commit(record.facts, &change);
    desk.clear();
    assert_eq!(
        desk.record().due,
        Some(Due { at: at(1), cause: Cause::Notified }),
        "the quick look for the other one"
    );
}

#[test]
fn the_clear_moves_the_events_whole_into_the_history() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    let outgoing = desk.record().outgoing.clone();
    desk.clear();
    assert!(desk.record().outgoing.is_empty());
    assert_eq!(
        desk.record().events().cloned().collect::<Vec<_>>(),
        outgoing,
        "so that they can be published again"
    );
    assert_eq!(desk.clear(), Cleared::Lost, "there is only one clear");
}

#[test]
fn a_clear_after_the_lease_s_end_still_counts_unless_somebody_took_over() {
    let mut desk = Desk::registered();
    commit_paid(&mut desk);
    let first = desk.token;
    desk.now = desk.now + LEASE;
    assert_eq!(desk.clone().clear(), Cleared::Done);
    assert_eq!(desk.hold(&manual()).outgoing.len(), 1, "the next holder publishes them before anything else");
    let second = desk.token;
    desk.token = first;
    assert_eq!(desk.clear(), Cleared::Lost);
    desk.token = second;
    assert_eq!(desk.clear(), Cleared::Done);
    assert_eq!(desk.published.len(), 1);
}

#[test]
fn a_commit_repeated_because_its_outcome_was_unknown_stores_its_events_once() {
    let mut desk = Desk::registered();
    let record = desk.hold(&manual());
    let change = paid_change(&desk, &record);
    assert_eq!(desk.commit(record.facts, &change), Committed::Outgoing);
    assert_eq!(desk.commit(record.facts, &change), Committed::Outgoing);
    assert_eq!(desk.record().outgoing.len(), 1, "no id twice");
    desk.clear();
    assert_eq!(desk.published.len(), 1);
}

#[test]
fn a_registration_during_the_lease_has_the_commit_decide_again() {
    let mut desk = Desk::empty();
    let record = desk.hold(&notified(TX));
    let change = paid_change(&desk, &record);
    assert_eq!(desk.register(&application(WRONG)), Registered::Added);
    let Committed::Changed(seen) = desk.commit(record.facts, &change) else {
        panic!("decided on older facts")
    };
    assert_eq!(Some(*seen.clone()), desk.stored, "on this record, still leased");
    let change = paid_change(&desk, &seen);
    assert_eq!(change.state, State::Mismatch);
    assert_eq!(desk.commit(seen.facts, &change), Committed::Outgoing);
    desk.clear();
    assert_eq!(desk.record().registration.as_ref().unwrap().total_fee, fen(WRONG));
    assert_eq!(desk.record().due.unwrap().at, desk.now, "the registration is a wake-up of its own");
}

#[test]
fn accept_and_reject_during_the_lease_have_the_commit_decide_again() {
    for ruling in [Ruling::Accept, Ruling::Reject] {
        let mut desk = Desk::in_state(State::Mismatch, true);
        let record = desk.hold(&manual());
        let change = desk.decide(&record, &manual(), &success(TX, WRONG));
        assert_eq!(desk.judge(&judgement(ruling)), Judged::Stored);
        assert!(matches!(desk.commit(record.facts, &change), Committed::Changed(_)), "{ruling:?}");
        let expected = if ruling == Ruling::Accept { State::Mismatch } else { State::Rejected };
        assert_eq!(desk.record().state, expected, "the ruling stands");
    }
}

#[test]
fn a_commit_never_writes_what_registering_and_rulings_wrote() {
    let mut desk = Desk::in_state(State::Mismatch, true);
    desk.judge(&judgement(Ruling::Accept));
    let told = (desk.record().registration.clone(), desk.record().verdict.clone(), desk.record().facts);
    desk.poll(&success(TX, WRONG));
    let record = desk.record();
    assert_eq!((record.registration.clone(), record.verdict.clone(), record.facts), told);
    assert_eq!(record.created_at, T0);
}

#[test]
fn a_put_off_gives_the_lease_back_and_keeps_the_urgency() {
    for (check, cause) in
        [(notified(TX), Cause::Notified), (manual(), Cause::Manual), (billed(TX), Cause::Billed)]
    {
        let mut desk = Desk::registered();
        desk.hold(&check);
        assert_eq!(desk.put_off(at(5)), Cleared::Done);
        assert_eq!((desk.record().lease, desk.record().due), (None, Some(Due { at: at(5), cause })));
        desk.now = at(5);
        assert!(desk.claim().is_some());
    }
    let mut desk = Desk::registered();
    desk.now = at(15);
    let poll = desk.claim().unwrap();
    desk.hold(&poll);
    desk.put_off(at(17));
    assert_eq!(desk.record().due.unwrap().cause, Cause::Cadence, "a poll that was put off is still a poll");
}

#[test]
fn a_put_off_after_the_lease_s_end_is_refused() {
    let mut desk = Desk::registered();
    desk.hold(&manual());
    desk.now = desk.now + LEASE;
    assert_eq!(desk.put_off(at(900)), Cleared::Lost);
    assert_eq!(desk.record().due.unwrap().at, T0 + LEASE);
}

#[test]
fn a_put_off_keeps_outgoing_events_and_the_due_time_decided_for_later() {
    let mut desk = Desk::registered();
    let record = desk.hold(&notified(OTHER_TX));
    let change = desk.decide(&record, &notified(OTHER_TX), &success(TX, FEE));
    desk.commit(record.facts, &change);
    assert_eq!(desk.put_off(at(3)), Cleared::Done);
    assert_eq!(desk.record().due, Some(Due { at: at(3), cause: Cause::Outgoing }));
    desk.now = at(3);
    let check = desk.claim().unwrap();
    assert_eq!(desk.hold(&check).outgoing.len(), 1);
    desk.clear();
    assert_eq!(desk.record().due, change.due);
}

#[test]
fn a_long_outage_is_one_line_of_history() {
    let mut desk = Desk::registered();
    for _ in 0..100 {
        desk.poll(&Answer::Transient("time-out"));
    }
    assert_eq!(desk.record().history.len(), 1);
    assert_eq!(desk.record().history[0].at, desk.now, "with the time of the last one");
    desk.poll(&success(TX, FEE));
    assert_eq!(desk.record().history.len(), 3, "the look and its event");
}

#[test]
fn the_history_is_bounded_and_never_loses_an_event() {
    let mut desk = Desk::in_state(State::Paid, true);
    for look in 0..200 {
        desk.wait(2);
        let answer = if look % 2 == 0 { success(TX, FEE) } else { closed() };
        desk.look(&manual(), &answer);
    }
    assert_eq!(desk.record().history.len(), crate::record::HISTORY_ENTRIES_MAX);
    assert_eq!(desk.record().events().count(), 1);
}
