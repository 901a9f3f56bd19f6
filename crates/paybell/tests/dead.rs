//! `paybell dead` against a private API that answers one request: what is asked, and what is printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
};

use support::{Ran, run};

const ID: &str = "50d4c9ca-b173-57c1-bd61-49086e049084";
const LETTER: &str = r#"{"id":"50d4c9ca-b173-57c1-bd61-49086e049084","mch_id":"1900000109","out_trade_no":"T1",
    "reason":"wrong_order","detail":"answered for out_trade_no T2","count":3,
    "first_at":"2026-11-20T12:00:05+08:00","last_at":"2026-11-20T13:00:05+08:00"}"#;

/// Runs a command against an API that gives one answer; what it asked, and how it ended.
fn ask(args: &[&str], status: &str, body: &str) -> (String, Ran) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", server.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut request, mut length) = (String::new(), 0);
        while !request.ends_with("\r\n\r\n") {
            let begin = request.len();
            reader.read_line(&mut request).unwrap();
            let line = request[begin..].to_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        }
        let mut sent = vec![0; length];
        reader.read_exact(&mut sent).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        request + &String::from_utf8(sent).unwrap()
    });
    let ran = run(&[args, &["--api", &api]].concat());
    (asked.join().unwrap(), ran)
}

#[test]
fn letters_are_listed_and_shown() {
    let page = format!("{{\"dead_letters\":[{LETTER}],\"next\":\"{ID}\",\"has_more\":true}}");
    let (asked, ran) = ask(&["dead", "list", "--limit", "1", "--after", "a b"], "200 OK", &page);
    assert!(asked.starts_with("GET /v1/dead?limit=1&after=a%20b HTTP/1.1"), "{asked}");
    let line = format!("{ID}\twrong_order\t1900000109\tT1\t3\t2026-11-20T13:00:05+08:00\tanswered for");
    ran.expect(0, &["id\treason\tmch_id", &line, &format!("there are more: --after {ID}")]);
    let (_, ran) = ask(&["dead", "list", "--json"], "200 OK", &page);
    assert_eq!(ran.json(), serde_json::from_str::<serde_json::Value>(&page).unwrap());
    let (asked, ran) = ask(&["dead", "show", ID], "200 OK", LETTER);
    assert!(asked.starts_with(&format!("GET /v1/dead/{ID} ")), "{asked}");
    ran.expect(0, &["reason    wrong_order", "first at  2026-11-20T12:00:05+08:00"]);
}

#[test]
fn letters_are_replayed_and_dropped_with_a_reason() {
    let (asked, ran) = ask(&["dead", "replay", ID, "--reason", "mended"], "202 Accepted", LETTER);
    assert!(asked.starts_with(&format!("POST /v1/dead/{ID}/replay ")), "{asked}");
    assert!(asked.to_lowercase().contains("content-type: application/json"), "{asked}");
    assert!(asked.ends_with(r#"{"reason":"mended"}"#), "{asked}");
    ran.expect(0, &["replayed"]);
    let (asked, ran) = ask(&["dead", "drop", ID], "204 No Content", "");
    assert!(asked.starts_with(&format!("DELETE /v1/dead/{ID} ")) && asked.ends_with("{}"), "{asked}");
    ran.expect(0, &["dropped"]);
}

#[test]
fn a_refusal_is_told_as_a_sentence() {
    let problem = r#"{"title":"No such letter","status":404,"detail":"it may have been dropped already"}"#;
    let (_, ran) = ask(&["dead", "drop", ID], "404 Not Found", problem);
    ran.expect(1, &["No such letter: it may have been dropped already (HTTP 404)"]);
    let (_, ran) =
        ask(&["events", "list"], "410 Gone", r#"{"title":"Gone","detail":"pruned","oldest":"00ff"}"#);
    ran.expect(1, &["Gone: pruned; the oldest event that is kept comes after 00ff (--after) (HTTP 410)"]);
    let (_, ran) = ask(&["dead", "list"], "502 Bad Gateway", "<html>");
    ran.expect(1, &["Bad Gateway (HTTP 502)"]);
}
