//! Every published vector of this crate's subjects, through its public functions.
//!
//! Amount, currency, order and merchant are compared here as a receiver would, because the crate does not know them.
//! Refund notifications and bills are not this crate's subjects yet.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and JSON is read by index"
)]

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wechat_pay::answer::AnswerError;
use wechat_pay::beijing;
use wechat_pay::fields::{self, Coupon};
use wechat_pay::notification::{NotificationError, Unverified};
use wechat_pay::query::{OrderQueryAnswer, OrderQueryResult, TradeState};
use wechat_pay::sign::{self, AcceptedAlgorithm, Algorithm, ApiKey};
use wechat_pay::xml::Document;

/// What a receiver makes of a document, in the vectors' own words.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    reason: Option<String>,
    authentic: bool,
    paid: bool,
    fields: Option<BTreeMap<String, String>>,
    parsed: BTreeMap<String, Value>,
    coupons: Vec<Coupon>,
    state: Option<String>,
    err_code: Option<String>,
    return_msg: Option<String>,
}

#[test]
fn signatures_and_pay_signs() {
    let vectors = vectors();
    let mut tried = 0;
    for vector in list(&vectors, "signatures").iter().chain(list(&vectors, "pay_signs")) {
        if vector["ambiguous"] == true {
            continue;
        }
        let pairs: Vec<(&str, &str)> = list(&vector["inputs"], "fields")
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        let key = text(&vector["inputs"]["key"]);
        let algorithm: Algorithm = text(&vector["inputs"]["algorithm"]).parse().unwrap();
        let signed = sign::sign(pairs.iter().copied(), &ApiKey::new(key).unwrap(), algorithm);
        assert_eq!(signed, text(&vector["expected"]["sign"]), "{}", vector["id"]);
        let canonical = sign::canonical(pairs.iter().copied());
        let border = if canonical.is_empty() { "key=" } else { "&key=" };
        assert_eq!(canonical + border + key, text(&vector["expected"]["canonical"]), "{}", vector["id"]);
        tried += 1;
    }
    assert_eq!(tried, 52 + 7 - 3);
}

#[test]
fn notifications() {
    let vectors = vectors();
    let mut tried = 0;
    for vector in list(&vectors, "notifications") {
        let body = body(&vector["inputs"]);
        let mut outcome = Outcome::default();
        let judged = judge_notification(&body, &vector["inputs"]["context"], &mut outcome);
        outcome.reason = judged.err();
        compare(vector, outcome);
        tried += 1;
    }
    assert_eq!(tried, 72);
}

#[test]
fn order_queries() {
    let vectors = vectors();
    let mut tried = 0;
    for vector in list(&vectors, "order_queries") {
        let body = body(&vector["inputs"]);
        let mut outcome = Outcome::default();
        let judged = judge_query(&body, &vector["inputs"]["context"], &mut outcome);
        outcome.reason = judged.err();
        compare(vector, outcome);
        tried += 1;
    }
    assert_eq!(tried, 56);
}

fn judge_notification(body: &[u8], context: &Value, outcome: &mut Outcome) -> Result<(), String> {
    let reason = |error: NotificationError| error.reason().into_owned();
    let accepted = match context["order_sign_type"].as_str() {
        Some(known) => AcceptedAlgorithm::Only(known.parse().unwrap()),
        None => AcceptedAlgorithm::Any,
    };
    let key = ApiKey::new(text(&context["key"])).unwrap();
    let unverified = Unverified::parse(body).map_err(|error| reason(error.into()))?;
    let (authentic, _) = unverified.verify(&[&key], accepted).map_err(reason)?;
    outcome.authentic = true;
    let ours =
        authentic.appid() == context["appid"].as_str() && authentic.mch_id() == context["mch_id"].as_str();
    let sub_ours = context.get("sub_mch_id").is_none_or(|sub| sub.as_str() == authentic.sub_mch_id());
    if !ours || !sub_ours {
        return Err("merchant_mismatch".to_owned());
    }
    let notification = authentic.into_notification().map_err(reason)?;
    let order = &context["order"];
    if let Some(payment) = notification.payment() {
        if !order.is_null() && notification.out_trade_no() != text(&order["out_trade_no"]) {
            return Err("order_mismatch".to_owned());
        }
        if !order.is_null() && payment.total_fee != order["total_fee"].as_i64().unwrap() {
            return Err("amount_mismatch".to_owned());
        }
        if !order.is_null() && payment.fee_type != text(&order["fee_type"]) {
            return Err("currency_mismatch".to_owned());
        }
        outcome.paid = true;
        outcome.parsed = parsed(notification.document());
        assert_eq!(outcome.parsed["total_fee"], payment.total_fee);
        assert_eq!(outcome.parsed["time_end"], rfc3339(payment.time_end_ms));
        outcome.coupons = notification.coupons();
    }
    outcome.fields = Some(owned(notification.document()));
    Ok(())
}

