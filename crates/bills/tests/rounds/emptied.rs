//! A ledger that began after payments of the day, in the place of one that was lost: what that one told stays told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bills::book::State;
use bills::{Bills, Company, Desk, Merchant, Ports, Wish, finish};
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::ports::{EventLog, Ledger, Notes, PortError, Reading};
use paybell_core::{Event, LeaseToken, OrderKey, Reason, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::*;
use crate::{DAY, MORNING};

/// The ledger began after the day, and the log may be older.
const BEGAN: &str = "2026-11-20T08:00:00";

struct Young {
    ledger: Arc<dyn Ledger>,
    began: Timestamp,
}

#[async_trait]
impl Ledger for Young {
    async fn clock(&self) -> Result<Reading, PortError> {
        self.ledger.clock().await
    }
    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        self.ledger.take(request).await
    }
    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        self.ledger.commit(commit).await
    }
    async fn clear(&self, key: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        self.ledger.clear(key, token).await
    }
    async fn put_off(&self, key: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        self.ledger.put_off(key, token, at).await
    }
    async fn began(&self) -> Result<Option<Timestamp>, PortError> {
        Ok(Some(self.began))
    }
}

fn event(serial: u32, kind: &str, number: &str, time: &str) -> Event {
    let id = format!("00000000-0000-0000-0000-{serial:012}");
    let document = json!({
        "specversion": "1.0", "id": id, "source": format!("/paybell/{MCH}"), "type": kind, "subject": number,
        "time": format!("{time}+08:00"), "datacontenttype": "application/json",
        "data": {
            "version": 1, "mch_id": MCH, "sub_mch_id": null, "appid": null, "out_trade_no": number,
            "transaction_id": null, "total_fee": 1999, "fee_type": "CNY", "cash_fee": null,
            "settlement_total_fee": null, "coupon_fee": null, "coupons": [], "trade_state": "SUCCESS",
            "trade_type": null, "bank_type": null, "attach": null, "paid_at": null, "learned_by": "poll",
            "late": false, "registered": true,
        },
    });
    serde_json::from_value(document).unwrap()
}

/// The morning after, with a ledger that began at [`BEGAN`] beside a log with these events.
async fn place(events: &[Event]) -> (Place, Process) {
    let place = Place::open(MORNING);
    place.engine.append(events).await.unwrap();
    let process = Process::start(emptied(&place, 5));
    (place, process)
}

fn ours() -> Merchant {
    Merchant { active_since: Some(at("2026-11-19T00:00:00")), ..merchant() }
}

/// A process whose ledger began at [`BEGAN`], and that finds so many payments in the day's bill.
fn emptied(place: &Place, count: usize) -> Bills {
    let mut bills = place.bills(Scripted::new(move |of| {
        if of == day(DAY) { Says::Bill(bill(DAY, &numbers(count))) } else { Says::NoBill }
    }));
    bills.merchants = Arc::new(|| vec![ours()]);
    bills.company = Company::Others;
    bills.ports =
        Ports { ledger: Arc::new(Young { ledger: bills.ports.ledger, began: at(BEGAN) }), ..bills.ports };
    bills
}

async fn asked(place: &Place) -> Value {
    let wish = Wish { mch_id: mch_id(), day: day(DAY), file: None };
    let bills::Asked::Taken { request, .. } = place.desk().ask(&wish).await.unwrap() else { panic!() };
    place.day_when(day(DAY), |seen| seen["last"]["request"] == request.id.to_string()).await
}

