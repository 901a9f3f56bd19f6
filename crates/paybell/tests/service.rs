//! `paybell run` as a process: it starts whole or not at all, works, tells how it is, and ends in order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod support;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Folder, KEY, Running, Service, eventually, http, run};

/// A port that nobody listens on.
const NOBODY: &str = "127.0.0.1:9";
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn it_serves_tells_and_ends_in_order() {
    let folder = Folder::new();
    let mut service = Service::start(&folder.config(NOWHERE, ""), &[]);
    let admin = service.address("admin");
    assert_eq!(http(admin, "GET", "/healthz", ""), (200, "ok\n".to_owned()));
    eventually(|| http(admin, "GET", "/readyz", "") == (200, "ready\n".to_owned()));
    assert_eq!(http(admin, "POST", "/readyz", "").0, 405);
    assert_eq!(http(admin, "GET", "/notify/pay", "").0, 404);
    assert_eq!(http(service.address("ingress"), "GET", "/healthz", "").0, 200);
    assert_eq!(
        http(service.address("ingress"), "GET", "/metrics", "").0,
        404,
        "the public listener tells nothing"
    );
    assert_eq!(http(service.address("console"), "GET", "/healthz", "").0, 200);
    let names = [
        "paybell_engine_up{part=\"ledger\"} 1",
        "paybell_notifications_total{mch_id=\"1900000109\",result=\"accepted\"} 0",
        "paybell_ack_seconds_count 0",
        "paybell_ack_seconds_bucket{le=\"+Inf\"} 0",
        "paybell_orders{state=\"pending\"} 0",
        "paybell_unconfirmed_fen{mch_id=\"1900000109\"} 0",
        "paybell_due_lag_seconds 0.0",
        "paybell_dead_letters 0",
        "paybell_key_used_total{mch_id=\"1900000109\",key=\"current\"} 0",
        "paybell_paid_to_emitted_seconds_count 0",
        "# EOF",
    ];
    for name in names {
        eventually(|| http(admin, "GET", "/metrics", "").1.contains(name));
    }
    service.process.signal("TERM");
    let (status, log) = service.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    for word in ["ingress listens on 127.0.0.1:", "SIGTERM: finishing what is in hand", "\"ended\""] {
        assert!(log.contains(word), "{word} in\n{log}");
    }
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "JSON when piped:\n{log}");
}

#[test]
fn only_the_roles_named_listen() {
    let folder = Folder::new();
    let mut service = Service::start(&folder.config(NOWHERE, ""), &["worker", "scheduler"]);
    assert_eq!((&service.addresses["ingress"], &service.addresses["console"]), (&Value::Null, &Value::Null));
    eventually(|| http(service.address("admin"), "GET", "/readyz", "").0 == 200);
    service.process.signal("INT");
    let (status, log) = service.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("nobody does ingress, console"), "{log}");
}

/// A notification whose body is still on its way when the signal comes.
fn half_a_notification(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(service.address("ingress")).unwrap();
    write!(
        stream,
        "POST /notify/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n"
    )
    .unwrap();
    // The server asks for the body: the request is in hand.
    let mut asked = [0; 12];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    stream
}

