//! Refunds from the request of a shop to the event, against a simulator that pays them: taken once, told once, whatever is
//! lost or refused on the way.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{Answer, MCH, Settings, Shop, Simulator, eventually, run, wait_for},
    kill::free_address,
    life::assert_valid,
};

/// A service with the merchant's certificate, and a simulator that tells it how refunds end.
pub struct Desk {
    pub simulator: Simulator,
    pub shop: Shop,
    notify_url: String,
    _papers: TempDir,
}

impl Desk {
    /// `cadence` is that of the refunds, too.
    #[track_caller]
    pub fn open(cadence: &[&str]) -> Self {
        let (simulator, papers, ingress) = (Simulator::start(), TempDir::new().unwrap(), free_address());
        let certificate = certificate(&papers);
        let shop = Shop::open(&Settings {
            top: &format!("ingress.public_url = \"http://{ingress}\""),
            ingress: &ingress.to_string(),
            merchant: &certificate,
            cadence,
            base_url: Some(format!("http://{}", simulator.address)),
            ..Settings::default()
        });
        let notify_url = format!("http://{ingress}/notify");
        Self { simulator, shop, notify_url, _papers: papers }
    }

    /// An order that WeChat was paid for; it is known to the service only where it is notified.
    #[track_caller]
    pub fn pay(&self, order: &str, fee: u64, is_notified: bool) {
        let notify_url = format!("{}/pay", self.notify_url);
        let new = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": fee, "notify_url": notify_url });
        self.simulator.send("POST", "/_sim/orders", &new).expect(201);
        self.simulator
            .send("POST", &format!("/_sim/orders/{MCH}/{order}/pay"), &json!({ "silent": !is_notified }))
            .expect(200);
    }

    /// A payment that was told.
    #[track_caller]
    pub fn paid(&self, order: &str, fee: u64) {
        self.pay(order, fee, true);
        self.shop.event(order, "order.paid");
    }

    /// Asks for a refund, and waits for WeChat's word.
    #[track_caller]
    pub fn refund(&self, order: &str, wish: &Value) -> Answer {
        self.shop.order_verb(order, "refunds?wait=20s", wish)
    }

    /// How it stands here.
    #[track_caller]
    pub fn shown(&self, order: &str, number: &str) -> Value {
        self.shop.get(&format!("/v1/orders/{MCH}/{order}/refunds/{number}")).expect(200).json()
    }

    #[track_caller]
    pub fn wait_for_state(&self, order: &str, number: &str, state: &str) -> Value {
        wait_for(&format!("refund {number} is {state}"), || {
            Some(self.shown(order, number)).filter(|refund| refund["state"] == state)
        })
    }

    /// What is true about every refund.
    #[track_caller]
    pub fn truth(&self) -> Vec<Value> {
        let page = crate::harness::get(self.simulator.address, "/_sim/refunds?limit=1000").expect(200).json();
        page["refunds"].as_array().unwrap().clone()
    }

    /// What is true about one.
    #[track_caller]
    pub fn truth_of(&self, number: &str) -> Option<Value> {
        self.truth().into_iter().find(|refund| refund["out_refund_no"] == number)
    }

    /// Refunds end when the test says so.
    pub fn holds_refunds(&self) {
        self.settings(&json!({ "refund_delay_s": 100_000_000 }));
    }

    pub fn settings(&self, settings: &Value) {
        self.simulator.send("PUT", "/_sim/settings", settings).expect(200);
    }

    #[track_caller]
    pub fn end(&self, number: &str, state: &str) {
        let path = format!("/_sim/refunds/{MCH}/{number}/end");
        self.simulator.send("POST", &path, &json!({ "state": state })).expect(200);
    }

    /// All events of that type about a refund, each row of the log.
    #[track_caller]
    pub fn events(&self, kind: &str, number: &str) -> Vec<Value> {
        let is_it = |event: &Value| event["type"] == kind && event["data"]["out_refund_no"] == number;
        self.shop.log().into_iter().map(|row| row["event"].clone()).filter(is_it).collect()
    }

    #[track_caller]
    pub fn event(&self, kind: &str, number: &str) -> Value {
        wait_for(&format!("{kind} of {number}"), || self.events(kind, number).pop())
    }
}

/// As the merchant platform gives it: it names the merchant.
pub fn certificate(papers: &TempDir) -> String {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, MCH);
    let key = rcgen::KeyPair::generate().unwrap();
    let (cert_file, key_file) =
        (papers.path().join("apiclient_cert.pem"), papers.path().join("apiclient_key.pem"));
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let (cert_file, key_file) = (cert_file.display(), key_file.display());
    format!("client_cert_file = \"{cert_file}\"\nclient_key_file = \"{key_file}\"\n")
}

