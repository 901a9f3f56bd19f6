//! Closing where WeChat does not know the order: it may come to exist later, when a request arrives that its sender has
//! long given up, or when a payer opens what was offered. And an order that is placed again after our address changed.

use serde_json::{Value, json};

use crate::{
    harness::{MCH, Settings, is_full, rfc3339_in, skip, wait_for, wait_within},
    kill::free_address,
    placing::{BACK, ONLY_TOLD, PAGE, PAYER_IP, Till, way},
};

fn till(merchant: &str, cadence: &[&str]) -> Till {
    Till::open(&Settings { cadence, merchant, ..Settings::default() })
}

fn close(till: &Till, order: &str) -> crate::harness::Answer {
    till.shop.order_verb(order, "close?wait=20s", &json!({}))
}

#[track_caller]
fn registered(till: &Till, order: &str, seconds_ago: i64) {
    let business_no = format!("B-{order}");
    let registration =
        json!({ "total_fee": 1999, "business_no": business_no, "created_at": rfc3339_in(-seconds_ago) });
    till.shop.register(order, &registration).expect(201);
}

/// The request of the shop's own SDK gets there at last; WeChat's five minutes pass.
#[track_caller]
fn arrives(till: &Till, order: &str) {
    let notify_url = format!("http://{}/notify/pay", till.shop.service.address("ingress"));
    let new = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": 1999, "notify_url": notify_url });
    till.simulator.send("POST", "/_sim/orders", &new).expect(201);
    till.simulator.send("POST", "/_sim/clock", &json!({ "advance_s": 600 })).expect(200);
}

#[track_caller]
fn is_not_closed(till: &Till, order: &str) {
    let refused = close(till, order).expect(409);
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:paybell:problem:not-closed", "{problem}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    assert!(problem["cause"]["zh"].as_str().unwrap().contains("仍可支付"), "{problem}");
    assert_eq!(till.shop.record(order).unwrap()["state"], "pending");
    assert_eq!(till.shop.types_of(order), Vec::<String>::new());
}

#[test]
fn an_order_that_wechat_does_not_know_yet_is_not_called_closed() {
    let till = till("", &["24h"]);
    registered(&till, "T1", 600);
    is_not_closed(&till, "T1");
    // Another number of the same purchase keeps away from it.
    let refused = till.place("T2", &json!({ "business_no": "B-T1" })).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:business-not-closed", "{refused}");
    assert_eq!((&refused["out_trade_no"], till.truth_of("T2")), (&json!("T1"), None));
    arrives(&till, "T1");
    let closed = close(&till, "T1").expect(200).json();
    assert_eq!((&closed["closed"], &closed["order"]["state"]), (&json!("now"), &json!("closed")), "{closed}");
    till.shop.event("T1", "order.closed");
    till.placed("T2", &json!({ "business_no": "B-T1" }));
    // Nobody can come up with one that old.
    registered(&till, "T3", 8000);
    assert_eq!(close(&till, "T3").expect(200).json()["closed"], "never_placed");
    assert_eq!(till.shop.types_of("T3"), Vec::<String>::new());
    let placed = till.placed("T3", &json!({}));
    till.device(&json!({ "code_url": placed["pay"]["code_url"] })).expect(200);
    till.shop.event("T3", "order.paid");
}

#[test]
fn close_unpaid_calls_no_order_closed_that_may_still_come_to_exist() {
    let till = till("close_unpaid = true", &["1s", "1s"]);
    registered(&till, "LATE", 600);
    registered(&till, "OLD", 8000);
    till.shop.event("OLD", "order.closed");
    let record = wait_for("it waits until no payer can come up with it", || {
        till.shop.record("LATE").filter(|record| {
            let due = record["due"]["at"].as_str().unwrap_or_default();
            due > rfc3339_in(7000).as_str() && due < rfc3339_in(7300).as_str()
        })
    });
    assert_eq!((&record["state"], till.shop.types_of("LATE").len()), (&json!("pending"), 0), "{record}");
    arrives(&till, "LATE");
    till.pay("LATE", false);
    till.shop.event("LATE", "order.paid");
    assert_eq!(till.shop.types_of("LATE"), ["order.paid"], "no denial went before it");
}

#[test]
fn a_request_that_arrives_when_nobody_waits_for_it_is_the_order_that_a_repeat_finds() {
    let till = till("", ONLY_TOLD);
    till.simulator.misbehaves(&json!({ "unified_order": { "late": 1.0, "late_ms": 100_000_000 } }));
    let business = json!({ "business_no": "B1" });
    let refused = till.place("T1", &business).expect(504).json();
    assert_eq!(refused["type"], "urn:paybell:problem:outcome-unknown", "{refused}");
    till.simulator.heal();
    let refused = till.place("T2", &business).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:business-busy", "it may be on its way: {refused}");
    till.simulator.send("POST", "/_sim/arrivals", &json!({})).expect(204);
    wait_for("it arrives", || till.truth_of("T1"));
    assert_eq!(till.shop.record("T1").unwrap()["placing"]["offered_at"], Value::Null);
    let refused = till.place("T2", &business).expect(409).json();
    assert!(refused["type"].as_str().unwrap().starts_with("urn:paybell:problem:business-"), "{refused}");
    let placed = till.placed("T1", &business);
    till.device(&json!({ "code_url": placed["pay"]["code_url"] })).expect(200);
    till.shop.event("T1", "order.paid");
    let refused = till.place("T2", &business).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:business-paid", "{refused}");
    assert_eq!(till.simulator.truth().len(), 1, "one number for one purchase");
}

