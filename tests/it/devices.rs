//! The payer's device: it pays by what the shop was answered, signed parameters, a code or a link, and what it says where
//! that is not right is a text that `docs/errors.md` explains.

use std::process::Command;

use serde_json::{Value, json};
use wechat_pay::error_code::known_message;

use crate::{
    harness::{MCH, Settings, skip},
    placing::{BACK, ONLY_TOLD, PAGE, PAYER_IP, Till, WAYS, way},
};

const JSAPI: &str = "JSAPI";

#[test]
fn each_way_of_paying_is_placed_paid_by_its_device_and_told() {
    let till = Till::unhurried(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    till.simulator
        .send(
            "PUT",
            "/_sim/settings",
            &json!({ "pay_directories": { MCH: ["https://shop.example.com/pay/"] }, "h5_domains": { MCH: ["shop.example.com"] } }),
        )
        .expect(200);
    for trade_type in WAYS {
        // JSAPI has two spellings of one answer; each pays an order of its own.
        for number in 0..if trade_type == JSAPI { 2 } else { 1 } {
            let order = format!("{trade_type}{number}");
            let placed = till.placed(&order, &way(trade_type));
            assert_eq!(placed["trade_type"], trade_type);
            let again = till.place(&order, &way(trade_type)).expect(200).json();
            assert_eq!((&again["prepay_id"], &again["repeated"]), (&placed["prepay_id"], &json!(true)));
            let device = devices(trade_type, &again["pay"]).remove(number);
            let outcome = till.device(&device).expect(200).json();
            if trade_type == "MWEB" {
                assert_eq!(outcome["redirect_url"], BACK);
            }
            let event = till.shop.event(&order, "order.paid");
            assert_eq!(
                (&event["data"]["total_fee"], &event["data"]["registered"]),
                (&json!(1999), &json!(true))
            );
            assert_eq!(event["data"]["learned_by"], "notification");
            let settled = till.place(&order, &way(trade_type)).expect(409).json();
            assert_eq!(settled["type"], "urn:paybell:problem:order-paid", "{settled}");
        }
    }
    assert_eq!(till.shop.dead_letters(), Vec::<Value>::new());
    assert!(!till.shop.service.process.log().contains("oUpF8uMuAJO"), "a payer is nobody's to read");
}

/// What the payer's device says then is a text that `docs/errors.md` explains.
#[test]
fn what_a_device_refuses_is_explained() {
    let till = Till::unhurried(&Settings::default());
    let rules = json!({ "pay_directories": { MCH: ["https://shop.example.com/pay/"] }, "h5_domains": { MCH: ["shop.example.com"] } });
    till.simulator.send("PUT", "/_sim/settings", &rules).expect(200);
    let jsapi = till.placed("J", &way(JSAPI))["pay"]["bridge"].clone();
    let mweb = till.placed("M", &way("MWEB"))["pay"]["mweb_url"].clone();
    let mut forged = jsapi.clone();
    forged["timeStamp"] = json!("1");
    let expired = till.placed("E", &way("MWEB"))["pay"]["mweb_url"].clone();
    for (device, name) in [
        (json!({ "params": jsapi, "page": "https://shop.example.com/other" }), "unregistered_directory"),
        (json!({ "params": forged, "page": PAGE }), "wrong_sign"),
        (json!({ "mweb_url": mweb, "ip": PAYER_IP }), "empty_referer"),
        (json!({ "mweb_url": mweb, "referer": "https://other.example/", "ip": PAYER_IP }), "h5_domain"),
        (json!({ "mweb_url": mweb, "referer": PAGE, "ip": "203.0.113.8" }), "ip_mismatch"),
    ] {
        let said = till.device(&device);
        assert_eq!(known_message(&said.body).map(|known| known.name), Some(name), "{}", said.body);
    }
    till.simulator.send("POST", "/_sim/clock", &json!({ "advance_s": 301 })).expect(200);
    let said = till.device(&json!({ "mweb_url": expired, "referer": PAGE, "ip": PAYER_IP }));
    assert_eq!(known_message(&said.body).map(|known| known.name), Some("expired_link"), "{}", said.body);
    assert_eq!(till.shop.log(), Vec::<Value>::new());
}

/// The snippets of `docs/placing.md`, run as they stand there, over what stands for the payer's WeChat and browser.
#[test]
fn the_snippets_that_are_documented_hand_the_device_what_pays() {
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if !has_node && std::env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() == Ok("1") {
        return skip("no Node to run the snippets with");
    }
    let till = Till::unhurried(&Settings { cadence: ONLY_TOLD, ..Settings::default() });
    for page in ["placing", "placing.zh-CN"] {
        let text =
            std::fs::read_to_string(format!("{}/../docs/{page}.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let snippets: Vec<&str> =
            text.split("```js\n").skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)).collect();
        assert_eq!(snippets.len(), 3);
        for (snippet, trade_type) in snippets.into_iter().zip([JSAPI, "MINIPROGRAM", "MWEB"]) {
            let order = format!("{trade_type}{}", page.len());
            let answer = till.placed(&order, &way(trade_type));
            let ran = Command::new("node")
                .args(["-e", DEVICES])
                .args([snippet, &answer.to_string()])
                .output()
                .unwrap();
            let said = String::from_utf8(ran.stdout).unwrap();
            assert!(ran.status.success(), "{trade_type}: {}", String::from_utf8_lossy(&ran.stderr));
            let mut device: Value =
                serde_json::from_str(&said).unwrap_or_else(|_| panic!("{trade_type}: {said}"));
            if trade_type == "MWEB" {
                device["referer"] = json!(PAGE);
            }
            till.device(&device).expect(200);
            till.shop.event(&order, "order.paid");
        }
    }
}

/// The payer's WeChat, a mini program's, and a browser: each prints what it was handed.
const DEVICES: &str = r#"
const [snippet, answer] = process.argv.slice(1);
const told = [];
const handed = (device) => console.log(JSON.stringify(device));
globalThis.WeixinJSBridge = {
  invoke(name, params, done) {
    if (name !== "getBrandWCPayRequest") throw new Error(name);
    handed({ params });
    done({ err_msg: "get_brand_wcpay_request:ok" });
  },
};
globalThis.wx = {
  requestPayment({ success, fail, ...params }) {
    handed({ params });
    fail({ errMsg: "requestPayment:fail cancel" });
  },
};
globalThis.location = { set href(mweb_url) { handed({ mweb_url }); told.push(mweb_url); } };
new Function("answer", "done", snippet + "\npay(answer, done);")(JSON.parse(answer), (text) => told.push(text));
if (told.length !== 1) throw new Error("the page is told nothing: " + JSON.stringify(told));
"#;

/// The devices that each answer is good for.
fn devices(trade_type: &str, pay: &Value) -> Vec<Value> {
    match trade_type {
        "JSAPI" => {
            // The JSSDK signs what it is given under WeChat's own spelling.
            let mut jssdk = pay["jssdk"].clone();
            let timestamp = jssdk.as_object_mut().unwrap().remove("timestamp").unwrap();
            jssdk["timeStamp"] = timestamp;
            jssdk["appId"] = pay["bridge"]["appId"].clone();
            vec![json!({ "params": pay["bridge"], "page": PAGE }), json!({ "params": jssdk, "page": PAGE })]
        }
        "MINIPROGRAM" => vec![json!({ "params": pay["mini_program"] })],
        "APP" => vec![json!({ "params": pay["app"] })],
        "NATIVE" => vec![json!({ "code_url": pay["code_url"] })],
        _ => vec![json!({ "mweb_url": pay["mweb_url"], "referer": PAGE, "ip": PAYER_IP })],
    }
}
