//! Placing, as a shop and its payers see it: the order goes to a simulator of WeChat, and the device pays by what the
//! shop was answered and by nothing else. The simulator's clock runs a hundred times faster where nothing has to live.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wechat_pay::error_code::{ErrCode, ErrorClass, Interface, known_message};

use crate::harness::{APP, Answer, KEY, MCH, Settings, Shop, Simulator, rfc3339_in, wait_for};

/// What is only told is found at once; the looks of the cadence come after an hour.
pub const ONLY_TOLD: &[&str] = &["1h"];
/// What nobody tells is found.
const POLLED: &[&str] = &["1s", "1s", "1s", "2s", "2s", "2s", "5s", "5s", "1h"];

pub const WAYS: [&str; 5] = ["JSAPI", "MINIPROGRAM", "NATIVE", "APP", "MWEB"];
pub const PAYER_IP: &str = "203.0.113.7";
pub const PAGE: &str = "https://shop.example.com/pay/order";
/// Encoded once more on its way, and decoded once.
pub const BACK: &str = "https://shop.example.com/back?order=T1&from=%E4%BB%98#top";

/// A service that places orders, and the WeChat that takes them.
pub struct Till {
    pub simulator: Simulator,
    pub shop: Shop,
}

impl Till {
    #[track_caller]
    pub fn open(settings: &Settings<'_>) -> Self {
        Self::with(Simulator::start(), settings)
    }

    /// Where what WeChat offered must not end by itself.
    #[track_caller]
    pub fn unhurried(settings: &Settings<'_>) -> Self {
        Self::with(Simulator::unhurried(&[]), settings)
    }

    #[track_caller]
    pub fn with(simulator: Simulator, settings: &Settings<'_>) -> Self {
        let base_url = Some(format!("http://{}", simulator.address));
        let settings = Settings {
            base_url,
            cadence: settings.cadence,
            merchant: settings.merchant,
            merchants: settings.merchants,
            top: settings.top,
            ingress: settings.ingress,
            args: settings.args,
            data_dir: settings.data_dir.clone(),
            redis: settings.redis.clone(),
        };
        let shop = Shop::open(&settings);
        Self { simulator, shop }
    }

    /// An order as most tests want one; `more` stands over it.
    #[track_caller]
    pub fn place(&self, order: &str, more: &Value) -> Answer {
        self.shop.order_verb(order, "place", &wish(more))
    }

    /// Placed at last: a shop that hears of a busy machine asks for the same again, and may find what it asked for.
    #[track_caller]
    pub fn placed(&self, order: &str, more: &Value) -> Value {
        let mut came_again = false;
        let answer = wait_for("it is placed", || {
            let answer = self.place(order, more);
            came_again |= answer.came_again;
            if answer.status == 504 {
                came_again = true;
                return None;
            }
            Some(answer)
        });
        let answer = Answer { came_again, ..answer }.expect(201);
        let placed = answer.json();
        assert_eq!(placed["repeated"], answer.status == 200, "{placed}");
        placed
    }

    /// Pays as a device does that was handed this.
    pub fn device(&self, device: &Value) -> Answer {
        self.simulator.send("POST", "/_sim/device", device)
    }

    /// What is true of the order at WeChat.
    pub fn truth_of(&self, order: &str) -> Option<Value> {
        self.simulator.truth().into_iter().find(|truth| truth["out_trade_no"] == order)
    }

    pub fn pay(&self, order: &str, is_silent: bool) {
        let path = format!("/_sim/orders/{MCH}/{order}/pay");
        self.simulator.send("POST", &path, &json!({ "silent": is_silent })).expect(200);
    }

    /// An order of the shop's own SDK, which placed it long enough ago to be closed.
    #[track_caller]
    pub fn placed_by_sdk(&self, order: &str, business_no: &str) {
        let notify_url = format!("http://{}/notify/pay", self.shop.service.address("ingress"));
        let new =
            json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": 1999, "notify_url": notify_url });
        self.simulator.send("POST", "/_sim/orders", &new).expect(201);
        let registration =
            json!({ "total_fee": 1999, "business_no": business_no, "created_at": rfc3339_in(-600) });
        self.shop.register(order, &registration).expect(201);
        self.simulator.send("POST", "/_sim/clock", &json!({ "advance_s": 600 })).expect(200);
    }
}

pub fn wish(more: &Value) -> Value {
    let mut wish = json!({ "trade_type": "NATIVE", "total_fee": 1999, "body": "绿茶 green tea" });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    wish
}

