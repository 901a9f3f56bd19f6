//! The old handler through the real binary: it gets what WeChat would have sent, once per payment, whatever became of
//! WeChat's own notification, and every way of answering wrongly has its words.

use serde_json::json;
use wechat_pay::{
    notification::Unverified,
    sign::{AcceptedAlgorithm, Algorithm, ApiKey},
    xml::Document,
};

use crate::{
    harness::{
        APP, KEY, MCH, Notification, Say, Settings, Shop, eventually,
        receiver::Received,
        receiver::Receiver,
        receiver::Reply,
        wait_within,
        wechat::{OPENID, transaction_id},
    },
    webhooks::{TAKE_OVER, endpoint, shop_with, wait_for_attempt},
};

/// A `[[legacy]]` to a path of the receiver.
fn legacy(name: &str, url: &str) -> String {
    format!("\n[[legacy]]\nname = \"{name}\"\nurl = \"{url}\"\n")
}

fn is_about(order: &str) -> impl Fn(&Received) -> bool {
    move |post: &Received| {
        let document = Document::parse(post.body.as_bytes()).unwrap();
        document.get("out_trade_no") == Some(order)
    }
}

#[test]
fn a_payment_that_only_the_poll_found_is_told_to_the_old_handler_as_wechat_would() {
    let receiver = Receiver::start();
    receiver.says("/notify.php", Reply::success());
    let shop = shop_with(
        &legacy("old", &receiver.url("/notify.php")),
        Settings { cadence: &["500ms", "1h"], ..Settings::default() },
    );
    let more =
        [("attach", "a&b <好>"), ("time_end", "20261120120003"), ("coupon_fee", "100"), ("cash_fee", "1899")];
    shop.wechat.says("POLLED", Say::paid_with("POLLED", 1999, &more));
    shop.register_fee("POLLED", 1999);
    assert_eq!(shop.event("POLLED", "order.paid")["data"]["learned_by"], "poll");
    let told = receiver.wait_for("/notify.php", "the payment", |_| true);
    assert_eq!(told.header("content-type"), "text/xml; charset=utf-8");
    let key = ApiKey::new(KEY).unwrap();
    let unverified = Unverified::parse(told.body.as_bytes()).unwrap();
    let (authentic, _) = unverified.verify(&[&key], AcceptedAlgorithm::Only(Algorithm::Md5)).unwrap();
    let notification = authentic.into_notification().unwrap();
    let field = |name: &str| notification.document().get(name).unwrap_or_default().to_owned();
    for (name, value) in [
        ("appid", APP),
        ("mch_id", MCH),
        ("out_trade_no", "POLLED"),
        ("transaction_id", &transaction_id("POLLED")),
        ("total_fee", "1999"),
        ("cash_fee", "1899"),
        ("coupon_fee", "100"),
        ("fee_type", "CNY"),
        ("openid", OPENID),
        ("trade_type", "JSAPI"),
        ("time_end", "20261120120003"),
        ("attach", "a&b <好>"),
        ("result_code", "SUCCESS"),
    ] {
        assert_eq!(field(name), value, "{name}");
    }
    // The payer's number is for the old handler, and for nobody else.
    let elsewhere = format!("{:?} {}", shop.log(), shop.get("/v1/endpoints").body);
    assert!(!elsewhere.contains(OPENID), "{elsewhere}");
}

#[test]
fn a_handler_is_told_once_per_payment_however_often_wechat_repeats() {
    const ORDERS: usize = 20;
    let receiver = Receiver::start();
    receiver.says("/old", Reply::success());
    let shop = shop_with(&legacy("old", &receiver.url("/old")), Settings::default());
    let orders: Vec<String> = (0..ORDERS).map(|number| format!("T{number}")).collect();
    for order in &orders {
        shop.wechat.says(order, Say::paid(order, 1999));
        for _ in 0..3 {
            shop.notify(Notification::of(order, 1999).signed()).expect(200);
        }
    }
    // A mismatch is not told, its acceptance is; a closed order never was a payment.
    shop.register_fee("WRONG", 1);
    shop.pay_and_notify("WRONG", 1999);
    shop.wait_for_state("WRONG", "mismatch");
    shop.wechat.says("CLOSED", Say::state("CLOSED", "CLOSED"));
    shop.register_fee("CLOSED", 1);
    shop.look("CLOSED");
    shop.event("CLOSED", "order.closed");
    shop.order_verb("WRONG", "accept", &json!({ "reason": "the price was wrong" })).expect(202);
    shop.event("WRONG", "order.paid");
    eventually("all are told", || endpoint(&shop, "old")["delivered_total"] == ORDERS + 1);
    for order in orders.iter().map(String::as_str).chain(["WRONG"]) {
        let posts = receiver.received("/old").into_iter().filter(|post| is_about(order)(post)).count();
        assert_eq!(posts, 1, "{order}");
    }
    assert_eq!(receiver.received("/old").len(), ORDERS + 1);
}

