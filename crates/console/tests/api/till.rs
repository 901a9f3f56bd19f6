//! Placing, closing and openids: what is handed to the cashier, and what a shop is told of each way it can end.

use paybell_core::ids::OutTradeNo;
use paybell_core::place::{CodeOf, Refusal, RefusalKind, Trade};
use paybell_core::time::Millis;
use paybell_core::{AppId, State};
use serde_json::{Value, json};

use crate::desk::{Answered, Desk, MCH, key, paid};

async fn place(desk: &Desk, out_trade_no: &str, body: &Value) -> Answered {
    desk.ask(&format!("POST /v1/orders/{MCH}/{out_trade_no}/place\n\n{body}")).await
}

async fn close(desk: &Desk, out_trade_no: &str, rest: &str) -> Answered {
    desk.ask(&format!("POST /v1/orders/{MCH}/{out_trade_no}/close{rest}")).await
}

fn native() -> Value {
    json!({ "trade_type": "NATIVE", "total_fee": 1999, "body": "Tea" })
}

#[tokio::test(start_paused = true)]
async fn each_way_of_paying_gets_what_its_device_needs() {
    let desk = Desk::open();
    let jsapi = ["appId", "nonceStr", "package", "paySign", "signType", "timeStamp"];
    let mini = ["nonceStr", "package", "paySign", "signType", "timeStamp"];
    let app = ["appid", "noncestr", "package", "partnerid", "prepayid", "sign", "timestamp"];
    for (number, (rest, name, fields)) in [
        (json!({ "trade_type": "JSAPI", "openid": "o1" }), "bridge", &jsapi[..]),
        (json!({ "trade_type": "MINIPROGRAM", "openid": "o1" }), "mini_program", &mini[..]),
        (json!({ "trade_type": "APP", "payer_ip": "203.0.113.7" }), "app", &app[..]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = native();
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let answered = place(&desk, &format!("T{number}"), &body).await;
        assert_eq!(answered.status, 201, "{}", answered.text);
        let said = answered.json();
        assert_eq!(said["trade_type"], body["trade_type"]);
        let mut names: Vec<&str> =
            said["pay"][name].as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, fields, "{said}");
    }
    let said = place(&desk, "N", &native()).await.json();
    assert_eq!(said["pay"], json!({ "code_url": "weixin://wxpay/bizpayurl?pr=1" }));
    assert_eq!(
        said,
        json!({
            "mch_id": MCH, "out_trade_no": "N", "trade_type": "NATIVE", "prepay_id": "wx20",
            "good_until": "2026-11-20T12:00:00+08:00", "repeated": false, "closed": [], "pay": said["pay"],
        })
    );
    let again = place(&desk, "N", &native()).await;
    assert_eq!((again.status, &again.json()["repeated"]), (200, &json!(true)));
    let orders = desk.cashier.placed.lock().unwrap();
    assert_eq!(orders.len(), 5);
    assert_eq!(orders[3].key, key("N"));
    assert_eq!(orders[3].trade, Trade::Native { product_id: None });
}

