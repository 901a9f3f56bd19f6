//! Hosts that are away, slow, or break off: what the shop hears, and that no order is placed twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::ledger::Journal;
use crate::rig::{Rig, timed};
use crate::shop::{MCH_ID, Shop, order, post};
use crate::wechat::{Reply, Wechat, ok};

const UNIFIED: &str = "/pay/unifiedorder";

/// Addresses where nobody listens, and that nobody is given.
const NOBODY: &str = "http://127.0.0.1:9";
const NOBODY_EITHER: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_call_of_which_a_byte_was_sent_is_never_sent_again() {
    let journal = Journal::default();
    // Closes each connection when the whole request is there: at once, or after one good answer on it.
    let first = Wechat::start(journal.clone(), |seen| match seen.header("x-good") {
        Some(_) => Reply::Send(ok(b"good")),
        None => Reply::Close,
    })
    .await;
    let second = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"second"))).await;
    let rig = Rig::start(&journal, &[&first.url, &second.url]).await;
    let mut shop = Shop::connect(rig.address).await;
    let fresh = shop.post(UNIFIED, &order("T1", "1", &[])).await;
    let good = b"GET /pay/x HTTP/1.1\r\nHost: x\r\nX-Good: 1\r\n\r\n";
    assert_eq!(shop.send(good).await.body, b"good");
    let kept = shop.post(UNIFIED, &order("T2", "1", &[])).await;
    let long = shop.post("/secapi/unknown", &vec![b'a'; 100_000]).await;
    assert_eq!(long.status, 502);
    assert_eq!(first.request(1).connection, first.request(2).connection, "T2 went over a kept connection");
    for answer in [fresh, kept] {
        assert_eq!(answer.status, 502);
        let (code, text) = answer.failure();
        assert_eq!(code, "FAIL");
        assert!(text.contains("query first"), "{text}");
    }
    assert_eq!((first.count(), second.count()), (3, 0), "T1, the good one, T2: each once, and at one host");
    assert_eq!(rig.calls(UNIFIED, "broken"), 2);
    assert_eq!(rig.registrations("registered"), 2, "the orders may exist");
}

#[tokio::test]
async fn a_host_that_cannot_be_connected_to_is_passed_over() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"second"))).await;
    let rig = Rig::start(&journal, &[NOBODY, &wechat.url]).await;
    let body = order("T1", "1", &[]);
    assert_eq!(post(rig.address, UNIFIED, &body).await.body, b"second");
    assert_eq!((wechat.count(), wechat.request(0).body), (1, body));
}

#[tokio::test]
async fn a_host_whose_handshake_hangs_is_left_alone_for_a_while() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"second"))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", silent.local_addr().unwrap());
    let accepted = std::sync::Arc::new(AtomicUsize::new(0));
    let (mut tasks, count) = (JoinSet::new(), accepted.clone());
    tasks.spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(silent.accept().await.unwrap());
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let rig = Rig::with(&journal, &[&address, &wechat.url], |config| {
        config.limits.connect_timeout_ms = 300;
        config.limits.host_pause_ms = 60_000;
    })
    .await;
    for number in ["T1", "T2", "T3"] {
        let (answer, took) = timed(post(rig.address, UNIFIED, &order(number, "1", &[]))).await;
        assert_eq!(answer.body, b"second");
        assert!(number != "T1" || took >= Duration::from_millis(300), "it was tried: {took:?}");
    }
    assert_eq!((accepted.load(Ordering::SeqCst), wechat.count()), (1, 3));
}

#[tokio::test]
async fn a_host_comes_back_after_its_pause() {
    let journal = Journal::default();
    // Bound, so that nobody else is given it, and refusing until it listens.
    let back = TcpSocket::new_v4().unwrap();
    back.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = back.local_addr().unwrap();
    let second = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"second"))).await;
    let rig = Rig::with(&journal, &[&format!("http://{address}"), &second.url], |config| {
        config.limits.host_pause_ms = 200;
    })
    .await;
    assert_eq!(post(rig.address, "/pay/x", b"").await.body, b"second");
    let back = back.listen(16).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = back.accept().await.unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &ok(b"first")).await.unwrap();
        }
    });
    let came_back = async {
        while post(rig.address, "/pay/x", b"").await.body != b"first" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timed(came_back).await;
}

#[tokio::test]
async fn where_no_host_can_be_reached_the_shop_hears_that_nothing_was_sent() {
    let journal = Journal::default();
    let rig = Rig::start(&journal, &[NOBODY, NOBODY_EITHER]).await;
    let answer = post(rig.address, UNIFIED, &order("T1", "1", &[])).await;
    assert_eq!(
        (answer.status, answer.header("content-type").unwrap().as_str()),
        (502, "text/xml; charset=utf-8")
    );
    let (code, text) = answer.failure();
    assert!(code == "FAIL" && text.contains("not sent"), "{text}");
    assert_eq!(rig.calls(UNIFIED, "unreachable"), 1);
    assert!(rig.ledger.record(MCH_ID, "T1").is_some());
    assert_eq!(post(rig.address, "/pay/x", &vec![b'a'; 100_000]).await.status, 502, "a long one too");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up_in_time() {
    let journal = Journal::default();
    let first = Wechat::start(journal.clone(), |_| Reply::Hang).await;
    let second = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"second"))).await;
    let rig =
        Rig::with(&journal, &[&first.url, &second.url], |config| config.limits.answer_timeout_ms = 3_000)
            .await;
    let (answer, took) = timed(post(rig.address, UNIFIED, &order("T1", "1", &[]))).await;
    assert_eq!((answer.status, answer.failure().0.as_str()), (504, "FAIL"));
    assert!(answer.failure().1.contains("query first"));
    assert!((3_000..15_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!((first.count(), second.count()), (1, 0), "an order that may exist is not placed again");
    assert_eq!(rig.calls(UNIFIED, "timeout"), 1);
}

#[tokio::test]
async fn a_slow_answer_within_the_time_is_no_failure() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |seen| {
        let is_slow = seen.head.contains("/pay/micropay");
        if is_slow {
            std::thread::sleep(Duration::from_millis(600));
        }
        Reply::Send(ok(b"USERPAYING"))
    })
    .await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let (answer, took) = timed(post(rig.address, "/pay/micropay", &order("T1", "1", &[]))).await;
    assert_eq!(answer.body, b"USERPAYING");
    assert!(took >= Duration::from_millis(600));
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |seen| {
        Reply::SendAndClose(match seen.head.contains("/pay/chunked") {
            true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec(),
            false => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec(),
        })
    })
    .await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    for path in ["/pay/sized", "/pay/chunked"] {
        let answer = post(rig.address, path, b"").await;
        assert!(!answer.is_whole, "{path}: {}", answer.head);
    }
    assert_eq!(rig.metric("paybell_proxy_answers_cut_total"), 2);
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| {
        Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    })
    .await;
    let rig = Rig::with(&journal, &[&wechat.url], |config| config.limits.answer_idle_timeout_ms = 300).await;
    let (answer, took) = timed(post(rig.address, "/pay/downloadbill", b"")).await;
    assert!(!answer.is_whole && answer.body.len() <= 3);
    assert!((300..10_000).contains(&took.as_millis()), "{took:?}");
}
