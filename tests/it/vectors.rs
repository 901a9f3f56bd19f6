//! Every published vector over real sockets: what WeChat would post, and what it would answer.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wechat_pay::xml::Document;

use crate::harness::{Answer, Request, SUCCESS, Say, Settings, Shop, eventually, wait_for};

/// The direct merchant and the service provider of the vectors.
const DIRECT: &str = "1998414015";
const PROVIDER: &str = "1658021050";

#[test]
fn every_notification_is_answered_as_published_and_only_agreeing_ones_become_order_paid() {
    let vectors = vectors("notifications");
    // Only two vectors know the order's sign type: they meet a merchant that enforces it.
    let (enforcing, lenient): (Vec<_>, Vec<_>) =
        vectors.iter().partition(|vector| vector["inputs"]["context"]["order_sign_type"].is_string());
    assert_eq!((enforcing.len(), lenient.len()), (2, 70));
    for (sign_type, vectors) in [("any", lenient), ("HMAC-SHA256", enforcing)] {
        let shop = open(Settings::default(), sign_type);
        let judged: Vec<Judged> = vectors.into_iter().map(Judged::of).collect();
        judged.iter().for_each(|vector| vector.prepare(&shop));
        for vector in &judged {
            vector.post(&shop);
        }
        judged.iter().for_each(|vector| vector.wait(&shop));
        let paid: Vec<Value> =
            shop.log().into_iter().filter(|row| row["event"]["type"] == "order.paid").collect();
        let expected = judged.iter().filter(|vector| vector.fate == Fate::Paid).count();
        assert_eq!(paid.len(), expected, "{paid:#?}");
        let asked = judged.iter().filter(|vector| vector.fate != Fate::Refused).map(|vector| &vector.order);
        let mut asked: Vec<&String> = asked.collect();
        asked.sort();
        assert_eq!(shop.wechat.orders_asked().iter().collect::<Vec<_>>(), asked, "refused ones ask nobody");
    }
}

/// What must become of a notification.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Refused at the door.
    Refused,
    /// Acknowledged and emitted.
    Paid,
    /// Acknowledged; the order says otherwise, and a person decides.
    Mismatch(&'static str),
    /// Acknowledged; the payment belongs to another sub merchant.
    WrongOrder,
    /// Acknowledged, and no payment at all.
    NoPayment,
}

struct Judged<'v> {
    id: &'v str,
    body: Vec<u8>,
    fields: BTreeMap<String, String>,
    order: String,
    context: &'v Value,
    expected: &'v Value,
    status: u16,
    fate: Fate,
}

impl<'v> Judged<'v> {
    fn of(vector: &'v Value) -> Self {
        let id = vector["id"].as_str().unwrap();
        assert!(vector["ambiguous"] != true, "{id}: no notification is ambiguous");
        let (expected, context) = (&vector["expected"], &vector["inputs"]["context"]);
        let body = body(&vector["inputs"]);
        let fields = Document::parse(&body).map(|document| owned(&document)).unwrap_or_default();
        let order = fields.get("out_trade_no").cloned().unwrap_or_default();
        let ours = fields.get("mch_id").map(String::as_str) == context["mch_id"].as_str()
            && fields.get("appid").map(String::as_str) == context["appid"].as_str();
        let (status, fate) = match expected["reason"].as_str() {
            None if expected["paid"] == true => (200, Fate::Paid),
            None => (200, Fate::NoPayment),
            Some("amount_mismatch") => (200, Fate::Mismatch("amount")),
            Some("currency_mismatch") => (200, Fate::Mismatch("currency")),
            Some("merchant_mismatch") if ours => (200, Fate::WrongOrder),
            Some(
                "merchant_mismatch"
                | "bad_signature"
                | "missing_sign"
                | "return_code_fail"
                | "unsupported_sign_type",
            ) => (401, Fate::Refused),
            Some("too_large") => (413, Fate::Refused),
            Some(_) => (400, Fate::Refused),
        };
        Self { id, body, fields, order, context, expected, status, fate }
    }

    /// The shop registers what it knows; WeChat says when asked what it notified.
    fn prepare(&self, shop: &Shop) {
        if matches!(self.fate, Fate::Refused | Fate::NoPayment) {
            return;
        }
        let order = &self.context["order"];
        let agreed = |name: &str| order.get(name).cloned();
        let total_fee =
            agreed("total_fee").unwrap_or_else(|| self.fields["total_fee"].parse::<i64>().unwrap().into());
        let mut registration = json!({ "total_fee": total_fee });
        registration["fee_type"] = agreed("fee_type").unwrap_or_else(|| "CNY".into());
        for name in ["appid", "sub_mch_id"] {
            registration[name] = self.context[name].clone();
        }
        register(shop, self.context, &self.order, &registration);
        let not_in_answers =
            ["sign", "sign_type", "return_code", "return_msg", "appid", "mch_id", "nonce_str"];
        let mut said: Vec<(String, String)> = vec![("trade_state".to_owned(), "SUCCESS".to_owned())];
        let notified = self.fields.iter().filter(|(name, _)| !not_in_answers.contains(&name.as_str()));
        said.extend(notified.map(|(name, value)| (name.clone(), value.clone())));
        shop.wechat.says(&self.order, Say::Signed(said));
    }

