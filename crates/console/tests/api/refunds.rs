//! Refunds over the private API: asked for once, refused with the way out, waited for, and written down.

use console::{Rate, Scope, Secret, Token};
use paybell_core::refund::{Refund, RefundState, Refusal};
use serde_json::{Value, json};
use tokio::join;

use crate::desk::{Answered, Desk, MCH, key, not_paid, paid, pass};
use crate::documents::{component, refusals};

async fn ask(desk: &Desk, order: &str, query: &str, wish: &Value) -> Answered {
    desk.ask(&format!("POST /v1/orders/{MCH}/{order}/refunds{query}\n\n{wish}")).await
}

/// What a worker makes of a refund.
fn becomes(desk: &Desk, order: &str, change: impl FnOnce(&mut Refund)) {
    let mut stored = desk.engine.stored.lock().unwrap();
    change(&mut stored.records.get_mut(&key(order)).unwrap().refunds[0]);
}

fn not_enough() -> Refusal {
    Refusal {
        code: "NOTENOUGH".to_owned(),
        said: "未结算资金不足".to_owned(),
        cause: "unsettled payments do not cover it".to_owned(),
        remedy: "recharge, then the same number from the other account".to_owned(),
        cause_zh: "未结算资金不足以退款".to_owned(),
        remedy_zh: "充值后用原单号".to_owned(),
    }
}