/// Looks come after an hour only: what is found was told.
const ONLY_TOLD: &[&str] = &["1h"];
/// What nobody tells is found.
const POLLED: &[&str] = &["1s", "1s", "1s", "1s", "1s", "2s", "2s", "2s", "5s", "5s", "1h"];

#[test]
fn a_refund_is_taken_told_once_and_asked_for_once_however_often() {
    let desk = Desk::open(ONLY_TOLD);
    desk.simulator.misbehaves(&json!({
        "refund_duplicate": 1.0, "refund_duplicate_copies": 2, "refund_garbage": 1.0, "refund_forged": 1.0,
    }));
    desk.paid("T1", 1999);
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 500, "refund_desc": "退货" });
    let taken = desk.refund("T1", &wish).expect(201).json();
    assert!(matches!(taken["state"].as_str(), Some("processing" | "succeeded")), "{taken}");
    let event = desk.event("refund.succeeded", "R1");
    let truth = desk.truth_of("R1").unwrap();
    let data = &event["data"];
    assert_eq!(
        (&data["refund_id"], &data["refund_fee"], &data["total_fee"], &data["cash_refund_fee"]),
        (&truth["refund_id"], &json!(500), &json!(1999), &json!(500))
    );
    assert_eq!(
        (&data["refund_status"], &data["refund_account"], &data["refund_recv_accout"]),
        (&json!("SUCCESS"), &json!("REFUND_SOURCE_UNSETTLED_FUNDS"), &json!("支付用户零钱"))
    );
    assert_eq!(
        (&data["learned_by"], &data["transaction_id"]),
        (&json!("notification"), &truth["transaction_id"])
    );
    assert!(data["refund_success_time"].is_string(), "{event}");

    desk.shop.event("T1", "order.refunded");
    let sent = || desk.truth_of("R1").unwrap()["notifications_sent"].as_u64();
    eventually("its copies were sent", || sent() >= Some(3));
    assert_eq!(desk.refund("T1", &wish).expect(200).json()["state"], "succeeded");
    let other = desk.refund("T1", &json!({ "out_refund_no": "R1", "refund_fee": 501 })).expect(409);
    assert_eq!(other.json()["type"], "urn:paybell:problem:different-refund");
    desk.shop.wait_for_state("T1", "refunded");
    assert_eq!(desk.shop.types_of("T1"), ["order.paid", "refund.succeeded", "order.refunded"]);
    let truth = desk.truth();
    assert_eq!((truth.len(), &truth[0]["requests"]), (1, &json!(1)), "{truth:?}");
    assert_eq!(desk.simulator.stats()["forgeries_acknowledged"], 0);
    let counted = |result: &str| {
        let name = "paybell_refund_notifications_total";
        desk.shop.service.metric(&format!("{name}{{mch_id=\"{MCH}\",result=\"{result}\"}}"))
    };
    eventually("they are counted", || counted("accepted") >= 3.0 && counted("not_decrypted") >= 2.0);
    // One that is answered 503 is sent once more.
    let is_put_off = crate::ENGINE.is_cluster() || counted("not_durable") + counted("overloaded") > 0.0;
    assert!(sent() == Some(3) || is_put_off, "{:?}", sent());
    assert_eq!(desk.shop.dead_letters(), Vec::<Value>::new());
    assert_valid(&desk.shop);
}

#[test]
fn a_refund_whose_notification_is_lost_is_found_by_the_poll() {
    let desk = Desk::open(POLLED);
    desk.simulator.misbehaves(&json!({ "refund_notification_lost": 1.0 }));
    desk.holds_refunds();
    desk.paid("T1", 1999);
    desk.refund("T1", &json!({ "out_refund_no": "R1", "refund_fee": 1999 })).expect(201);
    eventually("it is polled", || desk.truth_of("R1").unwrap()["queries"].as_u64() >= Some(2));
    assert_eq!(desk.shown("T1", "R1")["state"], "processing");
    assert_eq!(desk.shop.types_of("T1"), ["order.paid"], "taken is not returned");
    desk.end("R1", "SUCCESS");
    assert_eq!(desk.event("refund.succeeded", "R1")["data"]["learned_by"], "poll");
    desk.shop.event("T1", "order.refunded");
    assert_eq!(desk.events("refund.succeeded", "R1").len(), 1);
    assert_valid(&desk.shop);
}

