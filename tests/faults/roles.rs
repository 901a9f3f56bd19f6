//! Processes of ours die.

use serde_json::json;
use testkit::servers::{shared_rabbit, shared_redis, wait};

use crate::{
    harness::{MCH, rfc3339_in, wait_for},
    promise,
    rig::Rig,
};

/// A process that died is known to be dead after some seconds of its silence: none of its orders is told before that.
const SILENCE_MIN_S: i64 = 5;

#[test]
fn a_killed_process_of_any_role_loses_nothing_and_the_other_one_goes_on() {
    let mut rig = Rig::start(&wait(shared_rabbit()), &wait(shared_redis()));
    rig.suffer("SIGKILL of an ingress", |rig| Rig::kill(&mut rig.ingresses));
    rig.refill();
    // WeChat is slow, so that the worker holds leases when it dies.
    rig.simulator.misbehaves(&json!({"query_slow": 1.0, "query_slow_ms": 1_500}));
    let (mut left, mut is_silent_since) = (Vec::new(), String::new());
    rig.suffer("SIGKILL of a worker with leases in hand", |rig| {
        Rig::kill(&mut rig.workers);
        is_silent_since = rfc3339_in(SILENCE_MIN_S);
        left = leases(rig);
        rig.simulator.heal();
    });
    are_told_before_their_leases_end(&rig, &left, &is_silent_since);
    rig.refill();
    rig.suffer("SIGKILL of a scheduler", |rig| Rig::kill(&mut rig.schedulers));
    rig.refill();
    rig.suffer("SIGKILL of a console", |rig| Rig::kill(&mut rig.consoles));
}

/// The orders that somebody holds, living or dead, each with its lease's end.
#[track_caller]
fn leases(rig: &Rig) -> Vec<(String, String)> {
    let (mut leases, mut after) = (Vec::new(), String::new());
    loop {
        let page = wait_for("the orders are listed", || {
            let path = format!("/v1/orders?state=pending&mch_id={MCH}&limit=1000{after}");
            rig.api("GET", &path, None).filter(|answer| answer.status == 200)
        });
        let page = page.json();
        for record in page["orders"].as_array().unwrap() {
            if let Some(until) = record["leased_until"].as_str() {
                leases.push((record["out_trade_no"].as_str().unwrap().to_owned(), until.to_owned()));
            }
        }
        if page["has_more"] == false {
            return leases;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

/// Another one takes the dead one's orders when it is silent, and does not wait for the ends of its leases.
#[track_caller]
fn are_told_before_their_leases_end(rig: &Rig, left: &[(String, String)], is_silent_since: &str) {
    let told = wait_for("the log is read", || promise::events(rig));
    let mut taken_over = 0;
    for (order, until) in left {
        let Some(events) = told.get(order) else { continue };
        let time = events[0]["time"].as_str().unwrap();
        assert!(second(time) < second(until), "{order} is told at {time}, at its lease's end {until} only");
        taken_over += usize::from(second(time) >= second(is_silent_since));
    }
    assert!(taken_over > 0, "the dead one had something in hand: {left:?}");
    eprintln!("{taken_over} of {} orders were taken over before their leases ended", left.len());
}

/// Both are told in Beijing's time.
fn second(moment: &str) -> &str {
    &moment[.."2026-11-20T12:00:05".len()]
}
