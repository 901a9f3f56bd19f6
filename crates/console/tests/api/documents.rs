//! The documents that callers read: the OpenAPI document, the record's shape, the event schema and the ids in its prose.

use std::collections::BTreeSet;
use std::sync::Arc;

use console::Scope;
use jsonschema::Validator;
use paybell_core::act::Action;
use paybell_core::event::{BillData, EventType, event_id};
use paybell_core::observation::{ClosedAs, Coupon};
use paybell_core::place::RefusalKind;
use paybell_core::refund::{Receiver, RefundAnswer, RefundFacts, RefundStatus};
use paybell_core::*;
use serde_json::{Value, json};

use crate::desk::{Desk, MCH, TX, key, not_paid, paid, pass, payment};
use crate::engine::Engine;

const SCHEMA: &str = include_str!("../../../../docs/event.schema.json");
const PROSE: &str = include_str!("../../../../docs/events.md");
const ERRORS: &str = include_str!("../../src/error.rs");
const API: &str = include_str!("../../../../docs/api.md");

fn schema() -> Validator {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

/// The OpenAPI document's schema of that name.
pub fn component(document: &Value, name: &str) -> Validator {
    let mut schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    schema["components"] = document["components"].clone();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

pub fn refusals(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_openapi_document_has_the_routes_that_there_are() {
    let desk = Desk::open();
    let document = desk.ask("GET /openapi.json").await.json();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let index = desk.ask("GET /").await.json();
    let text = |route: &Value, name: &str| route[name].as_str().unwrap().to_owned();
    let served: BTreeSet<(String, String)> = index["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| (text(route, "method"), text(route, "path")))
        .collect();
    assert_eq!(described, served);
    for (method, path) in served {
        assert!(API.contains(&format!("`{method} {path}`")), "docs/api.md does not describe {method} {path}");
    }
}

/// A parameter that is misspelt in the document would be refused by the API, and one that is left out is never found.
#[tokio::test(start_paused = true)]
async fn the_openapi_document_has_the_parameters_and_refusals_that_there_are() {
    let desk = Desk::open();
    let document = desk.ask("GET /openapi.json").await.json();
    let resolved = |part: &Value| match part["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap().clone(),
        None => part.clone(),
    };
    for route in desk.ask("GET /").await.json()["routes"].as_array().unwrap() {
        let [method, path, needs] = ["method", "path", "needs"].map(|name| route[name].as_str().unwrap());
        let described = &document["paths"][path][method.to_lowercase()];
        let statuses: BTreeSet<&str> =
            described["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            statuses.contains("401") && statuses.contains("429"),
            needs != "nothing",
            "{method} {path}"
        );
        let is_scoped = Scope::parse(needs).is_some();
        assert_eq!(statuses.contains("403"), is_scoped, "{method} {path}");
        let scope = format!("Scope: {needs}.");
        assert_eq!(described["description"].as_str().is_some_and(|text| text.contains(&scope)), is_scoped);
        if !path.starts_with("/v1/") {
            continue;
        }
        let parameters: Vec<Value> =
            described["parameters"].as_array().into_iter().flatten().map(resolved).collect();
        let named = |place: &str| -> BTreeSet<String> {
            let of_place = parameters.iter().filter(|parameter| parameter["in"] == place);
            of_place.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let in_path = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(named("path"), in_path, "{method} {path}");
        let target = path
            .replace("{mch_id}", MCH)
            .replace("{out_trade_no}", "T1")
            .replace("{name}", "shop")
            .replace("{date}", "2026-11-19");
        let target = target.replace("{id}", "00000000-0000-0000-0000-000000000009");
        let refused = desk.ask(&format!("{method} {target}?zzz=1\n\n{{}}")).await;
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        let (_, known) = detail.split_once("known: ").unwrap_or_else(|| panic!("{method} {path}: {detail}"));
        let known = known.split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
        assert_eq!(named("query"), known, "{method} {path}");
    }
    let words: Vec<&str> = Action::ALL.into_iter().map(Action::as_str).collect();
    assert_eq!(document["components"]["parameters"]["action"]["schema"]["enum"], json!(words));
    let described = &document["components"]["schemas"]["Act"]["properties"]["action"]["description"];
    assert_eq!(described, &format!("{}.", words.join(", ")));
    for word in words {
        assert!(API.contains(&format!("`{word}`")), "docs/api.md does not name the act {word}");
    }
}

#[test]
fn every_refusal_is_in_the_prose() {
    let refusals: BTreeSet<&str> =
        ERRORS.split("(S::").skip(1).map(|rest| rest.split('"').nth(1).unwrap()).chain(["body"]).collect();
    assert!(refusals.len() > 25, "{refusals:?}");
    for word in &refusals {
        assert!(API.contains(&format!("`{word}`")), "docs/api.md does not name the refusal {word}");
    }
    for kind in RefusalKind::ALL {
        assert!(API.contains(&format!("`{}`", kind.slug())), "docs/api.md does not name {}", kind.slug());
    }
    let explained: BTreeSet<&str> = console::PROBLEMS.iter().map(|row| row.word).collect();
    assert_eq!(explained, refusals, "src/explain.rs has a row for each refusal, and no other");
}

#[tokio::test(start_paused = true)]
async fn answers_have_the_shapes_that_the_openapi_document_tells() {
    let desk = Desk::open();
    let document = desk.ask("GET /openapi.json").await.json();
    desk.order("PENDING", None).await;
    desk.order("PAID", Some(&paid(100))).await;
    desk.order("WRONG", Some(&paid(90))).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/WRONG/accept")).await;
    desk.order(
        "REFUSED",
        Some(&Answer::Refused { reason: DeadReason::WrongOrder, detail: "appid".to_owned() }),
    )
    .await;
    for (request, shape) in [
        ("GET /v1/orders/{M}/PENDING", "Record"),
        ("GET /v1/orders/{M}/PAID", "Record"),
        ("GET /v1/orders/{M}/WRONG", "Record"),
        ("GET /v1/orders", "OrderPage"),
        ("GET /v1/events", "EventPage"),
        ("GET /v1/dead", "DeadPage"),
        ("GET /v1/audit", "ActPage"),
        ("GET /v1/endpoints", "EndpointListing"),
        ("GET /v1/endpoints", "EndpointListing"),
        ("GET /v1/endpoints/shop", "Endpoint"),
        ("POST /v1/endpoints/shop/resend\n\n{\"after\":\"oldest\"}", "Wished"),
        ("GET /v1/bills", "BillPage"),
        ("GET /v1/bills/{M}/2026-11-19", "Bill"),
        ("POST /v1/bills/{M}/2026-11-18/reconcile\n\n{\"reason\":\"again\"}", "Bill"),
        ("POST /v1/orders/{M}/NEW/check", "Asked"),
        (
            "POST /v1/orders/{M}/JSAPI/place\n\n{\"trade_type\":\"JSAPI\",\"total_fee\":1,\"body\":\"Tea\",\"openid\":\"o1\"}",
            "Placed",
        ),
        (
            "POST /v1/orders/{M}/NATIVE/place\n\n{\"trade_type\":\"NATIVE\",\"total_fee\":1,\"body\":\"Tea\"}",
            "Placed",
        ),
        ("POST /v1/orders/{M}/PENDING/close", "Closed"),
        ("POST /v1/orders/{M}/NONE/close", "Closed"),
        ("POST /v1/openid/code\n\n{\"appid\":\"wx1\",\"code\":\"c\"}", "WhoPays"),
        ("GET /v1/openid/authorize-url?appid=wx1&redirect_uri=https://x&state=s", "Address"),
        ("GET /healthz", "Status"),
        ("GET /v1/orders/{M}/NONE", "Problem"),
    ] {
        let answer = desk.ask(&request.replace("{M}", MCH)).await.json();
        assert_eq!(refusals(&component(&document, shape), &answer), [""; 0], "{request}");
    }
    let bodies = component(&document, "Registration");
    assert!(bodies.is_valid(&json!({"total_fee": 1999, "appid": null})));
    assert!(!bodies.is_valid(&json!({"total_fee": 0})) && !bodies.is_valid(&json!({"totalfee": 1})));
}

#[tokio::test(start_paused = true)]
async fn a_record_shows_what_a_shop_and_an_operator_need() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let shown = desk.ask(&format!("GET /v1/orders/{MCH}/T1")).await.json();
    let pending = json!({
        "mch_id": MCH, "out_trade_no": "T1", "state": "pending", "version": 0,
        "created_at": "2026-11-20T12:00:00+08:00", "updated_at": "2026-11-20T12:00:00+08:00",
        "registration": {"total_fee": 100, "fee_type": "CNY", "appid": null, "sub_mch_id": null, "expires_at": null, "business_no": null},
        "placing": null, "payment": null, "verdict": null,
        "due": {"at": "2026-11-20T12:00:15+08:00", "cause": "cadence"},
        "look_again": false, "leased": false, "leased_until": null, "leases_lost": 0,
        "notified": false, "looked_at": null, "transient_answers": 0, "held_until": null,
        "outgoing": 0, "refunds": [], "history": [],
    });
    assert_eq!(shown, pending);
    pass(1_500).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/T1/check")).await;
    desk.engine.work(&paid(100));
    let shown = desk.ask(&format!("GET /v1/orders/{MCH}/T1")).await.json();
    assert_eq!(
        (&shown["state"], &shown["version"], &shown["due"]),
        (&json!("paid"), &json!(1), &Value::Null)
    );
    assert_eq!(shown["looked_at"], "2026-11-20T12:00:01.5+08:00");
    assert_eq!(shown["payment"]["paid_at"], "2026-11-20T11:59:58+08:00");
    assert_eq!(shown["payment"].get("openid"), None);
    let emitted = shown["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&emitted["what"], &emitted["event"]["type"]), (&json!("emitted"), &json!("order.paid")));
}

#[tokio::test(start_paused = true)]
async fn a_lease_shows_only_while_it_runs() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let until = desk.engine.now() + paybell_core::time::Millis(500);
    let lease = paybell_core::record::Lease { token: LeaseToken(0xfeed), until, committed: false };
    desk.engine.stored.lock().unwrap().records.get_mut(&key("T1")).unwrap().lease = Some(lease);
    let shown = desk.ask(&format!("GET /v1/orders/{MCH}/T1")).await;
    assert_eq!(shown.json()["leased_until"], "2026-11-20T12:00:00.5+08:00");
    assert!(!shown.text.contains("feed"), "the token fences writes and is nobody's to read");
    pass(500).await;
    let shown = desk.ask(&format!("GET /v1/orders/{MCH}/T1")).await.json();
    assert_eq!((&shown["leased"], &shown["leased_until"]), (&json!(false), &Value::Null));
}

/// What WeChat says of a refund: all that it can say, or only what it must.
fn refund_facts(number: &str, is_full: bool) -> RefundFacts {
    let fen = |fen| Fen::new(fen).unwrap();
    let full = |fee| is_full.then(|| fen(fee));
    RefundFacts {
        refund_id: RefundId::new(format!("50{number}")).unwrap(),
        refund_fee: fen(40),
        settlement_refund_fee: full(40),
        cash_refund_fee: full(40),
        coupon_refund_fee: full(0),
        account: is_full.then(|| "REFUND_SOURCE_UNSETTLED_FUNDS".to_owned()),
        received_by: is_full.then(|| Receiver("招商银行信用卡0403".to_owned())),
        succeeded_at: is_full.then_some(crate::engine::START),
        transaction_id: is_full.then(|| TransactionId::new(TX).unwrap()),
        total_fee: full(100),
        fee_type: Currency::CNY,
        appid: None,
        sub_mch_id: None,
    }
}

/// A refund of a paid order that ends in each way, and one of an order that only it made known.
fn refund(engine: &Engine) {
    let number = |text: &str| OutRefundNo::new(text).unwrap();
    let ends = |order: &str, name: &str, status, is_full| {
        let facts = Box::new(refund_facts(name, is_full));
        engine.work_refund(&key(order), &number(name), &RefundAnswer::Observed(status, facts));
    };
    ends("PAID", "A", RefundStatus::Abnormal, true);
    ends("PAID", "B", RefundStatus::Closed, true);
    ends("PAID", "C", RefundStatus::Success, true);
    ends("ELSEWHERE", "D", RefundStatus::Success, true);
    ends("BARE", "E", RefundStatus::Success, false);
}

/// A day's bill, as reconciling it tells.
fn bill() -> BillData {
    let document = PROSE.split("```json\n").find(|part| part.contains("\"type\":\"bill.reconciled\""));
    let document = document.unwrap().split("```").next().unwrap();
    serde_json::from_str::<Event>(document).unwrap().bill().unwrap().clone()
}

/// Every type of event and every reason of a mismatch, as `decide` writes them.
async fn real_events() -> Vec<Value> {
    let desk = Desk::open();
    let observed = |observation| Answer::Observed(observation);
    let of = |change: fn(&mut paybell_core::Payment)| {
        let mut payment = payment(100);
        change(&mut payment);
        observed(Observation::Payment(Box::new(payment)))
    };
    desk.order("PAID", Some(&paid(100))).await;
    desk.order("REFUNDED", Some(&of(|payment| payment.refunded = true))).await;
    desk.order("AMOUNT", Some(&paid(90))).await;
    desk.order("CURRENCY", Some(&of(|payment| payment.fee_type = Currency::new("USD").unwrap()))).await;
    desk.order("CLOSED", Some(&observed(Observation::Closed(ClosedAs::Revoked)))).await;
    desk.order("FAILED", Some(&observed(Observation::Failed))).await;
    let coupons = of(|payment| {
        payment.coupons = vec![
            Coupon { id: "1".to_owned(), kind: Some("CASH".to_owned()), fee: Fen::new(5).unwrap() },
            Coupon { id: "2".to_owned(), kind: None, fee: Fen::new(5).unwrap() },
        ];
        payment.paid_at = None;
        payment.attach = Some("多行\n文字".to_owned());
    });
    desk.order("COUPONS", Some(&coupons)).await;
    look(&desk, "PAID", &of(|payment| payment.transaction_id = Some(TransactionId::new("42").unwrap())))
        .await;
    look(&desk, "FAILED", &paid(100)).await;
    refund(&desk.engine);
    for number in ["FIRST", "SECOND"] {
        let put = format!("PUT /v1/orders/{MCH}/{number}\n\n{{\"total_fee\":100,\"business_no\":\"B/1\"}}");
        assert_eq!(desk.ask(&put).await.status, 201);
        look(&desk, number, &paid(100)).await;
    }
    desk.order("UNPAID", None).await;
    pass(86_640_000).await;
    look(&desk, "UNPAID", &not_paid()).await;
    let mut events = emitted(&desk.engine);
    let reconciled = bill().event(desk.engine.now());
    events.push(serde_json::from_str(&reconciled.to_json()).unwrap());
    events
}

async fn look(desk: &Desk, out_trade_no: &str, found: &Answer) {
    pass(2_000).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/{out_trade_no}/check")).await;
    desk.engine.work(found);
}

fn emitted(engine: &Arc<Engine>) -> Vec<Value> {
    let stored = engine.stored.lock().unwrap();
    stored.events.iter().map(|event| serde_json::from_str(&event.to_json()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn real_events_of_every_kind_hold_the_schema() {
    let schema = schema();
    let events = real_events().await;
    for event in &events {
        assert_eq!(refusals(&schema, event), [""; 0], "{event}");
    }
    let kinds: BTreeSet<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, EventType::ALL.into_iter().map(EventType::as_str).collect());
    let reasons: BTreeSet<&str> =
        events.iter().filter_map(|event| event["data"]["mismatch"].as_str()).collect();
    assert_eq!(reasons, BTreeSet::from(["amount", "currency", "second_transaction"]));
    assert!(events.iter().any(|event| event["data"]["late"] == true));
}

#[tokio::test(start_paused = true)]
async fn the_schema_and_the_prose_name_every_field_that_an_event_has() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let data = |name: &str| schema["$defs"][name]["properties"].clone();
    let sums = data("bill")["sums"]["items"]["properties"].clone();
    for event in real_events().await {
        let name = if event["type"] == "bill.reconciled" { "bill" } else { "order" };
        let mut parts = vec![(schema["properties"].clone(), &event), (data(name), &event["data"])];
        parts.extend(event["data"]["sums"].as_array().into_iter().flatten().map(|one| (sums.clone(), one)));
        for (part, fields) in parts {
            for field in fields.as_object().unwrap().keys() {
                assert!(part.get(field).is_some(), "the schema has no {field}");
                assert!(PROSE.contains(&format!("`{field}`")), "docs/events.md has no {field}");
            }
        }
        assert!(PROSE.contains(&format!("`{}`", event["type"].as_str().unwrap())));
    }
    let fields = ["order", "bill"].map(data);
    for field in fields.iter().chain([&sums]).flat_map(|fields| fields.as_object().unwrap().keys()) {
        assert!(PROSE.contains(&format!("`{field}`")), "docs/events.md has no {field}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_event_does_not_hold_the_schema() {
    let schema = schema();
    let events = real_events().await;
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap().clone();
    let wrong: [(&str, &str, Value); 30] = [
        ("order.paid", "/specversion", json!("0.3")),
        ("order.paid", "/id", json!("8803801d")),
        ("order.paid", "/id", json!("8803801d-9ff3-498c-bbfa-290c72a9eb8c")),
        ("order.paid", "/source", json!("/paybell/")),
        ("order.paid", "/type", json!("order.shipped")),
        ("order.paid", "/time", json!("2026-11-20 12:00:05")),
        ("order.paid", "/data/total_fee", json!(19.99)),
        ("order.paid", "/data/total_fee", json!("1999")),
        ("order.paid", "/data/total_fee", Value::Null),
        ("order.paid", "/data/transaction_id", Value::Null),
        ("order.paid", "/data/trade_state", json!("NOTPAY")),
        ("order.paid", "/data/learned_by", json!("rumour")),
        ("order.paid", "/type", json!("order.mismatch")),
        ("order.mismatch", "/type", json!("order.paid")),
        ("order.refunded", "/data/trade_state", json!("SUCCESS")),
        ("order.duplicate_payment", "/type", json!("order.paid")),
        ("order.duplicate_payment", "/data/business_no", json!("B 1")),
        ("order.paid", "/type", json!("order.duplicate_payment")),
        ("refund.succeeded", "/data/refund_status", json!("CHANGE")),
        ("refund.abnormal", "/data/refund_fee", Value::Null),
        ("refund.closed", "/type", json!("order.closed")),
        ("refund.closed", "/type", json!("refund.succeeded")),
        ("order.refunded", "/type", json!("refund.succeeded")),
        ("order.unpaid", "/data/transaction_id", json!(TX)),
        ("order.closed", "/data/late", json!(true)),
        ("order.closed", "/type", json!("bill.reconciled")),
        ("bill.reconciled", "/type", json!("order.closed")),
        ("bill.reconciled", "/subject", json!("T1")),
        ("bill.reconciled", "/data/date", json!("20261119")),
        ("bill.reconciled", "/data/sums", json!([])),
    ];
    for (kind, pointer, value) in wrong {
        let mut event = of(kind);
        *event.pointer_mut(pointer).unwrap() = value.clone();
        assert!(!schema.is_valid(&event), "{kind} with {pointer} = {value}");
    }
    for field in ["version", "coupons", "registered"] {
        let mut event = of("order.paid");
        event["data"].as_object_mut().unwrap().remove(field);
        assert!(!schema.is_valid(&event), "{field} is missing");
    }
    let mut newer = of("order.paid");
    newer["data"]["added_next_year"] = json!(1);
    assert!(schema.is_valid(&newer), "a field may be added");
}

#[test]
fn the_worked_ids_in_the_prose_are_right() {
    let key = OrderKey::new(MCH, "T2026112000000001").unwrap();
    for (kind, reference) in [
        (EventType::Paid, TX),
        (EventType::DuplicatePayment, TX),
        (EventType::Refunded, TX),
        (EventType::Mismatch, TX),
        (EventType::Closed, ""),
        (EventType::Failed, ""),
        (EventType::Unpaid, ""),
    ] {
        let id = event_id(&key, kind, reference).to_string();
        let row = PROSE.lines().find(|line| line.contains(&id));
        let row = row.unwrap_or_else(|| panic!("docs/events.md has no {id} ({})", kind.as_str()));
        assert!(row.contains(kind.as_str()), "{row}");
    }
    assert!(PROSE.contains("8803801d-9ff3-598c-bbfa-290c72a9eb8c"));
    assert!(PROSE.contains("50d4c9ca-b173-57c1-bd61-49086e049084"));
    let id = bill().event(Timestamp::from_millis(0)).id.to_string();
    assert!(PROSE.contains(&format!(r#""id":"{id}","source":"/paybell/1900000109""#)), "{id}");
}
