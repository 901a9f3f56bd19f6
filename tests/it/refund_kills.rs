//! Refunding under SIGKILL: at every step of one refund, and at random ones of many. WeChat takes each number once, and
//! each end is told under one id.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{MCH, eventually, is_full, wait_for, wait_within},
    kill::{Random, seed},
    refunds::Desk,
};

/// A lease that died with its owner ends after a minute; then its order is looked at again.
const RECOVERY: Duration = Duration::from_secs(150);
const CADENCE: &[&str] = &["1s", "1s", "1s", "2s", "2s", "2s", "5s", "5s", "1h"];

/// Where the process is when it dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The wish is stored and answered.
    Stored,
    /// WeChat has taken it, and nobody here knows.
    Taken,
    /// WeChat never got it.
    Lost,
    /// WeChat's yes is stored.
    Processing,
    /// WeChat is being asked how it ended.
    Asked,
    /// The notification of the end is acknowledged.
    Acknowledged,
    /// The end is told.
    Told,
}

const STEPS: [Step; 7] =
    [Step::Stored, Step::Taken, Step::Lost, Step::Processing, Step::Asked, Step::Acknowledged, Step::Told];

#[test]
fn a_process_that_is_killed_at_any_step_refunds_once_and_tells_it_once() {
    let mut desk = Desk::open(CADENCE);
    desk.holds_refunds();
    for step in STEPS {
        desk.paid(&order(step), 1999);
    }
    for step in STEPS {
        reach(&desk, step);
        desk.shop.service.process.kill();
        desk.simulator.heal();
        desk.shop.start_again();
    }
    for step in STEPS {
        let number = number(step);
        wait_within(RECOVERY, &format!("{step:?}: WeChat has it"), || desk.truth_of(&number));
        let is_open = desk.truth_of(&number).unwrap()["refund_status"] == "PROCESSING";
        if is_open {
            desk.end(&number, "SUCCESS");
        }
    }
    for step in STEPS {
        let number = number(step);
        let told = wait_within(RECOVERY, &format!("{step:?} is told"), || {
            let told = desk.events("refund.succeeded", &number);
            (!told.is_empty()).then_some(told)
        });
        let ids: BTreeSet<&str> = told.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{step:?}: one id: {told:?}");
        wait_within(RECOVERY, &format!("{step:?} is settled"), || {
            Some(()).filter(|()| desk.shown(&order(step), &number)["state"] == "succeeded")
        });
    }
    let truth = desk.truth();
    assert_eq!(truth.len(), STEPS.len(), "one refund for each wish: {truth:?}");
    assert!(truth.iter().all(|refund| refund["refund_fee"] == 500), "{truth:?}");
    assert_eq!(desk.shop.dead_letters(), Vec::<Value>::new());
}

fn order(step: Step) -> String {
    format!("T-{step:?}")
}

fn number(step: Step) -> String {
    format!("R-{step:?}")
}

/// Has the refund asked for, and comes back when it is at the step.
fn reach(desk: &Desk, step: Step) {
    let (order, number) = (order(step), number(step));
    let faults = match step {
        Step::Taken => json!({ "refund": { "slow": 1.0, "slow_ms": 20_000 } }),
        Step::Lost => json!({ "refund": { "lost": 1.0, "slow": 1.0, "slow_ms": 500 } }),
        _ => json!({}),
    };
    desk.simulator.misbehaves(&faults);
    let wish = json!({ "out_refund_no": number, "refund_fee": 500 });
    desk.shop.order_verb(&order, "refunds", &wish).expect(201);
    let is_at = |state: &str| desk.shown(&order, &number)["state"] == state;
    match step {
        Step::Stored => {}
        Step::Taken => eventually("WeChat took it", || desk.truth_of(&number).is_some()),
        Step::Lost => eventually("it was lost", || struck(desk, "refund.lost") > 0),
        _ => eventually("it is taken", || is_at("processing")),
    }
    match step {
        Step::Asked => {
            let before = desk.truth_of(&number).unwrap()["queries"].as_u64();
            desk.simulator.misbehaves(&json!({ "refund_query": { "slow": 1.0, "slow_ms": 20_000 } }));
            desk.end(&number, "SUCCESS");
            eventually("it is asked about", || desk.truth_of(&number).unwrap()["queries"].as_u64() > before);
        }
        Step::Acknowledged => {
            desk.simulator.misbehaves(&json!({ "refund_query": { "slow": 1.0, "slow_ms": 20_000 } }));
            desk.end(&number, "SUCCESS");
            let is_acknowledged = || desk.truth_of(&number).unwrap()["notification_acknowledged"] == true;
            eventually("it is acknowledged", is_acknowledged);
        }
        Step::Told => {
            desk.end(&number, "SUCCESS");
            desk.event("refund.succeeded", &number);
        }
        _ => {}
    }
}

