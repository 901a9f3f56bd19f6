//! What must be true after every fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    harness::wait_within,
    load::{Load, Loaded},
    rig::{Kept, Rig},
};

/// Within so long an ingress that accepted a request answers it.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);
/// The longest recovery of what was in a killed worker's hands: its leases end after a minute.
pub const TOLD_WITHIN: Duration = Duration::from_secs(120);
/// Until a payment made after the fault is told.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// Until a notification is answered SUCCESS and its event is there, both after the fault: what an operator calls
/// recovered.
#[track_caller]
pub fn waits_for_a_fresh_payment(rig: &Rig, load: &Load) -> Instant {
    let before = load.acknowledged();
    wait_within(RECOVERY_MAX, "a payment after the fault is told", || {
        let fresh: BTreeSet<String> = load.acknowledged().difference(&before).cloned().collect();
        let told = if fresh.is_empty() { BTreeMap::new() } else { events(rig)? };
        fresh.iter().any(|order| told.contains_key(order)).then(Instant::now)
    })
}

/// Waits until everything is told, and looks at every answer and event of this load.
#[track_caller]
pub fn is_kept(rig: &Rig, loaded: &Loaded, kept: Kept, fault: &str) -> Instant {
    let truth: BTreeMap<String, Value> = rig
        .simulator
        .truth()
        .into_iter()
        .map(|order| (order["out_trade_no"].as_str().unwrap().to_owned(), order))
        .collect();
    let wanted = match kept {
        Kept::Everything => loaded.knowable(),
        Kept::Acknowledged => loaded.acknowledged(),
    };
    assert!(wanted.len() >= 20, "{fault}: there was load: {}", wanted.len());
    let begun = Instant::now();
    let mut told = BTreeMap::new();
    let all_told = wait_within(
        rig.told_within + Duration::from_secs(30),
        &format!("{fault}: every payment is told"),
        || {
            told = events(rig)?;
            let missing: Vec<_> = wanted.iter().filter(|order| !told.contains_key(*order)).collect();
            if begun.elapsed() > rig.told_within {
                let one = missing.first().map(|order| rig.record(order));
                assert!(missing.is_empty(), "{fault}: lost {}: {missing:?}; {one:#?}", missing.len());
            }
            missing.is_empty().then(Instant::now)
        },
    );
    for (order, events) in &told {
        let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{fault}: {order} is told under several ids: {events:#?}");
        let fact = truth.get(order).unwrap_or_else(|| panic!("{fault}: nobody paid {order}"));
        assert_eq!(fact["paid"], true, "{fault}: {order}");
        for event in events {
            assert_eq!(event["data"]["total_fee"], fact["total_fee"], "{fault}: {order}");
            assert_eq!(event["data"]["transaction_id"], fact["transaction_id"], "{fault}: {order}");
        }
    }
    assert!(loaded.slowest() <= ANSWER_MAX, "{fault}: an answer took {:?}", loaded.slowest());
    assert_eq!(loaded.unexpected(), Vec::<String>::new(), "{fault}");
    all_told
}

/// Every `order.paid` in the log by order; `None` while the log cannot be read.
pub fn events(rig: &Rig) -> Option<BTreeMap<String, Vec<Value>>> {
    let mut told = BTreeMap::<String, Vec<Value>>::new();
    for event in log(rig, "type=order.paid&")? {
        told.entry(event["subject"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    Some(told)
}

/// Every event in the log that the query asks for, oldest first; `None` while the log cannot be read.
pub fn log(rig: &Rig, query: &str) -> Option<Vec<Value>> {
    let (mut told, mut after) = (Vec::new(), String::new());
    loop {
        let answer = rig.api("GET", &format!("/v1/events?{query}limit=1000{after}"), None)?;
        if answer.status != 200 {
            return None;
        }
        let page = answer.json();
        told.extend(page["events"].as_array().unwrap().iter().map(|row| row["event"].clone()));
        if page["has_more"] == false {
            return Some(told);
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}
