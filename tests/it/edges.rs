//! Days that are odd but allowed: order numbers with every letter, old orders, one fen, a merchant that is gone, a heap
//! of polls, and a sender that keeps its connection.

use std::{
    io::{Read, Write},
    thread,
};

use serde_json::{Value, json};

use crate::harness::{
    KEY, MCH, Notification, Request, SUCCESS, Say, Settings, Shop, eventually, http::connect, rfc3339_in,
    wait_for,
};

#[test]
fn a_duplicate_of_what_is_told_asks_nobody() {
    let shop = Shop::open(&Settings::default());
    shop.wechat.says("T1", Say::paid("T1", 1999));
    let notify = || {
        let answer = shop.notify(Notification::of("T1", 1999).signed()).expect(200);
        assert_eq!(answer.body, SUCCESS);
        answer.came_again
    };
    let mut came_again = notify();
    shop.event("T1", "order.paid");
    shop.wait_for_state("T1", "paid");
    let duplicates = "paybell_checks_total{reason=\"notified\",outcome=\"duplicate\"}";
    eventually("the first one is done", || shop.record("T1").unwrap()["leased"] == false);
    for _ in 0..3 {
        came_again |= notify();
    }
    let counted = wait_for("three duplicates", || {
        Some(shop.service.metric(duplicates)).filter(|counted| *counted >= 3.0)
    });
    // A queue may hand out one of them twice.
    assert!(counted == 3.0 || came_again || crate::ENGINE.is_cluster(), "{counted}");
    let asked = shop.wechat.asked("T1").len();
    assert!(asked == 1 || came_again, "{asked}");
    assert_eq!(shop.types_of("T1"), ["order.paid"]);
}

#[test]
fn an_order_number_may_have_every_letter_that_wechat_allows() {
    let shop = Shop::open(&Settings::default());
    let (order, encoded) = ("Az09_-|*@aaaaaaaaaaaaaaaaaaaaaaa", "Az09_-%7C%2A%40aaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(order.len(), 32);
    shop.register(encoded, &json!({ "total_fee": 1 })).expect(201);
    shop.wechat.says(order, Say::paid_with(order, 1, &[("transaction_id", "4200000000000000000000000001")]));
    let body = Notification::of(order, 1).with("transaction_id", "4200000000000000000000000001");
    shop.notify(body.signed()).expect(200);
    let paid = shop.event(order, "order.paid");
    assert_eq!((&paid["data"]["out_trade_no"], &paid["data"]["total_fee"]), (&order.into(), &1.into()));
    assert_eq!(shop.record(encoded).unwrap()["out_trade_no"], order);
    eventually("it is looked at", || shop.order_verb(encoded, "check?wait=10s", &json!({})).status == 200);
    // One letter more is no order number anywhere.
    shop.register(&format!("{encoded}a"), &json!({ "total_fee": 1 })).expect(400);
    shop.notify(Notification::of(&format!("{order}a"), 1).signed()).expect(400);
}

#[test]
fn an_old_order_is_looked_at_once_and_then_denied() {
    let shop = Shop::open(&Settings { cadence: &["1h", "1h"], ..Settings::default() });
    shop.wechat.says("PAID", Say::paid("PAID", 1));
    shop.wechat.says("UNPAID", Say::state("UNPAID", "NOTPAY"));
    let old = json!({ "total_fee": 1, "created_at": rfc3339_in(-3 * 3600) });
    shop.register("PAID", &old).expect(201);
    shop.register("UNPAID", &old).expect(201);
    shop.event("PAID", "order.paid");
    shop.event("UNPAID", "order.unpaid");
    assert_eq!(shop.wechat.asked("UNPAID").len(), 1);
}

#[test]
fn orders_of_a_merchant_that_is_gone_wait_as_dead_letters_and_come_back_with_it() {
    let mut shop = Shop::open(&Settings { cadence: &["6s", "1h"], ..Settings::default() });
    // A look that a busy machine has before the merchant is gone learns nothing.
    shop.wechat.holds();
    shop.register_fee("T1", 1999);
    shop.wechat.says("T1", Say::paid("T1", 1999));
    let with = std::fs::read_to_string(shop.config()).unwrap();
    shop.service.process.signal("TERM");
    shop.service.process.ended();
    std::fs::write(shop.config(), with.replace(MCH, "1900000001")).unwrap();
    shop.start_again();
    let letter = wait_for("a dead letter", || shop.dead_letters().pop());
    assert_eq!((&letter["reason"], &letter["mch_id"]), (&"unknown_merchant".into(), &MCH.into()));
    shop.wechat.lets_go();
    assert_eq!(shop.log(), Vec::<Value>::new());
    let id = letter["id"].as_str().unwrap();
    shop.api("POST", &format!("/v1/dead/{id}/replay"), &json!({})).expect(409);
    shop.service.process.signal("TERM");
    shop.service.process.ended();
    std::fs::write(shop.config(), with).unwrap();
    shop.start_again();
    shop.api("POST", &format!("/v1/dead/{id}/replay"), &json!({})).expect(202);
    shop.event("T1", "order.paid");
}

#[test]
fn a_heap_of_polls_delays_no_notification() {
    const POLLS: usize = 200;
    // Five queries a second: the heap needs 40 seconds, and every poll waits for its place.
    let shop = Shop::open(&Settings {
        cadence: &["2s", "1h"],
        merchant: "query_rate = \"5/s\"",
        ..Settings::default()
    });
    let console = shop.service.address("console");
    thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for number in (part..POLLS).step_by(4) {
                    let path = format!("/v1/orders/{MCH}/POLL{number}");
                    let registration = json!({ "total_fee": 1 });
                    Request::new("PUT", &path).json(&registration).send_at_last(console).expect(201);
                }
            });
        }
    });
    let polled =
        || (0..POLLS).filter(|number| !shop.wechat.asked(&format!("POLL{number}")).is_empty()).count();
    eventually("the polls have begun", || polled() > 5);
    for number in 0..5 {
        let order = format!("PAID{number}");
        shop.pay_and_notify(&order, 1999);
        let before = shop.wechat.turns().len();
        shop.event(&order, "order.paid");
        let turn = shop.wechat.turns().iter().position(|asked| *asked == order).unwrap();
        // Behind the heap it would be all of it; a busy machine may take seconds to bring the check to its place.
        let first = turn.saturating_sub(before);
        assert!(first < POLLS / 5, "the next place is this one's, and not behind {first} polls");
    }
    let done = polled();
    assert!(done < POLLS * 3 / 4, "the heap was still there: {done} of {POLLS}");
}

