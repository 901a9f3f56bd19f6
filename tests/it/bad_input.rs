//! What the open net sends: too much, too slowly, too often, to the wrong place. Nothing of it hinders a notification.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Answer, KEY, Notification, Request, SUCCESS, Say, Settings, Shop, Stalls, eventually, get,
    http::{connect, read_answer},
    post_xml, wait_for,
};

const MALFORMED: &str =
    "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[MALFORMED]]></return_msg></xml>";

#[test]
fn every_refusal_has_its_status_and_tells_nothing() {
    let shop = Shop::open(&Settings::default());
    let ingress = shop.service.address("ingress");
    let good = Notification::of("T1", 1999);
    let signed = good.signed();
    let post = |path: &str, body: &str| Request::new("POST", path).xml(body).send_at_last(ingress);
    let cases = [
        ("a v3 body", post("/notify/pay", "{\"id\":\"EV-1\",\"event_type\":\"TRANSACTION.SUCCESS\"}"), 400),
        ("nothing", post("/notify/pay", ""), 400),
        ("no XML", post("/notify/pay", "return_code=SUCCESS"), 400),
        ("cut off", post("/notify/pay", &signed[..signed.len() - 7]), 400),
        ("two documents", post("/notify/pay", &format!("{signed}{signed}")), 400),
        ("another root", post("/notify/pay", &signed.replace("xml>", "root>")), 400),
        ("a DTD", post("/notify/pay", &format!("<!DOCTYPE xml [<!ENTITY a 'b'>]>{signed}")), 400),
        ("no sign", post("/notify/pay", &good.unsigned()), 401),
        (
            "a stranger's key",
            post("/notify/pay", &good.signed_by(&"f".repeat(32), wechat_pay::sign::Algorithm::Md5)),
            401,
        ),
        ("a changed amount", post("/notify/pay", &signed.replace("1999", "1")), 401),
        (
            "an unknown merchant",
            post("/notify/pay", &good.clone().with("mch_id", "1900000001").signed()),
            401,
        ),
        ("another app", post("/notify/pay", &good.clone().with("appid", "wxother").signed()), 401),
        ("return_code=FAIL", post("/notify/pay", &good.clone().with("return_code", "FAIL").signed()), 401),
        (
            "an unsupported sign_type",
            post("/notify/pay", &good.clone().with("sign_type", "RSA2").signed()),
            401,
        ),
        ("another merchant's path", post("/notify/pay/1900000001", &signed), 401),
        ("no amount", post("/notify/pay", &good.clone().with("total_fee", "").signed()), 400),
        ("yuan", post("/notify/pay", &good.clone().with("total_fee", "19.99").signed()), 400),
        (
            "folded fields",
            post("/notify/pay", &good.clone().with("out_trade_no", "T1&total_fee=1").signed()),
            400,
        ),
        ("a wrong path", post("/notify", &signed), 404),
        ("a payment on the refund path", post("/notify/refund/1900000109", &signed), 401),
        ("the private API", post("/v1/events", &signed), 404),
        ("the metrics", get(ingress, "/metrics"), 404),
        ("GET", get(ingress, "/notify/pay"), 405),
        ("PUT", Request::new("PUT", "/notify/pay").xml(signed.clone()).send(ingress), 405),
    ];
    for (what, answer, status) in &cases {
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        assert!(answer.body.starts_with("<xml><return_code><![CDATA[FAIL]]>"), "{what}: {answer:?}");
        assert!(answer.body.len() < 110 && !answer.body.contains(KEY), "{what}: {answer:?}");
    }
    assert_eq!(cases[0].1.body, MALFORMED);
    assert_eq!(get(ingress, "/healthz").expect(200).body, "ok\n");
    assert_eq!(shop.wechat.orders_asked(), Vec::<String>::new(), "nobody was asked on the word of these");
    // After all this the genuine one is taken, at both paths.
    shop.wechat.says("T1", Say::paid("T1", 1999));
    assert_eq!(post("/notify/pay/1900000109", &signed).expect(200).body, SUCCESS);
    assert_eq!(post("/notify/pay", &signed).expect(200).body, SUCCESS);
    shop.event("T1", "order.paid");
    let json_bodies = "paybell_notifications_total{mch_id=\"unknown\",result=\"json_body\"}";
    assert_eq!(shop.service.metric(json_bodies), 1.0, "counted by itself: {}", shop.service.metrics());
}

