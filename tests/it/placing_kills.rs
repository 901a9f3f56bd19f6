//! Placing under SIGKILL: at every step of one order, and at random ones of many. There is no order that WeChat knows and
//! the service does not, and no payment that is not told, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{MCH, Request, Settings, is_full, wait_for, wait_within},
    kill::{Random, free_address, seed},
    placing::Till,
};

/// A lease that died with its owner ends after a minute; then its order is looked at again.
const RECOVERY: Duration = Duration::from_secs(150);

/// Where the process is when it dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The order is registered, and WeChat will never hear of this call.
    Registered,
    /// WeChat has it, and the answer is on its way.
    Taken,
    /// The answer is stored and given.
    Answered,
    /// The older number of the business order is being asked about.
    MakingWay,
    /// The older number is closed, and nobody here knows.
    Closed,
}

const STEPS: [Step; 5] = [Step::Registered, Step::Taken, Step::Answered, Step::MakingWay, Step::Closed];

/// Looks for minutes: an order may be paid long after its first process died.
fn cadence() -> Vec<&'static str> {
    [["1s"; 20], ["2s"; 20], ["5s"; 20]].concat()
}

/// At the same address in every life: WeChat is told the same `notify_url`.
fn open() -> Till {
    let ingress = free_address().to_string();
    let merchant = "query_rate = \"500/s\"";
    Till::open(&Settings { cadence: &cadence(), ingress: &ingress, merchant, ..Settings::default() })
}

/// Each order that WeChat has is one that the service registered.
#[track_caller]
fn all_are_known(till: &Till) {
    for truth in till.simulator.truth() {
        let order = truth["out_trade_no"].as_str().unwrap();
        let record =
            till.shop.record(order).unwrap_or_else(|| panic!("{order} is known to WeChat alone: {truth}"));
        assert_eq!(record["registration"]["total_fee"], truth["total_fee"], "{order}: {record}");
    }
}

/// Asks until it is placed, as a shop does whose request broke off.
#[track_caller]
fn place_at_last(till: &Till, order: &str, more: &Value) -> Value {
    wait_for(&format!("{order} is placed"), || {
        let answer = till.place(order, more);
        (answer.status < 300).then(|| answer.json())
    })
}

/// Sends a demand whose answer nobody will read, and waits until it has come so far.
fn begin(till: &Till, order: &str, more: &Value, mut is_there: impl FnMut() -> bool) {
    let console = till.shop.service.address("console");
    let (path, body) = (format!("/v1/orders/{MCH}/{order}/place"), crate::placing::wish(more));
    thread::scope(|scope| {
        scope.spawn(|| Request::new("POST", &path).json(&body).try_send(console));
        wait_for("the step is reached", || is_there().then_some(()));
        // SIGKILL ends the connection, and with it the thread.
        till.shop.service.process.signal("KILL");
    });
}

#[test]
fn a_process_that_is_killed_at_any_step_of_placing_leaves_no_order_that_it_does_not_know() {
    let mut till = open();
    for step in STEPS {
        let order = format!("{step:?}");
        let more = json!({ "business_no": format!("B-{step:?}") });
        let older = format!("OLD{step:?}");
        let closes = matches!(step, Step::MakingWay | Step::Closed);
        if closes {
            till.placed_by_sdk(&older, &format!("B-{step:?}"));
            // Every point of its cadence has passed, and WeChat would still take its payment.
            wait_for("the older number is given up", || {
                till.shop.record(&older).filter(|record| record["state"] == "unpaid")
            });
        }
        match step {
            Step::Registered => {
                till.simulator
                    .misbehaves(&json!({ "unified_order": { "slow": 1.0, "slow_ms": 2000, "lost": 1.0 } }));
                begin(&till, &order, &more, || till.shop.record(&order).is_some());
            }
            Step::Taken => {
                till.simulator.misbehaves(&json!({ "unified_order": { "slow": 1.0, "slow_ms": 5000 } }));
                begin(&till, &order, &more, || till.truth_of(&order).is_some());
            }
            Step::Answered => {
                till.placed(&order, &more);
                till.shop.service.process.signal("KILL");
            }
            Step::MakingWay => {
                till.simulator.misbehaves(&json!({ "query_slow": 1.0, "query_slow_ms": 4000 }));
                begin(&till, &order, &more, || {
                    till.shop.record(&order).is_some_and(|record| record["placing"].is_object())
                });
            }
            Step::Closed => {
                till.simulator.misbehaves(&json!({ "close_order": { "slow": 1.0, "slow_ms": 4000 } }));
                begin(&till, &order, &more, || till.truth_of(&older).unwrap()["trade_state"] == "CLOSED");
            }
        }
        till.shop.service.process.kill();
        till.simulator.heal();
        till.shop.start_again();
        all_are_known(&till);
        assert!(till.shop.record(&order).is_some(), "{step:?}: it was registered before anything else");
        if step == Step::Taken {
            // Its payer does not wait until the shop asks again.
            till.pay(&order, true);
            wait_within(RECOVERY, "the poll finds the payment", || {
                till.shop.types_of(&order).contains(&"order.paid".to_owned()).then_some(())
            });
            assert_eq!(
                till.place(&order, &more).expect(409).json()["type"],
                "urn:paybell:problem:order-paid"
            );
            continue;
        }
        let placed = place_at_last(&till, &order, &more);
        if closes {
            assert_eq!(till.truth_of(&older).unwrap()["trade_state"], "CLOSED", "{step:?}");
        }
        till.device(&json!({ "code_url": placed["pay"]["code_url"] })).expect(200);
        till.shop.event(&order, "order.paid");
    }
    all_are_known(&till);
    for order in STEPS.map(|step| format!("{step:?}")) {
        assert_eq!(ids(&till, &order).len(), 1, "{order} is told under one id");
    }
    assert_eq!(till.shop.dead_letters(), Vec::<Value>::new());
}

