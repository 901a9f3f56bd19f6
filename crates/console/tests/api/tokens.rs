//! Tokens: who gets in, how far, and under which name.

use std::io::Write;
use std::sync::{Arc, Mutex};

use console::{Rate, Scope, Secret, Token};
use paybell_core::dead::{DeadLetter, DeadReason};
use prometheus_client::encoding::text::encode;

use crate::desk::{Desk, MCH, key, paid};
use crate::engine::START;

fn guarded() -> Desk {
    let token = |name: &str, scopes: &[Scope]| Token {
        name: name.to_owned(),
        secret: Secret::new(&format!("{name}-secret\n")).unwrap(),
        scopes: scopes.to_vec(),
        rate: Rate::DEFAULT,
        streams_max: Token::STREAMS_MAX,
    };
    Desk::with(|config| {
        config.tokens = vec![
            token("reader", &[Scope::Events]),
            token("shop", &[Scope::Orders]),
            token("alice", &[Scope::Operate, Scope::Orders]),
        ];
    })
}

#[tokio::test(start_paused = true)]
async fn everything_but_health_needs_a_token() {
    let desk = guarded();
    for open in ["GET /healthz", "GET /readyz"] {
        assert_eq!(desk.ask(open).await.status, 200, "{open}");
    }
    for request in ["GET /", "GET /openapi.json", "GET /v1/events", "GET /nowhere", "PATCH /v1/orders"] {
        let refused = desk.ask(request).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer realm=\"paybell\""));
    }
    for credentials in
        ["Basic reader-secret", "Bearer", "Bearer reader-secre", "Bearer reader-secret2", "Bearer "]
    {
        let refused = desk.ask(&format!("GET /v1/events\nAuthorization: {credentials}")).await;
        assert_eq!(refused.status, 401, "{credentials}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        assert!(!refused.text.contains("reader-secre"), "no credentials in answers");
    }
    assert_eq!(desk.ask("GET /nowhere\nAuthorization: bearer reader-secret").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_scope_opens_its_routes_and_no_others() {
    let desk = guarded();
    let id = "00000000-0000-0000-0000-000000000009";
    let routes = [
        ("GET /v1/events".to_owned(), "events"),
        ("GET /v1/events/stream?after=x".to_owned(), "events"),
        ("GET /v1/orders".to_owned(), "orders"),
        (format!("GET /v1/orders/{MCH}/T"), "orders"),
        (format!("PUT /v1/orders/{MCH}/T"), "orders"),
        (format!("POST /v1/orders/{MCH}/T/check"), "orders"),
        (format!("POST /v1/orders/{MCH}/T/accept"), "operate"),
        (format!("POST /v1/orders/{MCH}/T/reject"), "operate"),
        ("GET /v1/dead".to_owned(), "operate"),
        (format!("GET /v1/dead/{id}"), "operate"),
        (format!("POST /v1/dead/{id}/replay"), "operate"),
        (format!("DELETE /v1/dead/{id}"), "operate"),
        (format!("POST /v1/orders/{MCH}/T/release"), "operate"),
        ("GET /v1/audit".to_owned(), "operate"),
        ("GET /v1/endpoints".to_owned(), "operate"),
        ("GET /v1/endpoints/erp".to_owned(), "operate"),
        ("POST /v1/endpoints/erp/resend".to_owned(), "operate"),
        ("POST /v1/endpoints/erp/enable".to_owned(), "operate"),
        ("GET /v1/bills".to_owned(), "operate"),
        (format!("GET /v1/bills/{MCH}/2026-11-19"), "operate"),
        (format!("POST /v1/bills/{MCH}/2026-11-19/reconcile"), "operate"),
    ];
    for (request, needed) in routes {
        for (name, scopes) in
            [("reader", ["events", ""]), ("shop", ["orders", ""]), ("alice", ["operate", "orders"])]
        {
            let answered = desk.ask(&format!("{request}\nAuthorization: Bearer {name}-secret")).await;
            let may = scopes.contains(&needed);
            assert_eq!(answered.status != 403, may, "{name}: {request}: {}", answered.text);
            if !may {
                let problem = answered.json();
                assert_eq!(problem["scope"], needed);
                assert!(problem["detail"].as_str().unwrap().contains(name));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ruling_carries_the_tokens_name() {
    let desk = guarded();
    let shop = "Authorization: Bearer shop-secret";
    desk.ask(&format!("PUT /v1/orders/{MCH}/T\n{shop}\n\n{{\"total_fee\":100}}")).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/T/check\n{shop}")).await;
    desk.engine.work(&paid(90));
    let alice = "Authorization: Bearer alice-secret";
    let accepted = desk.ask(&format!("POST /v1/orders/{MCH}/T/accept\n{alice}")).await;
    assert_eq!((accepted.status, accepted.json()["verdict"]["who"].as_str()), (202, Some("alice")));
}

#[tokio::test(start_paused = true)]
async fn answers_are_counted_by_template_and_status() {
    let desk = guarded();
    for request in ["GET /v1/orders/1900000109/T77", "GET /secret-path", "GET /healthz", "GET /healthz"] {
        desk.ask(request).await;
    }
    let mut text = String::new();
    encode(&mut text, &desk.metrics).unwrap();
    for line in [
        r#"paybell_console_requests_total{route="/v1/orders/{mch_id}/{out_trade_no}",status="401"} 1"#,
        r#"paybell_console_requests_total{route="unmatched",status="401"} 1"#,
        r#"paybell_console_requests_total{route="/healthz",status="200"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("T77") && !text.contains("secret-path"), "nothing that a caller chose");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_says_who_did_what_and_why_and_no_secret() {
    let desk = guarded();
    let alice = "Authorization: Bearer alice-secret";
    let letters: Vec<DeadLetter> =
        ["T1", "T2"].map(|name| DeadLetter::about(&key(name), DeadReason::Poison, "", START)).into();
    letters.iter().for_each(|letter| desk.engine.bury_now(letter.clone()));
    desk.ask(&format!("PUT /v1/orders/{MCH}/T\n{alice}\n\n{{\"total_fee\":100}}")).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/T/check\n{alice}")).await;
    desk.engine.work(&paid(90));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // Where there is one subscriber only, a line that another test reaches first, without one, is silent for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let guard = tracing::subscriber::set_default(subscriber);
    for (request, why) in [
        (format!("POST /v1/orders/{MCH}/T/accept"), "agreed by phone"),
        (format!("POST /v1/dead/{}/replay", letters[0].id), "key mended"),
        (format!("DELETE /v1/dead/{}", letters[1].id), "test order"),
        ("GET /v1/events".to_owned(), ""),
    ] {
        let answered = desk.ask(&format!("{request}\n{alice}\n\n{{\"reason\":\"{why}\"}}")).await;
        assert!([202, 204, 403].contains(&answered.status), "{request}: {}", answered.text);
    }
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "one line per act, none per request: {text}");
    for (line, words) in lines.iter().zip([
        [&format!("{MCH}/T"), "accept by alice", "agreed by phone"],
        [&letters[0].id.to_string(), "dead.replay by alice", "key mended"],
        [&letters[1].id.to_string(), "dead.drop by alice", "test order"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    assert!(!text.contains("alice-secret"));
}