#[test]
fn what_is_in_hand_is_answered_while_it_drains() {
    let folder = Folder::new();
    let mut service = Service::start(&folder.config(NOWHERE, ""), &["ingress"]);
    let mut stream = half_a_notification(&service);
    let admin = service.address("admin");
    service.process.signal("TERM");
    eventually(|| http(admin, "GET", "/readyz", "") == (503, "draining\n".to_owned()));
    // Nothing new is accepted, as soon as the listener has heard of it too.
    eventually(|| TcpStream::connect(service.address("ingress")).is_err());
    stream.write_all(b"<xml></xml>\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 4") || answer.contains("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("<return_code><![CDATA[FAIL]]></return_code>"), "{answer}");
    let (status, log) = service.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = Folder::new();
    let mut service = Service::start(&folder.config(NOWHERE, ""), &["ingress"]);
    let _stream = half_a_notification(&service);
    let admin = service.address("admin");
    service.process.signal("TERM");
    eventually(|| http(admin, "GET", "/readyz", "").0 == 503);
    let begun = Instant::now();
    service.process.signal("TERM");
    let (status, log) = service.process.ended();
    assert_eq!(status.code(), Some(130), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(9), "the request in hand would keep it for 10 s");
    assert!(log.contains("ended at once by a second signal"), "{log}");
}

#[test]
fn it_starts_whole_or_not_at_all() {
    let folder = Folder::new();
    let config = folder.config(NOWHERE, "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let variables = [("PAYBELL__CONSOLE__LISTEN", address.as_str())];
    let words = ["cannot listen on", address.as_str(), "in use by another process"];
    support::run_with(&["run", "--config", &config], &variables, "").expect(1, &words);
}

#[test]
fn on_the_cluster_engine_it_starts_while_its_servers_are_away_and_says_so() {
    let folder = Folder::new();
    let servers = format!("rabbitmq.url = \"amqp://{NOBODY}\"\nredis.url = \"redis://{NOBODY}\"\n");
    let config = folder.config(NOWHERE, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\"embedded\"", "\"cluster\"");
    std::fs::write(&config, servers + &text).unwrap();
    let service = Service::start(&config, &[]);
    let (status, said) = http(service.address("admin"), "GET", "/readyz", "");
    assert_eq!(status, 503, "{said}");
    assert!(["queue", "log", "ledger"].iter().all(|part| said.contains(part)), "{said}");
    run(&["topology", "check", "--config", &config]).expect(1, &["could not be asked"]);
}

#[test]
fn the_public_listener_speaks_tls_with_the_configured_certificate() {
    let folder = Folder::new();
    let pair = rcgen::generate_simple_self_signed(["pay.example.com".to_owned()]).unwrap();
    let cert = folder.put("fullchain.pem", &pair.cert.pem());
    let key = folder.put("privkey.pem", &pair.signing_key.serialize_pem());
    let files = format!("[ingress]\ntls_cert_file = \"{cert}\"\ntls_key_file = \"{key}\"");
    let config = folder.config(NOWHERE, "");
    let text = std::fs::read_to_string(&config).unwrap().replace("[ingress]", &files);
    std::fs::write(&config, text).unwrap();
    let service = Service::start(&config, &["ingress"]);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "pay.example.com".try_into().unwrap();
    let session = rustls::ClientConnection::new(std::sync::Arc::new(client), name).unwrap();
    let socket = TcpStream::connect(service.address("ingress")).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket);
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: pay.example.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// A simulator and a service that knows it.
struct Shop {
    folder: Folder,
    simulator: Running,
    simulator_address: std::net::SocketAddr,
    service: Service,
}

impl Shop {
    fn open(more: &str, service_args: &[&str]) -> Self {
        let folder = Folder::new();
        let merchant = format!("1900000109:wx8888888888888888:{KEY}");
        let mut simulator = Running::start(&["simulate", "--listen", "127.0.0.1:0", "--merchant", &merchant]);
        let line = simulator.line();
        let base_url = line.split('"').nth(1).unwrap().to_owned();
        let simulator_address = base_url.strip_prefix("http://").unwrap().parse().unwrap();
        let service = Service::start(&folder.config(&base_url, more), service_args);
        Self { folder, simulator, simulator_address, service }
    }

    /// An order is placed and paid, as a shop and its customer do.
    fn sell(&self, out_trade_no: &str) {
        let notify_url = format!("http://{}/notify/pay", self.service.address("ingress"));
        let order = serde_json::json!({
            "mch_id": "1900000109", "appid": "wx8888888888888888", "out_trade_no": out_trade_no,
            "total_fee": 1999, "notify_url": notify_url,
        });
        assert_eq!(http(self.simulator_address, "POST", "/_sim/orders", &order.to_string()).0, 201);
        let paid = http(
            self.simulator_address,
            "POST",
            &format!("/_sim/orders/1900000109/{out_trade_no}/pay"),
            "{}",
        );
        assert_eq!(paid.0, 200, "{}", paid.1);
    }
}

#[test]
fn a_payment_becomes_an_event_and_the_commands_show_it() {
    let mut shop = Shop::open("", &[]);
    let api = shop.service.api();
    let paybell = |args: &[&str]| run(&[args, &["--api", &api]].concat());

    paybell(&["order", "register", "1900000109", "T1", "--total-fee", "1999"])
        .expect(0, &["T1 registered: 1999 fen"]);
    let again = paybell(&["order", "register", "1900000109", "T1", "--total-fee", "1999"]);
    again.expect(0, &["was registered so already"]);
    let other = paybell(&["order", "register", "1900000109", "T1", "--total-fee", "1998"]);
    other.expect(1, &["total_fee", "HTTP 409"]);
    paybell(&["order", "show", "1900000109", "T9"]).expect(1, &["HTTP 404"]);

    let mut tail = Running::start(&["events", "tail", "--json", "--api", &api]);
    let streams = "paybell_console_requests_total{route=\"/v1/events/stream\",status=\"200\"} 1";
    let admin = shop.service.address("admin");
    eventually(|| http(admin, "GET", "/metrics", "").1.contains(streams));
    shop.sell("T1");
    let event: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!((event["type"].as_str(), event["subject"].as_str()), (Some("order.paid"), Some("T1")));
    assert_eq!((&event["data"]["total_fee"], &event["data"]["registered"]), (&1999.into(), &true.into()));

    let listed = paybell(&["events", "list", "--type", "order.paid", "--json"]).json();
    assert_eq!(listed["events"][0]["event"], event);
    paybell(&["events", "list"]).expect(0, &["order.paid\t1900000109\tT1\t1999"]);
    paybell(&["events", "list", "--type", "order.paying"]).expect(1, &["type", "order.paid", "HTTP 400"]);
    // That it is emitted is written down a moment after the event is there.
    eventually(|| paybell(&["order", "show", "1900000109", "T1"]).stdout.contains("emitted"));
    paybell(&["order", "show", "1900000109", "T1"]).expect(0, &["state              paid"]);
    paybell(&["order", "check", "1900000109", "T1", "--wait", "5s"]).expect(0, &["paid"]);
    paybell(&["order", "check", "1900000109", "T1"]).expect(0, &["looked at next"]);
    paybell(&["order", "list", "--state", "paid"])
        .expect(0, &["mch_id\tout_trade_no", "1900000109\tT1\tpaid\t1999"]);
    assert_eq!(
        paybell(&["order", "list", "--state", "closed", "--json"]).json()["orders"],
        serde_json::json!([])
    );
    paybell(&["order", "accept", "1900000109", "T1"]).expect(1, &["mismatch", "HTTP 409"]);

    paybell(&["order", "check", "1900000109", "NEVER"]).expect(0, &[]);
    assert_eq!(paybell(&["dead", "list", "--json"]).json()["dead_letters"], serde_json::json!([]));
    let letter = "50d4c9ca-b173-57c1-bd61-49086e049084";
    for verb in ["show", "replay", "drop"] {
        paybell(&["dead", verb, letter]).expect(1, &["HTTP 404"]);
    }
    shop.simulator.signal("TERM");
    assert_eq!(shop.simulator.ended().0.code(), Some(0));
}

#[test]
fn commands_need_the_token_that_the_service_wants_and_nothing_logs_it() {
    let tokens = Folder::new();
    let token = tokens.put("token", "tok-3f9a1c77e2 \n");
    let wrong = tokens.put("wrong", "another");
    let more = format!("console.token_file = \"{token}\"");
    let mut shop = Shop::open(&more, &["ingress", "worker", "scheduler", "console", "--log", "trace"]);
    let api = shop.service.api();
    run(&["order", "list", "--api", &api]).expect(1, &["HTTP 401", "--token-file"]);
    run(&["order", "list", "--api", &api, "--token-file", &wrong]).expect(1, &["HTTP 401"]);
    let by_environment = [("PAYBELL_API", api.as_str()), ("PAYBELL_TOKEN_FILE", token.as_str())];
    shop.sell("T1");
    eventually(|| {
        let ran = support::run_with(&["events", "list"], &by_environment, "");
        ran.expect(0, &[]).stdout.contains("order.paid")
    });
    shop.service.process.signal("TERM");
    let (status, log) = shop.service.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.lines().count() > 5, "it logged: {log}");
    for secret in [KEY, "tok-3f9a1c77e2", "oUpF8"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    assert!(shop.folder.path("data/paybell.db").exists());
}

/// A stream that breaks after the first event.
#[test]
fn events_tail_connects_again_and_continues_after_the_last_event() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", server.local_addr().unwrap());
    let mut tail = Running::start(&["events", "tail", "--json", "--mch-id", "19", "--api", &api]);
    let answer = |events: &str| {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        write!(stream, "{head}{events}").unwrap();
        String::from_utf8(request).unwrap()
    };
    let first = answer(
        ": hello\n\nid: c1\nevent: order.paid\ndata: {\"n\":1}\n\nid: c2\nevent: order.paid\ndata: {\"cut",
    );
    assert!(first.starts_with("GET /v1/events/stream?mch_id=19 "), "{first}");
    assert_eq!(tail.line(), "{\"n\":1}");
    let second = answer("id: c2\nevent: order.paid\ndata: {\"n\":2}\n\n");
    assert!(second.contains("after=c1"), "{second}");
    assert_eq!(tail.line(), "{\"n\":2}", "the event that was cut comes whole");
    let third = answer("id: c0\nevent: reset\ndata: {\"oldest\":\"c0\"}\n\n");
    assert!(third.contains("after=c2"), "{third}");
    let fourth = answer("id: c3\nevent: order.paid\ndata: {\"n\":3}\n\n");
    assert!(fourth.contains("after=c0"), "a reset continues at the oldest place: {fourth}");
    assert_eq!(tail.line(), "{\"n\":3}");
    drop(server);
    tail.signal("TERM");
    let (_, log) = tail.ended();
    assert!(log.contains("connecting again, and continuing after the last event"), "{log}");
}
