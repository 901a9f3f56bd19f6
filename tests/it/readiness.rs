//! What one role does without takes it out of service for nobody: orders are placed while RabbitMQ is away.

use serde_json::json;

use crate::{
    harness::{MCH, Request, Service, Settings, Shop, Simulator, get, wait_for},
    placing::{Till, wish},
};

/// Nobody listens here.
const NOBODY: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

/// The configuration of a shop, with another URL of one of its servers, beside it.
fn with_url(shop: &Shop, key: &str, url: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(shop.config()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
    let path = shop.folder.path().join("away.toml");
    std::fs::write(&path, text.replace(line, &format!("{key} = \"{url}\""))).unwrap();
    path
}

#[test]
fn a_console_is_in_service_while_rabbitmq_is_away() {
    let top = "ingress.public_url = \"https://pay.example.com\"";
    let till = Till::with(Simulator::start(), &Settings { top, ..Settings::default() });
    let console = Service::start_role(&with_url(&till.shop, "rabbitmq.url", NOBODY), "console");
    let ready = wait_for("it takes orders", || {
        let answer = get(console.address("admin"), "/readyz");
        (answer.status == 200).then_some(answer)
    });
    let lines: Vec<&str> = ready.body.lines().collect();
    assert_eq!(lines[0], "ready");
    for part in ["queue", "log"] {
        assert!(lines[1..].iter().any(|line| line.contains(part)), "it keeps {part} back: {}", ready.body);
        let sample = format!("paybell_engine_up{{part=\"{part}\"}}");
        wait_for(&sample, || console.metrics().contains(&format!("{sample} 0\n")).then_some(()));
    }
    let ask = |method: &str, path: &str, body: &serde_json::Value| {
        Request::new(method, &format!("/v1/orders/{MCH}/{path}"))
            .json(body)
            .send_at_last(console.address("console"))
    };
    ask("PUT", "T1", &json!({ "total_fee": 1999 })).expect(201);
    ask("POST", "T2/place", &wish(&json!({}))).expect(201);
    assert_eq!(till.truth_of("T2").unwrap()["total_fee"], 1999, "WeChat took it");
}

#[test]
fn a_console_is_out_of_service_while_redis_is_away() {
    let shop = Shop::open(&Settings::default());
    let console = Service::start_role(&with_url(&shop, "redis.url", "redis://127.0.0.1:1"), "console");
    let answer = wait_for("it says why", || {
        let answer = get(console.address("admin"), "/readyz");
        answer.body.contains("ledger").then_some(answer)
    });
    assert_eq!(answer.status, 503, "{}", answer.body);
}

#[test]
fn an_ingress_is_out_of_service_while_rabbitmq_is_away() {
    let shop = Shop::open(&Settings::default());
    let ingress = Service::start_role(&with_url(&shop, "rabbitmq.url", NOBODY), "ingress");
    let answer = wait_for("it says why", || {
        let answer = get(ingress.address("admin"), "/readyz");
        answer.body.contains("queue").then_some(answer)
    });
    assert_eq!(answer.status, 503, "{}", answer.body);
}
