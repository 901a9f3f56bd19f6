//! The proxy through the real binary: a shop's SDK that only changed its base URL, up to the webhook and the old handler.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::servers::{Redis, wait};
use wechat_pay::{
    sign::{self, Algorithm, ApiKey},
    xml::{self, Document},
};

use crate::{
    harness::{
        APP, Answer, KEY, MCH, Request, Service, Settings, Shop, Simulator, Stalls, eventually, get,
        receiver::Receiver, receiver::Reply, run, wait_for,
    },
    webhooks::{endpoint, wait_for_serving},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// `/pay/unifiedorder` as an SDK writes it.
fn unified_order(out_trade_no: &str, total_fee: i64) -> String {
    let fee = total_fee.to_string();
    let fields = [
        ("appid", APP),
        ("mch_id", MCH),
        ("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
        ("body", "茶叶 & <杯>"),
        ("out_trade_no", out_trade_no),
        ("product_id", "1"),
        ("total_fee", &fee),
        ("spbill_create_ip", "127.0.0.1"),
        ("notify_url", "http://127.0.0.1:9/never"),
        ("trade_type", "NATIVE"),
    ];
    let sign = sign::sign(fields, &ApiKey::new(KEY).unwrap(), Algorithm::Md5);
    xml::write(fields.into_iter().chain([("sign", sign.as_str())]))
}

#[track_caller]
fn place(service: &Service, out_trade_no: &str, total_fee: i64) -> Answer {
    let body = unified_order(out_trade_no, total_fee);
    Request::new("POST", "/pay/unifiedorder").xml(body).send(service.address("proxy")).expect(200)
}

/// WeChat's own words came back, with WeChat's sign.
#[track_caller]
fn assert_placed(answer: &Answer) {
    let document = Document::parse(answer.body.as_bytes()).unwrap();
    sign::verify(&document, &ApiKey::new(KEY).unwrap(), Algorithm::Md5).unwrap();
    assert_eq!(
        (document.get("result_code"), document.get("return_code")),
        (Some("SUCCESS"), Some("SUCCESS"))
    );
    assert!(document.get("prepay_id").is_some() && document.get("code_url").is_some(), "{answer:?}");
}

/// The call does not wait long for a ledger on a busy machine: its registration follows.
#[track_caller]
fn registered(shop: &Shop, out_trade_no: &str) -> Value {
    let record = wait_for(&format!("{out_trade_no} is registered"), || {
        shop.record(out_trade_no).filter(|record| record["registration"].is_object())
    });
    record["registration"].clone()
}

#[track_caller]
fn pay(simulator: &Simulator, out_trade_no: &str) {
    simulator
        .send("POST", &format!("/_sim/orders/{MCH}/{out_trade_no}/pay"), &json!({ "silent": true }))
        .expect(200);
}

#[test]
fn an_order_of_an_unchanged_sdk_reaches_webhook_and_old_handler_although_wechat_s_notification_is_lost() {
    const ORDERS: usize = 12;
    let (simulator, receiver) = (Simulator::start(), Receiver::start());
    receiver.says("/notify.php", Reply::success());
    let endpoints = format!(
        "\n[[webhook]]\nname = \"erp\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\nallow_private = true\n\
         [[legacy]]\nname = \"old\"\nurl = \"{}\"\n",
        receiver.url("/erp"),
        receiver.url("/notify.php")
    );
    let shop = Shop::open(&Settings {
        top: "proxy.listen = \"127.0.0.1:0\"",
        merchant: &endpoints,
        cadence: &["300ms", "1s", "1s", "2s", "2s", "4s", "8s", "16s", "1h"],
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    wait_for_serving(&shop);
    for number in 0..ORDERS {
        let order = format!("SDK{number}");
        let answer = place(&shop.service, &order, 1999);
        assert_placed(&answer);
        let registration = registered(&shop, &order);
        assert_eq!(
            (&registration["total_fee"], &registration["appid"]),
            (&json!(1999), &json!(APP)),
            "{order}"
        );
        pay(&simulator, &order);
    }
    eventually("every payment reaches both", || {
        ["erp", "old"].iter().all(|name| endpoint(&shop, name)["delivered_total"] == ORDERS)
    });
    for number in 0..ORDERS {
        let order = format!("SDK{number}");
        let event = shop.event(&order, "order.paid");
        assert_eq!(
            (&event["data"]["learned_by"], &event["data"]["registered"]),
            (&json!("poll"), &json!(true))
        );
        let told = receiver.received("/notify.php").into_iter().filter(|post| {
            Document::parse(post.body.as_bytes()).unwrap().get("out_trade_no") == Some(&order)
        });
        assert_eq!(told.count(), 1, "{order}: once per payment");
    }
    assert_eq!((receiver.received("/erp").len(), receiver.received("/notify.php").len()), (ORDERS, ORDERS));
    let counted = |result: &str| {
        shop.service.metric(&format!("paybell_proxy_registrations_total{{result=\"{result}\"}}"))
    };
    let orders = f64::from(u32::try_from(ORDERS).unwrap());
    eventually("each is counted once", || {
        let all = counted("registered") + counted("retried");
        assert!(all < orders + 0.5, "{}", shop.service.metrics());
        all > orders - 0.5
    });
}

#[test]
fn what_the_key_did_not_sign_goes_through_and_registers_nothing() {
    let simulator = Simulator::start();
    let shop = Shop::open(&Settings {
        top: "proxy.listen = \"127.0.0.1:0\"",
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    let forged = unified_order("FORGED", 1)
        .replace("<total_fee>1<", "<total_fee>2<")
        .replace("[CDATA[1]]", "[CDATA[2]]");
    let answer =
        Request::new("POST", "/pay/unifiedorder").xml(forged).send(shop.service.address("proxy")).expect(200);
    assert!(answer.body.contains("FAIL"), "WeChat judges: {answer:?}");
    assert!(shop.record("FORGED").is_none());
    let by_reason = "paybell_proxy_unverified_total{reason=\"bad_signature\"}";
    assert!(shop.service.metric(by_reason) > 0.5, "{}", shop.service.metrics());
    // Queries go through as well, byte for byte.
    let page = get(shop.service.address("proxy"), "/healthz");
    assert_eq!((page.status, page.body.as_str()), (200, "ok\n"));
    // Another amount for a number that is known: the first stays, and the call goes on.
    assert_placed(&place(&shop.service, "TWICE", 1999));
    assert_eq!(registered(&shop, "TWICE")["total_fee"], 1999);
    eventually("it is counted as different", || {
        place(&shop.service, "TWICE", 2999);
        shop.service.metric("paybell_proxy_registrations_total{result=\"different\"}") > 0.5
    });
    assert_eq!(registered(&shop, "TWICE")["total_fee"], 1999);
}

#[test]
fn a_ledger_that_is_away_stops_no_order_and_the_miss_is_counted_and_made_good() {
    let simulator = Simulator::start();
    let redis = crate::ENGINE.is_cluster().then(|| wait(Redis::start()));
    let shop = Shop::open(&Settings {
        top: "proxy.listen = \"127.0.0.1:0\"",
        redis: redis.as_ref().map(Redis::url),
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    assert_placed(&place(&shop.service, "BEFORE", 1999));
    let intruder = Intruder::stop_the_ledger(&shop, redis.as_ref());
    let (stalls, begun) = (Stalls::watch(shop.service.address("proxy")), Instant::now());
    assert_placed(&place(&shop.service, "MEANWHILE", 1999));
    let ended = Instant::now();
    let took = stalls.end().own_time(begun, ended);
    eprintln!("a call while the ledger is away: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(5), "an SDK waits 6 s: {took:?}");
    let missed = "paybell_proxy_registrations_total{result=\"missed\"}";
    assert!(shop.service.metric(missed) > 0.5, "{}", shop.service.metrics());
    intruder.let_go();
    wait_for("the order is registered after all", || {
        shop.record("MEANWHILE").filter(|record| record["registration"]["total_fee"] == 1999)
    });
    eventually("it is counted", || {
        shop.service.metric("paybell_proxy_registrations_total{result=\"retried\"}") > 0.5
    });
}

/// Holds the ledger back.
enum Intruder<'r> {
    Embedded(rusqlite::Connection),
    Cluster(&'r Redis),
}

impl<'r> Intruder<'r> {
    fn stop_the_ledger(shop: &Shop, redis: Option<&'r Redis>) -> Self {
        match redis {
            Some(redis) => {
                wait(redis.pause());
                Intruder::Cluster(redis)
            }
            None => {
                let file = rusqlite::Connection::open(shop.folder.path().join("data/paybell.db")).unwrap();
                file.busy_timeout(Duration::from_secs(10)).unwrap();
                file.execute_batch("BEGIN IMMEDIATE").unwrap();
                Intruder::Embedded(file)
            }
        }
    }

    fn let_go(self) {
        match self {
            Intruder::Embedded(file) => file.execute_batch("ROLLBACK").unwrap(),
            Intruder::Cluster(redis) => wait(redis.resume()),
        }
    }
}

#[test]
fn the_proxy_is_a_role_of_its_own_and_needs_its_address() {
    let shop = Shop::open(&Settings::default());
    let config = shop.config().display().to_string();
    run(&["run", "proxy", "--config", &config]).expect(2, &["there is no proxy to run", "[proxy] listen"]);
    if !crate::ENGINE.is_cluster() {
        return; // There the file belongs to one process.
    }
    let simulator = Simulator::start();
    let text = std::fs::read_to_string(shop.config()).unwrap();
    let alone = shop.folder.path().join("proxy.toml");
    let wechat = format!("http://{}", shop.wechat.address);
    let text = text.replace(&wechat, &format!("http://{}", simulator.address));
    std::fs::write(&alone, format!("proxy.listen = \"127.0.0.1:0\"\n{text}")).unwrap();
    let mut proxy = Service::start_role(&alone, "proxy");
    assert_eq!(get(proxy.address("admin"), "/readyz").status, 200, "it depends on nobody");
    wait_for("its ledger is there", || {
        assert_placed(&place(&proxy, "T1", 1999));
        shop.record("T1")
    });
    proxy.process.signal("TERM");
    assert_eq!(proxy.process.ended().0.code(), Some(0));
}

#[test]
fn a_call_in_hand_gets_its_answer_although_the_process_is_told_to_end() {
    let mut shop = Shop::open(&Settings { top: "proxy.listen = \"127.0.0.1:0\"", ..Settings::default() });
    shop.wechat.holds();
    let (address, admin) = (shop.service.address("proxy"), shop.service.address("admin"));
    let call = thread::spawn(move || {
        Request::new("POST", "/pay/unifiedorder").xml(unified_order("HAND", 1999)).send(address)
    });
    eventually("the call is at WeChat", || !shop.wechat.asked("HAND").is_empty());
    registered(&shop, "HAND");
    shop.service.process.signal("TERM");
    eventually("it drains", || get(admin, "/readyz").status == 503);
    shop.wechat.lets_go();
    let answer = call.join().unwrap().expect(200);
    let document = Document::parse(answer.body.as_bytes()).unwrap();
    sign::verify(&document, &ApiKey::new(KEY).unwrap(), Algorithm::Md5).unwrap();
    assert_eq!(shop.service.process.ended().0.code(), Some(0));
    shop.start_again();
    assert_eq!(shop.record("HAND").unwrap()["registration"]["total_fee"], 1999);
}