fn judge_query(body: &[u8], context: &Value, outcome: &mut Outcome) -> Result<(), String> {
    let key = ApiKey::new(text(&context["key"])).unwrap();
    let algorithm = context["request_sign_type"].as_str().unwrap_or("MD5").parse().unwrap();
    let answer = OrderQueryAnswer::parse(body, &key, algorithm).map_err(|error| match error {
        AnswerError::NotXml(error) => error.reason().to_owned(),
        AnswerError::UnsignedFail { return_msg } => {
            outcome.return_msg = Some(return_msg);
            "return_code_fail".to_owned()
        }
        AnswerError::BadSignature(error) => error.reason().to_owned(),
        AnswerError::MalformedAnswer(field) => panic!("no vector is malformed at {field}"),
    })?;
    outcome.authentic = true;
    assert_eq!(
        (answer.appid.as_str(), answer.mch_id.as_str()),
        (text(&context["appid"]), text(&context["mch_id"]))
    );
    let document = Document::parse(body).unwrap();
    outcome.fields = Some(owned(&document));
    match &answer.result {
        OrderQueryResult::Error { code, .. } => outcome.err_code = Some(code.as_str().to_owned()),
        OrderQueryResult::Trade { state: TradeState::Other(_), .. } => {
            return Err("unknown_trade_state".to_owned());
        }
        OrderQueryResult::Trade { .. }
            if answer.out_trade_no.as_deref() != context["out_trade_no"].as_str() =>
        {
            return Err("order_mismatch".to_owned());
        }
        OrderQueryResult::Trade { state, payment } => {
            outcome.paid = *state == TradeState::Success;
            outcome.state = Some(state.as_str().to_owned());
            outcome.parsed = parsed(&document);
            if let Some(payment) = payment {
                let expected = |name: &str| outcome.parsed.get(name);
                assert_eq!(payment.total_fee.map(Value::from).as_ref(), expected("total_fee"));
                assert_eq!(payment.cash_fee.map(Value::from).as_ref(), expected("cash_fee"));
                assert_eq!(payment.time_end_ms.map(rfc3339).map(Value::from).as_ref(), expected("time_end"));
                assert_eq!(
                    payment.attach.as_deref(),
                    document.get("attach").filter(|attach| !attach.is_empty())
                );
                outcome.coupons.clone_from(&payment.coupons);
            } else {
                assert!(outcome.parsed.is_empty());
            }
        }
    }
    Ok(())
}

fn compare(vector: &Value, outcome: Outcome) {
    let id = text(&vector["id"]);
    let expected = &vector["expected"];
    let verdict = if outcome.reason.is_none() { "accept" } else { "reject" };
    assert_eq!(verdict, text(&expected["verdict"]), "{id}: {outcome:?}");
    assert_eq!(Value::from(outcome.authentic), expected["authentic"], "{id}: {outcome:?}");
    assert_eq!(Value::from(outcome.paid), expected["paid"], "{id}: {outcome:?}");
    // A v3 body has a word of its own here.
    let reason =
        outcome.reason.as_deref().map(|reason| if reason == "json_body" { "invalid_xml" } else { reason });
    assert_eq!(reason, expected["reason"].as_str(), "{id}");
    if let Some(fields) = expected.get("fields").filter(|_| verdict == "accept") {
        assert_eq!(serde_json::to_value(&outcome.fields).unwrap(), *fields, "{id}");
    }
    if let Some(parsed) = expected.get("parsed") {
        assert_eq!(serde_json::to_value(&outcome.parsed).unwrap(), *parsed, "{id}");
    }
    if let Some(coupons) = expected.get("coupons") {
        let ours: Vec<Value> = outcome
            .coupons
            .iter()
            .map(|c| serde_json::json!({"index": c.index, "id": c.id, "type": c.kind, "fee": c.fee}))
            .collect();
        assert_eq!(Value::from(ours), *coupons, "{id}");
    }
    assert_eq!(outcome.state.as_deref(), expected["trade_state"].as_str(), "{id}");
    assert_eq!(outcome.err_code.as_deref(), expected["err_code"].as_str(), "{id}");
    assert_eq!(outcome.return_msg.as_deref(), expected["return_msg"].as_str(), "{id}");
}

fn parsed(document: &Document<'_>) -> BTreeMap<String, Value> {
    let number = |name: &str, value: &str| match name {
        "total_fee" | "cash_fee" | "coupon_fee" | "settlement_total_fee" | "coupon_count" => {
            fields::fen_or_zero(value).map(Value::from)
        }
        "time_end" => beijing::parse_compact(value).map(rfc3339).map(Value::from),
        _ => None,
    };
    document.iter().filter_map(|(name, value)| Some((name.to_owned(), number(name, value)?))).collect()
}

fn rfc3339(unix_ms: i64) -> String {
    beijing::format_spaced(unix_ms).unwrap().replace(' ', "T") + "+08:00"
}

fn owned(document: &Document<'_>) -> BTreeMap<String, String> {
    document.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn body(inputs: &Value) -> Vec<u8> {
    if let Some(template) = inputs["body_template"].as_str() {
        assert_eq!(inputs["body_rule"], "replace @@ by 70000 times the letter x");
        return template.replace("@@", &"x".repeat(70_000)).into_bytes();
    }
    match inputs["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => text(&inputs["body"]).as_bytes().to_vec(),
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value[name].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