fn problem(answered: &Answered) -> (u16, String) {
    let text = answered.json()["type"].as_str().unwrap().to_owned();
    (answered.status, text.trim_start_matches("urn:paybell:problem:").to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_asked_for_once_however_often() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    let wish =
        json!({ "out_refund_no": "R1", "refund_fee": 40, "refund_desc": "退货", "reason": "broken cup" });
    let added = ask(&desk, "T1", "", &wish).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let shown = added.json();
    assert_eq!((&shown["state"], &shown["refund_fee"]), (&json!("asked"), &json!(40)));
    assert_eq!(shown["request"]["total_fee"], 100, "what was paid is known here");
    assert_eq!((&shown["wechat"], &shown["refusal"]), (&Value::Null, &Value::Null));
    assert_eq!(ask(&desk, "T1", "", &wish).await.status, 200);
    let other = ask(&desk, "T1", "", &json!({ "out_refund_no": "R1", "refund_fee": 41 })).await;
    assert_eq!(problem(&other), (409, "different-refund".to_owned()));
    assert_eq!(other.json()["fields"], json!(["refund_fee"]));

    let record = desk.engine.record(&key("T1")).unwrap();
    assert_eq!(record.refunds.len(), 1);
    assert!(record.due.is_some_and(|due| due.at <= desk.engine.now()), "the worker sends it at once");
    let list = desk.ask(&format!("GET /v1/orders/{MCH}/T1/refunds")).await.json();
    assert_eq!(list["refunds"].as_array().unwrap().len(), 1);
    let order = desk.ask(&format!("GET /v1/orders/{MCH}/T1")).await.json();
    assert_eq!(order["refunds"], list["refunds"], "the record shows them too");
    let one = desk.ask(&format!("GET /v1/orders/{MCH}/T1/refunds/R1")).await;
    assert_eq!((one.status, &one.json()), (200, &list["refunds"][0]));
    let none = desk.ask(&format!("GET /v1/orders/{MCH}/T1/refunds/R2")).await;
    assert_eq!(problem(&none), (404, "unknown-refund".to_owned()));
    let none = desk.ask(&format!("GET /v1/orders/{MCH}/NOBODY/refunds")).await;
    assert_eq!(problem(&none), (404, "unknown-order".to_owned()));

    let trail = desk.ask("GET /v1/audit?action=refund&order=oldest").await.json();
    let acts = trail["acts"].as_array().unwrap();
    let outcomes: Vec<&str> = acts.iter().map(|act| act["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "done", "different-refund"]);
    assert_eq!(acts[0]["object"], format!("orders/{MCH}/T1/refunds/R1"));
    assert_eq!((&acts[0]["reason"], &acts[2]["reason"]), (&json!("40 fen: broken cup"), &json!("41 fen")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_back_is_refused_with_the_way_out() {
    let desk = Desk::open();
    desk.order("PAID", Some(&paid(100))).await;
    desk.order("PENDING", Some(&not_paid())).await;
    let wish = |fee: i64| json!({ "out_refund_no": format!("R{fee}"), "refund_fee": fee });
    let with = |name: &str, value: Value| {
        let mut wish = wish(40);
        wish[name] = value;
        wish
    };
    assert_eq!(ask(&desk, "PAID", "", &wish(70)).await.status, 201);
    for (order, wish, status, word) in [
        ("PENDING", wish(40), 409, "not-refundable"),
        ("PAID", wish(40), 409, "more-than-paid"),
        ("PAID", with("total_fee", json!(101)), 409, "not-as-paid"),
        ("PAID", with("fee_type", json!("USD")), 409, "not-as-paid"),
        ("NOBODY", wish(40), 400, "field"),
        ("PAID", with("refund_fee", json!(0)), 400, "field"),
        ("PAID", with("refund_acount", json!("x")), 400, "field"),
        ("PAID", with("refund_account", json!("x")), 400, "field"),
    ] {
        let answered = ask(&desk, order, "", &wish).await;
        assert_eq!(problem(&answered), (status, word.to_owned()), "{wish}: {}", answered.text);
        let document = answered.json();
        for text in ["cause", "remedy"] {
            assert!(document[text]["en"].is_string() && document[text]["zh"].is_string(), "{document}");
        }
    }
    let pending = ask(&desk, "PENDING", "", &wish(40)).await.json();
    assert_eq!(pending["state"], "pending");
    let too_much = ask(&desk, "PAID", "", &wish(40)).await.json();
    assert!(too_much["detail"].as_str().unwrap().contains("30 are left"), "{too_much}");
    let unknown = ask(&desk, "NOBODY", "", &wish(40)).await.json();
    assert_eq!(unknown["field"], "total_fee");
    let said = json!({ "out_refund_no": "R9", "refund_fee": 40, "total_fee": 100, "appid": "wx1", "sub_mch_id": "77" });
    assert_eq!(ask(&desk, "NOBODY", "", &said).await.status, 201);
    let record = desk.engine.record(&key("NOBODY")).unwrap();
    assert!(record.progress.refund_only, "nothing is told of its payment");
    let foreign = desk.ask(&format!("POST /v1/orders/1900000001/T1/refunds\n\n{}", wish(1))).await;
    assert_eq!(problem(&foreign), (404, "unknown-merchant".to_owned()));
    for number in 0..49 {
        let one = json!({ "out_refund_no": format!("S{number}"), "refund_fee": 1, "total_fee": 100 });
        assert_eq!(ask(&desk, "NOBODY", "", &one).await.status, 201, "{number}");
    }
    let one_more = json!({ "out_refund_no": "S50", "refund_fee": 1, "total_fee": 100 });
    assert_eq!(problem(&ask(&desk, "NOBODY", "", &one_more).await), (409, "too-many-refunds".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_caller_hears_as_soon_as_wechat_took_or_refused_it() {
    let desk = Desk::open();
    for order in ["TAKEN", "REFUSED", "SILENT"] {
        desk.order(order, Some(&paid(100))).await;
    }
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 40 });
    let work = async {
        pass(400).await;
        becomes(&desk, "TAKEN", |refund| refund.state = RefundState::Processing);
        becomes(&desk, "REFUSED", |refund| {
            (refund.state, refund.refusal) = (RefundState::Refused, Some(not_enough()));
        });
    };
    let began = desk.engine.now();
    let timed = async |order: &'static str, wait: &str| {
        let answered = ask(&desk, order, wait, &wish).await;
        (answered, desk.engine.now().since(began).0)
    };
    let ((taken, took), (refused, _), (silent, waited), ()) =
        join!(timed("TAKEN", "?wait=5s"), timed("REFUSED", "?wait=5s"), timed("SILENT", "?wait=1s"), work);
    assert_eq!((taken.status, &taken.json()["state"]), (201, &json!("processing")));
    assert!((400..500).contains(&took), "answered when it was taken, not at the end: {took}");
    assert_eq!(problem(&refused), (409, "refund-refused".to_owned()));
    let document = refused.json();
    assert_eq!(
        (&document["code"], &document["cause"]["zh"]),
        (&json!("NOTENOUGH"), &json!("未结算资金不足以退款"))
    );
    assert!(document["detail"].as_str().unwrap().contains("未结算资金不足"), "{document}");
    let one = format!("GET /v1/orders/{MCH}/REFUSED/refunds/R1");
    let shown = desk.ask(&one).await.json();
    assert_eq!(
        (&shown["state"], &shown["refusal"]["remedy"]["zh"]),
        (&json!("refused"), &json!("充值后用原单号"))
    );
    assert_eq!((silent.status, waited), (202, 1_000), "the request goes on");
    assert_eq!(silent.json()["state"], "asked");

    let openapi = desk.ask("GET /openapi.json").await.json();
    assert_eq!(refusals(&component(&openapi, "Problem"), &document), [""; 0], "{document}");
    for refund in [&shown, &taken.json(), &silent.json()] {
        assert_eq!(refusals(&component(&openapi, "Refund"), refund), [""; 0], "{refund}");
    }

    let again =
        json!({ "out_refund_no": "R1", "refund_fee": 40, "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS" });
    let again = ask(&desk, "REFUSED", "", &again).await;
    assert_eq!(
        (again.status, &again.json()["state"]),
        (201, &json!("asked")),
        "the way out keeps the number"
    );
    let same = ask(&desk, "TAKEN", "?wait=5s", &wish).await;
    assert_eq!((same.status, &same.json()["state"]), (200, &json!("processing")), "at once");
    let late = ask(&desk, "TAKEN", "?wait=31s", &wish).await;
    assert_eq!(problem(&late), (400, "field".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn sending_money_back_needs_a_scope_of_its_own() {
    let token = |name: &str, scopes: &[Scope]| Token {
        name: name.to_owned(),
        secret: Secret::new(&format!("{name}-secret")).unwrap(),
        scopes: scopes.to_vec(),
        rate: Rate::DEFAULT,
        streams_max: Token::STREAMS_MAX,
    };
    let desk = Desk::with(|config| {
        config.tokens = vec![
            token("operator", &[Scope::Events, Scope::Orders, Scope::Operate]),
            token("cashier", &[Scope::Refunds]),
        ];
    });
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 40, "total_fee": 100 });
    let ask = async |who: &str| {
        let path = format!("/v1/orders/{MCH}/T1/refunds");
        desk.ask(&format!("POST {path}\nAuthorization: Bearer {who}-secret\n\n{wish}")).await
    };
    let refused = ask("operator").await;
    assert_eq!(
        (problem(&refused), &refused.json()["scope"]),
        ((403, "wrong-scope".to_owned()), &json!("refunds"))
    );
    assert!(desk.engine.record(&key("T1")).is_none());
    let added = ask("cashier").await;
    assert_eq!((added.status, &added.json()["request"]["who"]), (201, &json!("cashier")));
    let listed =
        desk.ask(&format!("GET /v1/orders/{MCH}/T1/refunds\nAuthorization: Bearer operator-secret")).await;
    assert_eq!(listed.status, 200);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_that_the_trail_does_not_hold() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    desk.engine.stored.lock().unwrap().trail_is_full = true;
    let refused = ask(&desk, "T1", "", &json!({ "out_refund_no": "R1", "refund_fee": 40 })).await;
    assert_eq!(refused.status, 503);
    assert!(desk.engine.record(&key("T1")).unwrap().refunds.is_empty());
}

/// After a failover within that moment the worker would send the refund again, while the shop pays back another way.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_refusal_that_one_server_alone_knows() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    let wish = json!({ "out_refund_no": "R1", "refund_fee": 40 });
    assert_eq!(ask(&desk, "T1", "", &wish).await.status, 201);
    desk.engine.stored.lock().unwrap().is_unsettled = true;
    let order = format!("GET /v1/orders/{MCH}/T1");
    let (one, all) =
        (format!("GET /v1/orders/{MCH}/T1/refunds/R1"), format!("GET /v1/orders/{MCH}/T1/refunds"));
    assert_eq!(desk.ask(&one).await.status, 200, "nobody rests on a refund that is under way");
    becomes(&desk, "T1", |refund| {
        (refund.state, refund.refusal) = (RefundState::Refused, Some(not_enough()));
    });
    for request in [&one, &all, &order] {
        assert_eq!(problem(&desk.ask(request).await), (503, "engine-away".to_owned()));
    }
    desk.engine.stored.lock().unwrap().is_unsettled = false;
    for request in [&one, &all, &order] {
        let shown = desk.ask(request).await;
        assert_eq!(shown.status, 200);
        assert!(shown.text.contains("refused"), "{}", shown.text);
    }
    desk.order("T2", Some(&paid(100))).await;
    let work = async {
        pass(400).await;
        desk.engine.stored.lock().unwrap().is_unsettled = true;
        becomes(&desk, "T2", |refund| {
            (refund.state, refund.refusal) = (RefundState::Refused, Some(not_enough()));
        });
    };
    let (waited, ()) = join!(ask(&desk, "T2", "?wait=5s", &wish), work);
    assert_eq!(problem(&waited), (503, "engine-away".to_owned()));
}
