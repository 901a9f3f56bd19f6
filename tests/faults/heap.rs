//! A heap of polls falls due at once while notifications come in: they go first.

use std::time::{Duration, Instant};

use paybell_core::{Fen, OrderKey, register::Application};
use redis_ledger::{RedisConfig, RedisLedger};
use serde_json::json;
use testkit::servers::{Redis, shared_rabbit, wait};

use crate::{
    harness::{MCH, Notification, Request, SUCCESS, eventually, get, is_full, wait_for},
    promise,
    rig::Rig,
};

/// What two busy cores do at the least in an unoptimised build.
const POLLS_PER_SECOND_MIN: u64 = 400;

/// Registrations under way at once.
const UNDER_WAY: usize = 1_024;

#[test]
fn a_heap_of_polls_due_at_once_delays_no_notification() {
    let orders = if is_full() { 1_000_000 } else { 20_000 };
    let redis = wait(Redis::start());
    let mut rig = Rig::start(&wait(shared_rabbit()), &redis.url());
    let begun = Instant::now();
    wait(register(&redis.url(), &rig.prefix, orders));
    eprintln!("{orders} orders are registered after {:.1} s", begun.elapsed().as_secs_f64());
    eventually("the polls are behind", || lag_seconds(&rig) > 1.0);
    // Payments that nobody notified wait for their turn behind the heap.
    rig.told_within += Duration::from_secs(u64::try_from(orders).unwrap() / POLLS_PER_SECOND_MIN);
    rig.suffer(&format!("{orders} polls due at once"), |rig| {
        let (before, of) = asked_about(rig, orders);
        pay_and_notify(rig, "FRESH");
        wait_for("a notified payment is told", || promise::events(rig)?.remove("FRESH"));
        // Whoever waited behind the heap would be told when what was claimed before had been asked about.
        let (after, _) = asked_about(rig, orders);
        let (made, left) = (after - before, of - before);
        eprintln!("a notified payment is told when {made} of the {left} polls that were left were made");
        assert!(left > of / 8 && made <= left / 4, "the payment came behind {made} of {left} polls");
    });
}

/// By how much the polls are behind.
fn lag_seconds(rig: &Rig) -> f64 {
    let metrics = rig.schedulers.iter().map(|service| service.metric("paybell_due_lag_seconds"));
    metrics.fold(0.0, f64::max)
}

/// WeChat takes money, and tells the first ingress of it.
#[track_caller]
fn pay_and_notify(rig: &Rig, order: &str) {
    let new = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": 1999, "notify_url": "http://127.0.0.1:9/" });
    rig.simulator.send("POST", "/_sim/orders", &new).expect(201);
    let path = format!("/_sim/orders/{MCH}/{order}");
    rig.simulator.send("POST", &format!("{path}/pay"), &json!({ "silent": true })).expect(200);
    let truth = get(rig.simulator.address, &path).expect(200).json();
    let id = truth["transaction_id"].as_str().unwrap();
    let body = Notification::of(order, 1999).with("transaction_id", id).signed();
    let notified = Request::new("POST", "/notify/pay").xml(body).send_at_last(rig.ingress_addresses()[0]);
    assert_eq!(notified.expect(200).body, SUCCESS);
}

/// How many of some orders all over the heap were asked about yet, and how many these are.
fn asked_about(rig: &Rig, orders: usize) -> (usize, usize) {
    let some = (0..orders).step_by(orders / 40);
    let of = some.len();
    let is_asked = |number: &usize| {
        let record = wait_for("an order of the heap", || rig.record(&name(*number)));
        record["looked_at"].is_string()
    };
    (some.filter(is_asked).count(), of)
}

fn name(number: usize) -> String {
    format!("HEAP{number:08}")
}

/// Orders of which WeChat knows nothing, all due within seconds.
async fn register(url: &str, prefix: &str, orders: usize) {
    use futures_util::{StreamExt, stream};
    use paybell_core::ports::Registry;
    let ledger = RedisLedger::open(RedisConfig::new(url, prefix).unwrap()).await.unwrap();
    let application = Application {
        total_fee: Fen::new(1).unwrap(),
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: None,
        expires_at: None,
        business_no: None,
    };
    let registered = stream::iter(0..orders).map(|number| {
        let (ledger, application) = (ledger.clone(), application.clone());
        async move {
            let key = OrderKey::new(MCH, name(number)).unwrap();
            // A busy machine may keep an answer back; the same registration again is no other one.
            while let Err(error) = ledger.register(&key, &application).await {
                eprintln!("{key} is registered again: {error}");
            }
        }
    });
    let count = registered.buffer_unordered(UNDER_WAY).count().await;
    assert_eq!(count, orders);
    tokio::time::timeout(Duration::from_secs(60), ledger.close()).await.unwrap();
}
