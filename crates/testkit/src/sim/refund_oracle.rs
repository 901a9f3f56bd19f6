//! What must hold of refunds at the end of every day: money went back once per number, every refund that could be learned
//! of was told as it is, and no payment was told because of a refund.

use paybell_core::cadence::Cadence;
use paybell_core::dead::DeadReason;
use paybell_core::event::EventType;
use paybell_core::refund::RefundState;
use paybell_core::time::Millis;
use paybell_core::{OrderKey, OutRefundNo, Timestamp};

use super::refunds::RefundTruth;
use super::scenario::Played;
use super::store::{Emitted, Store};
use super::wechat::Books;

/// A lease, the longest backoff with its jitter, the steps of the order itself, and travel.
const SLACK_MS: i64 = 60_000 + 300_000 + 120_000 + 60_000;
const STUCK_MS: i64 = 6 * 3_600_000;

/// The event says what WeChat said by then.
pub fn is_true(emitted: &Emitted, books: &Books, broken: &mut Vec<String>) {
    let event = &emitted.event;
    let (Some(key), Some(data)) = (event.key(), event.order()) else { return };
    let Some(told) = &data.refund else {
        broken.push(format!("{} of {key} names no refund", event.kind.as_str()));
        return;
    };
    let word = match event.kind {
        EventType::RefundSucceeded => "SUCCESS",
        EventType::RefundAbnormal => "CHANGE",
        _ => "REFUNDCLOSE",
    };
    let fits = books.refund(&key, told.out_refund_no.as_str()).is_some_and(|truth| {
        let was_so = truth.words.iter().any(|(at_ms, one)| *one == word && *at_ms <= emitted.at_ms);
        was_so
            && truth.refund_id == told.refund_id.as_str()
            && truth.refund_fee == told.refund_fee.get()
            && told.refund_status == word
    });
    if !fits {
        broken.push(format!(
            "{} {} of {key} is not what WeChat knows",
            event.kind.as_str(),
            told.out_refund_no
        ));
    }
}

/// Everything else about refunds.
pub fn judge(day: &Played, store: &Store, books: &Books, broken: &mut Vec<String>) {
    let told = day.shop.told();
    for (key, truth) in &books.refunds.taken {
        let name = (key.clone(), truth.number.clone());
        if !told.refunds_asked.contains_key(&name)
            && !told.refunds_elsewhere.contains(&name)
            && !was_stored(store, key, truth)
        {
            broken
                .push(format!("money went back under a number that nobody gave: {} of {key}", truth.number));
        }
        let same = books.refunds.taken.iter().filter(|(of, one)| of == key && one.number == truth.number);
        if same.count() > 1 {
            broken.push(format!("money went back twice under {} of {key}", truth.number));
        }
    }
    for ((key, number), asked_ms) in &told.refunds_asked {
        match books.refund(key, number) {
            Some(truth) => is_told(day, (store, key), truth, Some(*asked_ms), broken),
            None => is_refused(store, key, number, broken),
        }
    }
    for (key, number) in &told.refunds_elsewhere {
        let notified = told.refunds_notified.get(&(key.clone(), number.clone()));
        if let (Some(truth), Some(notified_ms)) = (books.refund(key, number), notified) {
            is_told(day, (store, key), truth, Some(*notified_ms), broken);
        }
    }
    for key in &told.ghosts {
        let about = |one: &&Emitted| one.event.key().as_ref() == Some(key);
        let is_payment = |one: &&Emitted| one.event.kind.as_str().starts_with("order.");
        if let Some(one) = store.log.iter().filter(about).find(is_payment) {
            broken.push(format!("{} of {key}, which only a refund told of", one.event.kind.as_str()));
        }
    }
}

/// A shop whose every answer was lost asked all the same.
fn was_stored(store: &Store, key: &OrderKey, truth: &RefundTruth) -> bool {
    let number = OutRefundNo::new(truth.number.as_str()).ok();
    let record = store.records.get(key);
    number.is_some_and(|number| record.is_some_and(|record| record.refund(&number).is_some()))
}

/// A shop that was answered must find its refund at WeChat, or be told why not.
fn is_refused(store: &Store, key: &OrderKey, number: &str, broken: &mut Vec<String>) {
    let number = OutRefundNo::new(number).expect("a short number");
    let refund = store.records.get(key).and_then(|record| record.refund(&number));
    if refund.is_none_or(|refund| refund.state != RefundState::Refused) {
        let state = refund.map(|refund| refund.state);
        broken.push(format!("lost: refund {number} of {key} was asked for and never sent ({state:?})"));
    }
}

/// What WeChat says of a refund was told, in time, and the record says it too.
fn is_told(
    day: &Played,
    (store, key): (&Store, &OrderKey),
    truth: &RefundTruth,
    known_ms: Option<i64>,
    broken: &mut Vec<String>,
) {
    let Some((settled_ms, word)) = truth.words.last().copied() else { return };
    let (kind, state) = match word {
        "SUCCESS" => (EventType::RefundSucceeded, RefundState::Succeeded),
        "CHANGE" => (EventType::RefundAbnormal, RefundState::Abnormal),
        _ => (EventType::RefundClosed, RefundState::Closed),
    };
    let is_it = |one: &&Emitted| {
        let refund = one.event.order().and_then(|data| data.refund.as_ref());
        one.event.kind == kind
            && one.event.key().as_ref() == Some(key)
            && refund.is_some_and(|refund| refund.out_refund_no.as_str() == truth.number)
    };
    let number = OutRefundNo::new(truth.number.as_str()).expect("a short number");
    let stored = store.records.get(key).and_then(|record| record.refund(&number));
    if stored.map(|refund| refund.state) != Some(state) {
        let is = stored.map(|refund| refund.state);
        broken.push(format!("refund {number} of {key} is {word} and stored as {is:?}"));
    }
    let poisoned = |reason: DeadReason| {
        store.dead.values().any(|one| one.reason == reason && one.key().as_ref() == Some(key))
    };
    let stuck_ms = if poisoned(DeadReason::Poison) { STUCK_MS } else { 0 };
    let from_ms = day.last_fault_ms.max(settled_ms).max(known_ms.unwrap_or(0));
    let by_ms = next_look_ms(stored.map(|refund| refund.known_at), from_ms)
        + stuck_ms
        + SLACK_MS
        + 2 * day.clock_off_max_ms;
    match store.log.iter().find(is_it) {
        None => broken.push(format!("lost: {} {number} of {key} was never told", kind.as_str())),
        Some(first) if first.at_ms > by_ms => {
            broken.push(format!(
                "liveness: refund {number} of {key} was told {} s late",
                (first.at_ms - by_ms) / 1000
            ));
        }
        Some(_) => {}
    }
}

fn next_look_ms(known_at: Option<Timestamp>, from_ms: i64) -> i64 {
    let from = Timestamp::from_millis(from_ms);
    let next = known_at.and_then(|known_at| Cadence::wechat().next_point(known_at, None, from));
    next.unwrap_or(from + Millis(STUCK_MS)).millis()
}
