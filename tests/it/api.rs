//! The private API as services meet it: registrations, cursors, streams, tokens, and who may not come in.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::harness::{MCH, Request, Say, Settings, Shop, http::connect, wait_for};

#[test]
fn registrations_are_added_repeated_and_never_changed() {
    let shop = Shop::open(&Settings::default());
    let full = json!({ "total_fee": 1999, "fee_type": "CNY" });
    shop.register("T1", &json!({ "total_fee": 1999 })).expect(201);
    shop.register("T1", &json!({ "total_fee": 1999 })).expect(200);
    shop.register("T1", &full).expect(200);
    let different = shop.register("T1", &json!({ "total_fee": 1998 })).expect(409);
    assert!(
        different.header("content-type").unwrap().starts_with("application/problem+json"),
        "{different:?}"
    );
    assert_eq!(different.json()["fields"], json!(["total_fee"]));
    for unfit in [
        json!({}),
        json!({ "total_fee": 0 }),
        json!({ "total_fee": 19.99 }),
        json!({ "total_fee": "1999" }),
        json!({ "total_fee": 1999, "total": 1 }),
        json!({ "total_fee": 1999, "created_at": "2026-11-20T12:00:00" }),
        json!({ "total_fee": 1999, "created_at": crate::harness::rfc3339_in(600) }),
    ] {
        let answer = shop.register("T2", &unfit);
        assert_eq!(answer.status, 400, "{unfit}: {answer:?}");
    }
    shop.api("PUT", "/v1/orders/1900000001/T2", &full).expect(404);
    shop.get(&format!("/v1/orders/{MCH}/T2")).expect(404);
    let page = shop.get("/v1/orders?state=pending").expect(200).json();
    assert_eq!(page["orders"].as_array().unwrap().len(), 1);
}

#[test]
fn strangers_and_browsers_are_kept_out_of_an_open_api() {
    let shop = Shop::open(&Settings::default());
    let console = shop.service.address("console");
    let path = format!("/v1/orders/{MCH}/T1");
    Request::new("GET", &path).host("evil.example").send(console).expect(421);
    let fee = json!({ "total_fee": 1 });
    Request::new("PUT", &path).json(&fee).host("evil.example").send(console).expect(421);
    let form = Request::new("PUT", &path).header("Content-Type", "text/plain");
    Request { body: fee.to_string().into_bytes(), ..form }.send(console).expect(415);
    Request::new("POST", &format!("{path}/check")).send(console).expect(415);
    assert!(shop.record("T1").is_none());
}

#[test]
fn every_token_opens_its_own_scopes_only() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut tokens = String::new();
    for scope in ["events", "orders", "operate"] {
        let file = folder.path().join(scope);
        std::fs::write(&file, format!("secret-of-{scope}\n")).unwrap();
        tokens += &format!(
            "[[console.token]]\nname = \"{scope}\"\nfile = \"{}\"\nscopes = [\"{scope}\"]\n",
            file.display()
        );
    }
    let merchants = format!(
        "[[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"wx1\"]\napi_key = \"{}\"\n{tokens}",
        crate::harness::KEY
    );
    let shop = Shop::open(&Settings { merchants: Some(&merchants), ..Settings::default() });
    let console = shop.service.address("console");
    for (path, scope) in [("/v1/events", "events"), ("/v1/orders", "orders"), ("/v1/dead", "operate")] {
        Request::new("GET", path).send(console).expect(401);
        Request::new("GET", path).token("nobody's").send(console).expect(401);
        for mine in ["events", "orders", "operate"] {
            let answer = Request::new("GET", path).token(&format!("secret-of-{mine}")).send_at_last(console);
            assert_eq!(answer.status, if mine == scope { 200 } else { 403 }, "{mine} at {path}: {answer:?}");
        }
    }
    Request::new("GET", "/healthz").send(console).expect(200);
    Request::new("GET", "/readyz").send(console).expect(200);
}

