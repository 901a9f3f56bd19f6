//! The life of an order, from registration to the last word about it.

use serde_json::{Value, json};

use crate::harness::{
    APP, MCH, Notification, SUCCESS, Say, Settings, Shop, eventually, rfc3339_in, wait_for,
    wechat::transaction_id,
};

#[test]
fn a_payment_without_a_notification_is_found_by_the_poll_and_its_event_is_exact() {
    let shop =
        Shop::open(&Settings { cadence: &["1s", "5s", "5s", "5s", "5s", "5s", "1h"], ..Settings::default() });
    let coupon = [("coupon_fee", "100"), ("coupon_count", "1"), ("coupon_id_0", "2000001")];
    let more = [("coupon_fee_0", "100"), ("coupon_type_0", "CASH"), ("cash_fee", "1899")];
    let exact = [("time_end", "20261120120003"), ("attach", "a&b <好>"), ("transaction_id", "42000012")];
    let paid = Say::paid_with("T1", 1999, &[&coupon[..], &more, &exact].concat());
    shop.wechat.says_in_turn("T1", vec![Say::state("T1", "NOTPAY"), paid]);
    shop.register_fee("T1", 1999);
    let event = shop.event("T1", "order.paid");
    let time = event["time"].as_str().unwrap();
    assert!(time.ends_with("+08:00") && (25..=29).contains(&time.len()), "{time}");
    let expected = json!({
        "specversion": "1.0", "id": event["id"], "source": format!("/paybell/{MCH}"), "type": "order.paid",
        "subject": "T1", "time": time, "datacontenttype": "application/json",
        "data": {
            "version": 1, "mch_id": MCH, "sub_mch_id": null, "appid": APP, "out_trade_no": "T1",
            "transaction_id": "42000012", "total_fee": 1999, "fee_type": "CNY", "cash_fee": 1899,
            "settlement_total_fee": null, "coupon_fee": 100,
            "coupons": [{"id": "2000001", "type": "CASH", "fee": 100}], "trade_state": "SUCCESS",
            "trade_type": "JSAPI", "bank_type": "OTHERS", "attach": "a&b <好>",
            "paid_at": "2026-11-20T12:00:03+08:00", "learned_by": "poll", "late": false, "registered": true,
        },
    });
    assert_eq!(event, expected);
    assert_eq!(shop.wechat.asked("T1").len(), 2, "the second look found it");
    assert_valid(&shop);
}

#[test]
fn event_ids_are_the_published_ones() {
    let (order, id) = ("T2026112000000001", "4200001234202611200123456789");
    let shop = Shop::open(&Settings::default());
    shop.register(order, &json!({ "total_fee": 1999, "expires_at": rfc3339_in(2) })).expect(201);
    shop.wechat.says(order, Say::state(order, "NOTPAY"));
    assert_eq!(shop.event(order, "order.unpaid")["id"], "50d4c9ca-b173-57c1-bd61-49086e049084");
    shop.wechat.says(order, Say::paid_with(order, 1999, &[("transaction_id", id)]));
    shop.notify(Notification::of(order, 1999).with("transaction_id", id).signed()).expect(200);
    assert_eq!(shop.event(order, "order.paid")["id"], "8803801d-9ff3-598c-bbfa-290c72a9eb8c");
}

