//! Faults while a day's bill is gone through: every payment that only the bill knows comes out once, and the bill is told
//! once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::servers::{Rabbit, Redis, wait};

use crate::{
    harness::{MCH, Simulator, is_full, now_ms, skip, wait_for, wait_within},
    promise,
    rig::{Rig, Setup},
};

/// Payments that nobody told.
const ORDERS: usize = 500;
/// Slow enough that the faults find the bill under way.
const QUERIES_PER_SECOND: u32 = 40;
/// Leases of orders and of the day that a fault left behind end by then.
const RECOVERY: Duration = Duration::from_secs(150);

#[test]
fn a_bill_is_gone_through_once_although_a_broker_and_a_redis_die_meanwhile() {
    if !is_full() {
        skip("it needs a machine that keeps the bill under way for long: tests/run --full");
        return;
    }
    let (rabbit, redis, folder) = (wait(Rabbit::start()), wait(Redis::start()), TempDir::new().unwrap());
    let simulator = paid_yesterday();
    let setup = Setup {
        top: format!("reconcile.after = \"00:00\"\nreconcile.folder = \"{}\"\n", folder.path().display()),
        merchant: format!("active_since = \"{}T00:00:00+08:00\"\n", day(2)),
        query_rate: QUERIES_PER_SECOND,
        ..Setup::of(&rabbit.url(), &redis.url())
    };
    let rig = Rig::with(&setup, simulator);
    told_of(&rig, ORDERS / 8);
    wait(rabbit.kill());
    wait(rabbit.start_again());
    let told = told_of(&rig, ORDERS / 2);
    assert!(told < ORDERS, "the second fault finds the bill under way: {told}");
    wait(redis.kill());
    wait(redis.start_again());
    let ended = Instant::now();
    told_of(&rig, ORDERS);
    let took = ended.elapsed();
    let done = wait_within(RECOVERY, "the day is done", || bill(&rig).filter(|bill| bill["state"] == "done"));
    assert_eq!(done["summary"]["billed"], ORDERS, "{done}");
    let mut ids = BTreeMap::<String, BTreeSet<String>>::new();
    for event in wait_for("the log is read", || promise::log(&rig, "")) {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        assert!(["order.paid", "bill.reconciled"].contains(&event["type"].as_str().unwrap()), "{event}");
        assert!(event["type"] == "bill.reconciled" || event["data"]["learned_by"] == "bill", "{event}");
        ids.entry(text("subject")).or_default().insert(text("id"));
    }
    assert_eq!(ids.len(), ORDERS + 1, "every payment, and the day");
    assert!(ids.values().all(|ids| ids.len() == 1), "each under one id: {ids:?}");
    assert_eq!(rig.dead_letters(), json!([]));
    eprintln!(
        "FAULT RabbitMQ, then Redis killed and restarted, amid a bill of {ORDERS} unknown payments: all told {:.1} s \
         after the second fault's end",
        took.as_secs_f64()
    );
}

/// A date in Beijing.
fn day(days_ago: i64) -> String {
    wechat_pay::beijing::format_spaced(now_ms() - days_ago * 86_400_000).unwrap()[..10].to_owned()
}

fn paid_yesterday() -> Simulator {
    let simulator = Simulator::start();
    simulator.send("PUT", "/_sim/settings", &json!({ "bill_ready_s": 0 })).expect(200);
    let noon = format!("{}120000", day(1).replace('-', ""));
    for number in 0..ORDERS {
        let order = format!("Y{number:05}");
        let nowhere = "http://127.0.0.1:9/notify";
        let new = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": 1999, "notify_url": nowhere });
        simulator.send("POST", "/_sim/orders", &new).expect(201);
        let paid = json!({ "silent": true, "time_end": noon });
        simulator.send("POST", &format!("/_sim/orders/{MCH}/{order}/pay"), &paid).expect(200);
    }
    simulator
}

/// Waits until so many payments are told, and gives how many are.
#[track_caller]
fn told_of(rig: &Rig, count: usize) -> usize {
    wait_within(RECOVERY, &format!("{count} payments are told"), || {
        let told = promise::events(rig)?.len();
        (told >= count).then_some(told)
    })
}

fn bill(rig: &Rig) -> Option<Value> {
    let answer = rig.api("GET", &format!("/v1/bills/{MCH}/{}", day(1)), None)?;
    (answer.status == 200).then(|| answer.json())
}
