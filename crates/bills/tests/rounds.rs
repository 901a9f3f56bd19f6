//! Days over a real store: bills that come, do not come, come in half; processes that die; what people ask for.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

#[path = "rounds/emptied.rs"]
mod emptied;
#[path = "rounds/failures.rs"]
mod failures;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bills::book::State;
use bills::{Asked, Company, Merchant, Wish};
use paybell_core::event::EventType;
use paybell_core::ports::{Cursor, EventFilter, EventLog, LogRead, PortError};
use paybell_core::{Event, Mode, ModeKeeper, Reason};
use support::*;

const BEFORE: &str = "2026-11-18T08:00:00";
const MORNING: &str = "2026-11-20T10:00:00";
const DAY: &str = "2026-11-19";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_days_bill_is_reconciled_once_and_what_it_has_and_we_have_not_is_asked_for() {
    let place = Place::open("2026-11-19T08:00:00");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let source = Scripted::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Says::Bill(bill(DAY, &numbers(3)))
    });
    let process = Process::start(place.bills(source.clone()));
    place.met().await;
    place.set("2026-11-20T09:59:59");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 0, "the bill is not made before ten");
    place.set(MORNING);
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["counts"]["payment_unknown_here"], 3, "{seen:#}");
    assert_eq!(seen["last"]["outcome"], "reconciled");
    assert!(seen["result"].get("carry").is_none());
    let checks = place.checks(3).await;
    assert!(checks.iter().all(|check| check.reason == Reason::Billed));
    let events = place.events().await;
    assert_eq!(events.len(), 1);
    let data = events[0].bill().unwrap();
    assert_eq!((data.billed, data.rows, data.totals_agree, data.shadow), (3, 3, true, false));
    let sums = &data.sums[0];
    assert_eq!(
        (sums.gross.get(), sums.fees.get(), sums.fees_exact.as_str(), sums.net.get()),
        (5997, 36, "0.36000", 5961)
    );
    assert!(place.folder().find(seen["file"].as_str().unwrap()).is_some(), "the bill is kept");
    process.drain().await;
    let again = Process::start(place.bills(source));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    again.drain().await;
    assert_eq!(
        (calls.load(Ordering::Relaxed), place.events().await.len()),
        (1, 1),
        "a day that is done stays done"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_that_is_not_there_yet_and_one_that_comes_in_half_leave_nothing_behind() {
    let place = Place::open(BEFORE);
    let mut answers = vec![
        Says::Bill(bill(DAY, &numbers(2))),
        Says::Bill({
            let whole = bill(DAY, &numbers(2));
            whole[..whole.len() / 2].to_vec()
        }),
        Says::NoBill,
    ];
    let process = Process::start(place.bills(Scripted::new(move |day| {
        if day.to_string() == DAY { answers.pop().unwrap() } else { Says::NoBill }
    })));
    place.met().await;
    place.set(MORNING);
    let seen = place.day_when(day(DAY), |seen| seen["last"]["outcome"] == "no_bill").await;
    assert_eq!(
        (&seen["may_be_empty"], &seen["next_at"]),
        (&true.into(), &"2026-11-20T10:15:00+08:00".into())
    );
    place.set("2026-11-20T10:15:00");
    let seen = place.day_when(day(DAY), |seen| seen["last"]["outcome"] == "not_whole").await;
    assert_eq!(
        (&seen["state"], &seen["result"]),
        (&"waiting".into(), &serde_json::Value::Null),
        "never half a verdict"
    );
    assert_eq!((place.events().await.len(), place.backlog().await), (0, 0));
    assert_eq!(std::fs::read_dir(place.folder().path()).unwrap().count(), 0, "nor half a bill");
    place.set("2026-11-20T10:45:00");
    place.day_in(day(DAY), State::Done).await;
    assert_eq!(place.checks(2).await.len(), 2);
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_paid_before_the_installation_or_outside_the_scope_is_reported_and_never_asked_for() {
    let place = Place::open("2026-11-19T12:00:02");
    let process = Process::start(place.bills(Scripted::new(|_| Says::Bill(bill(DAY, &numbers(5))))));
    place.met().await;
    place.set(MORNING);
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["reported_only"]["before_active_since"], 2, "{seen:#}");
    assert_eq!(place.checks(3).await.len(), 3);
    process.drain().await;

    let place = Place::open(BEFORE);
    let mut bills = place.bills(Scripted::new(|_| Says::Bill(bill(DAY, &numbers(5)))));
    let pattern = Some(reconcile::Pattern::parse("T00000?").unwrap());
    let narrow = Merchant { active_since: Some(at("2026-11-19T23:00:00")), pattern, ..merchant() };
    bills.merchants = Arc::new(move || vec![narrow.clone()]);
    bills.modes = Arc::new(ModeKeeper::fixed(Mode::Shadow));
    let process = Process::start(bills);
    place.met().await;
    place.desk().ask(&Wish { mch_id: mch_id(), day: day("2026-11-17"), file: None }).await.unwrap();
    let seen = place.day_when(day("2026-11-17"), |seen| !seen["last"].is_null()).await;
    assert_eq!(seen["last"]["outcome"], "other_day", "a bill of another day is refused whole");
    place.set(MORNING);
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!((&seen["result"]["checks"], place.backlog().await), (&0.into(), 0), "{seen:#}");
    assert!(place.events().await[0].is_shadow());
    process.drain().await;
}

/// A log at whose door a process dies: before or after the event is stored.
struct Deadly {
    log: Arc<dyn EventLog>,
    stores: bool,
}

#[async_trait]
impl EventLog for Deadly {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        if self.stores {
            self.log.append(events).await?;
        }
        std::future::pending().await
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        self.log.read(after, filter, limit).await
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        self.log.end().await
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        self.log.grown(past).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_it_tells_leaves_the_same_event_to_the_next() {
    for stores in [false, true] {
        let place = Place::open(BEFORE);
        let source = Scripted::new(|day| {
            if day.to_string() == DAY { Says::Bill(bill(DAY, &numbers(4))) } else { Says::NoBill }
        });
        let mut bills = place.bills(source.clone());
        bills.ports.log = Arc::new(Deadly { log: bills.ports.log, stores });
        let process = Process::start(bills);
        place.met().await;
        place.set(MORNING);
        let seen = place.day_when(day(DAY), |seen| seen["state"] == "telling").await;
        let event_id = seen["event_id"].clone();
        if stores {
            tokio::time::timeout(PATIENCE, place.engine.grown(Cursor::START)).await.unwrap().unwrap();
        }
        assert_eq!(place.checks(4).await.len(), 4, "the checks went out first");
        drop(process);
        let next = Process::start(place.bills(source));
        let seen = place.day_in(day(DAY), State::Done).await;
        assert_eq!(seen["event_id"], event_id);
        let told: Vec<Event> = place.events().await;
        assert_eq!(told.len(), 1, "stored before the death: {stores}");
        assert_eq!((told[0].id.to_string().into(), told[0].bill().unwrap().billed), (event_id, 4));
        next.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_payments_that_we_missed_are_asked_for_as_fast_as_the_queue_empties() {
    let place = Place::open(BEFORE);
    let process = Process::start(place.bills(Scripted::new(|day| {
        if day.to_string() == DAY { Says::Bill(bill(DAY, &numbers(2500))) } else { Says::NoBill }
    })));
    place.met().await;
    place.set(MORNING);
    let mut asked = std::collections::HashSet::new();
    while asked.len() < 2500 {
        assert!(place.backlog().await <= 300, "notifications travel in the same lane");
        asked.extend(place.checks(1).await.into_iter().map(|check| check.key));
    }
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!((&seen["result"]["checks"], place.backlog().await), (&2500.into(), 0), "each once");
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_may_bring_a_bill_and_ask_for_any_day_that_is_over() {
    let place = Place::open(MORNING);
    let process = Process::start(place.bills(Scripted::new(|_| Says::NoBill)));
    let desk = place.desk();
    let wish = |day: &str, file: Option<&str>| Wish {
        mch_id: mch_id(),
        day: support::day(day),
        file: file.map(str::to_owned),
    };
    assert_eq!(desk.ask(&wish("2026-11-20", None)).await.unwrap(), Asked::NotOver);
    assert_eq!(desk.ask(&wish(DAY, Some("../secret"))).await.unwrap(), Asked::NoFile);
    assert_eq!(desk.ask(&wish(DAY, Some("absent.csv"))).await.unwrap(), Asked::NoFile);
    std::fs::write(place.folder().path().join("mine.csv.gz"), bill(DAY, &numbers(2))).unwrap();
    let Asked::Taken { request, .. } = desk.ask(&wish(DAY, Some("mine.csv.gz"))).await.unwrap() else {
        panic!()
    };
    let answered = |seen: &serde_json::Value| seen["last"]["request"] == request.id.to_string();
    let seen = place.day_when(day(DAY), answered).await;
    assert_eq!((&seen["state"], &seen["file"]), (&"done".into(), &"mine.csv.gz".into()), "{seen:#}");
    assert_eq!(seen["result"]["reported_only"]["before_active_since"], 2, "it was paid before we were here");
    assert_eq!((place.backlog().await, place.events().await.len()), (0, 1));
    let Asked::Taken { request, .. } = desk.ask(&wish(DAY, Some("mine.csv.gz"))).await.unwrap() else {
        panic!()
    };
    place.day_when(day(DAY), |seen| seen["last"]["request"] == request.id.to_string()).await;
    let events = place.events().await;
    assert_eq!(events.len(), 1, "the same result is the same event");
    assert_eq!((events[0].kind, events[0].subject.as_str()), (EventType::BillReconciled, DAY));
    let listed = desk.list(None).await.unwrap();
    assert_eq!(listed.iter().map(|day| day["date"].as_str().unwrap()).collect::<Vec<_>>(), [DAY]);
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_works_on_a_day_and_a_drained_one_gives_it_back() {
    let place = Place::open(BEFORE);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let source = Scripted::new(move |day| {
        if day.to_string() != DAY {
            return Says::NoBill;
        }
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            Says::Nothing
        } else {
            Says::Bill(bill(DAY, &numbers(1)))
        }
    });
    let others = |place: &Place| {
        let mut bills = place.bills(source.clone());
        bills.company = Company::Others;
        Process::start(bills)
    };
    let first = others(&place);
    place.met().await;
    place.set(MORNING);
    place.day_when(day(DAY), |seen| seen["progress"]["stage"] == "downloading").await;
    let second = others(&place);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1, "the second leaves it to the first");
    first.drain().await;
    place.day_in(day(DAY), State::Done).await;
    assert_eq!(place.events().await.len(), 1);
    second.drain().await;
}