#[test]
fn an_unpaid_order_that_is_paid_after_all_is_late_and_its_denial_stays_the_only_one() {
    let shop = Shop::open(&Settings { cadence: &["1s", "5s"], ..Settings::default() });
    shop.wechat.says("T1", Say::state("T1", "NOTPAY"));
    let end = rfc3339_in(6);
    shop.register_fee("T1", 1999);
    let denial = shop.event("T1", "order.unpaid");
    let second = |moment: &str| moment[.."2026-11-20T12:00:05".len()].to_owned();
    assert!(second(denial["time"].as_str().unwrap()) >= second(&end), "not before {end}: {denial}");
    assert_eq!(
        (&denial["data"]["transaction_id"], &denial["data"]["total_fee"]),
        (&Value::Null, &Value::Null)
    );
    eventually("nobody looks at it any more", || shop.record("T1").unwrap()["due"].is_null());
    // A look that a busy machine has at the second point only stands for both.
    assert!((1..=2).contains(&shop.wechat.asked("T1").len()), "one look per point");
    shop.pay_and_notify("T1", 1999);
    let paid = shop.event("T1", "order.paid");
    assert_eq!((&paid["data"]["late"], &paid["data"]["learned_by"]), (&true.into(), &"notification".into()));
    assert!(paid["data"]["version"].as_i64() > denial["data"]["version"].as_i64());
    assert_eq!(shop.types_of("T1"), ["order.unpaid", "order.paid"]);
    shop.wechat.says("T1", Say::state("T1", "CLOSED"));
    shop.look("T1");
    assert_eq!(shop.types_of("T1"), ["order.unpaid", "order.paid"], "paid is not taken back");
    assert_valid(&shop);
}

#[test]
fn transient_answers_over_the_last_point_deny_nothing_until_wechat_speaks() {
    let silences = [
        ("BROKEN", Say::Nothing),
        ("HTTP500", Say::Status(500)),
        ("BUSY", Say::error("SYSTEMERROR")),
        ("LIMITED", Say::error("FREQUENCY_LIMITED")),
        ("UNSIGNED", Say::Body(b"<xml><return_code>FAIL</return_code></xml>".to_vec())),
        ("HTML", Say::Body(b"<html><body>502</body></html>".to_vec())),
    ];
    let shop = Shop::open(&Settings { cadence: &["300ms"], ..Settings::default() });
    for (order, silence) in &silences {
        shop.wechat.says(order, silence.clone());
        shop.register_fee(order, 1999);
    }
    for (order, _) in &silences {
        // The second look comes by backoff, long after the last point.
        eventually("it was asked twice", || {
            let record = shop.record(order).unwrap();
            record["transient_answers"].as_i64() >= Some(2) && record["leased"] == false
        });
        let record = shop.record(order).unwrap();
        assert_eq!((&record["state"], record["due"].is_object()), (&"pending".into(), true), "{record}");
    }
    assert_eq!(shop.log(), Vec::<Value>::new());
    for (order, _) in &silences {
        shop.wechat.says(order, Say::state(order, "NOTPAY"));
        shop.look(order);
        // A look ends with the commit; its event follows.
        shop.event(order, "order.unpaid");
        assert_eq!(shop.types_of(order), ["order.unpaid"], "{order}: now WeChat said so");
    }
}

#[test]
fn closing_and_failing_at_wechat_are_told_once_each() {
    let shop = Shop::open(&Settings::default());
    let words = [("CLOSED", "order.closed", "closed"), ("REVOKED", "order.closed", "closed")];
    for (word, kind, state) in words.into_iter().chain([("PAYERROR", "order.failed", "failed")]) {
        shop.wechat.says(word, Say::state(word, word));
        shop.register_fee(word, 1);
        shop.look(word);
        assert_eq!(shop.event(word, kind)["data"]["trade_state"], word);
        shop.wait_for_state(word, state);
        shop.look(word);
        assert_eq!(shop.types_of(word), [kind]);
        shop.pay_and_notify(word, 1);
        assert_eq!(shop.event(word, "order.paid")["data"]["late"], true, "{word}: late truth wins");
    }
    assert_valid(&shop);
}

#[test]
fn an_order_at_its_end_is_closed_at_wechat_first_and_only_then_denied() {
    let merchant = Settings { merchant: "close_unpaid = true", ..Settings::default() };
    let shop = Shop::open(&merchant);
    let registration = json!({
        "total_fee": 1999, "created_at": rfc3339_in(-400), "expires_at": rfc3339_in(1),
    });
    // One is closed in time; of the other WeChat knows better.
    shop.wechat.says_in_turn("T1", vec![Say::state("T1", "NOTPAY"), Say::state("T1", "CLOSED")]);
    shop.wechat.closes("T1", Say::Signed(Vec::new()));
    shop.register("T1", &registration).expect(201);
    shop.event("T1", "order.closed");
    assert_eq!(shop.types_of("T1"), ["order.closed"]);
    let paths: Vec<String> = shop.wechat.asked("T1").iter().map(|asked| asked["path"].clone()).collect();
    assert_eq!(paths, ["/pay/orderquery", "/pay/closeorder", "/pay/orderquery"]);

    shop.wechat.says_in_turn("T2", vec![Say::state("T2", "NOTPAY"), Say::paid("T2", 1999)]);
    shop.wechat.closes("T2", Say::error("ORDERPAID"));
    shop.register("T2", &registration).expect(201);
    shop.event("T2", "order.paid");
    assert_eq!(shop.types_of("T2"), ["order.paid"]);
}