/// Takes out what is there, and says which orders are asked about.
async fn asked_about(place: &Place, count: usize) -> Vec<String> {
    let checks = place.checks(count).await;
    assert!(checks.iter().all(|check| check.reason == Reason::Billed));
    assert_eq!(place.backlog().await, 0, "and no more");
    let mut numbers: Vec<_> = checks.iter().map(|check| check.key.out_trade_no.to_string()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_ledger_disputed_is_not_asked_about() {
    let all = numbers(5);
    let noon = "2026-11-19T12:00:30";
    let (place, process) = place(&[
        event(1, "order.paid", "OLD", "2026-11-15T12:00:00"),
        event(2, "order.mismatch", &all[0], noon),
        event(3, "order.paid", &all[1], noon),
        event(4, "order.duplicate_payment", &all[2], noon),
        event(5, "order.unpaid", &all[3], noon),
    ])
    .await;
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["reported_only"], json!({"told_before": 1, "told_otherwise": 2}), "{seen:#}");
    assert_eq!(asked_about(&place, 2).await, all[3..], "those that nobody was told of as paid");
    let seen = asked(&place).await;
    assert_eq!(
        seen["result"]["reported_only"],
        json!({"told_before": 1, "told_otherwise": 2}),
        "nor for a person"
    );
    assert_eq!(asked_about(&place, 2).await, all[3..]);
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_does_not_reach_back_to_is_asked_about_for_a_person_only() {
    let all = numbers(5);
    let (place, process) = place(&[event(1, "order.mismatch", &all[0], "2026-11-19T20:00:00")]).await;
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["reported_only"], json!({"told_otherwise": 1, "before_ledger": 4}), "{seen:#}");
    assert_eq!((&seen["result"]["checks"], place.backlog().await), (&json!(0), 0));
    let seen = asked(&place).await;
    assert_eq!(seen["result"]["reported_only"], json!({"told_otherwise": 1}), "{seen:#}");
    assert_eq!(asked_about(&place, 4).await, all[1..]);
    process.drain().await;
}

/// How much of a queue that nobody empties the checks of a bill may fill.
const ROOM: usize = 300;
const MANY: usize = 500;

/// Nobody can say whether these were told, and a person has them asked about.
async fn unknown() -> Place {
    let place = Place::open(MORNING);
    place.engine.append(&[event(1, "order.paid", "OTHER", "2026-11-19T20:00:00")]).await.unwrap();
    place
}

/// The queue is emptied, and everything is asked about: the first ones again, which the ledger drops.
async fn the_rest_follows(place: &Place, process: Process) {
    let asked = place.checks(ROOM + MANY).await;
    let numbers_of = asked.iter().map(|check| check.key.out_trade_no.to_string());
    assert_eq!(numbers_of.collect::<BTreeSet<_>>(), BTreeSet::from_iter(numbers(MANY)));
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["last"]["outcome"], "reconciled", "{seen:#}");
    let events = place.events().await;
    assert_eq!(events.iter().filter_map(Event::bill).map(|data| data.billed).collect::<Vec<_>>(), [500]);
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_asked_about_is_asked_about_though_the_queue_had_no_room() {
    let place = unknown().await;
    let mut bills = emptied(&place, MANY);
    (bills.timing.room, bills.wants.opening.by_itself) = (Duration::from_millis(50), false);
    let process = Process::start(bills);
    let seen = asked(&place).await;
    assert_eq!(
        (&seen["last"]["outcome"], &seen["result"]["checks"], &seen["asked"]),
        (&json!("no_room"), &json!(MANY), &json!(null))
    );
    process.drain().await;
    place.set("2026-11-20T10:15:00");
    the_rest_follows(&place, Process::start(emptied(&place, MANY))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_asked_about_is_asked_about_though_their_process_died() {
    let place = unknown().await;
    let mut bills = emptied(&place, MANY);
    (bills.me, bills.wants.opening.by_itself) = (Some(7), false);
    let wish = Wish { mch_id: mch_id(), day: day(DAY), file: None };
    let desk = Desk { by: Some(7), ..place.desk() };
    let bills::Asked::Taken { request, .. } = desk.ask(&wish).await.unwrap() else { panic!() };
    let work = async move { finish(&bills, &ours(), day(DAY), &request, &CancellationToken::new()).await };
    let killed = tokio::spawn(work);
    place.day_when(day(DAY), |seen| seen["progress"]["done"] == ROOM).await;
    killed.abort();
    place.set("2026-11-20T10:10:01");
    the_rest_follows(&place, Process::start(emptied(&place, MANY))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_ledger_of_an_installation_asks_since_active_since() {
    let (place, process) = place(&[]).await;
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["reported_only"], json!({}), "{seen:#}");
    assert_eq!(asked_about(&place, 5).await, numbers(5));
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_retention_brings_back_nothing_that_has_gone() {
    let place = Place::open(MORNING);
    let short = json!({"orders_ms": 3 * 3_600_000}).to_string();
    assert!(Notes::write(&place.engine, "retention", None, &short).await.unwrap());
    let mut bills = place.bills(Scripted::new(|of| {
        if of == day(DAY) { Says::Bill(bill(DAY, &numbers(5))) } else { Says::NoBill }
    }));
    bills.merchants = Arc::new(|| vec![ours()]);
    let process = Process::start(bills);
    let seen = place.day_in(day(DAY), State::Done).await;
    assert_eq!(seen["result"]["reported_only"], json!({"too_old": 5}), "{seen:#}");
    assert_eq!(place.backlog().await, 0);
    process.drain().await;
}