/// Nobody calls WeChat for a request that is not sound.
#[tokio::test(start_paused = true)]
async fn what_is_not_sound_never_reaches_the_cashier() {
    let desk = Desk::open();
    for (request, status, word) in [
        (format!("POST /v1/orders/{MCH}/T1/place\n\n{{}}"), 400, "trade_type"),
        (format!("POST /v1/orders/{MCH}/T1/place?wait=1s\n\n{{}}"), 400, "wait"),
        (format!("POST /v1/orders/7/T1/place\n\n{}", native()), 404, "unknown-merchant"),
        ("POST /v1/orders/7/T1/close\n\n{}".to_owned(), 404, "unknown-merchant"),
        (format!("POST /v1/orders/{MCH}/a%20b/place\n\n{}", native()), 400, "out_trade_no"),
        (format!("POST /v1/orders/{MCH}/T1/close\n\n{{\"why\":\"x\"}}"), 400, "why"),
        ("GET /v1/openid/authorize-url?appid=wx1&state=s1".to_owned(), 400, "redirect_uri"),
        (
            "GET /v1/openid/authorize-url?appid=wx1&redirect_uri=/back&state=s1".to_owned(),
            400,
            "redirect_uri",
        ),
        ("GET /v1/openid/authorize-url?appid=wx1&redirect_uri=https://x&state=a-b".to_owned(), 400, "state"),
        (
            "GET /v1/openid/authorize-url?appid=wx1&redirect_uri=https://x&state=s&scope=all".to_owned(),
            400,
            "scope",
        ),
        ("POST /v1/openid/code\n\n{\"appid\":\"wx1\"}".to_owned(), 400, "code"),
        ("POST /v1/openid/code\n\n{\"code\":\"c\"}".to_owned(), 400, "appid"),
        ("POST /v1/openid/jscode\n\n{\"appid\":\"wx1\",\"code\":\"a b\"}".to_owned(), 400, "code"),
        (
            "POST /v1/openid/jscode\n\n{\"appid\":\"wx1\",\"code\":\"c\",\"secret\":\"s\"}".to_owned(),
            400,
            "secret",
        ),
    ] {
        let answered = desk.ask(&request).await;
        assert_eq!(answered.status, status, "{request}\n{}", answered.text);
        assert!(answered.text.contains(word), "{request}\n{}", answered.text);
    }
    assert_eq!(desk.cashier.placed.lock().unwrap().len(), 0);
    assert_eq!(desk.cashier.closed.lock().unwrap().len(), 0);
    assert_eq!(desk.cashier.exchanged.lock().unwrap().len(), 0);
    assert_eq!(desk.cashier.wishes.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_told_with_cause_and_remedy_in_both_languages() {
    let desk = Desk::open();
    for kind in RefusalKind::ALL {
        desk.cashier.refuses(kind);
        let refused = place(&desk, "T1", &native()).await;
        let problem = refused.json();
        assert_eq!(refused.status, kind.status(), "{problem}");
        assert_eq!(problem["type"], format!("urn:paybell:problem:{}", kind.slug()));
        let words = kind.words();
        assert_eq!(problem["cause"], json!({ "en": words.cause, "zh": words.cause_zh }));
        assert_eq!(problem["remedy"], json!({ "en": words.remedy, "zh": words.remedy_zh }));
        assert!(problem["detail"].as_str().unwrap().contains(&*words.remedy), "{problem}");
        assert_eq!(problem.get("err_code"), None, "what is not known is left out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_what_a_program_needs() {
    let desk = Desk::open();
    desk.cashier.refuses(Refusal {
        err_code: Some("NOAUTH".to_owned()),
        err_code_des: Some("商户未开通此接口权限".to_owned()),
        ..RefusalKind::RefusedByWechat.into()
    });
    let problem = place(&desk, "T1", &native()).await.json();
    assert_eq!((&problem["err_code"], &problem["status"]), (&json!("NOAUTH"), &json!(502)));
    assert!(problem["detail"].as_str().unwrap().contains("NOAUTH: 商户未开通此接口权限"), "{problem}");
    desk.cashier.refuses(Refusal {
        out_trade_no: OutTradeNo::new("T0").ok(),
        state: Some(State::Paid),
        fields: vec!["body".to_owned(), "total_fee".to_owned()],
        retry_after: Some(Millis(61_001)),
        ..RefusalKind::BusinessTooYoung.into()
    });
    let refused = place(&desk, "T1", &native()).await;
    let problem = refused.json();
    assert_eq!(refused.header("retry-after"), "62", "rounded up: who waits so long gets through");
    assert_eq!((&problem["out_trade_no"], &problem["state"]), (&json!("T0"), &json!("paid")));
    assert_eq!(problem["fields"], json!(["body", "total_fee"]));
    // An engine that is away keeps its address to itself.
    desk.cashier.refuses(Refusal { fields: vec!["engine".to_owned()], ..RefusalKind::WechatAway.into() });
    let refused = place(&desk, "T1", &native()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert!(!refused.text.contains("hunter2"), "{}", refused.text);
}

#[tokio::test(start_paused = true)]
async fn closing_tells_what_it_came_to_and_waits_for_the_look() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let closed = close(&desk, "T1", "\n\n{}").await;
    assert_eq!((closed.status, &closed.json()["closed"]), (202, &json!("now")));
    assert_eq!(closed.json()["order"]["state"], "pending", "the look has not been yet");
    let (closed, ()) = tokio::join!(close(&desk, "T1", "?wait=5s\n\n{}"), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        desk.engine.work(&paid(100));
    });
    let said = closed.json();
    assert_eq!((closed.status, &said["closed"]), (200, &json!("before")), "{said}");
    assert_eq!(said["order"]["state"], "paid", "late truth wins: {said}");
    // Of an order that nobody has a record of.
    let unknown = close(&desk, "T9", "\n\n{}").await;
    assert_eq!((unknown.status, &unknown.json()["order"]), (202, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_person_who_closes_stands_in_the_trail_and_a_shop_does_not() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    close(&desk, "T1", "\n\n{}").await;
    desk.cashier.refuses(RefusalKind::TooYoung);
    assert_eq!(close(&desk, "T1", "\n\n{\"reason\":\"out of stock\"}").await.status, 409);
    assert_eq!(close(&desk, "T1", "\n\n{\"reason\":\"out of stock\"}").await.status, 202);
    let trail = desk.ask("GET /v1/audit?action=close").await.json();
    let acts = trail["acts"].as_array().unwrap();
    let outcomes: Vec<&Value> = acts.iter().map(|act| &act["outcome"]).collect();
    assert_eq!(outcomes, ["done", "too-young"], "{trail}");
    assert_eq!(
        (&acts[0]["reason"], &acts[0]["object"]),
        (&json!("out of stock"), &json!(format!("orders/{MCH}/T1")))
    );
}

#[tokio::test(start_paused = true)]
async fn codes_become_openids_and_nothing_else_comes_out() {
    let desk = Desk::open();
    let exchange =
        |route: &str| format!("POST /v1/openid/{route}\n\n{{\"appid\":\"wx1\",\"code\":\"c0de\"}}");
    for route in ["code", "jscode"] {
        let answered = desk.ask(&exchange(route)).await;
        assert_eq!((answered.status, answered.json()), (200, json!({ "openid": "oPAYER", "unionid": null })));
    }
    let appid = AppId::new("wx1").unwrap();
    let asked = desk.cashier.exchanged.lock().unwrap().clone();
    assert_eq!(
        asked,
        [(appid.clone(), CodeOf::Page, "c0de".to_owned()), (appid, CodeOf::MiniProgram, "c0de".to_owned())]
    );
    let url = "/v1/openid/authorize-url?appid=wx1&state=s1&scope=snsapi_userinfo&redirect_uri=";
    let answered = desk.ask(&format!("GET {url}https%3A%2F%2Fshop.example.com%2Fpay%3Fa%3D1%26b%3D2")).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(answered.json()["url"].as_str().unwrap().ends_with("#wechat_redirect"));
    let wish = desk.cashier.wishes.lock().unwrap()[0].clone();
    assert_eq!(wish.redirect_uri, "https://shop.example.com/pay?a=1&b=2", "decoded once");
    assert!(wish.with_profile && wish.state == "s1");
    desk.cashier.refuses(RefusalKind::CodeRefused);
    let refused = desk.ask(&exchange("code")).await;
    assert_eq!(refused.status, 409);
    assert!(!refused.text.contains("c0de") && !refused.text.contains("oPAYER"), "{}", refused.text);
}

#[tokio::test(start_paused = true)]
async fn a_record_shows_its_business_order() {
    let desk = Desk::open();
    let put = |number: &str, body: Value| format!("PUT /v1/orders/{MCH}/{number}\n\n{body}");
    let registered = desk.ask(&put("T1", json!({ "total_fee": 100, "business_no": "B-1" }))).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert_eq!(registered.json()["registration"]["business_no"], "B-1");
    assert_eq!(desk.ask(&put("T1", json!({ "total_fee": 100 }))).await.status, 200, "absent is equal");
    let other = desk.ask(&put("T1", json!({ "total_fee": 100, "business_no": "B-2" }))).await;
    assert_eq!((other.status, &other.json()["fields"]), (409, &json!(["business_no"])));
    let bad = desk.ask(&put("T2", json!({ "total_fee": 100, "business_no": "x".repeat(65) }))).await;
    assert_eq!((bad.status, &bad.json()["field"]), (400, &json!("business_no")));
    let listed = desk.ask("GET /v1/orders").await.json();
    assert_eq!(listed["orders"][0]["registration"]["business_no"], "B-1");
}
