//! Refunds of shops on wechatpy and tenpay: with the merchant's certificate over TLS, as at WeChat, and through the proxy,
//! which shows its own; and the event of a refund that Paybell did not make.

use serde_json::{Value, json};

use crate::{
    clients::{Sdk, UnchangedShop},
    door::Door,
    harness::{MCH, Settings, Shop, Simulator, wait_for},
};

/// Amounts are numbers or texts, as each SDK likes it.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[track_caller]
fn pay(simulator: &Simulator, order: &str) {
    let path = format!("/_sim/orders/{MCH}/{order}/pay");
    simulator.send("POST", &path, &json!({ "silent": true })).expect(200);
}

/// What the SDK says of a refund once it has ended.
#[track_caller]
fn ended(sdk: &mut UnchangedShop, base_url: &str, wish: &Value) -> Value {
    wait_for("the refund ends", || {
        let answer = sdk.tell("refund_query", base_url, "", wish)["answer"].clone();
        (answer["refund_status_0"] == "SUCCESS").then_some(answer)
    })
}

#[test]
fn with_its_certificate_over_tls_a_shop_places_asks_closes_and_refunds() {
    for sdk in Sdk::all() {
        let simulator = Simulator::start();
        simulator.send("PUT", "/_sim/settings", &json!({ "certificate": "header" })).expect(200);
        let door = Door::open(simulator.address);
        let mut shop = UnchangedShop::trusting(*sdk, &door.paper("ca.pem"));
        let url = door.url();
        let place = json!({ "fee": 1999, "notify_url": "http://127.0.0.1:9/never" });
        let placed = shop.tell("place", &url, "A-1", &place);
        assert!(placed["answer"]["prepay_id"].is_string(), "{sdk:?}: {placed}");
        let queried = shop.tell("query", &url, "A-1", &Value::Null);
        assert_eq!(queried["answer"]["trade_state"], "NOTPAY", "{sdk:?}: {queried}");
        pay(&simulator, "A-1");
        let mut wish = json!({ "number": "R1", "total_fee": 1999, "fee": 500 });
        let refused = shop.tell("refund", &url, "A-1", &wish);
        assert!(refused["error"].is_string(), "{sdk:?}: nobody showed a certificate: {refused}");
        for (name, paper) in
            [("cert", "apiclient_cert.pem"), ("key", "apiclient_key.pem"), ("pfx", "apiclient_cert.p12")]
        {
            wish[name] = json!(door.paper(paper).display().to_string());
        }
        let taken = shop.tell("refund", &url, "A-1", &wish);
        assert_eq!(number(&taken["answer"]["refund_fee"]), 500, "{sdk:?}: {taken}");
        let again = shop.tell("refund", &url, "A-1", &wish);
        assert_eq!(again["answer"]["refund_id"], taken["answer"]["refund_id"], "{sdk:?}: once");
        let end = ended(&mut shop, &url, &wish);
        assert_eq!(end["refund_id_0"], taken["answer"]["refund_id"], "{sdk:?}");
        assert_eq!(number(&end["refund_fee_0"]), 500, "{sdk:?}");
        let paid = shop.tell("query", &url, "A-1", &Value::Null);
        assert_eq!(paid["answer"]["trade_state"], "REFUND", "{sdk:?}: {paid}");

        shop.tell("place", &url, "B-1", &place);
        wait_for("it can be closed", || shop.tell("close", &url, "B-1", &Value::Null).get("answer").cloned());
    }
}

#[test]
fn through_the_proxy_a_shop_refunds_without_a_certificate_of_its_own_and_the_end_is_told() {
    for sdk in Sdk::all() {
        let (simulator, mut sdk_shop) = (Simulator::start(), UnchangedShop::open(*sdk));
        let door = Door::open(simulator.address);
        let [cert, key] =
            ["apiclient_cert.pem", "apiclient_key.pem"].map(|name| door.paper(name).display().to_string());
        let shop = Shop::open(&Settings {
            top: "proxy.listen = \"127.0.0.1:0\"",
            merchant: &format!("client_cert_file = \"{cert}\"\nclient_key_file = \"{key}\"\n"),
            cadence: &["1s", "1s", "1s", "2s", "2s", "3s", "5s", "5s", "5s", "1h"],
            base_url: Some(format!("http://{}", simulator.address)),
            ..Settings::default()
        });
        let ours = format!("http://{}/notify/refund/{MCH}", shop.service.address("ingress"));
        simulator.send("PUT", "/_sim/settings", &json!({ "refund_notify_urls": { MCH: ours } })).expect(200);
        let url = format!("http://{}", shop.service.address("proxy"));
        let place = json!({ "fee": 1999, "notify_url": "http://127.0.0.1:9/never" });
        assert!(sdk_shop.tell("place", &url, "A-1", &place)["answer"].is_object(), "{sdk:?}");
        pay(&simulator, "A-1");
        shop.event("A-1", "order.paid");
        let wish = json!({ "number": "R1", "total_fee": 1999, "fee": 1999 });
        let taken = sdk_shop.tell("refund", &url, "A-1", &wish);
        assert_eq!(number(&taken["answer"]["refund_fee"]), 1999, "{sdk:?}: {taken}");
        let event = shop.event("A-1", "refund.succeeded");
        assert_eq!(event["data"]["refund_id"], taken["answer"]["refund_id"], "{sdk:?}");
        assert_eq!(event["data"]["learned_by"], "notification", "{sdk:?}");
        shop.event("A-1", "order.refunded");
        ended(&mut sdk_shop, &url, &wish);
        let paid = sdk_shop.tell("close", &url, "A-1", &Value::Null);
        assert!(paid["error"].is_string(), "{sdk:?}: {paid}");
    }
}
