//! What must hold at the end of every day, whatever happened in it: I1 to I9, I11, and liveness.

use std::collections::{BTreeMap, BTreeSet};

use paybell_core::cadence::Cadence;
use paybell_core::dead::DeadReason;
use paybell_core::event::{EventType, OrderData, event_id};
use paybell_core::{DeadLetter, Event, OrderKey, Timestamp};
use uuid::Uuid;

use super::businesses;
use super::refund_oracle;
use super::scenario::Played;
use super::store::Emitted;
use super::wechat::{Books, Paid, Truth};

/// A lease, the longest backoff with its jitter, the hold for a registration, and travel.
const SLACK_MS: i64 = 60_000 + 300_000 + 60_000 + 60_000;
const POISON_MS: i64 = 6 * 3_600_000;
/// More than all points of all cadences, and what bad weather adds to them.
const LOOKS_MAX: u32 = 1_000;
const LAST_POINT_MS: i64 = 86_640_000;

/// Everything that is broken, in words; empty after a good day.
pub fn judge(day: &Played) -> Vec<String> {
    let store = day.world.store();
    let books = day.shop.wechat.books();
    let mut broken = store.broken.clone();
    let mut by_order: BTreeMap<OrderKey, Vec<&Emitted>> = BTreeMap::new();
    for emitted in &store.log {
        by_order.entry(order_of(&emitted.event)).or_default().push(emitted);
        is_true(emitted, &books, &mut broken);
    }
    for (key, emitted) in &by_order {
        is_consistent(key, emitted, &mut broken);
    }
    for (key, looks) in store.looks.iter().filter(|(_, looks)| **looks > LOOKS_MAX) {
        broken.push(format!("{key} was looked at {looks} times: nothing is due that often"));
    }
    let told: BTreeSet<Uuid> = store.log.iter().map(|emitted| emitted.event.id).collect();
    for record in store.records.values() {
        for event in record.events().filter(|event| !told.contains(&event.id)) {
            broken.push(format!("committed and never emitted: {} of {}", event.kind.as_str(), record.key));
        }
        if !record.keeps_its_due_time() {
            broken.push(format!("I8: {} ended without a due time", record.key));
        }
    }
    let registrations = day.shop.told().registered.clone();
    for (key, (_, total_fee)) in &registrations {
        let kept = store.records.get(key).and_then(|record| record.registration.as_ref());
        if kept.is_none_or(|registration| registration.total_fee.get() != *total_fee) {
            broken.push(format!("the acknowledged registration of {key} is gone"));
        }
    }
    refund_oracle::judge(day, &store, &books, &mut broken);
    businesses::judge(day, &store, &mut broken);
    drop((store, books));
    is_live(day, &mut broken);
    if day.shop.told().forgeries_accepted > 0 {
        broken.push("a forged notification was answered SUCCESS".to_owned());
    }
    broken
}

fn is_payment(event: &Event) -> bool {
    matches!(event.kind, EventType::Paid | EventType::DuplicatePayment)
}

fn order_of(event: &Event) -> OrderKey {
    event.key().expect("a day of the simulation has no bill")
}

fn data_of(event: &Event) -> &OrderData {
    event.order().expect("a day of the simulation has no bill")
}