#[test]
fn an_answer_that_is_lost_or_says_later_is_asked_about_and_moves_no_money_twice() {
    let desk = Desk::open(POLLED);
    desk.paid("T1", 1999);
    let faults = ["answer_lost", "html", "system_error_after", "wrong_sign", "system_error", "lost"];
    for (number, fault) in faults.iter().enumerate() {
        let number = format!("R{number}");
        let mut refund = serde_json::Map::new();
        refund.insert((*fault).to_owned(), json!(1.0));
        desk.simulator.misbehaves(&json!({ "refund": refund }));
        let wish = json!({ "out_refund_no": number, "refund_fee": 100 });
        let is_done = matches!(*fault, "answer_lost" | "html" | "system_error_after" | "wrong_sign");
        let path = "refunds?wait=1s";
        let answer = desk.shop.order_verb("T1", path, &wish);
        assert!(matches!(answer.status, 201 | 202), "{fault}: {answer:?}");
        assert_eq!(desk.truth_of(&number).is_some(), is_done, "{fault}");
        assert!(desk.shown("T1", &number)["refusal"].is_null(), "{fault}: nobody refused it");
        desk.simulator.heal();
        desk.event("refund.succeeded", &number);
        assert_eq!(desk.events("refund.succeeded", &number).len(), 1, "{fault}");
    }
    assert_eq!(desk.truth().len(), faults.len(), "each once");
    assert_eq!(desk.shop.dead_letters(), Vec::<Value>::new());
}

#[test]
fn an_empty_account_names_the_way_out_and_nothing_switches_by_itself() {
    let desk = Desk::open(POLLED);
    desk.simulator
        .send(
            "PUT",
            &format!("/_sim/merchants/{MCH}/funds"),
            &json!({ "unsettled_fee": 10, "recharge_fee": 5000 }),
        )
        .expect(200);
    desk.paid("T1", 1999);
    let refused = desk.refund("T1", &json!({ "out_refund_no": "R1", "refund_fee": 500 })).expect(409).json();
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("urn:paybell:problem:refund-refused"), &json!("NOTENOUGH"))
    );
    for language in ["en", "zh"] {
        let remedy = refused["remedy"][language].as_str().unwrap();
        assert!(remedy.contains("REFUND_SOURCE_RECHARGE_FUNDS"), "{refused}");
        assert!(refused["cause"][language].is_string(), "{refused}");
    }
    let shown = desk.shown("T1", "R1");
    assert_eq!((&shown["state"], &shown["next_look_at"]), (&json!("refused"), &Value::Null), "{shown}");
    assert_eq!(desk.truth(), Vec::<Value>::new(), "nothing moved");

    let api = format!("http://{}", desk.shop.service.address("console"));
    let command = |more: &[&str]| {
        let asked = ["order", "refund", MCH, "T1", "R1", "--fee", "500", "--wait", "20s", "--api", &api];
        run(&[&asked, more].concat())
    };
    command(&[]).expect(1, &["NOTENOUGH", "REFUND_SOURCE_RECHARGE_FUNDS", "充值"]);
    assert_eq!(desk.truth(), Vec::<Value>::new(), "and still nothing");
    command(&["--account", "recharge"]).expect(0, &["R1", "asked by"]);
    let event = desk.event("refund.succeeded", "R1");
    assert_eq!(event["data"]["refund_account"], "REFUND_SOURCE_RECHARGE_FUNDS");
    let truth = desk.truth();
    assert_eq!((truth.len(), &truth[0]["requests"]), (1, &json!(1)));
    desk.shop.event("T1", "order.refunded");
    assert_eq!(desk.shop.types_of("T1"), ["order.paid", "refund.succeeded", "order.refunded"]);
    run(&["order", "refunds", MCH, "T1", "--api", &api]).expect(0, &["R1", "succeeded", "500"]);
    run(&["order", "refunds", MCH, "T1", "R1", "--api", &api]).expect(0, &["支付用户零钱"]);
    run(&["order", "refunds", MCH, "T1", "R2", "--api", &api]).expect(1, &["no refund of this number"]);
    run(&["operations", "list", "--api", &api]).expect(0, &["refund", "500 fen"]);
}

#[test]
fn an_abnormal_refund_is_told_and_may_still_end_either_way() {
    let desk = Desk::open(POLLED);
    desk.holds_refunds();
    desk.paid("T1", 1999);
    for (number, end, kind) in [("R1", "SUCCESS", "refund.succeeded"), ("R2", "REFUNDCLOSE", "refund.closed")]
    {
        desk.refund("T1", &json!({ "out_refund_no": number, "refund_fee": 500 })).expect(201);
        desk.end(number, "CHANGE");
        let abnormal = desk.event("refund.abnormal", number);
        assert_eq!(abnormal["data"]["refund_status"], "CHANGE");
        desk.wait_for_state("T1", number, "abnormal");
        desk.end(number, end);
        let ended = desk.event(kind, number);
        assert_ne!(ended["id"], abnormal["id"]);
        assert!(ended["data"]["version"].as_u64() > abnormal["data"]["version"].as_u64());
        for kind in [kind, "refund.abnormal"] {
            assert_eq!(desk.events(kind, number).len(), 1, "{kind} of {number}");
        }
    }
    // What was closed does not count: the money is there for another refund.
    desk.refund("T1", &json!({ "out_refund_no": "R3", "refund_fee": 1499 })).expect(201);
    let too_much = desk.refund("T1", &json!({ "out_refund_no": "R4", "refund_fee": 1 })).expect(409);
    assert_eq!(too_much.json()["type"], "urn:paybell:problem:more-than-paid");
    assert_valid(&desk.shop);
}

