//! Shops on wechatpy and tenpay that only changed their base URL: they place, ask and close through the proxy, and their
//! own handlers take our legacy notifications, also of a payment whose notification WeChat never sent.

use serde_json::{Value, json};

use crate::{
    clients::{Sdk, UnchangedShop},
    harness::{APP, Answer, MCH, Request, Settings, Shop, Simulator, eventually, wait_for},
};

/// What nobody tells is found.
const POLLED: &[&str] = &["1s", "1s", "1s", "2s", "2s", "3s", "5s", "5s", "5s", "1h"];
/// Looks come after an hour only: what is found was told.
const ONLY_TOLD: &[&str] = &["1h"];

/// A service between an unchanged shop and the simulator.
struct Desk {
    sdk: UnchangedShop,
    simulator: Simulator,
    shop: Shop,
}

impl Desk {
    #[track_caller]
    fn open(sdk: Sdk, cadence: &[&str]) -> Self {
        let (sdk, simulator) = (UnchangedShop::open(sdk), Simulator::start());
        let legacy = format!("\n[[legacy]]\nname = \"old\"\nurl = \"{}\"\n", sdk.handler());
        let shop = Shop::open(&Settings {
            top: "proxy.listen = \"127.0.0.1:0\"",
            merchant: &legacy,
            cadence,
            base_url: Some(format!("http://{}", simulator.address)),
            ..Settings::default()
        });
        wait_for("the old handler is served", || {
            let state = shop.get("/v1/endpoints/old").expect(200).json()["state"].clone();
            (!matches!(state.as_str(), Some("new" | "idle"))).then_some(())
        });
        Self { sdk, simulator, shop }
    }

    #[track_caller]
    fn tell(&mut self, verb: &str, order: &str, more: &Value) -> Value {
        let base_url = format!("http://{}", self.shop.service.address("proxy"));
        self.sdk.tell(verb, &base_url, order, more)
    }

    #[track_caller]
    fn place(&mut self, order: &str, fee: u64) -> Value {
        let notify_url = format!("http://{}/notify/pay", self.shop.service.address("ingress"));
        let answer = self.tell("place", order, &json!({ "fee": fee, "notify_url": notify_url }));
        assert!(
            answer["answer"]["prepay_id"].is_string() && answer["answer"]["code_url"].is_string(),
            "{answer}"
        );
        answer
    }

    #[track_caller]
    fn pay(&self, order: &str, how: &Value) {
        self.simulator.send("POST", &format!("/_sim/orders/{MCH}/{order}/pay"), how).expect(200);
    }

    /// A notification straight to the handler.
    fn post(&self, body: &str) -> Answer {
        Request::new("POST", "/notify")
            .xml(body)
            .send(([127, 0, 0, 1], u16::try_from(self.sdk.port).unwrap()).into())
    }
}

/// Amounts are numbers or texts, as each SDK likes it.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[test]
fn orders_are_placed_asked_about_and_closed_through_the_proxy() {
    for sdk in Sdk::all() {
        let mut desk = Desk::open(*sdk, POLLED);
        desk.place("A-1", 1999);
        // The call does not wait long for a ledger on a busy machine: its registration follows.
        let registration = wait_for("it is registered", || {
            let record = desk.shop.record("A-1")?;
            record["registration"].is_object().then(|| record["registration"].clone())
        });
        assert_eq!(
            (&registration["total_fee"], &registration["appid"]),
            (&json!(1999), &json!(APP)),
            "{sdk:?}"
        );
        assert_eq!(desk.tell("query", "A-1", &Value::Null)["answer"]["trade_state"], "NOTPAY", "{sdk:?}");
        assert_eq!(
            desk.tell("query", "NOBODYS", &Value::Null),
            json!({ "error": "ORDERNOTEXIST" }),
            "{sdk:?}"
        );
        desk.pay("A-1", &json!({}));
        assert_eq!(desk.tell("query", "A-1", &Value::Null)["answer"]["trade_state"], "SUCCESS", "{sdk:?}");
        assert_eq!(desk.tell("close", "A-1", &Value::Null), json!({ "error": "ORDERPAID" }), "{sdk:?}");

        desk.place("B-1", 2);
        // Not before it is five minutes old, which the simulator's clock makes seconds of.
        wait_for("it can be closed", || {
            desk.tell("close", "B-1", &Value::Null).get("answer").is_some().then_some(())
        });
        desk.shop.event("B-1", "order.closed");
        let counted = |result: &str| {
            desk.shop.service.metric(&format!("paybell_proxy_registrations_total{{result=\"{result}\"}}"))
        };
        eventually("every order was registered, at once or a little later", || {
            counted("registered") + counted("retried") > 1.5
        });
        assert_eq!(counted("different") + counted("dropped"), 0.0, "{sdk:?}");
    }
}

#[test]
fn their_own_handlers_take_our_notifications_whether_wechat_notified_or_not() {
    for sdk in Sdk::all() {
        for (order, how, cadence, learned_by) in [
            ("NOTIFIED", json!({}), ONLY_TOLD, "notification"),
            ("LOST", json!({ "silent": true }), POLLED, "poll"),
        ] {
            let mut desk = Desk::open(*sdk, cadence);
            desk.place(order, 1999);
            desk.pay(order, &how);
            let event = desk.shop.event(order, "order.paid");
            assert_eq!(event["data"]["learned_by"], learned_by, "{sdk:?}");
            let told = desk.sdk.wait_for(order);
            assert_eq!(
                (number(&told["total_fee"]), number(&told["cash_fee"])),
                (1999, 1999),
                "{sdk:?}: {told}"
            );
            assert_eq!(told["transaction_id"], event["data"]["transaction_id"], "{sdk:?}");
            assert_eq!(
                (&told["result_code"], &told["mch_id"]),
                (&json!("SUCCESS"), &json!(MCH)),
                "{sdk:?}: {told}"
            );
            eventually("its answer counted", || {
                desk.shop.get("/v1/endpoints/old").expect(200).json()["delivered_total"] == 1
            });
            assert_eq!(desk.sdk.notified(order).len(), 1, "{sdk:?}: once");
            assert_eq!(desk.sdk.refused(), 0, "{sdk:?}");
        }
    }
}

#[test]
fn their_handlers_do_refuse_what_is_not_genuine() {
    for sdk in Sdk::all() {
        let mut desk = Desk::open(*sdk, ONLY_TOLD);
        let genuine = crate::harness::Notification::of("T1", 1999).signed();
        assert!(desk.post(&genuine).body.contains("SUCCESS"), "{sdk:?}");
        assert_eq!(number(&desk.sdk.wait_for("T1")["total_fee"]), 1999);
        let answer = desk.post(&genuine.replace("1999", "1"));
        assert!(answer.body.contains("FAIL"), "{sdk:?}: {answer:?}");
        eventually("it is refused", || desk.sdk.refused() == 1);
        let unsigned = desk.tell("query", "NOBODYS", &Value::Null);
        assert_eq!(unsigned, json!({ "error": "ORDERNOTEXIST" }), "{sdk:?}: it goes on working");
    }
}