#[test]
fn a_stream_resumes_after_the_last_id_and_misses_nothing() {
    let shop = Shop::open(&Settings::default());
    let mut live = Stream::open(&shop, "", "");
    shop.pay_and_notify("T1", 1);
    let first = live.next();
    assert_eq!((first.event.as_str(), first.data["subject"].as_str()), ("order.paid", Some("T1")));
    drop(live);
    // Two come while nobody listens; one of them is not wanted.
    shop.wechat.says("T2", Say::state("T2", "CLOSED"));
    shop.register_fee("T2", 1);
    shop.look("T2");
    shop.pay_and_notify("T3", 1);
    shop.event("T3", "order.paid");
    let mut resumed = Stream::open(&shop, "", &first.id);
    let subjects = [resumed.next(), resumed.next()].map(|told| told.data["subject"].clone());
    assert_eq!(subjects, ["T2", "T3"]);
    let mut filtered = Stream::open(&shop, "?type=order.paid", &first.id);
    assert_eq!(filtered.next().data["subject"], "T3");
    // The page of events and the stream have one kind of cursor.
    let page = shop.get(&format!("/v1/events?after={}", first.id)).expect(200).json();
    assert_eq!(shop.rows(&page).len(), 2, "{page}");
    let beyond = page["next"].as_str().unwrap();
    let empty = shop.get(&format!("/v1/events?after={beyond}")).expect(200).json();
    assert_eq!(shop.rows(&empty), [] as [Value; 0]);
    assert!(empty["next"] == beyond || empty["events"] != json!([]), "{empty}");
    // From now on, without an id.
    let mut new = Stream::open(&shop, "", "");
    shop.pay_and_notify("T4", 1);
    assert_eq!(new.next().data["subject"], "T4");
    assert_eq!(resumed.next().data["subject"], "T4");
}

#[test]
fn a_cursor_of_another_log_is_refused_with_the_place_to_begin() {
    let (shop, other) = (Shop::open(&Settings::default()), Shop::open(&Settings::default()));
    other.pay_and_notify("X1", 1);
    other.event("X1", "order.paid");
    let foreign = other.log()[0]["cursor"].as_str().unwrap().to_owned();
    shop.pay_and_notify("T1", 1);
    shop.event("T1", "order.paid");
    let gone = shop.get(&format!("/v1/events?after={foreign}")).expect(410).json();
    assert_eq!(gone["type"], "urn:paybell:problem:cursor-gone");
    let oldest = gone["oldest"].as_str().unwrap();
    let page = shop.get(&format!("/v1/events?after={oldest}")).expect(200).json();
    assert_eq!(page["events"][0]["event"]["subject"], "T1", "after the oldest place comes everything kept");
    let mut stream = Stream::open(&shop, "", &foreign);
    let reset = stream.next();
    assert_eq!((reset.event.as_str(), &reset.data["oldest"]), ("reset", &gone["oldest"]));
    shop.get("/v1/events?after=nonsense").expect(400);
}

struct Told {
    id: String,
    event: String,
    data: Value,
}

/// An open stream of server-sent events. HTTP/1.0, so that no chunk sizes stand between the lines.
struct Stream {
    lines: BufReader<TcpStream>,
    /// The places of what was told by where it begins, and since: the cluster engine may repeat it at another one.
    seen: HashMap<String, String>,
}

impl Stream {
    #[track_caller]
    fn open(shop: &Shop, filter: &str, last_id: &str) -> Self {
        let mut before = shop.log();
        if let Some(last) = before.iter().position(|row| row["cursor"] == last_id) {
            before.truncate(last + 1);
        }
        let place =
            |row: &Value| (row["event"]["id"].to_string(), row["cursor"].as_str().unwrap().to_owned());
        let seen = before.iter().map(place).collect();
        let lines = wait_for("the stream is open", || Self::try_open(shop, filter, last_id));
        Self { lines, seen }
    }

    /// Nothing where it is to come again.
    #[track_caller]
    fn try_open(shop: &Shop, filter: &str, last_id: &str) -> Option<BufReader<TcpStream>> {
        let address = shop.service.address("console");
        let mut stream = connect(address).unwrap();
        let resume = match last_id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        write!(stream, "GET /v1/events/stream{filter} HTTP/1.0\r\nHost: {address}\r\n{resume}\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        if head.contains(" 503 ") {
            return None;
        }
        assert!(head.contains(" 200 ") && head.to_lowercase().contains("text/event-stream"), "{head}");
        Some(reader)
    }

    /// The next one that is no repeat.
    #[track_caller]
    fn next(&mut self) -> Told {
        loop {
            let told = self.next_of_all();
            let place = self.seen.entry(told.data["id"].to_string()).or_insert_with(|| told.id.clone());
            if *place == told.id || !crate::ENGINE.is_cluster() {
                return told;
            }
        }
    }

    #[track_caller]
    fn next_of_all(&mut self) -> Told {
        let mut told = Told { id: String::new(), event: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => told.id = id.to_owned(),
                Some(("event", event)) => told.event = event.to_owned(),
                Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                _ if line.trim().is_empty() && !told.data.is_null() => return told,
                _ => {}
            }
        }
    }
}
