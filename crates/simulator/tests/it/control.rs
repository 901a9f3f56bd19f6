//! The control API over HTTP.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::Faults;
use wechat_pay::sign::Algorithm::Md5;

use crate::support::{MCH, Reply, Shop, Sim, config, query_of};

async fn json_call(sim: &Sim, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = sim.request(method, path, "application/json", body).await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
}

#[tokio::test]
async fn an_order_lives_over_http() {
    let sim = Sim::plain().await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    let new =
        json!({"mch_id": MCH, "out_trade_no": "T|0001", "total_fee": 1999, "notify_url": shop.notify_url});
    let (status, truth) = json_call(&sim, Method::POST, "/_sim/orders", new.clone()).await;
    assert_eq!(
        (status, &truth["trade_state"], &truth["paid"]),
        (StatusCode::CREATED, &json!("NOTPAY"), &json!(false))
    );
    assert_eq!(json_call(&sim, Method::POST, "/_sim/orders", new).await.0, StatusCode::CONFLICT);

    let path = format!("/_sim/orders/{MCH}/T%7C0001");
    let (status, truth) = json_call(&sim, Method::POST, &format!("{path}/pay"), Value::Null).await;
    assert_eq!((status, &truth["paid"]), (StatusCode::OK, &json!(true)));
    shop.wait_for(1).await;
    let listed = format!("/_sim/notifications?mch_id={MCH}&out_trade_no=T%7C0001");
    loop {
        let (_, posts) = json_call(&sim, Method::GET, &listed, Value::Null).await;
        let Some(post) = posts["notifications"].get(0) else { continue };
        assert_eq!((&post["kind"], &post["outcome"]), (&json!("genuine"), &json!("acknowledged")));
        assert_eq!(post["out_trade_no"], "T|0001");
        break;
    }

    let (_, truth) =
        json_call(&sim, Method::POST, &format!("{path}/refund"), json!({"refund_fee": 500})).await;
    assert_eq!((&truth["trade_state"], &truth["refunded_fee"]), (&json!("REFUND"), &json!(500)));
    let (status, problem) =
        json_call(&sim, Method::POST, &format!("{path}/refund"), json!({"refund_fee": 1500})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("1499"), "{problem}");
    let (_, truth) =
        json_call(&sim, Method::POST, &format!("{path}/state"), json!({"trade_state": "REVOKED"})).await;
    assert_eq!((&truth["trade_state"], &truth["paid"]), (&json!("REVOKED"), &json!(false)));
    assert_eq!(
        json_call(&sim, Method::POST, &format!("{path}/notify"), json!({})).await.0,
        StatusCode::ACCEPTED
    );
    shop.wait_for(2).await;
    assert_eq!(json_call(&sim, Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(json_call(&sim, Method::GET, &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    let (_, stats) = json_call(&sim, Method::GET, "/_sim/stats", Value::Null).await;
    assert_eq!((&stats["orders"], &stats["payments"]), (&json!(1), &json!(1)));
    sim.stop().await;
}

#[tokio::test]
async fn orders_are_paged_in_the_order_of_placing() {
    let sim = Sim::plain().await;
    for number in 0..25 {
        sim.order(&format!("T{:05}", 99 - number), "http://127.0.0.1:9/");
    }
    sim.control
        .forget(
            &sim.control
                .truths()
                .get(3)
                .map(|t| simulator::OrderKey {
                    mch_id: t.mch_id.clone(),
                    out_trade_no: t.out_trade_no.clone(),
                })
                .unwrap(),
        )
        .unwrap();
    let (mut after, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let (_, page) =
            json_call(&sim, Method::GET, &format!("/_sim/orders?limit=10&after={after}"), Value::Null).await;
        seen.extend(
            page["orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(|order| order["out_trade_no"].as_str().unwrap().to_owned()),
        );
        after = page["next"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break;
        }
    }
    let expected: Vec<String> =
        (0..25).filter(|number| *number != 3).map(|number| format!("T{:05}", 99 - number)).collect();
    assert_eq!(seen, expected);
    let told: Vec<String> = sim.control.truths().into_iter().map(|truth| truth.out_trade_no).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn faults_are_changed_while_it_runs() {
    let sim = Sim::start(config(Faults { seed: 5, ..Faults::default() })).await;
    let order = sim.order("T00001", "http://127.0.0.1:9/");
    assert_eq!(sim.query(&order, Md5).await["result_code"], "SUCCESS");
    let (status, faults) = json_call(&sim, Method::PUT, "/_sim/faults", json!({"query_http_500": 1.0})).await;
    assert_eq!(
        (status, &faults["query_http_500"], &faults["seed"]),
        (StatusCode::OK, &json!(1.0), &json!(0))
    );
    let (status, _) = sim.post_signed("/pay/orderquery", &query_of(&order), Md5).await.unwrap();
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, problem) = json_call(&sim, Method::PUT, "/_sim/faults", json!({"forged": 2})).await;
    assert!(
        status == StatusCode::BAD_REQUEST && problem["detail"].as_str().unwrap().contains("forged"),
        "{problem}"
    );
    assert_eq!(
        json_call(&sim, Method::PUT, "/_sim/faults", json!({"forgd": 0.5})).await.0,
        StatusCode::BAD_REQUEST
    );
    let (_, faults) = json_call(&sim, Method::GET, "/_sim/faults", Value::Null).await;
    assert_eq!(faults["query_http_500"], 1.0, "a refused change changes nothing");
}

#[tokio::test]
async fn custom_notifications_are_sent_as_made() {
    let sim = Sim::plain().await;
    let shop = Shop::open(&[Reply::Acknowledge, Reply::Say(400, "")]).await;
    let fields = json!({"mch_id": MCH, "out_trade_no": "T00001", "total_fee": "1"});
    let signed = json!({"url": shop.notify_url, "fields": fields, "sign": "merchant", "mch_id": MCH});
    let (status, post) = json_call(&sim, Method::POST, "/_sim/send", signed).await;
    assert_eq!(
        (status, &post["kind"], &post["outcome"]),
        (StatusCode::OK, &json!("custom"), &json!("acknowledged"))
    );
    let raw = json!({"url": shop.notify_url, "body": "<!DOCTYPE x><xml/>", "content_type": "text/plain"});
    let (_, post) = json_call(&sim, Method::POST, "/_sim/send", raw).await;
    assert_eq!((&post["outcome"], &post["detail"]), (&json!("refused"), &json!("HTTP 400")));
    let bodies: Vec<String> = shop.received().into_iter().map(|(_, body)| body).collect();
    let document = wechat_pay::xml::Document::parse(bodies[0].as_bytes()).unwrap();
    wechat_pay::sign::verify(&document, &crate::support::key(), Md5).unwrap();
    assert_eq!(bodies[1], "<!DOCTYPE x><xml/>");
    let bad = json!({"url": shop.notify_url, "fields": {"a b": "1"}});
    assert_eq!(json_call(&sim, Method::POST, "/_sim/send", bad).await.0, StatusCode::BAD_REQUEST);
    let keys = json!({"api_key": "short"});
    let (status, problem) = json_call(&sim, Method::PUT, &format!("/_sim/merchants/{MCH}/keys"), keys).await;
    assert!(
        status == StatusCode::BAD_REQUEST && problem["detail"].as_str().unwrap().contains("32 characters")
    );
    let keys = json!({"api_key": "n".repeat(32)});
    assert_eq!(
        json_call(&sim, Method::PUT, &format!("/_sim/merchants/{MCH}/keys"), keys).await.0,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn changes_need_json_and_routes_are_listed() {
    let sim = Sim::plain().await;
    let form = sim.request(Method::PUT, "/_sim/faults", "text/plain", "{\"forged\":1}").await.unwrap();
    assert_eq!((form.0, sim.control.faults().forged), (StatusCode::UNSUPPORTED_MEDIA_TYPE, 0.0));
    let (status, list) = json_call(&sim, Method::GET, "/_sim/", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert!(list.to_string().contains("/_sim/stats"));
    assert_eq!(json_call(&sim, Method::GET, "/_sim/nothing", Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        json_call(&sim, Method::GET, "/_sim/orders?limit=x", Value::Null).await.0,
        StatusCode::BAD_REQUEST
    );
}

/// The example of the README, and every setting is explained there.
#[test]
fn the_readme_tells_the_keys() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let config: simulator::SimulatorConfig = toml::from_str(example).unwrap();
    assert_eq!((config.merchants.len(), config.apps.len(), config.settings.refund_delay_s), (1, 1, 5));
    assert_eq!(config.faults.refund.answer_lost, 0.1);
    let Value::Object(settings) = serde_json::to_value(simulator::Settings::default()).unwrap() else {
        panic!("settings are a table")
    };
    for name in settings.keys() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}
