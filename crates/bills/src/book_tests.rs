//! When a day is opened, wanted, tried again, and let go.

use super::*;
use paybell_core::event::BillData;

const TEN: Opening = Opening { after: Millis::seconds(10 * 3600), by_itself: true };

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{text}+08:00")).unwrap()
}

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn request(id: u128, file: Option<&str>) -> Request {
    Request {
        id: Uuid::from_u128(id),
        at: at("2026-11-21T10:00:00"),
        file: file.map(str::to_owned),
        by: None,
    }
}

fn book(since: &str, now: &str) -> Book {
    let mut book = Book::new(at(since));
    book.turn(TEN, None, at(now));
    book
}

fn failed(may_be_empty: bool) -> Failed {
    Failed { outcome: "no_bill", detail: String::new(), may_be_empty }
}

fn reconciled(now: Timestamp, billed: u64) -> Reconciled {
    let data = BillData {
        mch_id: paybell_core::MchId::new("1900000109").unwrap(),
        date: day("2026-11-19"),
        rows: 0,
        sums: Vec::new(),
        totals_agree: true,
        billed,
        differences: BTreeMap::new(),
        shadow: false,
    };
    Reconciled { at: now, event: data.event(now), told: None, was_asked: false, file: None }
}

#[test]
fn days_are_opened_at_ten_from_the_day_of_the_installation_on() {
    let since = "2026-11-18T15:00:00";
    assert_eq!(book(since, "2026-11-18T23:59:59").days.len(), 0);
    assert_eq!(book(since, "2026-11-19T09:59:59").days.len(), 0, "the bill is not made yet");
    assert_eq!(
        book(since, "2026-11-19T10:00:00").days.keys().copied().collect::<Vec<_>>(),
        [day("2026-11-18")]
    );
    let later = book(since, "2026-11-21T10:00:00");
    assert_eq!(later.days.len(), 3, "also after days of rest");
    assert!(!later.days.contains_key(&day("2026-11-17")), "the day before was not ours");
    assert_eq!(
        later.next(at("2026-11-21T10:00:00"), false, None),
        Some(day("2026-11-18")),
        "the oldest first"
    );
    let mut earlier = Book::new(at(since));
    earlier.turn(TEN, Some(at("2026-11-16T00:00:00")), at("2026-11-21T10:00:00"));
    assert_eq!(earlier.days.len(), 5, "an operator who says since when it was ours is believed");
    let mut never = Book::new(at(since));
    assert!(!never.turn(Opening { by_itself: false, ..TEN }, None, at("2026-11-21T10:00:00")));
}

#[test]
fn old_days_are_let_go_and_there_is_a_bound() {
    let mut book = book("2026-01-01T00:00:00", "2026-11-21T10:00:00");
    assert_eq!(book.days.len(), 40);
    let first = *book.days.keys().next().unwrap();
    assert_eq!(first, day("2026-10-12"));
    assert!(book.turn(TEN, None, at("2026-11-22T10:00:00")));
    assert!(!book.days.contains_key(&first) && book.days.contains_key(&day("2026-11-21")));
    assert_eq!(book.days.len(), 40);
    for number in 0..ASKED_MAX {
        let day = day("2026-03-01").plus(i64::try_from(number).unwrap());
        assert!(book.ask(day, request(1, None), at("2026-11-22T10:00:00")).is_ok());
    }
    assert_eq!(book.ask(day("2026-04-01"), request(2, None), at("2026-11-22T10:00:00")), Err(TooMany));
    assert!(
        book.ask(day("2026-03-01"), request(2, None), at("2026-11-22T10:00:00")).is_ok(),
        "the same again"
    );
    book.turn(TEN, None, at("2026-11-23T10:00:00"));
    assert!(book.days.contains_key(&day("2026-03-01")), "what somebody waits for stays");
}

#[test]
fn a_bill_that_is_not_there_is_asked_for_again_later_and_later() {
    let mut book = book("2026-11-19T00:00:00", "2026-11-20T10:00:00");
    let mut now = at("2026-11-20T10:00:00");
    let mut gaps = Vec::new();
    for _ in 0..7 {
        book.days.get_mut(&day("2026-11-19")).unwrap().fail(failed(false), None, now);
        let next = book.days.values().next().unwrap().next_at.unwrap();
        gaps.push(next.since(now).0 / 60_000);
        assert_eq!(book.next(next - Millis(1), false, None), None);
        now = next;
    }
    assert_eq!(gaps, [15, 30, 60, 120, 240, 360, 360], "minutes");
    assert_eq!(book.overdue(now), 1);
    book.days.get_mut(&day("2026-11-19")).unwrap().fail(failed(true), None, now);
    assert_eq!(
        book.overdue(now),
        0,
        "a day on which nothing happened alarms nobody, and is asked for all the same"
    );
    assert!(book.days.values().next().unwrap().next_at.is_some());
}