/// What each way of paying needs beside that.
pub fn way(trade_type: &str) -> Value {
    match trade_type {
        "JSAPI" | "MINIPROGRAM" => {
            json!({ "trade_type": trade_type, "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" })
        }
        "APP" => json!({ "trade_type": trade_type, "payer_ip": PAYER_IP }),
        "MWEB" => json!({
            "trade_type": trade_type, "payer_ip": PAYER_IP,
            "redirect_url": BACK,
            "scene": { "type": "Wap", "wap_url": "https://shop.example.com", "wap_name": "茶" },
        }),
        _ => json!({ "trade_type": trade_type }),
    }
}

#[test]
fn another_order_under_the_same_number_is_refused_and_the_way_out_works() {
    let till = Till::open(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    let first = till.placed("T1", &json!({ "business_no": "B1" }));
    for (other, fields) in [
        (json!({ "business_no": "B1", "total_fee": 2000 }), vec!["total_fee"]),
        (json!({ "business_no": "B1", "body": "coffee" }), vec!["body"]),
        (json!({ "business_no": "B2" }), vec!["business_no"]),
        (
            json!({ "business_no": "B1", "trade_type": "APP", "payer_ip": PAYER_IP }),
            vec!["product_id", "trade_type"],
        ),
    ] {
        let refused = till.place("T1", &other).expect(409).json();
        assert_eq!(refused["type"], "urn:paybell:problem:different-order", "{refused}");
        let mut named: Vec<&str> =
            refused["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, fields, "{refused}");
        assert!(refused["remedy"]["en"].as_str().unwrap().contains("business_no"), "{refused}");
    }
    // Nothing of that reached WeChat, and what was offered is good still.
    let again = till.place("T1", &json!({ "business_no": "B1" })).expect(200).json();
    assert_eq!(again["prepay_id"], first["prepay_id"]);
    assert_eq!(till.simulator.truth().len(), 1);
    // A number that WeChat knows from somebody else.
    let stranger =
        json!({ "mch_id": MCH, "out_trade_no": "T2", "total_fee": 1, "notify_url": "http://127.0.0.1:9/" });
    till.simulator.send("POST", "/_sim/orders", &stranger).expect(201);
    let refused = till.place("T2", &json!({})).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:number-used", "{refused}");
    assert_eq!(refused["err_code"], "OUT_TRADE_NO_USED");
    assert!(refused["remedy"]["zh"].as_str().unwrap().contains("订单号"), "{refused}");
}

#[test]
fn what_wechat_offered_is_given_again_while_it_lives_and_is_fresh_after_that() {
    let top = "wechat.mweb_life = \"20s\"";
    let till = Till::unhurried(&Settings { top, ..Settings::default() });
    let mweb_url = |answer: &Value| answer["pay"]["mweb_url"].as_str().unwrap().to_owned();
    let first = till.placed("T1", &way("MWEB"));
    let again = till.place("T1", &way("MWEB")).expect(200).json();
    assert_eq!(mweb_url(&again), mweb_url(&first));
    // At WeChat the link is dead from now on; we believe in it for the rest of its twenty seconds.
    till.simulator.send("POST", "/_sim/clock", &json!({ "advance_s": 301 })).expect(200);
    let mut came_again = false;
    let fresh = wait_for("a fresh link", || {
        let answer = till.place("T1", &way("MWEB"));
        came_again |= answer.came_again || answer.status == 504;
        (answer.status < 300).then(|| answer.json()).filter(|said| mweb_url(said) != mweb_url(&first))
    });
    assert!(came_again || fresh["repeated"] == false, "{fresh}");
    assert_eq!(fresh["prepay_id"], first["prepay_id"], "it is the same order");
    let refused = till.device(&json!({ "mweb_url": mweb_url(&first), "referer": PAGE, "ip": PAYER_IP }));
    assert_ne!(refused.status, 200, "the old link is dead: {}", refused.body);
    till.device(&json!({ "mweb_url": mweb_url(&fresh), "referer": PAGE, "ip": PAYER_IP })).expect(200);
    till.shop.event("T1", "order.paid");
    // A payer whose address has changed needs a link of its own.
    till.placed("T2", &way("MWEB"));
    let mut moved = way("MWEB");
    moved["payer_ip"] = json!("2001:db8::7");
    let link = till.placed("T2", &moved);
    till.device(&json!({ "mweb_url": mweb_url(&link), "referer": PAGE, "ip": "2001:db8::7" })).expect(200);
    till.shop.event("T2", "order.paid");
}

#[test]
fn a_new_number_of_a_business_order_closes_the_older_one_or_names_the_paid_one() {
    let till = Till::open(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    // Unpaid: closed first.
    till.placed_by_sdk("OLD1", "B1");
    let placed = till.placed("NEW1", &json!({ "business_no": "B1" }));
    assert_eq!(placed["closed"], json!(["OLD1"]), "{placed}");
    assert_eq!(till.truth_of("OLD1").unwrap()["trade_state"], "CLOSED");
    till.shop.event("OLD1", "order.closed");
    // Paid, and nobody here knows yet: the new number never comes to be.
    till.placed_by_sdk("OLD2", "B2");
    till.pay("OLD2", true);
    let refused = till.place("NEW2", &json!({ "business_no": "B2" })).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:business-paid", "{refused}");
    assert_eq!((&refused["out_trade_no"], &refused["state"]), (&json!("OLD2"), &json!("paid")));
    let paid = till.shop.event("OLD2", "order.paid");
    assert_eq!(paid["data"]["learned_by"], "manual", "the shop's demand found it");
    assert_eq!(till.truth_of("NEW2"), None);
    // Known by then: refused without asking.
    let refused = till.place("NEW2", &json!({ "business_no": "B2" })).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:business-paid");
    // Placed this minute: WeChat would not close it.
    till.placed("YOUNG", &json!({ "business_no": "B3" }));
    let refused = till.place("NEW3", &json!({ "business_no": "B3" })).expect(409);
    assert_eq!(refused.json()["type"], "urn:paybell:problem:business-too-young");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((200..=300).contains(&wait), "{wait}");
    assert_eq!(refused.json()["out_trade_no"], "YOUNG");
    assert_eq!(till.truth_of("NEW3"), None);
    // Another business order is another matter.
    till.placed("OTHER", &json!({ "business_no": "B4" }));
}

#[test]
fn a_business_order_that_is_paid_twice_all_the_same_is_told_as_such() {
    let till = Till::open(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    // The shop's own SDK asks nobody.
    for order in ["T1", "T2"] {
        till.placed_by_sdk(order, "B1");
    }
    till.pay("T1", false);
    till.shop.event("T1", "order.paid");
    till.pay("T2", false);
    let event = till.shop.event("T2", "order.duplicate_payment");
    let data = &event["data"];
    assert_eq!((&data["first_out_trade_no"], &data["business_no"]), (&json!("T1"), &json!("B1")), "{event}");
    assert_eq!((&data["total_fee"], &data["trade_state"]), (&json!(1999), &json!("SUCCESS")));
    till.shop.wait_for_state("T2", "paid");
    assert_eq!(till.shop.types_of("T2"), ["order.duplicate_payment"], "nothing is shipped twice");
    assert_eq!(till.shop.types_of("T1"), ["order.paid"]);
}

#[test]
fn closing_keeps_to_the_five_minutes_and_a_payer_may_be_faster() {
    let till = Till::open(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    let close = |order: &str| till.shop.order_verb(order, "close?wait=20s", &json!({}));
    till.placed("YOUNG", &json!({}));
    let refused = close("YOUNG").expect(409);
    assert_eq!(refused.json()["type"], "urn:paybell:problem:too-young");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((200..=300).contains(&wait), "{wait}");
    till.placed_by_sdk("T1", "B1");
    let closed = close("T1").expect(200).json();
    assert_eq!((&closed["closed"], &closed["order"]["state"]), (&json!("now"), &json!("closed")), "{closed}");
    till.shop.event("T1", "order.closed");
    assert_eq!(till.truth_of("T1").unwrap()["trade_state"], "CLOSED");
    assert_eq!(close("T1").expect(200).json()["closed"], "before");
    till.placed_by_sdk("T2", "B2");
    till.pay("T2", true);
    let refused = close("T2").expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:order-paid", "{refused}");
    till.shop.event("T2", "order.paid");
    // Registered, and never placed anywhere.
    let never = json!({ "total_fee": 1999, "created_at": rfc3339_in(-8000) });
    till.shop.register("T3", &never).expect(201);
    assert_eq!(close("T3").expect(200).json()["closed"], "never_placed");
    assert_eq!(close("NOBODY").expect(404).json()["type"], "urn:paybell:problem:unknown-order");
    assert_eq!(till.shop.types_of("YOUNG"), Vec::<String>::new());
}

#[test]
fn close_unpaid_closes_what_nobody_paid_finds_who_did_and_waits_for_the_five_minutes() {
    let cadence = &["1s", "1s"];
    let till = Till::open(&Settings { cadence, merchant: "close_unpaid = true", ..Settings::default() });
    till.placed("YOUNG", &json!({}));
    // Paid in silence before anybody here looks at it, long after its last point.
    let notify_url = format!("http://{}/notify/pay", till.shop.service.address("ingress"));
    let new = json!({ "mch_id": MCH, "out_trade_no": "PAID", "total_fee": 1999, "notify_url": notify_url });
    till.simulator.send("POST", "/_sim/orders", &new).expect(201);
    till.pay("PAID", true);
    let long_ago = json!({ "total_fee": 1999, "created_at": rfc3339_in(-600) });
    till.shop.register("PAID", &long_ago).expect(201);
    till.placed_by_sdk("OPEN", "B2");
    till.shop.event("OPEN", "order.closed");
    assert_eq!(till.truth_of("OPEN").unwrap()["trade_state"], "CLOSED");
    till.shop.event("PAID", "order.paid");
    // Its last point is over, and WeChat would not close it yet.
    let record = wait_for("it waits to be old enough", || {
        till.shop.record("YOUNG").filter(|record| {
            let due = record["due"]["at"].as_str().unwrap_or_default();
            due > rfc3339_in(200).as_str() && due < rfc3339_in(310).as_str()
        })
    });
    assert_eq!((&record["state"], till.shop.types_of("YOUNG").len()), (&json!("pending"), 0), "{record}");
    assert_eq!(till.truth_of("YOUNG").unwrap()["trade_state"], "NOTPAY");
}

/// Whatever unifiedorder may answer: the shop is told the cause and the remedy of that very code, in both languages.
#[test]
fn every_code_of_wechat_s_comes_back_with_its_own_cause_and_remedy() {
    let till = Till::open(&Settings {
        cadence: ONLY_TOLD,
        merchant: "query_rate = \"1000/s\"",
        ..Settings::default()
    });
    for (number, code) in ErrCode::known().enumerate() {
        let refuses = json!({ "refuse": 1.0, "refuse_code": code.as_str(), "refuse_text": "说明" });
        till.simulator.misbehaves(&json!({ "unified_order": refuses }));
        let answer = till.place(&format!("T{number}"), &json!({}));
        let problem = answer.json();
        assert!((400..600).contains(&answer.status), "{code}: {problem}");
        let known = code.explanation_in(Interface::UnifiedOrder);
        assert_eq!(problem["cause"], json!({ "en": known.cause, "zh": known.cause_zh }), "{code}");
        assert_eq!(problem["remedy"], json!({ "en": known.remedy, "zh": known.remedy_zh }), "{code}");
        assert_eq!((&problem["err_code"], &problem["err_code_des"]), (&json!(code.as_str()), &json!("说明")));
        let status = match code.class() {
            _ if *code == ErrCode::FrequencyLimited => 503,
            ErrorClass::Transient => 504,
            ErrorClass::Paid | ErrorClass::Closed => 409,
            _ if matches!(code, ErrCode::OutTradeNoUsed | ErrCode::InvalidRequest) => 409,
            _ => 502,
        };
        assert_eq!(answer.status, status, "{code}: {problem}");
    }
    let texts = [
        ("JSAPI支付必须传openid", "missing_openid"),
        ("appid和mch_id不匹配，请检查后再试", "appid_not_bound"),
        ("201 商户订单号重复", "order_number_repeated"),
        ("交易有效截止时间非法", "expiry_illegal"),
    ];
    for (number, (text, name)) in texts.into_iter().enumerate() {
        let refuses = json!({ "refuse": 1.0, "refuse_code": "PARAM_ERROR", "refuse_text": text });
        till.simulator.misbehaves(&json!({ "unified_order": refuses }));
        let problem = till.place(&format!("X{number}"), &json!({})).json();
        let known = known_message(text).unwrap();
        assert_eq!(known.name, name);
        assert_eq!(problem["remedy"]["zh"], known.explanation.remedy_zh, "{problem}");
    }
    // All of it is registered, and none of it can be paid.
    assert_eq!(till.simulator.truth(), Vec::<Value>::new());
    assert!(till.shop.record("T0").is_some());
}

#[test]
fn an_answer_that_is_lost_is_unknown_and_the_same_request_again_is_the_same_order() {
    let till = Till::open(&Settings { cadence: POLLED, ..Settings::default() });
    for (number, fault) in ["answer_lost", "html", "system_error_after", "wrong_sign"].into_iter().enumerate()
    {
        let order = format!("T{number}");
        till.simulator.misbehaves(&json!({ "unified_order": { fault: 1.0 } }));
        let answer = till.place(&order, &json!({}));
        assert!(matches!(answer.status, 502 | 504), "{fault}: {answer:?}");
        assert!(till.truth_of(&order).is_some(), "{fault}: WeChat has it");
        // The payer of a QR code that was shown by somebody who guessed it pays, and it is found.
        if number == 0 {
            till.pay(&order, true);
            till.simulator.heal();
            till.shop.event(&order, "order.paid");
            continue;
        }
        till.simulator.heal();
        let placed = wait_for("it is placed after all", || {
            let answer = till.place(&order, &json!({}));
            (answer.status < 300).then(|| answer.json())
        });
        let truth = till.truth_of(&order).unwrap();
        assert!(placed["prepay_id"].is_string(), "{placed} {truth}");
        till.device(&json!({ "code_url": placed["pay"]["code_url"] })).expect(200);
        till.shop.event(&order, "order.paid");
    }
    let numbers: BTreeSet<String> = till
        .simulator
        .truth()
        .iter()
        .map(|truth| truth["out_trade_no"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(numbers.len(), 4, "never a second number: {numbers:?}");
    // What never got there is not there.
    till.simulator.misbehaves(&json!({ "unified_order": { "lost": 1.0 } }));
    assert_eq!(
        till.place("LOST", &json!({})).expect(504).json()["type"],
        "urn:paybell:problem:outcome-unknown"
    );
    assert!(till.truth_of("LOST").is_none() && till.shop.record("LOST").is_some());
}

#[test]
fn a_service_provider_places_for_its_sub_merchants() {
    let folder = tempfile::TempDir::new().unwrap();
    let merchant = format!(
        "[[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{APP}\"]\napi_key = \"{KEY}\"\nsub_mch_ids = [\"1900000222\"]\n\
         sign_type = \"HMAC-SHA256\"\n"
    );
    let config = folder.path().join("simulator.toml");
    std::fs::write(&config, &merchant).unwrap();
    let simulator = Simulator::of(&["--config", &config.display().to_string()]);
    let till = Till::with(
        simulator,
        &Settings { merchants: Some(&merchant), cadence: ONLY_TOLD, ..Settings::default() },
    );
    let refused = till.place("T0", &json!({})).expect(400).json();
    assert_eq!(refused["fields"], json!(["sub_mch_id"]), "{refused}");
    let sub = json!({
        "trade_type": "JSAPI", "sub_mch_id": "1900000222", "sub_appid": "wx2222222222222222", "sub_openid": "oSub1",
    });
    let placed = till.placed("T1", &sub);
    assert_eq!(placed["pay"]["bridge"]["appId"], "wx2222222222222222", "the payer is in that app");
    assert_eq!(placed["pay"]["bridge"]["signType"], "HMAC-SHA256");
    till.device(&json!({ "params": placed["pay"]["bridge"] })).expect(200);
    let event = till.shop.event("T1", "order.paid");
    assert_eq!(event["data"]["sub_mch_id"], "1900000222");
}

#[test]
fn an_operator_places_and_closes_from_a_terminal() {
    let till = Till::open(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    let api = format!("http://{}", till.shop.service.address("console"));
    let place =
        ["order", "place", MCH, "T1", "--trade-type", "native", "--total-fee", "1999", "--body", "tea"];
    let said = crate::harness::run(&[&place[..], &["--api", &api]].concat());
    let text = said.stdout;
    assert!(said.code == Some(0) && text.contains("T1 placed: 1999 fen, NATIVE"), "{text}");
    let code_url = text.lines().last().unwrap();
    till.device(&json!({ "code_url": code_url })).expect(200);
    till.shop.event("T1", "order.paid");
    till.placed_by_sdk("T2", "B2");
    let close = ["order", "close", MCH, "T2", "--reason", "out of stock", "--api", &api];
    let said = crate::harness::run(&close);
    let text = said.stdout;
    assert!(text.contains("T2 is closed at WeChat; its state here: closed"), "{text}");
    let trail = till.shop.get("/v1/audit?action=close").expect(200).json();
    assert_eq!(trail["acts"][0]["reason"], "out of stock");
    let said = crate::harness::run(&["order", "close", MCH, "T1", "--api", &api]);
    assert_eq!(said.code, Some(1));
    let text = said.stderr;
    assert!(text.contains("The order is paid"), "{text}");
}

/// Nobody else may know where WeChat would reach this process.
#[test]
fn without_a_public_address_nothing_is_placed_at_the_real_wechat() {
    let shop =
        Shop::open(&Settings { base_url: Some("https://wechat.invalid".to_owned()), ..Settings::default() });
    let refused = shop.order_verb("T1", "place", &wish(&json!({}))).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:no-notify-url");
    assert!(refused["remedy"]["en"].as_str().unwrap().contains("public_url"), "{refused}");
    assert_eq!(shop.record("T1"), None, "nothing was begun");
}
