//! The private API as somebody meets it who reached its port and means harm: heads without end, heads that never end,
//! guessed tokens, paths and texts that want to be something else. The service answers everybody else meanwhile, and
//! its log stays one line of JSON per entry.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{Answer, MCH, Request, http::connect, http::read_answer},
    shop::{Guarded, TOKEN},
};

/// Sends bytes as they are.
#[track_caller]
fn raw(guarded: &Guarded, bytes: &[u8]) -> std::io::Result<Answer> {
    let mut stream = connect(guarded.address())?;
    // The answer may come before the request has gone.
    let _ = stream.write_all(bytes);
    read_answer(&mut stream)
}

#[track_caller]
fn serves(guarded: &Guarded) {
    let begun = Instant::now();
    guarded.ask("GET", "/v1/orders", None).expect(200);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

/// Every line of the log is one entry of ours, and none holds the text.
#[track_caller]
fn log_is_clean(guarded: &Guarded, texts: &[&str]) {
    let log = guarded.shop.service.process.log();
    // The last line may still be on its way.
    for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["target"].is_string(), "{line}");
    }
    for text in texts {
        assert!(!log.contains(text), "{text:?} in\n{log}");
    }
}

#[test]
fn heads_without_end_are_cut_off() {
    let guarded = Guarded::open();
    let head =
        |line: String| format!("GET /v1/orders HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n").into_bytes();
    let long = head(format!("X-Long: {}", "a".repeat(1024 * 1024)));
    let many = head((0..5_000).map(|number| format!("X-{number}: a\r\n")).collect::<String>());
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1024 * 1024)).into_bytes();
    for bytes in [long, many, path] {
        // A connection that is cut before its answer was read is as good as a refusal.
        if let Ok(answer) = raw(&guarded, &bytes) {
            assert!([400, 414, 431].contains(&answer.status), "{answer:?}");
        }
        serves(&guarded);
    }
}

#[test]
fn heads_that_never_end_hold_up_nobody_and_are_cut() {
    let guarded = Guarded::open();
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..200).map(|_| connect(guarded.address()).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /v1/orders HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    }
    serves(&guarded);
    // A byte now and then buys no time: the attacker's own pace.
    let [first, .., last] = slow.as_mut_slice() else { panic!("there are 200") };
    while begun.elapsed() < Duration::from_secs(8) && first.write_all(b"a").is_ok() {
        serves(&guarded);
        std::thread::sleep(Duration::from_millis(500));
    }
    for stream in [first, last] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(begun.elapsed() < Duration::from_secs(20), "cut after {:?}", begun.elapsed());
        let text = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    serves(&guarded);
}

#[test]
fn guessing_tokens_is_slowed_and_shows_nothing() {
    let guarded = Guarded::open();
    serves(&guarded);
    let guesses: Vec<String> = (0..100).map(|number| format!("guess-{number:03}-{TOKEN}")).collect();
    let mut refused = 0;
    for guess in &guesses {
        let answer = Request::new("GET", "/v1/orders").token(guess).send(guarded.address());
        assert!([401, 429].contains(&answer.status), "{answer:?}");
        assert!(!answer.body.contains(guess) && !answer.body.contains(TOKEN), "{answer:?}");
        if answer.status == 429 {
            refused += 1;
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{answer:?}");
        }
    }
    assert!(refused > 50, "{refused} of 100 were slowed");
    serves(&guarded);
    let metrics = guarded.shop.service.metrics();
    let counted =
        metrics.lines().find(|line| line.contains("limited_total{caller=\"unknown\",limit=\"tokens\"}"));
    assert!(counted.is_some(), "{metrics}");
    log_is_clean(&guarded, &["guess-", TOKEN]);
}