/// The ids under which an order was told as paid.
fn ids(till: &Till, order: &str) -> BTreeSet<String> {
    let events = till.shop.events_of(order);
    let paid = events.iter().filter(|event| event["type"] == "order.paid");
    paid.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn orders_that_are_placed_while_the_process_dies_again_and_again_are_all_known_and_told() {
    let seed = seed();
    eprintln!("PAYBELL_KILL_SEED={seed}");
    let (kills, orders) = if is_full() { (60, 600) } else { (12, 120) };
    let mut till = open();
    till.simulator.misbehaves(&json!({
        "seed": seed, "attempt_lost": 0.3,
        "unified_order": { "slow": 0.5, "slow_ms": 120, "lost": 0.1, "answer_lost": 0.1, "system_error_after": 0.1 },
        "query_slow": 0.3, "query_slow_ms": 50,
    }));
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let console = std::sync::Mutex::new(till.shop.service.address("console"));
    let simulator = till.simulator.address;
    thread::scope(|scope| {
        let shops: Vec<_> =
            (0..3).map(|_| scope.spawn(|| sell(&next, orders, &console, simulator, &is_over))).collect();
        let mut random = Random(seed);
        for _ in 0..kills {
            // The moment is random on purpose: anything may be in hand.
            let until = Instant::now() + Duration::from_millis(random.below(600));
            wait_for("the moment to die", || (Instant::now() >= until).then_some(()));
            till.shop.service.process.kill();
            till.shop.start_again();
            *console.lock().unwrap() = till.shop.service.address("console");
            all_are_known(&till);
        }
        is_over.store(true, Ordering::SeqCst);
        shops.into_iter().for_each(|shop| shop.join().unwrap());
    });
    till.simulator.heal();
    all_are_known(&till);
    let paid: BTreeSet<String> = till
        .simulator
        .truth()
        .iter()
        .filter(|truth| truth["trade_state"] == "SUCCESS")
        .map(|truth| truth["out_trade_no"].as_str().unwrap().to_owned())
        .collect();
    assert!(paid.len() >= 20, "there was trade: {} payments", paid.len());
    let told = wait_within(RECOVERY, "every payment is told", || {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in till.shop.log() {
            let event = &row["event"];
            assert_eq!(event["type"], "order.paid", "{event}");
            let (order, id) = (event["subject"].as_str().unwrap(), event["id"].as_str().unwrap());
            told.entry(order.to_owned()).or_default().insert(id.to_owned());
        }
        paid.iter().all(|order| told.contains_key(order)).then_some(told)
    });
    assert!(told.values().all(|ids| ids.len() == 1), "one id each: {told:?}");
    assert_eq!(told.into_keys().collect::<BTreeSet<_>>(), paid, "exactly the payments");
    assert_eq!(till.shop.dead_letters(), Vec::<Value>::new());
}

/// Places orders and pays those that it gets an answer for, half of them in silence. A request that broke off is
/// repeated unchanged.
fn sell(
    next: &AtomicUsize,
    orders: usize,
    console: &std::sync::Mutex<std::net::SocketAddr>,
    simulator: std::net::SocketAddr,
    is_over: &AtomicBool,
) {
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= orders || is_over.load(Ordering::SeqCst) {
            return;
        }
        let (path, body) = (
            format!("/v1/orders/{MCH}/K{number:04}/place"),
            crate::placing::wish(&json!({ "total_fee": 100 + number })),
        );
        // One in five is given up at once, whatever became of it.
        while !is_over.load(Ordering::SeqCst) {
            let console = *console.lock().unwrap();
            let answer = Request::new("POST", &path).json(&body).try_send(console);
            if answer.is_ok_and(|answer| answer.status < 300) {
                let pay = format!("/_sim/orders/{MCH}/K{number:04}/pay");
                let silent = json!({ "silent": number.is_multiple_of(2) });
                Request::new("POST", &pay).json(&silent).send(simulator).expect(200);
                break;
            }
            if number.is_multiple_of(5) {
                break;
            }
            // The process may be coming back.
            let next = Instant::now() + Duration::from_millis(20);
            wait_for("the next try", || (Instant::now() >= next).then_some(()));
        }
    }
}