/// I2, I3: the event says what WeChat knew, and a denial was not decided on anything less than an answer.
fn is_true(emitted: &Emitted, books: &Books, broken: &mut Vec<String>) {
    let event = &emitted.event;
    let key = order_of(event);
    let Some(truth) = books.truths.get(&key) else {
        broken.push(format!("I2: {} about an order that never was: {key}", event.kind.as_str()));
        return;
    };
    match event.kind {
        EventType::Paid | EventType::DuplicatePayment | EventType::Mismatch | EventType::Refunded => {
            let fits = truth.paid.as_ref().is_some_and(|paid| {
                let id = event.transaction_id().map(|id| id.as_str());
                paid.at_ms <= emitted.at_ms && id == Some(paid.transaction_id.as_str())
            });
            let amount = data_of(event).total_fee.map(|fee| fee.get());
            if !fits || amount != Some(truth.total_fee) {
                broken.push(format!(
                    "I2: {} of {key} ({amount:?}) is not what WeChat knows",
                    event.kind.as_str()
                ));
            }
        }
        EventType::Closed | EventType::Failed | EventType::Unpaid => {
            is_true_denial(emitted, truth, books, broken)
        }
        EventType::RefundSucceeded | EventType::RefundAbnormal | EventType::RefundClosed => {
            refund_oracle::is_true(emitted, books, broken);
        }
        EventType::BillReconciled => {
            broken.push(format!("{} of {key}: nothing here leads to it", event.kind.as_str()));
        }
    }
}

fn is_true_denial(emitted: &Emitted, truth: &Truth, books: &Books, broken: &mut Vec<String>) {
    let event = &emitted.event;
    let key = order_of(event);
    // The longest way from an answer to the emission leads over a stall, a lost lease and its backoff.
    let was_answered = books.denials.iter().any(|denied| denied.key == key && denied.at_ms <= emitted.at_ms);
    let is_visible_before_all = truth.paid.as_ref().is_some_and(|paid| {
        let last = books.denials.iter().filter(|denied| denied.key == key).map(|denied| denied.at_ms).max();
        last.is_none_or(|last| paid.visible_ms < last.min(event.time.millis()) - LAST_POINT_MS)
    });
    if !was_answered || is_visible_before_all {
        broken.push(format!("I2: {} of {key} without an answer that says so", event.kind.as_str()));
    }
    if event.kind == EventType::Closed && truth.closed_ms.is_none_or(|at| at > emitted.at_ms) {
        broken.push(format!("I2: {key} was called closed, and WeChat had not closed it"));
    }
    if event.kind == EventType::Unpaid {
        // Decided when the last denial before it was answered.
        let decided_ms = books
            .denials
            .iter()
            .filter(|denied| denied.key == key && denied.at_ms <= emitted.at_ms)
            .map(|denied| denied.at_ms)
            .max();
        if data_of(event).registered
            && decided_ms.is_some_and(|at| at < truth.created_ms + LAST_POINT_MS - 1_000)
        {
            broken.push(format!("I11: {key} was called unpaid before its last cadence point"));
        }
        if truth.paid.as_ref().is_some_and(|paid| decided_ms.is_some_and(|at| paid.visible_ms < at - 2_000)) {
            broken.push(format!("I2: {key} was called unpaid though WeChat said otherwise"));
        }
    }
}

/// I4, I7, I9: ids, versions, at most one `order.paid`.
fn is_consistent(key: &OrderKey, emitted: &[&Emitted], broken: &mut Vec<String>) {
    let mut first_of: BTreeMap<Uuid, &Event> = BTreeMap::new();
    let mut version = 0;
    let mut denied = false;
    for event in emitted.iter().map(|emitted| &emitted.event) {
        let transaction_id = event.transaction_id().map_or("", |id| id.as_str());
        let reference = data_of(event).refund.as_ref().map_or(transaction_id, |one| one.refund_id.as_str());
        if event.id != event_id(key, event.kind, reference) {
            broken.push(format!("I4: {} of {key} has a foreign id", event.kind.as_str()));
        }
        if let Some(first) = first_of.get(&event.id) {
            if *first != event {
                broken.push(format!("I4: {} of {key} was repeated differently", event.kind.as_str()));
            }
            continue;
        }
        first_of.insert(event.id, event);
        if data_of(event).version <= version {
            broken.push(format!("I9: versions of {key} do not rise"));
        }
        version = data_of(event).version;
        if is_payment(event) && data_of(event).late != denied {
            broken.push(format!("I9: late of {key} is {}", data_of(event).late));
        }
        denied |= matches!(event.kind, EventType::Closed | EventType::Failed | EventType::Unpaid);
    }
    let paid: BTreeSet<Uuid> =
        first_of.values().filter(|event| event.kind == EventType::Paid).map(|event| event.id).collect();
    if paid.len() > 1 {
        broken.push(format!("I7: {key} has {} ids of order.paid", paid.len()));
    }
}

