//! How much a caller may ask: a rate per token, a few tries without a right one per address, streams per token.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use console::{Rate, Scope, Secret, Token};
use http_body_util::BodyExt;
use prometheus_client::encoding::text::encode;

use crate::desk::{Answered, Desk, pass};

const SHOP: &str = "Authorization: Bearer shop-secret";
const BATCH: &str = "Authorization: Bearer batch-secret";

fn limited() -> Desk {
    let token = |name: &str, rate: u32, streams_max: usize| Token {
        name: name.to_owned(),
        secret: Secret::new(&format!("{name}-secret")).unwrap(),
        scopes: Scope::ALL.to_vec(),
        rate: Rate::per_second(rate),
        streams_max,
    };
    Desk::with(|config| config.tokens = vec![token("shop", 100, 2), token("batch", 5, 2)])
}

fn word(answered: &Answered) -> String {
    answered.json()["type"].as_str().unwrap().replace("urn:paybell:problem:", "")
}

#[tokio::test(start_paused = true)]
async fn a_token_has_its_rate_and_its_burst_and_slows_no_other() {
    let desk = limited();
    let ask = async |token: &str| desk.ask(&format!("GET /v1/events\n{token}")).await;
    for _ in 0..10 {
        assert_eq!(ask(BATCH).await.status, 200, "a burst of twice the rate");
    }
    let refused = ask(BATCH).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(word(&refused), "too-fast");
    assert!(refused.json()["detail"].as_str().unwrap().contains("batch"));
    for path in ["/v1/orders", "/nowhere", "/"] {
        let other = desk.ask(&format!("GET {path}\n{BATCH}")).await;
        assert_eq!(other.status, 429, "every path counts: {path}");
    }
    assert_eq!(ask(SHOP).await.status, 200, "another token is not concerned");
    for open in ["/healthz", "/readyz"] {
        for _ in 0..50 {
            assert_eq!(desk.ask(&format!("GET {open}\n{BATCH}")).await.status, 200, "never limited: {open}");
        }
    }
    pass(1_000).await;
    for _ in 0..5 {
        assert_eq!(ask(BATCH).await.status, 200, "what a second brings");
    }
    assert_eq!(ask(BATCH).await.status, 429);
    let mut text = String::new();
    encode(&mut text, &desk.metrics).unwrap();
    assert!(text.contains(r#"paybell_console_limited_total{caller="batch",limit="rate"} 5"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn readiness_costs_the_engines_one_look_a_second_whoever_asks() {
    let desk = limited();
    let ask = async || desk.ask("GET /readyz").await.status;
    assert_eq!(ask().await, 200);
    desk.engine.is_away.store(true, Ordering::SeqCst);
    pass(999).await;
    assert_eq!(ask().await, 200, "nobody looked again");
    pass(1).await;
    assert_eq!(ask().await, 503);
    desk.engine.is_away.store(false, Ordering::SeqCst);
    assert_eq!(ask().await, 503);
    pass(1_000).await;
    assert_eq!(ask().await, 200);
    desk.drain.cancel();
    assert_eq!(ask().await, 503, "a process that stops says so at once");
}

#[tokio::test(start_paused = true)]
async fn guessing_tokens_is_slowed_and_known_callers_go_on() {
    let desk = limited();
    let ask = async |token: &str| desk.ask(&format!("GET /v1/events\n{token}")).await;
    assert_eq!(ask(SHOP).await.status, 200);
    let mut statuses = Vec::new();
    for number in 0..100 {
        statuses.push(ask(&format!("Authorization: Bearer guess-{number}")).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 20);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 80);
    let refused = ask("Authorization: Bearer batch-secret").await;
    assert_eq!((refused.status, word(&refused).as_str()), (429, "shut-out"), "a right guess shows nothing");
    assert!(!refused.text.contains("batch"), "not even whose token it would be");
    assert_eq!(desk.ask("GET /v1/events").await.status, 429, "no token at all counts too");
    assert_eq!(ask(SHOP).await.status, 200, "a token that came from there before is let in");
    assert_eq!(desk.ask("GET /healthz").await.status, 200);
    let elsewhere: IpAddr = "198.51.100.9".parse().unwrap();
    assert_eq!(desk.ask_from(elsewhere, &format!("GET /v1/events\n{BATCH}")).await.status, 200);
    pass(500).await;
    assert_eq!(ask(BATCH).await.status, 200, "one place is free again, and a right token takes none");
    assert_eq!(ask(BATCH).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_long_token_is_let_in_beside_somebody_with_an_old_one() {
    const LONG: &str = "q7Zt0mW4xk9cVb2nLs6yRd1e";
    let desk = Desk::with(|config| {
        config.tokens = vec![Token {
            name: "shop".to_owned(),
            secret: Secret::new(LONG).unwrap(),
            scopes: Scope::ALL.to_vec(),
            rate: Rate::DEFAULT,
            streams_max: 2,
        }]
    });
    let ask = async |token: &str| desk.ask(&format!("GET /v1/events\nAuthorization: Bearer {token}")).await;
    for number in 0..50 {
        ask(&format!("old-{number}")).await;
    }
    assert_eq!(ask("old").await.status, 429);
    assert_eq!(ask(LONG).await.status, 200, "it never came from there before");
    assert_eq!(ask("old").await.status, 429, "and that opens nothing for others");
    assert_eq!(ask(&LONG[..23]).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn an_open_api_has_one_rate_for_all() {
    let desk = Desk::with(|config| config.rate = Rate::per_second(2));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(desk.ask("GET /v1/events").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    assert_eq!(desk.ask("GET /healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_has_its_streams_and_leaves_the_others() {
    let desk = limited();
    let open = async |token: &str| desk.send(&format!("GET /v1/events/stream\n{token}")).await;
    let held = [open(SHOP).await, open(SHOP).await];
    let refused = desk.ask(&format!("GET /v1/events/stream\n{SHOP}")).await;
    assert_eq!((refused.status, word(&refused).as_str()), (429, "own-streams"));
    assert_eq!(refused.header("retry-after"), "1");
    let mut other = open(BATCH).await;
    assert_eq!(other.status(), 200);
    assert!(other.body_mut().frame().await.is_some());
    let gauge = || {
        let mut text = String::new();
        encode(&mut text, &desk.metrics).unwrap();
        text.lines().find(|line| line.starts_with("paybell_console_streams ")).unwrap().to_owned()
    };
    assert_eq!(gauge(), "paybell_console_streams 3");
    drop(held);
    assert_eq!(gauge(), "paybell_console_streams 1", "a stream that ended frees its place");
    assert_eq!(open(SHOP).await.status(), 200);
}