#[test]
fn a_refund_of_an_unknown_order_tells_nothing_of_its_payment_until_that_is_met_itself() {
    let desk = Desk::open(POLLED);
    desk.pay("T1", 1999, false);
    let mut wish = json!({ "out_refund_no": "R1", "refund_fee": 500 });
    assert_eq!(desk.refund("T1", &wish).expect(400).json()["field"], "total_fee");
    wish["total_fee"] = json!(1999);
    desk.refund("T1", &wish).expect(201);
    let event = desk.event("refund.succeeded", "R1");
    assert_eq!((&event["data"]["total_fee"], &event["data"]["trade_state"]), (&json!(1999), &Value::Null));
    desk.wait_for_state("T1", "R1", "succeeded");
    assert_eq!(desk.shop.types_of("T1"), ["refund.succeeded"], "nobody asked about its payment");
    let again = format!("/_sim/orders/{MCH}/T1/notify");
    desk.simulator.send("POST", &again, &json!({})).expect(202);
    let paid = desk.shop.event("T1", "order.paid");
    assert_eq!(paid["data"]["trade_state"], "REFUND");
    desk.shop.event("T1", "order.refunded");
    assert_eq!(desk.shop.types_of("T1"), ["refund.succeeded", "order.paid", "order.refunded"]);
    assert_valid(&desk.shop);
}

#[test]
fn a_refund_made_elsewhere_is_told_by_its_notification_alone() {
    let desk = Desk::open(ONLY_TOLD);
    desk.paid("KNOWN", 1999);
    desk.pay("UNKNOWN", 1999, false);
    let notify_url = format!("{}/refund/{MCH}", desk.notify_url);
    for (order, number) in [("KNOWN", "R1"), ("UNKNOWN", "R2")] {
        let made = json!({ "refund_fee": 300, "out_refund_no": number, "notify_url": notify_url });
        let path = format!("/_sim/orders/{MCH}/{order}/refund");
        desk.simulator.send("POST", &path, &made).expect(200);
        let event = desk.event("refund.succeeded", number);
        assert_eq!((&event["subject"], &event["data"]["refund_fee"]), (&json!(order), &json!(300)));
        let shown = desk.wait_for_state(order, number, "succeeded");
        assert_eq!((&shown["request"], &shown["notified"]), (&Value::Null, &json!(true)), "{shown}");
    }
    desk.shop.event("KNOWN", "order.refunded");
    assert_eq!(desk.shop.types_of("UNKNOWN"), ["refund.succeeded"]);
    // Our own numbers and theirs share one payment.
    let rest = json!({ "out_refund_no": "R3", "refund_fee": 1700 });
    assert_eq!(desk.refund("KNOWN", &rest).expect(409).json()["type"], "urn:paybell:problem:more-than-paid");
    assert_valid(&desk.shop);
}

#[test]
fn without_the_certificate_a_refund_is_refused_in_words_and_goes_out_once_there_is_one() {
    let desk = Desk::open(POLLED);
    let text = std::fs::read_to_string(desk.shop.config()).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("client_")).map(|line| format!("{line}\n")).collect();
    let reloaded = |text: &str| {
        let before = desk.shop.service.metric("paybell_reloads_total{result=\"applied\"}");
        std::fs::write(desk.shop.config(), text).unwrap();
        desk.shop.service.process.signal("HUP");
        eventually("it is taken", || {
            desk.shop.service.metric("paybell_reloads_total{result=\"applied\"}") > before
        });
    };
    desk.paid("T1", 1999);
    reloaded(&without);
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 500 });
    let refused = desk.refund("T1", &wish).expect(409).json();
    assert_eq!(refused["code"], "NO_CERTIFICATE", "{refused}");
    assert!(refused["remedy"]["zh"].as_str().unwrap().contains("client_cert_file"), "{refused}");
    assert_eq!(desk.truth(), Vec::<Value>::new());
    reloaded(&text);
    desk.refund("T1", &wish).expect(201);
    desk.event("refund.succeeded", "R1");
    let shown = desk.shop.get(&format!("/v1/orders/{MCH}/T1")).body;
    for text in [shown, desk.shop.service.process.log(), desk.shop.service.metrics()] {
        assert!(!text.contains("PRIVATE KEY") && !text.contains("BEGIN CERT"), "{text}");
    }
}