    fn post(&self, shop: &Shop) {
        let mch_id = self.context["mch_id"].as_str().unwrap();
        let ingress = shop.service.address("ingress");
        for path in ["/notify/pay".to_owned(), format!("/notify/pay/{mch_id}")] {
            let answer = Request::new("POST", &path).xml(self.body.clone()).send_at_last(ingress);
            assert_eq!(answer.status, self.status, "{} at {path}: {answer:?}", self.id);
            assert_eq!(answer.header("content-type"), Some("text/xml; charset=utf-8"), "{}", self.id);
            match self.status {
                200 => assert_eq!(answer.body, SUCCESS, "{}", self.id),
                _ => assert!(is_fail(&answer), "{}: {answer:?}", self.id),
            }
        }
    }

    fn wait(&self, shop: &Shop) {
        match &self.fate {
            Fate::Refused => {}
            Fate::Paid => self.compare(&shop.event(&self.order, "order.paid")),
            Fate::Mismatch(word) => {
                let event = shop.event(&self.order, "order.mismatch");
                assert_eq!(event["data"]["mismatch"], *word, "{}", self.id);
            }
            Fate::WrongOrder => eventually(self.id, || {
                let letters = shop.dead_letters();
                letters.iter().any(|one| one["reason"] == "wrong_order" && one["out_trade_no"] == *self.order)
            }),
            Fate::NoPayment => eventually(self.id, || !shop.wechat.asked(&self.order).is_empty()),
        }
    }

    fn compare(&self, event: &Value) {
        let (data, parsed) = (&event["data"], &self.expected["parsed"]);
        for name in ["total_fee", "cash_fee", "coupon_fee", "settlement_total_fee"] {
            assert_eq!(data[name], parsed.get(name).cloned().unwrap_or(Value::Null), "{} {name}", self.id);
        }
        assert_eq!(data["paid_at"], parsed["time_end"], "{}", self.id);
        assert_eq!(data["transaction_id"], *self.fields["transaction_id"], "{}", self.id);
        assert_eq!(data["coupons"], coupons(self.expected), "{}", self.id);
        let how = (&data["learned_by"], &data["registered"]);
        assert_eq!(how, (&"notification".into(), &true.into()), "{}: {event:#}", self.id);
        let attach = self.fields.get("attach").filter(|attach| !attach.is_empty());
        assert_eq!(data["attach"], json!(attach), "{}", self.id);
    }
}

#[test]
fn every_query_answer_leads_to_its_row_of_the_decision_table_and_only_payments_to_order_paid() {
    let vectors = vectors("order_queries");
    let (hmac, md5): (Vec<&Value>, Vec<&Value>) =
        vectors.iter().partition(|vector| vector["inputs"]["context"]["request_sign_type"] == "HMAC-SHA256");
    assert_eq!((hmac.len(), md5.len()), (16, 40));
    for (sign_type, vectors) in [("MD5", md5), ("HMAC-SHA256", hmac)] {
        let shop = open(Settings { cadence: &["300ms", "1h"], ..Settings::default() }, sign_type);
        let asked: Vec<Asked> = vectors.into_iter().map(|vector| Asked::about(vector, &shop)).collect();
        asked.iter().for_each(|vector| vector.judge(&shop));
        let paid = shop.log().into_iter().filter(|row| row["event"]["type"] == "order.paid").count();
        let expected = if sign_type == "MD5" { 4 + 4 } else { 1 + 1 };
        assert_eq!(paid, expected, "five SUCCESS and five REFUND in all, the sixth of each is tampered");
    }
}

/// An order whose first query is answered by a vector, and every later one by NOTPAY.
struct Asked<'v> {
    id: &'v str,
    order: String,
    mch_id: &'v str,
    expected: &'v Value,
}

impl<'v> Asked<'v> {
    fn about(vector: &'v Value, shop: &Shop) -> Self {
        let (id, context) = (vector["id"].as_str().unwrap(), &vector["inputs"]["context"]);
        let expected = &vector["expected"];
        // Errors name no order, and one vector answers about another order than was asked.
        let named = context["out_trade_no"].as_str().filter(|_| expected["reason"] != "order_mismatch");
        let order = named.map_or_else(|| format!("ASKED-{id}"), str::to_owned);
        let not_paid = Say::state(&order, "NOTPAY");
        shop.wechat.says_in_turn(&order, vec![Say::Body(body(&vector["inputs"])), not_paid]);
        let agreed = [&context["total_fee"], &expected["parsed"]["total_fee"]];
        let fee = agreed.into_iter().find_map(Value::as_i64).unwrap_or(100);
        register(shop, context, &order, &json!({ "total_fee": fee }));
        Self { id, order, mch_id: context["mch_id"].as_str().unwrap(), expected }
    }