/// How often a fault was played.
fn struck(desk: &Desk, fault: &str) -> u64 {
    desk.simulator.stats()["call_faults"][fault].as_u64().unwrap_or(0)
}

#[test]
fn many_refunds_under_random_kills_are_each_made_and_told_once() {
    let (kills, refunds) = if is_full() { (60, 300) } else { (12, 40) };
    let seed = seed();
    eprintln!("PAYBELL_KILL_SEED={seed}");
    let mut desk = Desk::open(CADENCE);
    for number in 0..refunds {
        desk.pay(&format!("T{number}"), 1000, true);
    }
    let known = || desk.shop.log().iter().filter(|row| row["event"]["type"] == "order.paid").count();
    wait_for("all are paid", || (known() == refunds).then_some(()));
    desk.simulator.misbehaves(&json!({
        "seed": seed, "refund_attempt_lost": 0.2, "refund_duplicate": 0.3, "refund_duplicate_copies": 2,
        "refund_change": 0.1, "refund_forged": 0.2, "refund_garbage": 0.2,
        "refund": { "slow": 0.3, "slow_ms": 100, "lost": 0.1, "answer_lost": 0.2, "http_500": 0.05, "html": 0.1,
                    "system_error_after": 0.1, "system_error": 0.1, "unsigned_fail": 0.05 },
        "refund_query": { "slow": 0.3, "slow_ms": 100, "lost": 0.1, "answer_lost": 0.1, "system_error": 0.1 },
    }));
    let mut random = Random(seed);
    let each = refunds / kills + 1;
    for kill in 0..kills {
        for number in (kill * each..refunds).take(each) {
            ask(&desk, number);
        }
        // The moment is random on purpose: anything may be in hand.
        let until = Instant::now() + Duration::from_millis(random.below(600));
        wait_for("the moment to die", || (Instant::now() >= until).then_some(()));
        desk.shop.service.process.kill();
        desk.shop.start_again();
    }
    desk.simulator.heal();
    // As a shop does that does not know: the same again, under the same number.
    (0..refunds).for_each(|number| ask(&desk, number));
    for number in 0..refunds {
        let number = format!("R{number}");
        let truth = wait_within(RECOVERY, &format!("WeChat has {number}"), || desk.truth_of(&number));
        if truth["refund_status"] == "CHANGE" {
            desk.end(&number, "SUCCESS");
        }
        let told = wait_within(RECOVERY, &format!("{number} is told"), || {
            let abnormal = desk.truth_of(&number).unwrap()["refund_status"] == "CHANGE";
            if abnormal {
                desk.end(&number, "SUCCESS");
            }
            let told = desk.events("refund.succeeded", &number);
            (!told.is_empty()).then_some(told)
        });
        let ids: BTreeSet<&str> = told.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{number}: one id: {told:?}");
    }
    let truth = desk.truth();
    let numbers: BTreeSet<&str> =
        truth.iter().map(|refund| refund["out_refund_no"].as_str().unwrap()).collect();
    assert_eq!((truth.len(), numbers.len()), (refunds, refunds), "each number once");
    assert_eq!(desk.simulator.stats()["forgeries_acknowledged"], 0);
    let repeats: u64 = truth.iter().map(|refund| refund["requests"].as_u64().unwrap() - 1).sum();
    eprintln!("{refunds} refunds, {kills} kills, {repeats} repeated requests");
    assert_eq!(desk.shop.dead_letters(), Vec::<Value>::new());
}

fn ask(desk: &Desk, number: usize) {
    let wish = json!({ "out_refund_no": format!("R{number}"), "refund_fee": 1000 });
    let answer = desk.shop.order_verb(&format!("T{number}"), "refunds", &wish);
    assert!(matches!(answer.status, 200 | 201), "{MCH}/T{number}: {answer:?}");
}
