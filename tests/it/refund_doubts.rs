//! What a refundquery that lags, or that WeChat refuses, makes of a refund: nothing is told that is not known, nothing is
//! sent twice on its word, and the way back is short.

use serde_json::{Value, json};

use crate::{
    harness::{MCH, eventually, run, wait_for},
    refunds::Desk,
};

/// Looks come after an hour only: what is found was told.
const ONLY_TOLD: &[&str] = &["1h"];
/// What nobody tells is found.
const POLLED: &[&str] =
    &["1s", "1s", "1s", "1s", "1s", "2s", "2s", "2s", "5s", "5s", "30s", "30s", "30s", "30s", "1h"];

fn struck(desk: &Desk, fault: &str) -> u64 {
    desk.simulator.stats()["call_faults"][fault].as_u64().unwrap_or(0)
}

#[test]
fn a_refusal_after_a_lost_answer_is_in_doubt_while_refundquery_lags() {
    let desk = Desk::open(POLLED);
    desk.holds_refunds();
    desk.paid("T1", 1999);
    let lag = json!({ "refund_query_lag": 1.0, "refund_query_lag_ms": 100_000_000 });
    let lagging = |refund: Value| {
        let mut faults = lag.as_object().unwrap().clone();
        faults.insert("refund".to_owned(), refund);
        desk.simulator.misbehaves(&Value::Object(faults));
    };
    lagging(json!({ "answer_lost": 1.0 }));
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 1999 });
    desk.shop.order_verb("T1", "refunds", &wish).expect(201);
    eventually("WeChat took it", || desk.truth_of("R1").is_some());
    lagging(json!({ "refuse": 1.0, "refuse_code": "NOTENOUGH", "refuse_text": "基本账户余额不足" }));
    // It may be sent again while the answer is lost, and is the same refund; in doubt it is not sent any more.
    let doubtful = wait_for("WeChat refuses the repeat", || {
        Some(desk.shown("T1", "R1")).filter(|refund| refund["refusal"]["code"] == "NOTENOUGH")
    });
    assert_eq!(doubtful["state"], "asked", "its money is on its way: {doubtful}");
    let refused = struck(&desk, "refund.refuse");
    let queries = desk.truth_of("R1").unwrap()["queries"].as_u64();
    eventually("it is asked about", || {
        desk.truth_of("R1").unwrap()["queries"].as_u64() > queries.map(|n| n + 1)
    });
    assert_eq!(struck(&desk, "refund.refuse"), refused, "and not sent");
    assert_eq!(desk.refund("T1", &wish).expect(202).json()["state"], "asked");
    let another = desk.refund("T1", &json!({ "out_refund_no": "R2", "refund_fee": 1 })).expect(409);
    assert_eq!(another.json()["type"], "urn:paybell:problem:more-than-paid", "its money is bound");
    let api = format!("http://{}", desk.shop.service.address("console"));
    run(&["order", "refunds", MCH, "T1", "R1", "--api", &api]).expect(0, &["in doubt", "NOTENOUGH"]);
    assert!(desk.shop.service.metric("paybell_refund_looks_total{state=\"doubt\",age=\"under_1h\"}") >= 1.0);

    desk.simulator.heal();
    let found = wait_for("it is found", || {
        Some(desk.shown("T1", "R1")).filter(|refund| refund["state"] == "processing")
    });
    assert_eq!(found["refusal"], Value::Null, "{found}");
    desk.end("R1", "SUCCESS");
    desk.event("refund.succeeded", "R1");
    let truth = desk.truth();
    assert_eq!((truth.len(), &truth[0]["refund_fee"]), (1, &json!(1999)), "{truth:?}");
    assert_eq!(desk.shop.dead_letters(), Vec::<Value>::new());
}

#[test]
fn the_end_of_a_refund_is_told_soon_where_refundquery_lags_behind_its_notification() {
    let desk = Desk::open(ONLY_TOLD);
    desk.holds_refunds();
    desk.paid("T1", 1999);
    desk.refund("T1", &json!({ "out_refund_no": "R1", "refund_fee": 500 })).expect(201);
    let queries = || desk.truth_of("R1").unwrap()["queries"].as_u64().unwrap();
    let before = queries();
    desk.simulator.misbehaves(&json!({ "refund_query_lag": 1.0, "refund_query_lag_ms": 100_000_000 }));
    desk.end("R1", "SUCCESS");
    eventually("it is asked about", || queries() > before);
    assert_eq!(
        desk.events("refund.succeeded", "R1"),
        Vec::<Value>::new(),
        "the first look saw nothing of it"
    );
    desk.simulator.heal();
    // The next point of the cadence is an hour away.
    let event = desk.event("refund.succeeded", "R1");
    assert_eq!(event["data"]["learned_by"], "notification");
    assert!(queries() >= before + 2, "it was looked at again");
}

#[test]
fn a_refund_that_wechat_answers_neither_way_is_taken_up_where_a_person_says_so() {
    let desk = Desk::open(ONLY_TOLD);
    let refuse = || json!({ "refuse": 1.0, "refuse_code": "NOAUTH", "refuse_text": "商户无此接口权限" });
    desk.simulator.misbehaves(&json!({ "refund": refuse(), "refund_query": refuse() }));
    let api = format!("http://{}", desk.shop.service.address("console"));
    for (order, way) in [("T1", "replay"), ("T2", "check")] {
        desk.paid(order, 1999);
        let number = format!("R-{way}");
        desk.shop
            .order_verb(order, "refunds", &json!({ "out_refund_no": number, "refund_fee": 500 }))
            .expect(201);
        let letter = wait_for("a letter", || {
            desk.shop.dead_letters().into_iter().find(|letter| letter["refund"] == number.as_str())
        });
        assert_eq!(letter["reason"], "refused_by_wechat");
        assert!(letter["detail"].as_str().unwrap().contains("NOAUTH"), "{letter}");
        let shown = desk.shown(order, &number);
        assert_eq!(
            (&shown["state"], &shown["refusal"]),
            (&json!("asked"), &Value::Null),
            "nobody knows: {shown}"
        );
    }
    assert_eq!(desk.truth(), Vec::<Value>::new());
    desk.simulator.heal();
    let letter = desk.shop.dead_letters().into_iter().find(|letter| letter["refund"] == "R-replay").unwrap();
    run(&["dead", "replay", letter["id"].as_str().unwrap(), "--api", &api]).expect(0, &[]);
    // Within a second of the order's last look a check asks nothing anew.
    wait_for("a check has it taken", || {
        run(&["order", "check", MCH, "T2", "--api", &api]).expect(0, &[]);
        desk.truth_of("R-check")
    });
    for number in ["R-replay", "R-check"] {
        desk.event("refund.succeeded", number);
        assert_eq!(desk.events("refund.succeeded", number).len(), 1);
    }
    assert_eq!(desk.truth().len(), 2, "each once");
}
