//! The command itself: its arguments, what it says when it cannot begin, and what it says without a check URL.

use serde_json::Value;

use crate::harness::receiver::{Receiver, Reply};
use crate::language::{Language, Subscriber, root};
use crate::mistakes::broken;
use crate::rehearsal::{rehearse, rehearse_webhook};

const URL: &str = "http://127.0.0.1:1/webhooks/paybell";
const WITH_SECRET: [&str; 3] = [URL, "--secret-env", "WEBHOOK_SECRET"];

#[test]
fn what_is_missing_is_named() {
    rehearse(&[]).expect(2, &["<TARGET>"]);
    rehearse(&[URL]).expect(2, &["--secret-env VAR or --secret-file FILE"]);
    rehearse(&[URL, "--secret-env", "NO_SUCH"]).expect(2, &["NO_SUCH is not set"]);
    rehearse(&[URL, "--secret-env", "HOME"]).expect(2, &["the webhook's secret"]);
    rehearse(&["ftp://x/", "--secret-env", "WEBHOOK_SECRET"]).expect(2, &["TARGET"]);
    let with = |more: &[&'static str]| rehearse(&[&WITH_SECRET, more].concat());
    with(&["--check-url", "http://127.0.0.1:1/"]).expect(2, &["{out_trade_no}"]);
    with(&["--queue", "shop"]).expect(2, &["for an amqp:// target"]);
    with(&["--only", "lost"]).expect(2, &["invalid value 'lost'"]);
    with(&["--only", "paid", "--skip", "paid"]).expect(2, &["leave no scene"]);
    rehearse(&["amqp://127.0.0.1:1/%2f", "--only", "stale"]).expect(2, &["leave no scene"]);
    rehearse(&["amqp://127.0.0.1:1/%2f", "--queue", "paybell.checks.0"]).expect(2, &["Paybell's own"]);
    rehearse(&["amqp://user:hunter2@127.0.0.1:1/%2f", "--queue", "shop"]).expect(1, &["RabbitMQ"]);
    rehearse(&["--orders"]).expect(2, &["--seed"]);
}

#[test]
fn a_password_is_never_shown() {
    let ended = rehearse(&["amqp://user:hunter2@127.0.0.1:1/%2f", "--queue", "shop"]);
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}

#[test]
fn nobody_there_is_no_verdict() {
    rehearse(&WITH_SECRET).expect(1, &["nothing answers at http://127.0.0.1:1"]);
}

#[test]
fn scenes_and_orders_are_listed() {
    rehearse(&["--list"]).expect(0, &["found-refunded", "order.mismatch"]);
    rehearse(&["--list", "--lang", "zh"]).expect(0, &["found-refunded", "\u{9000}\u{6b3e}"]);
    assert_eq!(rehearse(&["--list", "--json"]).json()["scenes"].as_array().unwrap().len(), 22);
    let orders = |seed| rehearse(&["--orders", "--seed", seed, "--burst", "3"]);
    assert_eq!(orders("7").stdout, orders("7").stdout);
    assert_ne!(orders("7").stdout, orders("8").stdout);
    orders("7").expect(
        0,
        &[
            "paid\t1900000109\tREHEARSAL00000007000000\t",
            "burst\t1900000109\tREHEARSAL00000007210002\t",
            // Played in a queue, where a shop that does not know it would never ship it, and pass for stuck.
            "end\t1900000109\tREHEARSAL00000007END0001\t",
        ],
    );
}

#[test]
fn without_a_check_url_only_answers_are_judged() {
    let receiver = Receiver::start();
    let url = receiver.url("/webhooks/paybell");
    let args = [
        url.as_str(),
        "--secret-env",
        "WEBHOOK_SECRET",
        "--only",
        "paid,duplicate,stale,burst",
        "--burst",
        "9",
    ];
    let ended = rehearse(&args);
    // It says yes to everything.
    ended.expect(
        1,
        &["answers only", "Without --check-url", "a webhook that is ten minutes old", "1 of 4 scenes"],
    );
    assert_eq!(rehearse(&[&args[..], &["--json"]].concat()).scenes("answers_only").len(), 3);
    receiver.says("/webhooks/paybell", Reply::Status(410, String::new()));
    rehearse(&args).expect(1, &["after 1 tries: HTTP 410", "never send it anything again"]);
}

#[test]
fn a_seed_is_played_once() {
    if !Language::Python.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&broken("none"), &[]);
    let play = || {
        rehearse_webhook(
            &subscriber.base(),
            &["--only", "paid,mismatch", "--seed", "11", "--settle", "100ms"],
        )
    };
    play().expect(0, &["Seed 11: 2 scenes"]);
    play().expect(2, &["seed 11 was played against this subscriber before"]);
}

#[test]
fn a_failure_is_explained_in_both_languages() {
    if !Language::Python.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&broken("mismatch"), &[]);
    let play = |lang| {
        rehearse_webhook(&subscriber.base(), &["--only", "mismatch", "--settle", "100ms", "--lang", lang])
    };
    play("en").expect(
        1,
        &["FAILED", "1 orders shipped once, such as REHEARSAL", "order.mismatch is not a payment"],
    );
    play("zh")
        .expect(1, &["\u{5931}\u{8d25}", "order.mismatch \u{4e0d}\u{662f}\u{4ed8}\u{6b3e}\u{6210}\u{529f}"]);
}

#[test]
fn another_secret_is_guessed_from_the_answer() {
    if !Language::Python.is_here() {
        return;
    }
    let subscriber = Subscriber::start(
        &broken("none"),
        &[("PAYBELL_WEBHOOK_SECRET", "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=")],
    );
    let ended = rehearse_webhook(&subscriber.base(), &["--only", "paid", "--settle", "100ms"]);
    ended.expect(1, &["HTTP 401 (does it verify with this very secret?)"]);
}

/// Documents that would never come would rehearse nothing.
#[test]
fn made_up_events_keep_to_the_schema() {
    let schema = std::fs::read_to_string(root().join("docs/event.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let receiver = Receiver::start();
    let url = receiver.url("/webhooks/paybell");
    let ended = rehearse(&[&url, "--secret-env", "WEBHOOK_SECRET", "--burst", "3", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let received = receiver.received("/webhooks/paybell");
    let events = received.iter().map(|post| (post, post.json()));
    let known: Vec<_> =
        events.filter(|(_, event)| !event["type"].as_str().unwrap().ends_with("rehearsed")).collect();
    assert!(known.len() > 50, "{}", known.len());
    for (post, event) in known {
        let wrong: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert_eq!(wrong, Vec::<String>::new(), "{event:#}");
        assert!(event["subject"].as_str().unwrap().starts_with("REHEARSAL"), "{event}");
        assert!(post.header("content-type").starts_with("application/cloudevents+json"), "{}", post.path);
    }
}