#[test]
fn every_wrong_answer_is_named_and_the_payment_waits_for_the_right_one() {
    let receiver = Receiver::start();
    let fail = "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg>签名失败</return_msg></xml>";
    let cases = [
        ("bare", Reply::Status(200, "success".to_owned()), "refused", "the bare word success instead of XML"),
        (
            "html",
            Reply::Status(200, "<!DOCTYPE html><html>Fatal error</html>".to_owned()),
            "refused",
            "a web page",
        ),
        ("created", Reply::Status(201, crate::harness::SUCCESS.to_owned()), "refused", "not status 200"),
        ("empty", Reply::ok(), "refused", "an empty answer"),
        ("nothing", Reply::Nothing, "silent", "connection"),
        ("json", Reply::Status(200, "{\"code\":\"SUCCESS\"}".to_owned()), "refused", "JSON instead of XML"),
        ("fails", Reply::Status(200, fail.to_owned()), "refused", "return_code FAIL"),
        ("moved", Reply::Redirect("/right".to_owned()), "refused", "302: redirects are not followed"),
        ("gone", Reply::Status(410, String::new()), "refused", "not status 200"),
    ];
    let blocks: String =
        cases.iter().map(|(name, ..)| legacy(name, &receiver.url(&format!("/{name}")))).collect();
    for (name, reply, ..) in &cases {
        receiver.says(&format!("/{name}"), reply.clone());
    }
    let shop = shop_with(&blocks, Settings::default());
    shop.pay_and_notify("T1", 1999);
    shop.event("T1", "order.paid");
    for (name, _, result, words) in &cases {
        let attempt = wait_for_attempt(&shop, name, result);
        assert!(attempt["words"].as_str().unwrap().contains(words), "{name}: {attempt}");
        assert_eq!(endpoint(&shop, name)["waiting"], 1, "{name}: it waits");
    }
    for (name, ..) in &cases {
        receiver.says(&format!("/{name}"), Reply::success());
        shop.api("POST", &format!("/v1/endpoints/{name}/enable"), &json!({})).expect(202);
    }
    for (name, ..) in &cases {
        eventually("it is told", || endpoint(&shop, name)["delivered_total"] == 1);
        assert_eq!(endpoint(&shop, name)["waiting"], 0);
    }
    assert!(receiver.received("/right").is_empty(), "a redirect is never followed");
}

#[test]
fn a_payment_that_went_back_before_the_handler_knew_of_it_waits_for_a_person() {
    let receiver = Receiver::start();
    receiver.says("/old", Reply::success());
    receiver.says("/telling", Reply::success());
    let telling = format!("{}refunded = \"tell\"\n", legacy("telling", &receiver.url("/telling")));
    let shop = shop_with(&[legacy("old", &receiver.url("/old")), telling].concat(), Settings::default());
    shop.wechat.says("BACK", Say::paid_with("BACK", 1999, &[("trade_state", "REFUND")]));
    shop.notify(Notification::of("BACK", 1999).signed()).expect(200);
    let id = shop.event("BACK", "order.paid")["id"].as_str().unwrap().to_owned();
    receiver.wait_for("/telling", "the payment", is_about("BACK"));
    eventually("it is held back", || endpoint(&shop, "old")["given_up_total"] == 1);
    let given_up = endpoint(&shop, "old")["given_up"][0].clone();
    assert!(given_up["why"].as_str().unwrap().contains("was refunded, at least in part"), "{given_up}");
    assert!(receiver.received("/old").is_empty());
    shop.api("POST", "/v1/endpoints/old/resend", &json!({ "event": id })).expect(202);
    receiver.wait_for("/old", "the payment, because a person asked", is_about("BACK"));
}

/// What was paid while the process was down, and told to nobody, reaches the old handler after the start.
#[test]
fn a_handler_that_was_down_for_long_is_told_everything_after_a_restart_of_ours() {
    let receiver = Receiver::start();
    receiver.says("/old", Reply::Nothing);
    let mut shop: Shop = shop_with(&legacy("old", &receiver.url("/old")), Settings::default());
    for number in 0..12 {
        shop.pay_and_notify(&format!("T{number}"), 1999);
    }
    eventually("the breaker is open", || endpoint(&shop, "old")["state"] == "paused");
    shop.service.process.kill();
    receiver.says("/old", Reply::success());
    shop.start_again();
    shop.api("POST", "/v1/endpoints/old/enable", &json!({})).expect(202);
    wait_within(TAKE_OVER, "all are told", || {
        (endpoint(&shop, "old")["delivered_total"] == 12).then_some(())
    });
}