#[test]
fn paths_lead_nowhere_but_to_their_routes() {
    let guarded = Guarded::open();
    guarded.fill();
    for path in [
        format!("/v1/orders/{MCH}/..%2f..%2f..%2fetc%2fpasswd"),
        format!("/v1/orders/{MCH}/%2e%2e"),
        format!("/v1/orders/{MCH}/PAID%00"),
        format!("/v1/orders/{MCH}/PAID%0d%0aX-Injected:%20yes"),
        format!("/v1/orders/{MCH}/PAID%2ftransactions"),
        format!("/v1/orders/..%2f{MCH}/PAID"),
        "/v1/orders/*/PAID".to_owned(),
        format!("/v1/orders/{MCH}:PAID/x%7b0%7d"),
        "/v1/dead/../orders".to_owned(),
        "/v1/dead/..%2forders".to_owned(),
        "/v1/endpoints/..%2fshop".to_owned(),
        "/v1/endpoints/shop%20%0aINFO".to_owned(),
        "/v1//orders".to_owned(),
        "//v1/orders".to_owned(),
        "/v1/orders/".to_owned(),
        "/../v1/orders".to_owned(),
        "/v1/orders?mch_id=%0d%0aX-Injected:yes".to_owned(),
        "/v1/audit?action=%1b%5b2J".to_owned(),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = guarded.ask(method, &path, Some(&json!({})));
            assert!([400, 404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
            assert_eq!(answer.header("x-injected"), None, "{method} {path}");
            assert!(answer.json()["type"].as_str().unwrap().starts_with("urn:paybell:problem:"));
        }
    }
    log_is_clean(&guarded, &["X-Injected", "passwd"]);
}

#[test]
fn texts_stay_texts_in_answers_trail_and_log() {
    let guarded = Guarded::open();
    guarded.fill();
    let accept = format!("/v1/orders/{MCH}/WRONG/accept");
    for hostile in [
        "ok\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
        "ok\r\nX-Injected: yes",
        "\u{1b}[2J\u{1b}[31mforged",
        "agreed \u{202e}gnihton rof",
        "a\u{2028}forged",
        "nul\0forged",
    ] {
        let answer = guarded.ask("POST", &accept, Some(&json!({ "reason": hostile })));
        assert_eq!(answer.expect(400).json()["field"], "reason", "{hostile:?}");
    }
    // What is allowed comes back as it was, quotes and all.
    let quoted = "\"}],\"acts\":[] <script>alert(1)</script> '; DROP TABLE acts; -- ${jndi:x}";
    guarded.ask("POST", &accept, Some(&json!({ "reason": quoted }))).expect(202);
    let acts = guarded.ask("GET", "/v1/audit", None).expect(200).json();
    assert_eq!(
        (acts["acts"][0]["reason"].as_str(), acts["acts"][0]["outcome"].as_str()),
        (Some(quoted), Some("done"))
    );
    let accepts = acts["acts"].as_array().unwrap().iter().filter(|act| act["action"] == "accept");
    assert_eq!(accepts.count(), 1, "what was refused is no act");
    log_is_clean(&guarded, &["forged", "X-Injected", "gnihton"]);
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let guarded = Guarded::open();
    let head = format!("POST /v1/orders/{MCH}/T1/check HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n");
    for (what, rest, statuses) in [
        (
            "two hosts",
            "Host: localhost\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            &[400][..],
        ),
        (
            "a foreign host",
            "Host: evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            &[421],
        ),
        (
            "two tokens",
            "Host: localhost\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            &[401],
        ),
        (
            "two lengths",
            "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
            &[400],
        ),
        ("a form", "Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", &[415]),
        ("no type", "Host: localhost\r\nContent-Length: 2\r\n\r\n{}", &[415]),
        (
            "a long body",
            "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 65537\r\n\r\n{}",
            &[413],
        ),
    ] {
        let answer = raw(&guarded, format!("{head}Connection: close\r\n{rest}").as_bytes()).unwrap();
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
    }
    let deep = "[".repeat(60_000);
    for body in [deep.clone(), format!("{{\"reason\":{deep}}}"), "{\"reason\":1e999999}".to_owned()] {
        let request = Request::new("POST", "/v1/orders/1900000109/T1/check").token(TOKEN);
        let mut request = request.header("Content-Type", "application/json");
        request.body = body.into_bytes();
        assert_eq!(request.send(guarded.address()).status, 400);
    }
    serves(&guarded);
    assert_eq!(guarded.ask("GET", "/v1/audit", None).expect(200).json()["acts"], json!([]));
}