#[test]
fn a_lease_keeps_others_away_until_it_ends() {
    let now = at("2026-11-20T10:00:00");
    let mut book = book("2026-11-19T00:00:00", "2026-11-20T10:00:00");
    let (ours, other) = (LeaseToken(1), LeaseToken(2));
    let until = now + Millis::seconds(60);
    book.lease(day("2026-11-19"), Lease { token: ours.0, until, progress: None });
    assert_eq!(book.next(now, false, None), None);
    assert_eq!(
        book.next(now, true, None),
        Some(day("2026-11-19")),
        "who is alone knows that the holder is dead"
    );
    assert_eq!(book.next(until, false, None), Some(day("2026-11-19")));
    assert!(book.held(day("2026-11-19"), ours).is_some());
    assert!(book.held(day("2026-11-19"), other).is_none(), "the fence");
}

#[test]
fn a_result_is_told_before_the_day_is_done_and_the_same_is_told_once() {
    let now = at("2026-11-20T10:00:00");
    let mut entry = Entry::waiting(Some(now));
    entry.reconcile(reconciled(now, 1));
    assert_eq!(
        (entry.state, entry.wanted_at().is_some()),
        (State::Telling, true),
        "whoever comes next tells it"
    );
    entry.done(None, now);
    assert_eq!((entry.state, entry.wanted_at()), (State::Done, None));
    let told = entry.reconciled.as_ref().unwrap().told;
    assert_eq!(told, Some(reconciled(now, 1).event.id));
    entry.reconcile(reconciled(now, 0));
    assert_eq!(entry.reconciled.as_ref().unwrap().told, told, "the earlier event is remembered");
}

#[test]
fn what_a_person_asks_for_comes_first_and_once() {
    let now = at("2026-11-21T10:00:00");
    let mut book = book("2026-11-18T00:00:00", "2026-11-21T10:00:00");
    let asked = day("2026-11-20");
    book.ask(asked, request(7, Some("mine.csv")), now).unwrap();
    assert_eq!(book.next(now, false, None), Some(asked));
    let served = book.days[&asked].asked.clone();
    let entry = book.days.get_mut(&asked).unwrap();
    entry.fail(failed(false), served.as_ref(), now);
    assert_eq!((entry.asked.clone(), entry.last.as_ref().unwrap().request), (None, Some(Uuid::from_u128(7))));
    assert!(entry.next_at.unwrap() > now, "and then the day goes on by itself");
    let later = request(8, None);
    book.ask(asked, request(7, None), now).unwrap();
    let served = book.days[&asked].asked.clone();
    book.ask(asked, later.clone(), now).unwrap();
    let entry = book.days.get_mut(&asked).unwrap();
    entry.reconcile(reconciled(now, 0));
    entry.done(served.as_ref(), now);
    assert_eq!(
        (entry.asked.clone(), entry.wanted_at()),
        (Some(later), Some(now)),
        "asked while it was worked on"
    );
}

#[test]
fn what_a_process_asks_of_itself_nobody_else_does_and_its_death_is_noticed() {
    let now = at("2026-11-21T10:00:00");
    let mut book = book("2026-11-20T00:00:00", "2026-11-21T10:00:00");
    let day = day("2026-11-20");
    book.ask(day, Request { by: Some(7), ..request(1, None) }, now).unwrap();
    assert_eq!(book.next(now, false, None), None);
    assert_eq!(book.next(now, false, Some(8)), None);
    assert_eq!(book.next(now, false, Some(7)), Some(day));
    assert!(!book.turn(TEN, None, now + OWN_REQUEST_MAX));
    assert_eq!(book.next(now + OWN_REQUEST_MAX, false, None), None, "its person may still wait");
    let later = now + OWN_REQUEST_MAX + Millis(1);
    assert!(book.turn(TEN, None, later), "and has to be stored, also where nothing else is to be done");
    assert_eq!((book.next(later, false, None), book.next(later, false, Some(7))), (Some(day), None));
    for number in 0..ASKED_MAX {
        let day = day.plus(-1 - i64::try_from(number).unwrap());
        book.ask(day, Request { by: Some(9), at: now, ..request(1, None) }, now).unwrap();
    }
    assert!(book.ask(day, request(2, None), later).is_ok(), "the dead take nobody's place");
}

#[test]
fn a_try_that_an_engines_absence_broke_off_is_a_failed_one_after_a_while() {
    let mut now = at("2026-11-20T10:00:00");
    let mut entry = Entry::waiting(Some(now));
    let mine = request(7, None);
    entry.asked = Some(mine.clone());
    let mut waited = 0;
    for _ in 0..BREAKS_MAX {
        entry.break_off(failed(false), Some(&mine), now);
        assert_eq!((entry.tries, entry.asked.as_ref()), (0, Some(&mine)), "whoever asked waits on");
        let next = entry.next_at.unwrap();
        waited += next.since(now).0 / 1000;
        now = next;
    }
    entry.break_off(failed(false), Some(&mine), now);
    assert_eq!((entry.tries, entry.broken_off, entry.asked.clone()), (1, 0, None));
    assert_eq!(entry.last.as_ref().unwrap().request, Some(mine.id), "and is answered");
    assert_eq!(entry.next_at, Some(now + RETRY_FIRST));
    assert_eq!(waited, 1275, "seconds");
}
