//! Bytes in are bytes out, both ways, whatever they are, and memory stays bounded while they pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::ledger::Journal;
use crate::rig::{Rig, until};
use crate::shop::{Shop, order, post};
use crate::wechat::{Reply, Wechat, ok};

fn odd_bodies() -> Vec<Vec<u8>> {
    let noise = |count: usize| (0..count).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect();
    vec![
        Vec::new(),
        vec![0],
        b"\xff\xfe<\0x\0m\0l\0>\0".to_vec(),
        b"<?xml version=\"1.0\" encoding=\"GBK\"?><xml><body>\xb2\xe8\xd2\xb6</body></xml>".to_vec(),
        b"<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><xml>&a;</xml>\r\n\r\n".to_vec(),
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(),
        noise(64 * 1024),
        noise(64 * 1024 + 1),
        noise(1024 * 1024),
    ]
}

#[tokio::test]
async fn requests_and_answers_pass_unchanged() {
    let journal = Journal::default();
    // Gives back what it got, as a compressed type of its own.
    let wechat = Wechat::start(journal.clone(), |seen| {
        let head = format!(
            "HTTP/1.1 418 Odd\r\nContent-Type: application/x-gbk\r\nContent-Encoding: gzip\r\nX-Own: \u{b5}1\r\n\
             Keep-Alive: 5\r\nContent-Length: {}\r\n\r\n",
            seen.body.len()
        );
        Reply::Send([head.as_bytes(), &seen.body].concat())
    })
    .await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    for path in ["/pay/unifiedorder", "/pay/downloadbill", "/new/call?x=%E4%B8%AD&y"] {
        let mut shop = Shop::connect(rig.address).await;
        for body in odd_bodies() {
            let answer = shop.post(path, &body).await;
            let seen = wechat.request(wechat.count() - 1);
            assert_eq!(seen.head.lines().next().unwrap(), format!("POST {path} HTTP/1.1"));
            assert!(seen.body == body, "a body of {} bytes changed on its way to WeChat", body.len());
            assert!(answer.body == body, "a body of {} bytes changed on its way back", body.len());
            assert_eq!(answer.status, 418);
            assert_eq!(answer.header("content-type").unwrap(), "application/x-gbk");
            assert_eq!(answer.header("content-encoding").unwrap(), "gzip");
            assert_eq!(answer.header("keep-alive"), None, "it is about the other connection");
        }
    }
}

#[tokio::test]
async fn chunks_pass_unchanged() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| {
        Reply::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let long = vec![b'z'; 0x1_4000];
    for (chunks, whole) in [
        (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_vec(), b"hello".to_vec()),
        ([b"14000\r\n", &long[..], b"\r\n0\r\n\r\n"].concat(), long.clone()),
    ] {
        let head = b"POST /pay/unifiedorder HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = Shop::connect(rig.address).await.send(&[head, &chunks[..]].concat()).await;
        assert_eq!(answer.body, b"abcdefg");
        assert!(answer.is_whole);
        assert!(wechat.request(wechat.count() - 1).body == whole);
    }
    // A shop that speaks HTTP/1.0 gets the body, and its end by the connection's.
    let answer =
        Shop::connect(rig.address).await.send(b"POST /pay/x HTTP/1.0\r\nContent-Length: 1\r\n\r\na").await;
    assert_eq!((answer.header("transfer-encoding"), answer.body.as_slice()), (None, &b"abcdefg"[..]));
}

#[tokio::test]
async fn a_shop_that_expects_100_is_told_to_continue_and_wechat_hears_nothing_of_it() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"done"))).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let body = order("T1", "1", &[]);
    let head = format!(
        "POST /pay/unifiedorder HTTP/1.1\r\nHost: api.example\r\nUser-Agent: PHP\r\nConnection: keep-alive, X-Hop\r\n\
         X-Hop: 1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut shop = Shop::connect(rig.address).await;
    shop.0.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    shop.0.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(shop.send(&body).await.body, b"done");
    let seen = wechat.request(0);
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("host").unwrap(), wechat.url.strip_prefix("http://").unwrap());
    assert_eq!(seen.header("user-agent").unwrap(), "PHP");
    for name in ["expect", "x-hop", "connection", "x-forwarded-for", "via"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_large_answer_is_held_back_by_a_shop_that_does_not_read() {
    const BYTES: usize = 96 * 1024 * 1024;
    let journal = Journal::default();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let flood = move |_: &_| Reply::Flood { bytes: BYTES, sent: counter.clone() };
    let wechat = Wechat::start(journal.clone(), flood).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let mut shop = Shop::connect(rig.address).await;
    shop.0
        .write_all(b"POST /pay/downloadbill HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
        .await
        .unwrap();
    until("the bill comes", || sent.load(Ordering::SeqCst) > 0).await;
    let mut before = 0;
    while sent.load(Ordering::SeqCst) != before {
        before = sent.load(Ordering::SeqCst);
        sleep(Duration::from_millis(300)).await;
    }
    // What was taken lies in the kernel's buffers of two connections.
    assert!(before < BYTES / 3, "{before} bytes were taken although nobody reads");
    let answer = shop.read().await;
    assert!(answer.is_whole && answer.body.len() == BYTES);
}

#[tokio::test]
async fn redirects_and_heads_come_back_as_they_are() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |seen| {
        Reply::Send(match seen.head.starts_with("HEAD") {
            true => b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n".to_vec(),
            false => {
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
        })
    })
    .await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let answer = post(rig.address, "/pay/orderquery", b"<xml/>").await;
    assert_eq!((answer.status, answer.header("location").unwrap().as_str()), (302, "http://127.0.0.1:1/"));
    let mut shop = Shop::connect(rig.address).await;
    shop.0.write_all(b"HEAD /pay/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    shop.0.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("content-length: 77"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "a head only: {text}");
}