#[test]
fn a_refund_is_told_once_whether_it_comes_after_the_payment_or_is_seen_first() {
    let shop = Shop::open(&Settings::default());
    let refund = |order: &str| Say::paid_with(order, 1999, &[("trade_state", "REFUND")]);
    shop.register_fee("AFTER", 1999);
    shop.pay_and_notify("AFTER", 1999);
    shop.event("AFTER", "order.paid");
    shop.wechat.says("AFTER", refund("AFTER"));
    shop.look("AFTER");
    shop.look("AFTER");
    assert_eq!(shop.types_of("AFTER"), ["order.paid", "order.refunded"]);

    shop.register_fee("FIRST", 1999);
    shop.wechat.says("FIRST", refund("FIRST"));
    shop.look("FIRST");
    assert_eq!(shop.types_of("FIRST"), ["order.paid", "order.refunded"]);
    assert_eq!(shop.event("FIRST", "order.paid")["data"]["trade_state"], "REFUND");
    assert_eq!(shop.event("FIRST", "order.paid")["data"]["learned_by"], "manual");

    shop.register_fee("WRONG", 2000);
    shop.wechat.says("WRONG", refund("WRONG"));
    shop.look("WRONG");
    assert_eq!(shop.types_of("WRONG"), ["order.mismatch", "order.refunded"], "never order.paid as well");
    assert_valid(&shop);
}

#[test]
fn a_notification_ahead_of_the_query_is_looked_at_again_within_seconds() {
    let shop = Shop::open(&Settings::default());
    let lag = vec![Say::state("T1", "NOTPAY"), Say::state("T1", "USERPAYING"), Say::paid("T1", 1999)];
    shop.wechat.says_in_turn("T1", lag);
    let body = Notification::of("T1", 1999).signed();
    assert_eq!(shop.notify(body).body, SUCCESS);
    // After 1 s and 2 s, and not after the cadence's hour.
    assert_eq!(shop.event("T1", "order.paid")["data"]["learned_by"], "notification");
    assert_eq!(shop.wechat.asked("T1").len(), 3);
}

#[test]
fn an_event_is_queried_for_by_our_number_and_a_notification_alone_pays_nothing() {
    let shop = Shop::open(&Settings::default());
    shop.register_fee("T1", 1999);
    shop.wechat.says("T1", Say::state("T1", "NOTPAY"));
    shop.notify(Notification::of("T1", 1999).signed()).expect(200);
    let record = wait_for("a look", || shop.record("T1").filter(|record| record["looked_at"].is_string()));
    assert_eq!((&record["state"], &record["notified"]), (&"pending".into(), &true.into()));
    assert_eq!(shop.types_of("T1"), Vec::<String>::new());
    let asked = shop.wechat.asked("T1");
    assert!(asked.iter().all(|asked| !asked.contains_key("transaction_id")), "{asked:?}");
    assert_eq!((asked[0]["mch_id"].as_str(), asked[0]["appid"].as_str()), (MCH, APP));
    assert_ne!(transaction_id("T1"), "");
}

/// Everything in the log fits the published schema.
pub fn assert_valid(shop: &Shop) {
    let schema: Value = serde_json::from_str(include_str!("../../docs/event.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let log = shop.log();
    assert!(!log.is_empty());
    for row in log {
        let errors: Vec<String> = validator
            .iter_errors(&row["event"])
            .map(|error| format!("{} {error}", error.instance_path))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{row:#}");
        assert!(row["event"]["time"].as_str().unwrap().ends_with("+08:00"));
    }
}