#[test]
fn a_listed_sub_merchant_is_taken_and_others_are_not() {
    let merchant = Settings { merchant: "sub_mch_ids = [\"1573520957\"]", ..Settings::default() };
    let shop = Shop::open(&merchant);
    let of = |sub: &str| Notification::of("T1", 1999).with("sub_mch_id", sub).signed();
    shop.notify(of("1573520958")).expect(401);
    shop.notify(Notification::of("T1", 1999).signed()).expect(401);
    shop.wechat.says("T1", Say::paid("T1", 1999));
    shop.notify(of("1573520957")).expect(200);
    assert_eq!(shop.event("T1", "order.paid")["data"]["sub_mch_id"], "1573520957");
    assert_eq!(shop.wechat.asked("T1")[0]["sub_mch_id"], "1573520957");
}

#[test]
fn a_body_over_64_kib_is_413_whether_it_is_declared_or_chunked() {
    let shop = Shop::open(&Settings::default());
    let ingress = shop.service.address("ingress");
    // Declared: refused before it is sent.
    let mut declared = connect(ingress).unwrap();
    write!(declared, "POST /notify/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n<xml>").unwrap();
    read_answer(&mut declared).unwrap().expect(413);
    // Chunked: refused when it has grown too large.
    let mut chunked = connect(ingress).unwrap();
    write!(chunked, "POST /notify/pay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
    for _ in 0..17 {
        // It may have been refused by now.
        let _ = chunked.write_all(&chunk);
    }
    let mut answer = String::new();
    let _ = chunked.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Exactly at the limit it is read and judged.
    let at_limit = format!("<xml>{}</xml>", " ".repeat(64 * 1024 - 11));
    assert_eq!(at_limit.len(), 65_536);
    let judged = shop.notify(at_limit);
    assert!(matches!(judged.status, 400 | 401), "{judged:?}");
    let fields: String = (0..129).map(|number| format!("<f{number}>1</f{number}>")).collect();
    post_xml(ingress, "/notify/pay", format!("<xml>{fields}</xml>")).expect(413);
}

#[test]
fn slow_heads_and_slow_bodies_are_cut_while_notifications_pass() {
    let shop = Shop::open(&Settings::default());
    let ingress = shop.service.address("ingress");
    thread::scope(|scope| {
        let head = scope.spawn(|| drip(ingress, "POST /notify/pay HTTP/1.1\r\nHost: x\r\nX-Slow: "));
        let start = "POST /notify/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n<xml>";
        let body = scope.spawn(move || drip(ingress, start));
        shop.pay_and_notify("T1", 1999);
        shop.event("T1", "order.paid");
        for (what, cut) in [("head", head.join().unwrap()), ("body", body.join().unwrap())] {
            assert!(cut <= Duration::from_secs(30), "a slow {what} lasted {cut:?}");
            assert!(
                cut >= Duration::from_secs(5),
                "an honest client on a bad line is not cut: {what}, {cut:?}"
            );
        }
    });
}

/// Sends a byte now and then until it is cut, and tells when that was.
fn drip(address: std::net::SocketAddr, start: &str) -> Duration {
    let mut stream = connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let begun = Instant::now();
    stream.write_all(start.as_bytes()).unwrap();
    let mut answer = [0; 512];
    loop {
        if stream.write_all(b"x").is_err() || begun.elapsed() > Duration::from_secs(60) {
            return begun.elapsed();
        }
        match stream.read(&mut answer) {
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            // An answer (408), the end, or a reset.
            _ => return begun.elapsed(),
        }
    }
}

#[test]
fn a_thousand_idle_connections_do_not_hinder_a_notification() {
    let shop = Shop::open(&Settings::default());
    let ingress = shop.service.address("ingress");
    let idle: Vec<TcpStream> = (0..1_000).map(|_| connect(ingress).unwrap()).collect();
    shop.wechat.says("T1", Say::paid("T1", 1999));
    let stalls = Stalls::watch(ingress);
    let (answer, begun, ended) = wait_for("SUCCESS", || {
        let begun = Instant::now();
        let answer: Answer = shop.notify_once(Notification::of("T1", 1999).signed());
        (!answer.is_to_come_again()).then(|| (answer, begun, Instant::now()))
    });
    assert_eq!((answer.status, answer.body.as_str()), (200, SUCCESS));
    let took = stalls.end().own_time(begun, ended);
    assert!(took < Duration::from_millis(3_500), "{took:?}");
    eventually("order.paid", || !shop.types_of("T1").is_empty());
    assert_eq!(idle.len(), 1_000);
}
