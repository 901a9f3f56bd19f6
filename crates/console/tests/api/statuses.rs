//! Every status of the contract: a request, what it is answered, and words that the answer must hold.

use std::sync::atomic::Ordering;

use paybell_core::dead::{DeadLetter, DeadReason};
use paybell_core::ports::Cursor;
use paybell_core::{OrderKey, Timestamp};
use uuid::Uuid;

use crate::desk::{Desk, MCH, not_paid, paid};

type Row = (&'static str, u16, &'static [&'static str]);

/// `{M}` is the merchant.
async fn hold(desk: &Desk, rows: &[Row]) {
    for (request, status, words) in rows {
        let answered = desk.ask(&request.replace("{M}", MCH)).await;
        assert_eq!(answered.status, *status, "{request}\n{}", answered.text);
        for word in *words {
            assert!(answered.text.contains(word), "{request}\nno {word} in {}", answered.text);
        }
        assert_eq!(answered.header("cache-control"), "no-store");
        if answered.status >= 400 {
            assert_eq!(answered.header("content-type"), "application/problem+json");
            let problem = answered.json();
            assert_eq!(problem["status"], answered.status);
            assert!(problem["type"].as_str().unwrap().starts_with("urn:paybell:problem:"), "{problem}");
            assert!(problem["title"].is_string() && problem["detail"].is_string());
            for part in ["cause", "remedy"] {
                let said = &problem[part];
                assert!(said["en"].is_string() && said["zh"].is_string(), "{request}\n{problem}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn names_paths_methods_and_types() {
    let desk = Desk::open();
    hold(
        &desk,
        &[
            ("GET /healthz", 200, &["ok"]),
            ("HEAD /healthz", 200, &[]),
            ("GET /readyz", 200, &["ready"]),
            ("GET /", 200, &["/v1/events/stream", "\"needs\":\"operate\""]),
            ("GET /openapi.json", 200, &["\"openapi\": \"3.1.0\""]),
            ("GET /\nHost: -", 400, &["Host"]),
            ("GET /\nHost: localhost\nHost: evil.example", 400, &["several"]),
            ("GET /\nHost: evil.example", 421, &["evil.example"]),
            ("GET /healthz\nHost: evil.example", 421, &[]),
            ("GET http://evil.example/v1/orders", 421, &[]),
            ("GET /\nHost: 127.0.0.1:8081", 200, &[]),
            ("GET /\nHost: [::1]:8081", 200, &[]),
            ("GET /v1", 404, &["GET / lists"]),
            ("GET /v1/orders/{M}/T1/check", 405, &["POST"]),
            ("DELETE /v1/orders/{M}/T1", 405, &["GET, HEAD"]),
            ("OPTIONS /v1/orders", 405, &[]),
            ("POST /v1/orders/{M}/T1/check\nContent-Type: -", 415, &["application/json"]),
            ("POST /v1/orders/{M}/T1/check\nContent-Type: text/plain", 415, &[]),
            ("PUT /v1/orders/{M}/T1\nContent-Type: application/x-www-form-urlencoded\n\na=b", 415, &[]),
            ("DELETE /v1/dead/8803801d-9ff3-598c-bbfa-290c72a9eb8c\nContent-Type: -", 415, &[]),
            ("POST /v1/orders/{M}/T1/check\nContent-Type: application/json; charset=utf-8", 202, &[]),
            ("POST /v1/orders/{M}/T1/check\nContent-Type: Application/JSON", 202, &[]),
        ],
    )
    .await;
    let refused = desk.ask("PATCH /v1/orders").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
    let huge = format!("PUT /v1/orders/{MCH}/T1\n\n{{\"appid\":\"{}\"}}", "x".repeat(65_536));
    assert_eq!(desk.ask(&huge).await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn registering() {
    let desk = Desk::open();
    hold(
        &desk,
        &[
            (
                "PUT /v1/orders/{M}/T1\n\n{\"total_fee\":1999}",
                201,
                &["\"state\":\"pending\"", "\"total_fee\":1999"],
            ),
            (
                "PUT /v1/orders/{M}/T1\n\n{\"total_fee\":1999,\"fee_type\":\"CNY\"}",
                200,
                &["\"total_fee\":1999"],
            ),
            (
                "PUT /v1/orders/{M}/T1\n\n{\"total_fee\":2000,\"fee_type\":\"USD\"}",
                409,
                &["total_fee, fee_type", "\"fields\":[\"total_fee\",\"fee_type\"]"],
            ),
            ("PUT /v1/orders/1800000001/T1\n\n{\"total_fee\":1}", 404, &["1800000001", "configuration"]),
            ("PUT /v1/orders/{M}/T%7C2\n\n{\"total_fee\":1}", 201, &["\"out_trade_no\":\"T|2\""]),
            ("PUT /v1/orders/{M}/T%202\n\n{\"total_fee\":1}", 400, &["out_trade_no"]),
            ("PUT /v1/orders/{M}/T%ff\n\n{\"total_fee\":1}", 400, &["out_trade_no"]),
            ("PUT /v1/orders/{M}/T%zz\n\n{\"total_fee\":1}", 400, &["out_trade_no"]),
            ("PUT /v1/orders/19-1/T2\n\n{\"total_fee\":1}", 400, &["mch_id"]),
            ("PUT /v1/orders/{M}/T3?dry=1\n\n{\"total_fee\":1}", 400, &["dry"]),
            ("PUT /v1/orders/{M}/T3", 400, &["JSON"]),
            ("PUT /v1/orders/{M}/T3\n\n[]", 400, &["JSON"]),
            ("PUT /v1/orders/{M}/T3\n\n{\"total_fee\":1.0}", 400, &["total_fee", "whole number of fen"]),
            ("PUT /v1/orders/{M}/T3\n\n{\"total_fee\":\"1\"}", 400, &["total_fee"]),
            ("PUT /v1/orders/{M}/T3\n\n{\"total_fee\":0}", 400, &["total_fee"]),
            ("PUT /v1/orders/{M}/T3\n\n{\"totalfee\":1}", 400, &["did you mean \\\"total_fee\\\""]),
            ("PUT /v1/orders/{M}/T3\n\n{\"total_fee\":1,\"appid\":\"w x\"}", 400, &["\"field\":\"appid\""]),
            (
                "PUT /v1/orders/{M}/T3\n\n{\"total_fee\":1,\"expires_at\":\"2026-11-20T12:00:00\"}",
                400,
                &["expires_at", "RFC 3339"],
            ),
            (
                "PUT /v1/orders/{M}/T3\n\n{\"total_fee\":1,\"created_at\":\"2026-11-20T12:05:01+08:00\"}",
                400,
                &["created_at", "5 minutes ahead"],
            ),
            ("GET /v1/orders/{M}/T3", 404, &["no record"]),
            (
                "PUT /v1/orders/{M}/T3\n\n{\"total_fee\":1,\"created_at\":\"2026-11-20T12:05:00+08:00\"}",
                201,
                &["\"created_at\":\"2026-11-20T12:05:00+08:00\""],
            ),
        ],
    )
    .await;
    assert_eq!(desk.engine.published(), 0, "registering publishes no check: the due time does");
}

#[tokio::test(start_paused = true)]
async fn reading_and_checking() {
    let desk = Desk::open();
    desk.order("T1", Some(&not_paid())).await;
    hold(
        &desk,
        &[
            ("GET /v1/orders/{M}/T1", 200, &["\"state\":\"pending\"", "NOTPAY"]),
            ("GET /v1/orders/{M}/T9", 404, &["no record"]),
            ("GET /v1/orders/{M}/T%01", 400, &["out_trade_no"]),
            ("GET /v1/orders/{M}/T1?x=1", 400, &["x: no such query parameter"]),
            ("POST /v1/orders/{M}/T9/check", 202, &["\"asked\":true"]),
            ("POST /v1/orders/{M}/T9/check\n\n{}", 202, &["\"asked\":true"]),
            ("POST /v1/orders/{M}/T9/check\n\n{\"wait\":5}", 400, &["wait"]),
            ("POST /v1/orders/1800000001/T1/check", 404, &["1800000001"]),
            ("POST /v1/orders/{M}/T1/check?wait=5", 400, &["wait", "500ms or 5s"]),
            ("POST /v1/orders/{M}/T1/check?wait=31s", 400, &["30 s at most"]),
            ("POST /v1/orders/{M}/T1/check?wait=30s", 200, &["\"state\":\"pending\""]),
            ("GET /v1/orders?state=payed", 400, &["state", "pending, unpaid"]),
            ("GET /v1/orders?limit=0", 400, &["1 to 1000"]),
            ("GET /v1/orders?limit=1001", 400, &["1 to 1000"]),
            ("GET /v1/orders?limit=1000", 200, &["\"has_more\":false"]),
            ("GET /v1/orders?mch=1", 400, &["mch: ", "state, mch_id, limit, after"]),
            ("GET /v1/orders?mch_id=a-b", 400, &["mch_id"]),
            ("GET /v1/orders?after=zz", 400, &["after", "cursor"]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_persons_word() {
    let desk = Desk::open();
    desk.order("PENDING", None).await;
    desk.order("WRONG", Some(&paid(90))).await;
    desk.order("OTHER", Some(&paid(90))).await;
    hold(
        &desk,
        &[
            ("POST /v1/orders/{M}/NONE/accept", 404, &["no record"]),
            ("POST /v1/orders/{M}/PENDING/accept", 409, &["pending", "mismatch or rejected"]),
            ("POST /v1/orders/{M}/WRONG/accept\n\n{\"transaction_id\":\"42\"}", 409, &["another payment"]),
            ("POST /v1/orders/{M}/WRONG/accept\n\n{\"why\":\"x\"}", 400, &["why"]),
            ("POST /v1/orders/{M}/WRONG/accept\n\n{\"transaction_id\":42}", 400, &["transaction_id"]),
            ("POST /v1/orders/{M}/WRONG/accept\n\n{\"reason\":\"a\\nb\"}", 400, &["one line"]),
            (
                "POST /v1/orders/{M}/WRONG/reject\n\n{\"reason\":\"too little\"}",
                202,
                &["\"state\":\"rejected\"", "by anonymous: too little"],
            ),
            ("POST /v1/orders/{M}/WRONG/reject", 409, &["\"state\":\"rejected\""]),
            (
                "POST /v1/orders/{M}/WRONG/accept\n\n{\"transaction_id\":\"4200001234202611200123456789\"}",
                202,
                &["\"verdict\":{\"who\":\"anonymous\"", "\"total_fee\":90", "\"cause\":\"accepted\""],
            ),
            ("POST /v1/orders/{M}/OTHER/accept", 202, &[]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_and_places() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    desk.order("T2", Some(&paid(100))).await;
    hold(
        &desk,
        &[
            ("GET /v1/events", 200, &["order.paid", "\"has_more\":false"]),
            ("GET /v1/events?after=x", 400, &["after", "cursor"]),
            ("GET /v1/events?type=paid", 400, &["type", "order.paid"]),
            ("GET /v1/events?typ=order.paid", 400, &["typ"]),
            ("GET /v1/events?limit=1001", 400, &["limit"]),
            ("GET /v1/events/stream?limit=1", 400, &["limit"]),
            ("GET /v1/events/stream?after=x", 400, &["after"]),
            ("GET /v1/events/stream\nLast-Event-ID: x", 400, &["Last-Event-ID"]),
        ],
    )
    .await;
    let elsewhere = Cursor { position: 1, id: Uuid::from_u128(7) };
    let gone = desk.ask(&format!("GET /v1/events?after={}", elsewhere.to_text())).await;
    assert_eq!(gone.status, 410);
    let oldest = gone.json()["oldest"].as_str().unwrap().to_owned();
    let again = desk.ask(&format!("GET /v1/events?after={oldest}")).await.json();
    assert_eq!(again["events"].as_array().unwrap().len(), 2, "the oldest place is valid and misses nothing");
}

#[tokio::test(start_paused = true)]
async fn dead_letters() {
    let desk = Desk::open();
    let at = Timestamp::from_millis(0);
    let about = |mch_id: &str| {
        let key = OrderKey::new(mch_id, "T1").unwrap();
        DeadLetter::about(&key, DeadReason::WrongOrder, "appid wx2", at)
    };
    let nameless = DeadLetter {
        id: Uuid::from_u128(1),
        mch_id: String::new(),
        reason: DeadReason::Malformed,
        ..about(MCH)
    };
    let (letter, foreign) = (about(MCH), about("1800000001"));
    for letter in [&letter, &foreign, &nameless] {
        desk.engine.bury_now(letter.clone());
    }
    hold(
        &desk,
        &[
            ("GET /v1/dead", 200, &["wrong_order", "malformed"]),
            ("GET /v1/dead?after=1", 400, &["after"]),
            ("GET /v1/dead/1", 400, &["UUID"]),
            ("GET /v1/dead/00000000-0000-0000-0000-000000000009", 404, &["no dead letter"]),
            ("POST /v1/dead/00000000-0000-0000-0000-000000000009/replay", 404, &[]),
            ("DELETE /v1/dead/00000000-0000-0000-0000-000000000009", 404, &[]),
            ("POST /v1/dead/00000000-0000-0000-0000-000000000001/replay", 409, &["malformed", "DELETE"]),
            ("POST /v1/dead/00000000-0000-0000-0000-000000000001/replay\n\n{\"x\":1}", 400, &["x"]),
            ("DELETE /v1/dead/00000000-0000-0000-0000-000000000001\n\n{\"reason\":\"junk\"}", 204, &[]),
            ("GET /v1/dead/00000000-0000-0000-0000-000000000001", 404, &[]),
        ],
    )
    .await;
    assert_eq!(
        desk.ask(&format!("POST /v1/dead/{}/replay", foreign.id)).await.status,
        409,
        "no such merchant"
    );
    assert_eq!(desk.engine.published(), 0);
    assert_eq!(desk.ask(&format!("GET /v1/dead/{}", letter.id)).await.json()["detail"], "appid wx2");
    let replayed =
        desk.ask(&format!("POST /v1/dead/{}/replay\n\n{{\"reason\":\"key mended\"}}", letter.id)).await;
    assert_eq!((replayed.status, replayed.json()["replayed"].as_bool()), (202, Some(true)));
    assert_eq!(desk.engine.stored.lock().unwrap().checks[0].key, letter.key().unwrap());
    assert_eq!(desk.ask(&format!("GET /v1/dead/{}", letter.id)).await.status, 404, "the letter is gone");
}

#[tokio::test(start_paused = true)]
async fn a_posted_registration_of_an_unreadable_record_is_buried_and_can_be_replayed() {
    let desk = Desk::open();
    let key = OrderKey::new(MCH, "T1").unwrap();
    let body = format!("{{\"mch_id\":\"{MCH}\",\"out_trade_no\":\"T1\",\"total_fee\":5}}");
    desk.engine.stored.lock().unwrap().unreadable.insert(key.clone());
    assert_eq!(desk.posted().take_in(body.as_bytes()).await.unwrap(), "refused");
    let letters = desk.ask("GET /v1/dead").await.json();
    let letter = letters["dead_letters"][0].clone();
    assert_eq!((&letter["reason"], &letter["document"]), (&"registration".into(), &body.as_str().into()));
    assert_eq!((&letter["mch_id"], &letter["out_trade_no"]), (&MCH.into(), &"T1".into()));
    assert!(letter["detail"].as_str().unwrap().contains("unreadable"), "{letter}");
    let replay = format!("POST /v1/dead/{}/replay", letter["id"].as_str().unwrap());
    assert_eq!(desk.ask(&replay).await.status, 500, "it stays");
    desk.engine.stored.lock().unwrap().unreadable.clear();
    assert_eq!(desk.ask(&replay).await.status, 202);
    assert_eq!(desk.engine.record(&key).unwrap().registration.unwrap().total_fee.get(), 5);
    assert_eq!(desk.ask("GET /v1/dead").await.json()["dead_letters"], serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_comes_again_while_it_is_handled_stays() {
    let desk = Desk::open();
    let letter = |detail: &str| {
        let key = OrderKey::new(MCH, "T1").unwrap();
        DeadLetter::about(&key, DeadReason::WrongOrder, detail, Timestamp::from_millis(0))
    };
    let path = format!("/v1/dead/{}", letter("").id);
    desk.engine.bury_now(letter("first"));
    desk.engine.stored.lock().unwrap().buried_meanwhile = Some(letter("second"));
    assert_eq!(desk.ask(&format!("POST {path}/replay")).await.status, 202);
    assert_eq!(desk.engine.published(), 1);
    let shown = desk.ask(&format!("GET {path}")).await.json();
    assert_eq!(
        (&shown["count"], &shown["detail"]),
        (&2.into(), &"second".into()),
        "nobody has read that one"
    );
    desk.engine.stored.lock().unwrap().buried_meanwhile = Some(letter("third"));
    let dropped = desk.ask(&format!("DELETE {path}")).await;
    assert_eq!(
        (dropped.status, dropped.text.contains("repeated-dead-letter")),
        (409, true),
        "{}",
        dropped.text
    );
    assert_eq!(desk.ask(&format!("DELETE {path}")).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_this_version_cannot_read_is_shown_and_dropped_but_never_replayed() {
    let desk = Desk::open();
    let text =
        format!("{{\"mch_id\":\"{MCH}\",\"out_trade_no\":\"T1\",\"document\":\"{{}}\",\"moon\":\"full\"}}");
    let damaged = DeadLetter::unreadable(Uuid::from_u128(1), &text, "missing field");
    let newer = DeadLetter {
        reason: DeadReason::Unknown("moon_phase".to_owned()),
        document: Some("{}".to_owned()),
        id: Uuid::from_u128(2),
        ..damaged.clone()
    };
    for letter in [&damaged, &newer] {
        desk.engine.bury_now(letter.clone());
    }
    hold(
        &desk,
        &[
            ("GET /v1/dead", 200, &["\"unknown\"", "\"moon_phase\"", "full"]),
            (
                "POST /v1/dead/00000000-0000-0000-0000-000000000001/replay",
                409,
                &["no-replay", "cannot read", "DELETE"],
            ),
            ("POST /v1/dead/00000000-0000-0000-0000-000000000002/replay", 409, &["no-replay", "moon_phase"]),
            ("DELETE /v1/dead/00000000-0000-0000-0000-000000000001", 204, &[]),
        ],
    )
    .await;
    assert_eq!(desk.engine.published(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_posted_registration_is_taken_or_buried_and_can_be_replayed() {
    let desk = Desk::open();
    let posted = desk.posted();
    let registration = |mch_id: &str, fee: &str| {
        format!("{{\"mch_id\":\"{mch_id}\",\"out_trade_no\":\"T1\",\"total_fee\":{fee}}}")
    };
    assert_eq!(posted.take_in(registration(MCH, "5").as_bytes()).await.unwrap(), "added");
    assert_eq!(posted.take_in(registration(MCH, "5").as_bytes()).await.unwrap(), "same");
    assert_eq!(desk.ask("GET /v1/dead").await.json()["dead_letters"], serde_json::json!([]));
    let key = OrderKey::new(MCH, "T1").unwrap();
    for (bad, cause) in [
        (registration(MCH, "6"), "different total_fee"),
        (registration("1800000001", "5"), "not in the configuration"),
        (registration(MCH, "\"5\""), "total_fee"),
        ("<xml/>".to_owned(), "JSON"),
    ] {
        assert_eq!(posted.take_in(bad.as_bytes()).await.unwrap(), "refused", "{bad}");
        let letters = desk.ask("GET /v1/dead").await.json();
        let letters = letters["dead_letters"].as_array().unwrap();
        let letter = letters.iter().find(|letter| letter["document"] == bad.as_str()).expect("a letter");
        assert_eq!(letter["reason"], "registration");
        assert!(letter["detail"].as_str().unwrap().contains(cause), "{letter}");
        let path = format!("/v1/dead/{}", letter["id"].as_str().unwrap());
        let again = desk.ask(&format!("POST {path}/replay")).await;
        assert_eq!(again.status, 409, "{}", again.json());
        assert!(again.json()["detail"].as_str().unwrap().contains(cause));
        assert_eq!(desk.ask(&format!("DELETE {path}")).await.status, 204);
    }
    assert_eq!(desk.engine.record(&key).unwrap().registration.unwrap().total_fee.get(), 5);
    let late = "{\"mch_id\":\"1900000109\",\"out_trade_no\":\"T9\",\"total_fee\":7}";
    let at = Timestamp::from_millis(0);
    let letter = DeadLetter::registration(None, late.to_owned(), "was refused by an older version", at);
    desk.engine.bury_now(letter.clone());
    assert_eq!(desk.ask(&format!("POST /v1/dead/{}/replay", letter.id)).await.status, 202);
    assert_eq!(desk.ask("GET /v1/orders/1900000109/T9").await.json()["registration"]["total_fee"], 7);
    assert_eq!(desk.engine.published(), 0, "a registration is no check");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_503_without_its_own_words() {
    let desk = Desk::open();
    desk.engine.is_away.store(true, Ordering::SeqCst);
    for request in [
        "GET /readyz",
        "GET /v1/orders",
        "GET /v1/orders/{M}/T1",
        "PUT /v1/orders/{M}/T1\n\n{\"total_fee\":1}",
        "POST /v1/orders/{M}/T1/check",
        "POST /v1/orders/{M}/T1/check?wait=1s",
        "POST /v1/orders/{M}/T1/accept",
        "GET /v1/events",
        "GET /v1/events/stream",
        "GET /v1/dead",
    ] {
        let answered = desk.ask(&request.replace("{M}", MCH)).await;
        assert_eq!(answered.status, 503, "{request}");
        assert_eq!(answered.header("retry-after"), "1");
        assert!(!answered.text.contains("hunter2"), "{}", answered.text);
    }
    assert_eq!(desk.ask("GET /healthz").await.status, 200, "the process itself is fine");
    desk.engine.is_away.store(false, Ordering::SeqCst);
    desk.drain.cancel();
    assert_eq!(desk.ask("GET /readyz").await.status, 503, "nothing more for a process that stops");
}
