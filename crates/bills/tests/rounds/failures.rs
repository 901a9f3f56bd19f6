//! Engines that are away or hold what nobody can read, while a day is worked on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bills::book::State;
use bills::{Asked, Bills, Desk, Merchant, Wish, finish};
use paybell_core::ports::{CheckQueue, Note, Notes, PortError};
use paybell_core::{Check, Lane, MchId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::*;
use crate::{BEFORE, DAY, MORNING};

type Fault = fn() -> PortError;

/// Notes of which some cannot be read, for as long as the test wants.
struct Faulty {
    notes: Arc<dyn Notes>,
    prefix: &'static str,
    fault: Arc<Mutex<Option<Fault>>>,
}

#[async_trait]
impl Notes for Faulty {
    async fn read(&self, name: &str) -> Result<Option<Note>, PortError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(fault) if name.starts_with(self.prefix) => Err(fault()),
            _ => self.notes.read(name).await,
        }
    }

    async fn write(&self, name: &str, expected: Option<u64>, text: &str) -> Result<bool, PortError> {
        self.notes.write(name, expected, text).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.notes.list(prefix).await
    }
}

fn corrupt() -> PortError {
    PortError::Corrupt { part: "ledger", cause: "a torn page".to_owned() }
}

fn away() -> PortError {
    PortError::Unavailable { part: "ledger", cause: "too slow".to_owned() }
}

/// Bills of one payment, how often they were asked for, and the switch of the fault.
fn faulty(place: &Place, prefix: &'static str, fault: Fault) -> (Bills, Arc<AtomicUsize>, Switch) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let mut bills = place.bills(Scripted::new(move |day| {
        if day.to_string() != DAY {
            return Says::NoBill;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Says::Bill(bill(DAY, &numbers(1)))
    }));
    let switch = Arc::new(Mutex::new(Some(fault)));
    bills.ports.notes = Arc::new(Faulty { notes: bills.ports.notes, prefix, fault: switch.clone() });
    (bills, calls, switch)
}

type Switch = Arc<Mutex<Option<Fault>>>;

async fn tried(place: &Place, outcome: &str) -> Value {
    place.day_when(day(DAY), |seen| seen["last"]["outcome"] == outcome && seen["progress"].is_null()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_an_engine_breaks_off_leaves_no_bill_behind_and_is_tried_again_later() {
    for (fault, outcome, next_at) in [
        (corrupt as Fault, "unreadable", "2026-11-20T10:15:00"),
        (away as Fault, "engine_away", "2026-11-20T10:00:05"),
    ] {
        let place = Place::open(BEFORE);
        let (bills, calls, switch) = faulty(&place, "bill-results/", fault);
        let process = Process::start(bills);
        place.met().await;
        place.set(MORNING);
        let seen = tried(&place, outcome).await;
        assert_eq!(seen["next_at"], format!("{next_at}+08:00"), "{seen:#}");
        assert_eq!(std::fs::read_dir(place.folder().path()).unwrap().count(), 0, "{outcome}");
        *switch.lock().unwrap() = None;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{outcome}: not before its time");
        place.set(next_at);
        place.day_in(day(DAY), State::Done).await;
        assert_eq!((calls.load(Ordering::Relaxed), place.events().await.len()), (2, 1));
        process.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_whose_book_nobody_can_read_keeps_no_other_from_its_bills() {
    let place = Place::open(BEFORE);
    let (mut bills, ..) = faulty(&place, "bills/1900000108", corrupt);
    let other = Merchant { mch_id: MchId::new("1900000108").unwrap(), ..merchant() };
    bills.merchants = Arc::new(move || vec![other.clone(), merchant()]);
    let process = Process::start(bills);
    place.met().await;
    place.set(MORNING);
    place.day_in(day(DAY), State::Done).await;
    process.drain().await;
}

/// A queue that takes nothing.
struct Full;

#[async_trait]
impl CheckQueue for Full {
    async fn publish(&self, _: &[Check]) -> Result<(), PortError> {
        Err(PortError::Unavailable { part: "queue", cause: "no disk left".to_owned() })
    }

    async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_takes_nothing_is_said_and_tried_again_later_however_many_checks_there_are() {
    for count in [1, 1500] {
        let place = Place::open(BEFORE);
        let source = Scripted::new(move |day| match day.to_string() == DAY {
            true => Says::Bill(bill(DAY, &numbers(count))),
            false => Says::NoBill,
        });
        let mut bills = place.bills(source.clone());
        bills.ports.queue = Arc::new(Full);
        let process = Process::start(bills);
        place.met().await;
        place.set(MORNING);
        let seen = tried(&place, "engine_away").await;
        assert_eq!(
            (&seen["state"], &seen["next_at"]),
            (&"telling".into(), &"2026-11-20T10:00:05+08:00".into()),
            "{count}: {seen:#}"
        );
        assert!(seen["last"]["detail"].as_str().unwrap().contains("no disk left"), "{seen:#}");
        process.drain().await;
        assert!(place.events().await.is_empty(), "the checks go out first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reconciles_alone_waits_for_no_worker() {
    let place = Place::open(BEFORE);
    let mut bills = place.bills(Scripted::new(|_| Says::Bill(bill(DAY, &numbers(1500)))));
    let desk = Desk { by: Some(7), ..place.desk() };
    (bills.me, bills.wants.opening.by_itself) = (Some(7), false);
    let early = Wish { mch_id: mch_id(), day: day("2026-11-17"), file: None };
    desk.ask(&early).await.unwrap();
    place.set(MORNING);
    let wish = Wish { day: day(DAY), ..early };
    let Asked::Taken { request, .. } = desk.ask(&wish).await.unwrap() else { panic!() };
    let (merchant, drain) = (merchant(), CancellationToken::new());
    let finished = finish(&bills, &merchant, day(DAY), &request, &drain);
    let said = tokio::time::timeout(PATIENCE, finished).await.expect("nobody empties the queue").unwrap();
    assert_eq!(said.unwrap().outcome, "reconciled");
    assert_eq!(place.backlog().await, 1500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_nobody_empties_puts_the_day_off_with_its_result_shown() {
    let place = Place::open(BEFORE);
    let source = Scripted::new(|day| match day.to_string() == DAY {
        true => Says::Bill(bill(DAY, &numbers(500))),
        false => Says::NoBill,
    });
    let mut bills = place.bills(source.clone());
    bills.timing.room = std::time::Duration::from_millis(50);
    let process = Process::start(bills);
    place.met().await;
    place.set(MORNING);
    let seen = tried(&place, "no_room").await;
    assert_eq!(
        (&seen["state"], &seen["result"]["checks"], &seen["next_at"]),
        (&"telling".into(), &500.into(), &"2026-11-20T10:15:00+08:00".into())
    );
    assert!(place.events().await.is_empty());
    process.drain().await;
    place.checks(300).await;
    place.set("2026-11-20T10:15:00");
    let process = Process::start(place.bills(source));
    // The next try begins again with the first ones: the ledger drops what it knows.
    place.checks(500).await;
    place.day_in(day(DAY), State::Done).await;
    process.drain().await;
}