/// WeChat closes nothing that is younger than five minutes, and neither do we: so much real time it takes.
#[test]
fn a_request_that_arrives_after_its_order_was_to_be_closed_leaves_no_order_that_is_open_and_called_closed() {
    if !is_full() {
        skip("it takes six minutes; tests/run --full runs it");
        return;
    }
    let till = till("", ONLY_TOLD);
    till.simulator.misbehaves(&json!({ "unified_order": { "late": 1.0, "late_ms": 315_000 } }));
    till.place("T1", &json!({})).expect(504);
    till.simulator.heal();
    let six_minutes = std::time::Duration::from_secs(360);
    let refused = wait_within(six_minutes, "it is old enough", || {
        let problem = close(&till, "T1").expect(409).json();
        (problem["type"] != "urn:paybell:problem:too-young").then_some(problem)
    });
    assert_eq!(refused["type"], "urn:paybell:problem:not-closed", "{refused}");
    assert_eq!((till.truth_of("T1"), till.shop.types_of("T1").len()), (None, 0));
    wait_within(six_minutes, "it arrives", || till.truth_of("T1"));
    till.simulator.send("POST", "/_sim/clock", &json!({ "advance_s": 600 })).expect(200);
    assert_eq!(close(&till, "T1").expect(200).json()["closed"], "now");
    assert_eq!(till.truth_of("T1").unwrap()["trade_state"], "CLOSED");
    till.shop.event("T1", "order.closed");
}

#[test]
fn an_order_is_placed_again_with_the_address_that_it_was_placed_with() {
    let ingress = free_address().to_string();
    let top = format!("ingress.public_url = \"http://{ingress}\"\nwechat.mweb_life = \"1s\"");
    let mut till = Till::unhurried(&Settings {
        cadence: ONLY_TOLD,
        ingress: &ingress,
        top: &top,
        ..Settings::default()
    });
    assert!(way("MWEB")["redirect_url"] == BACK);
    let first = till.placed("T1", &way("MWEB"));
    till.shop.service.process.kill();
    let config = till.shop.config();
    // The same listener under another name.
    let moved = ingress.replace("127.0.0.1", "localhost");
    let text = std::fs::read_to_string(&config)
        .unwrap()
        .replace(&format!("public_url = \"http://{ingress}\""), &format!("public_url = \"http://{moved}\""));
    std::fs::write(&config, text).unwrap();
    till.shop.start_again();
    let fresh = wait_for("a fresh link", || {
        let answer = till.place("T1", &way("MWEB"));
        // A busy machine may keep WeChat's answer away.
        assert!(answer.status < 300 || answer.status == 504, "{}", answer.body);
        Some(answer.json()).filter(|said| said["repeated"] == false)
    });
    assert_eq!(fresh["prepay_id"], first["prepay_id"], "WeChat takes it for the same order");
    let told = &till.shop.record("T1").unwrap()["placing"]["notify_url"];
    assert_eq!(told, &json!(format!("http://{ingress}/notify/pay/{MCH}")));
    till.device(&json!({ "mweb_url": fresh["pay"]["mweb_url"], "referer": PAGE, "ip": PAYER_IP }))
        .expect(200);
    assert_eq!(till.shop.event("T1", "order.paid")["data"]["learned_by"], "notification");
    till.placed("T2", &json!({}));
    let told = &till.shop.record("T2").unwrap()["placing"]["notify_url"];
    assert_eq!(told, &json!(format!("http://{moved}/notify/pay/{MCH}")));
}

#[test]
fn a_merchant_whose_own_sdk_placed_the_order_is_told_so() {
    let till = till("", ONLY_TOLD);
    till.placed_by_sdk("T1", "B1");
    let refused = till.place("T1", &json!({ "business_no": "B1" })).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:number-used", "{refused}");
    let record = till.shop.record("T1").unwrap();
    assert_eq!(
        (&record["placing"], &record["state"]),
        (&Value::Null, &json!("pending")),
        "it was never ours"
    );
    // What its SDK offered is paid, or closed, as ever.
    let closed = close(&till, "T1").expect(200).json();
    assert_eq!(closed["closed"], "now", "{closed}");
    till.placed_by_sdk("T2", "B2");
    till.place("T2", &json!({ "business_no": "B2" })).expect(409);
    till.pay("T2", false);
    till.shop.event("T2", "order.paid");
}