    fn judge(&self, shop: &Shop) {
        let Self { id, order, mch_id, expected } = self;
        let record = wait_for(id, || {
            if shop.wechat.asked(order).is_empty() {
                return None;
            }
            let record = shop.get(&format!("/v1/orders/{mch_id}/{order}")).expect(200).json();
            (record["leased"] == false && record["outgoing"] == 0).then_some(record)
        });
        let (state, types): (&str, &[&str]) =
            match (expected["verdict"].as_str(), expected["trade_state"].as_str()) {
                (Some("accept"), Some("SUCCESS")) => ("paid", &["order.paid"]),
                (Some("accept"), Some("REFUND")) => ("refunded", &["order.paid", "order.refunded"]),
                (Some("accept"), Some("CLOSED" | "REVOKED")) => ("closed", &["order.closed"]),
                (Some("accept"), Some("PAYERROR")) => ("failed", &["order.failed"]),
                _ => ("pending", &[]),
            };
        assert_eq!(record["state"], state, "{id}: {record:#}");
        assert_eq!(shop.types_of(order), types, "{id}");
        for event in shop.events_of(order).into_iter().filter(|event| event["type"] == "order.paid") {
            let data = &event["data"];
            assert_eq!(data["trade_state"], expected["trade_state"], "{id}");
            assert_eq!(data["total_fee"], expected["parsed"]["total_fee"], "{id}");
            assert_eq!(data["paid_at"], expected["parsed"]["time_end"], "{id}");
            assert_eq!(data["coupons"], coupons(expected), "{id}");
            assert_eq!(data["transaction_id"], expected["fields"]["transaction_id"], "{id}");
        }
        let is_dead = shop.dead_letters().iter().any(|letter| letter["out_trade_no"] == **order);
        assert_eq!(is_dead, expected["reason"] == "order_mismatch", "{id}");
    }
}

fn register(shop: &Shop, context: &Value, order: &str, registration: &Value) {
    let path = format!("/v1/orders/{}/{order}", context["mch_id"].as_str().unwrap());
    let answer = Request::new("PUT", &path).json(registration).send_at_last(shop.service.address("console"));
    assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
}

fn is_fail(answer: &Answer) -> bool {
    answer.body.starts_with("<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[")
        && answer.body.ends_with("]]></return_msg></xml>")
}

/// Both merchants' appids and keys by number.
fn accounts() -> BTreeMap<String, (String, String)> {
    let mut keys: BTreeMap<String, (String, String)> = BTreeMap::new();
    for vector in vectors("notifications") {
        let context = &vector["inputs"]["context"];
        let text = |name: &str| context[name].as_str().unwrap().to_owned();
        keys.insert(text("mch_id"), (text("appid"), text("key")));
    }
    assert_eq!(keys.keys().map(String::as_str).collect::<Vec<_>>(), [PROVIDER, DIRECT]);
    keys
}

/// A service that has them, before a WeChat that knows their keys.
fn open(settings: Settings<'_>, sign_type: &str) -> Shop {
    let accounts = accounts();
    let merchant = |(mch_id, (appid, key)): (&String, &(String, String))| {
        format!(
            "[[merchant]]\nmch_id = \"{mch_id}\"\napp_ids = [\"{appid}\"]\napi_key = \"{key}\"\n\
             sign_type = \"{sign_type}\"\n"
        )
    };
    let merchants: String = accounts.iter().map(merchant).collect();
    let shop = Shop::open(&Settings { merchants: Some(&merchants), ..settings });
    let keys: Vec<&str> = accounts.values().map(|(_, key)| key.as_str()).collect();
    shop.wechat.has_keys(&keys);
    shop
}

fn vectors(list: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../crates/wechat-pay/tests/vectors.json")).unwrap();
    all[list].as_array().unwrap().clone()
}

/// The coupons as events show them.
fn coupons(expected: &Value) -> Value {
    let list = expected["coupons"].as_array().cloned().unwrap_or_default();
    let shown = |one: &Value| json!({ "id": one["id"], "type": one["type"], "fee": one["fee"] });
    list.iter().map(shown).collect()
}

fn body(inputs: &Value) -> Vec<u8> {
    if let Some(template) = inputs["body_template"].as_str() {
        assert_eq!(inputs["body_rule"], "replace @@ by 70000 times the letter x");
        return template.replace("@@", &"x".repeat(70_000)).into_bytes();
    }
    match inputs["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => inputs["body"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn owned(document: &Document<'_>) -> BTreeMap<String, String> {
    document.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