/// Every payment that could be learned of was told, in time.
fn is_live(day: &Played, broken: &mut Vec<String>) {
    let (store, told, books) = (day.world.store(), day.shop.told(), day.shop.wechat.books());
    for (key, truth) in &books.truths {
        let Some(paid) = &truth.paid else { continue };
        let acknowledged = told.acknowledged.get(key).copied();
        let registered = told.registered.get(key).map(|(at_ms, _)| *at_ms);
        let last_point_ms = truth.created_ms + LAST_POINT_MS;
        let is_polled = registered.is_some() && paid.visible_ms <= last_point_ms - 1_000;
        if acknowledged.is_none() && !is_polled {
            continue;
        }
        let is_told = |emitted: &&Emitted| {
            order_of(&emitted.event) == *key
                && matches!(
                    emitted.event.kind,
                    EventType::Paid | EventType::DuplicatePayment | EventType::Mismatch
                )
        };
        let is_of = |letter: &DeadLetter, reason: DeadReason| {
            letter.reason == reason && letter.key().as_ref() == Some(key)
        };
        let poisoned = store.dead.values().any(|letter| is_of(letter, DeadReason::Poison));
        let by_ms =
            latest_ms(day, truth, paid, acknowledged, registered) + if poisoned { POISON_MS } else { 0 };
        let is_for_another_app = registered.is_some() && told.strayed.contains(key);
        match store.log.iter().find(is_told) {
            _ if is_for_another_app => {
                if !store.dead.values().any(|letter| is_of(letter, DeadReason::WrongOrder)) {
                    broken.push(format!(
                        "{key} was paid through another app than registered, and nobody knows"
                    ));
                }
            }
            None => broken.push(format!(
                "lost: {key} was paid at {}, acknowledged {acknowledged:?}, registered {registered:?}",
                Timestamp::from_millis(paid.at_ms)
            )),
            Some(first) if first.at_ms > by_ms => broken
                .push(format!("liveness: {key} was told {} s after its time", (first.at_ms - by_ms) / 1000)),
            Some(_) => {}
        }
    }
    for (key, at_ms) in &told.accepted {
        let is_paid = store.log.iter().any(|one| order_of(&one.event) == *key && is_payment(&one.event));
        let is_over =
            store.records.get(key).is_some_and(|record| record.payment.as_ref().is_some_and(|p| p.refunded));
        if !is_paid && !is_over {
            broken.push(format!("accepted at {at_ms} and never emitted: {key}"));
        }
    }
}

/// The next cadence point after everything that must come first, plus the longest backoff.
fn latest_ms(
    day: &Played,
    truth: &Truth,
    paid: &Paid,
    acknowledged: Option<i64>,
    registered: Option<i64>,
) -> i64 {
    let known_ms = match (acknowledged, registered) {
        (Some(one), Some(other)) if paid.visible_ms <= truth.created_ms + LAST_POINT_MS => one.min(other),
        (Some(one), _) => one,
        (None, other) => other.unwrap_or(0),
    };
    let from_ms = day.last_fault_ms.max(paid.visible_ms).max(known_ms);
    let created_at = Timestamp::from_millis(truth.created_ms);
    let next = Cadence::wechat().next_point(created_at, None, Timestamp::from_millis(from_ms));
    let point_ms = match registered {
        Some(_) => next.map_or(from_ms, Timestamp::millis),
        None => from_ms,
    };
    point_ms + SLACK_MS + 2 * day.clock_off_max_ms
}
