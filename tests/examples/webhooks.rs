//! Every example takes the whole rehearsal by webhook.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use standardwebhooks::Webhook;

use crate::harness::Request;
use crate::language::{Language, Subscriber};
use crate::rehearsal::{SMALL, rehearse_webhook};

const WEBHOOK_SCENES: usize = 22;

#[track_caller]
fn passes(language: Language) {
    if !language.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&language.command("webhook"), &[]);
    let ended = rehearse_webhook(&subscriber.base(), &[&SMALL[..], &["--json"]].concat());
    let passed = ended.scenes("passed");
    assert_eq!((ended.code, passed.len()), (Some(0), WEBHOOK_SCENES), "{language:?}: {}", ended.stdout);
}

#[test]
fn python_takes_the_awkward_day_by_webhook() {
    passes(Language::Python);
}

#[test]
fn node_takes_the_awkward_day_by_webhook() {
    passes(Language::Node);
}

#[test]
fn php_takes_the_awkward_day_by_webhook() {
    passes(Language::Php);
}

#[test]
fn go_takes_the_awkward_day_by_webhook() {
    passes(Language::Go);
}

#[test]
fn java_takes_the_awkward_day_by_webhook() {
    passes(Language::Java);
}

/// A secret that was never filled in is an empty key, with which everybody can sign.
#[test]
fn an_example_without_a_secret_believes_nobody() {
    let everybody = Webhook::from_bytes(Vec::new()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let event = json!({ "id": "1", "type": "order.unknown", "subject": "T1", "data": {} });
    let body = event.to_string();
    let signature = everybody.sign("1", now.try_into().unwrap(), body.as_bytes()).unwrap();
    for language in Language::ALL.into_iter().filter(|language| language.is_here()) {
        let without = [("PAYBELL_WEBHOOK_SECRET", "whsec_")];
        let subscriber = Subscriber::start(&language.command("webhook"), &without);
        let base = subscriber.base();
        let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
        let request = Request::new("POST", "/webhooks/paybell")
            .header("webhook-id", "1")
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature.as_str());
        let answer = request.json(&event).send(address);
        assert!((400..600).contains(&answer.status), "{language:?}: {answer:?}");
    }
}
