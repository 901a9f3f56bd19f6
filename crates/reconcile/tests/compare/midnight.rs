//! The rule of midnight: a payment within minutes of it may be in either day's bill, and is missed in neither or both.

use paybell_core::record::State;
use paybell_core::time::Millis;
use reconcile::{Carry, EDGE, Kind, Task};
use wechat_pay::bill::BillDate;

use crate::support::*;

const LATE: &str = "2026-11-18 23:59:58";
const EARLY: &str = "2026-11-19 00:00:01";

fn next_day(carry: Option<Carry>) -> Task {
    let date = BillDate::parse("2026-11-19").unwrap();
    Task { first: date, last: date, carry, now: at("2026-11-20 10:00:00"), ..task() }
}

/// A row that the next day's bill has.
fn next_day_row(number: u32, time: &str) -> Line {
    Line { time: format!("2026-11-19 {time}"), ..paid(number, "", 100) }
}

#[test]
fn late_here_and_in_the_next_bill_differs_in_neither() {
    let mut ledger = Memory::of([order(1, State::Paid, 100, LATE), order(2, State::Paid, 100, LATE)]);
    let (first, heard) = run(&task(), &[paid(2, "23:59:58", 100)], &mut ledger).unwrap();
    assert_eq!(found(&heard), []);
    assert_eq!(first.carry.open.len(), 1, "T1 waits for the next bill");
    let json = serde_json::to_string(&first.carry).unwrap();
    let carry: Carry = serde_json::from_str(&json).unwrap();
    assert_eq!(carry, first.carry, "it is kept between days");
    let (second, heard) = run(&next_day(Some(carry)), &[next_day_row(1, "00:00:02")], &mut ledger).unwrap();
    assert_eq!((found(&heard), second.agreed), (vec![], 1));
    assert_eq!(second.carry, Carry::default());
}

#[test]
fn late_here_and_in_no_bill_is_reported_once_by_the_next_day() {
    let mut ledger = Memory::of([order(1, State::Paid, 100, LATE)]);
    let (first, heard) = run(&task(), &[], &mut ledger).unwrap();
    assert_eq!(found(&heard), []);
    let (second, heard) = run(&next_day(Some(first.carry)), &[], &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::PaymentOnlyHere, "T1")]);
    assert_eq!(heard[0].at, Some(at(LATE)));
    assert_eq!(second.carry, Carry::default(), "and not carried any further");
}

#[test]
fn early_here_and_in_the_bill_before_differs_in_neither() {
    let mut ledger = Memory::of([order(1, State::Paid, 100, EARLY)]);
    let (first, heard) = run(&task(), &[paid(1, "23:59:59", 100)], &mut ledger).unwrap();
    assert_eq!((found(&heard), first.agreed), (vec![], 1));
    assert_eq!(first.carry.early.len(), 1);
    let (second, heard) = run(&next_day(Some(first.carry)), &[], &mut ledger).unwrap();
    assert_eq!((found(&heard), second.unjudged), (vec![], 0));
}

#[test]
fn early_here_and_in_no_bill_is_reported_where_the_day_before_is_known() {
    let mut ledger = Memory::of([order(1, State::Paid, 100, EARLY)]);
    let (_, heard) = run(&next_day(Some(Carry::default())), &[], &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::PaymentOnlyHere, "T1")]);
    let (result, heard) = run(&next_day(None), &[], &mut ledger).unwrap();
    assert_eq!((found(&heard), result.unjudged), (vec![], 1), "it may be in a bill that nobody compared");
}

#[test]
fn the_edge_is_where_it_is_said_to_be() {
    let end = at("2026-11-19 00:00:00");
    let begin = at("2026-11-18 00:00:00");
    for (paid_at, is_reported) in [
        (end - EDGE - Millis(1000), true),
        (end - EDGE, false),
        (begin + EDGE - Millis(1000), false),
        (begin + EDGE, true),
    ] {
        let mut late = order(1, State::Paid, 100, LATE);
        late.payment.as_mut().unwrap().paid_at = Some(paid_at);
        let task = Task { carry: None, ..task() };
        let (_, heard) = run(&task, &[], &mut Memory::of([late])).unwrap();
        assert_eq!(heard.len(), usize::from(is_reported), "{paid_at}");
    }
    // The same for rows: a neighbour's are compared, those further off are named besides.
    let rows = |time: &str| Line { time: time.to_owned(), ..paid(1, "", 100) };
    for (time, is_named) in [
        ("2026-11-17 23:54:59", true),
        ("2026-11-17 23:55:00", false),
        ("2026-11-19 00:04:59", false),
        ("2026-11-19 00:05:00", true),
    ] {
        let lines = [paid(9, "12:00:00", 1), rows(time)];
        let mut ledger = Memory::like(&lines);
        let (_, heard) = run(&task(), &lines, &mut ledger).unwrap();
        let named = heard.iter().any(|one| one.kind == Kind::OtherDay);
        assert_eq!(named, is_named, "{time}");
        assert!(heard.iter().all(|one| one.kind == Kind::OtherDay), "{heard:?}");
    }
    assert_eq!(EDGE, minutes(5));
}

#[test]
fn more_than_can_be_carried_is_reported_at_once() {
    let count = u32::try_from(reconcile::CARRIED_MAX).unwrap() + 3;
    let mut ledger = Memory::of((0..count).map(|number| order(number, State::Paid, 100, LATE)));
    let (result, heard) = run(&task(), &[], &mut ledger).unwrap();
    assert_eq!((result.carry.open.len(), heard.len()), (reconcile::CARRIED_MAX, 3));
}
