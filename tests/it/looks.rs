//! What a shop asks for when the payer comes back to its page, and the keys that a look is signed with.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use wechat_pay::sign::Algorithm;

use crate::harness::{KEY, MCH, Notification, Request, Say, Settings, Shop, eventually};

const NEW_KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn twenty_callers_who_wait_for_one_order_share_one_query() {
    let shop = Shop::open(&Settings::default());
    shop.wechat.takes(Duration::from_millis(300));
    for number in 0..3 {
        let order = format!("T{number}");
        let took = twenty_ask(&shop, &order);
        let queries = shop.wechat.asked(&order).len();
        // A busy machine may take seconds: then there may be one for each.
        let fair = 1 + usize::try_from(took.as_secs()).unwrap();
        assert!((1..=fair).contains(&queries), "one query per order and second: {queries} in {took:?}");
        assert_eq!(shop.event(&order, "order.paid")["data"]["learned_by"], "manual");
    }
}

/// Twenty ask at once, and one when they have their answers. Gives how long all of it took.
fn twenty_ask(shop: &Shop, order: &str) -> Duration {
    shop.register_fee(order, 1999);
    shop.wechat.says(order, Say::paid(order, 1999));
    let (console, together) = (shop.service.address("console"), Barrier::new(20));
    let path = format!("/v1/orders/{MCH}/{order}/check?wait=10s");
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                together.wait();
                let answer = Request::new("POST", &path).json(&json!({})).send_at_last(console).expect(200);
                assert_eq!(answer.json()["state"], "paid", "{answer:?}");
            });
        }
    });
    shop.order_verb(order, "check?wait=10s", &json!({})).expect(200);
    begun.elapsed()
}

#[test]
fn a_wait_that_ends_too_early_says_so_and_the_check_goes_on() {
    let shop = Shop::open(&Settings::default());
    shop.register_fee("T1", 1999);
    shop.wechat.says("T1", Say::paid("T1", 1999));
    shop.wechat.holds();
    let answer = shop.order_verb("T1", "check?wait=100ms", &json!({})).expect(202);
    assert_eq!(answer.json()["state"], "pending");
    shop.wechat.lets_go();
    shop.event("T1", "order.paid");
    for unfit in ["check?wait=31s", "check?wait=soon"] {
        shop.order_verb("T1", unfit, &json!({})).expect(400);
    }
}

#[test]
fn while_a_key_is_replaced_both_work_in_both_directions() {
    let keys = format!("previous_api_key = \"{KEY}\"");
    let merchants = format!(
        "[[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{}\"]\napi_key = \"{NEW_KEY}\"\n{keys}\n",
        crate::harness::APP
    );
    let shop = Shop::open(&Settings { merchants: Some(&merchants), ..Settings::default() });
    let used =
        |key: &str| shop.service.metric(&format!("paybell_key_used_total{{mch_id=\"{MCH}\",key=\"{key}\"}}"));
    // WeChat knows only the old key yet: a query with the new one is refused, unsigned, and repeated at once.
    let pay = |order: &str| {
        shop.wechat.says(order, Say::paid(order, 1999));
        let notified = shop.notify(Notification::of(order, 1999).signed()).expect(200);
        shop.event(order, "order.paid");
        (shop.wechat.asked(order).len(), notified.came_again)
    };
    let (asked, came_again) = pay("OLD");
    eventually("notification and answer are counted", || used("previous") >= 2.0);
    assert_eq!(used("current"), 0.0);
    assert!(asked == 2 || (asked > 2 && came_again), "{asked}");
    // The key that worked goes first from then on.
    let (asked, came_again) = pay("OLD2");
    assert!(asked == 1 || came_again, "{asked}");
    // Then the key is changed at WeChat.
    shop.wechat.has_keys(&[NEW_KEY]);
    shop.wechat.says("NEW", Say::paid("NEW", 1999));
    let body = Notification::of("NEW", 1999).signed_by(NEW_KEY, Algorithm::Md5);
    shop.notify(body).expect(200);
    shop.event("NEW", "order.paid");
    eventually("the new key is counted", || used("current") >= 2.0);
    // A stranger's key opens nothing.
    let forged = Notification::of("FORGED", 1999).signed_by(&"f".repeat(32), Algorithm::Md5);
    shop.notify(forged).expect(401);
}

#[test]
fn a_merchant_whose_every_key_is_refused_backs_off_without_a_dead_letter_per_order() {
    let shop = Shop::open(&Settings { cadence: &["300ms", "1h"], ..Settings::default() });
    shop.wechat.has_keys(&[NEW_KEY]);
    for number in 0..20 {
        let order = format!("T{number}");
        shop.wechat.says(&order, Say::paid(&order, 1999));
        shop.register_fee(&order, 1999);
    }
    eventually("every order was tried", || {
        (0..20)
            .all(|number| shop.record(&format!("T{number}")).unwrap()["transient_answers"].as_i64() > Some(0))
    });
    assert_eq!(shop.dead_letters(), Vec::<serde_json::Value>::new());
    shop.service.process.says(&["every API key of merchant 1900000109 was refused"]);
    // Mended at WeChat: everything comes by itself.
    shop.wechat.has_keys(&[KEY]);
    eventually("all are paid", || shop.log().len() == 20);
}

#[test]
fn hmac_orders_are_verified_and_queried_with_hmac() {
    let shop = Shop::open(&Settings { merchant: "sign_type = \"HMAC-SHA256\"", ..Settings::default() });
    shop.wechat.says("T1", Say::paid("T1", 1999));
    shop.notify(Notification::of("T1", 1999).signed()).expect(401);
    shop.notify(Notification::of("T1", 1999).signed_by(KEY, Algorithm::HmacSha256)).expect(200);
    shop.event("T1", "order.paid");
    assert_eq!(shop.wechat.asked("T1")[0]["sign_type"], "HMAC-SHA256");
    // A sign_type in the document counts, and is part of the signed text.
    let spoken = Notification::of("T2", 1999).with("sign_type", "HMAC-SHA256");
    shop.notify(spoken.signed_by(KEY, Algorithm::HmacSha256)).expect(200);
    let unsupported = Notification::of("T3", 1999).with("sign_type", "RSA");
    shop.notify(unsupported.signed_by(KEY, Algorithm::HmacSha256)).expect(401);
}

#[test]
fn one_host_away_is_no_reason_to_wait() {
    let wechat = crate::harness::Wechat::start();
    let urls = format!("http://127.0.0.1:9\", \"http://{}", wechat.address);
    let shop = Shop::open(&Settings { base_url: Some(urls), ..Settings::default() });
    wechat.says("T1", Say::paid("T1", 1999));
    shop.notify(Notification::of("T1", 1999).signed()).expect(200);
    shop.event("T1", "order.paid");
    assert!(!wechat.asked("T1").is_empty());
}