#[test]
fn one_connection_carries_many_notifications() {
    let shop = Shop::open(&Settings::default());
    let mut stream = connect(shop.service.address("ingress")).unwrap();
    for number in 0..5 {
        let order = format!("T{number}");
        shop.wechat.says(&order, Say::paid(&order, 1));
        let body = Notification::of(&order, 1).signed();
        let head = format!(
            "POST /notify/pay HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/4.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("</xml>") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(char::from(byte[0]));
        }
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(SUCCESS), "{answer}");
    }
    eventually("all five", || shop.log().len() == 5);
}

#[test]
fn several_merchants_in_one_process_never_meet() {
    let other_key = "ffffffffffffffffffffffffffffffff";
    let merchants = format!(
        "[[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{}\"]\napi_key = \"{KEY}\"\n\
         [[merchant]]\nmch_id = \"1900000001\"\napp_ids = [\"wxother\"]\napi_key = \"{other_key}\"\n",
        crate::harness::APP
    );
    let shop = Shop::open(&Settings { merchants: Some(&merchants), ..Settings::default() });
    shop.wechat.has_keys(&[KEY, other_key]);
    shop.pay_and_notify("SAME", 1999);
    let mine = Notification::of("SAME", 1999).with("mch_id", "1900000001");
    // The other's app or key under this number is refused.
    shop.notify(mine.signed_by(other_key, wechat_pay::sign::Algorithm::Md5)).expect(401);
    shop.notify(mine.clone().with("appid", "wxother").signed()).expect(401);
    let theirs = mine.with("appid", "wxother").signed_by(other_key, wechat_pay::sign::Algorithm::Md5);
    shop.notify(theirs).expect(200);
    eventually("one order number, two orders", || shop.types_of("SAME").len() == 2);
    let sources: Vec<Value> = shop.events_of("SAME").iter().map(|event| event["source"].clone()).collect();
    assert!(
        sources.contains(&"/paybell/1900000001".into())
            && sources.contains(&format!("/paybell/{MCH}").into())
    );
    let page = shop.get("/v1/events?mch_id=1900000001").expect(200).json();
    assert_eq!(shop.rows(&page).len(), 1, "{page}");
}
