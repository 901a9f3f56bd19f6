//! Who may call, and what is too much.

use tokio::io::AsyncWriteExt;

use crate::ledger::Journal;
use crate::rig::Rig;
use crate::shop::{Shop, order, post};
use crate::wechat::{Reply, Wechat, ok};

const UNIFIED: &str = "/pay/unifiedorder";

#[tokio::test]
async fn it_is_no_open_proxy() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"hello"))).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    for (line, host) in [
        ("GET http://example.com/pay/orderquery HTTP/1.1", "example.com"),
        ("GET http://169.254.169.254/latest/meta-data HTTP/1.1", "169.254.169.254"),
        ("CONNECT api.mch.weixin.qq.com:443 HTTP/1.1", "api.mch.weixin.qq.com:443"),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", "127.0.0.1:22"),
        ("CONNECT /pay/orderquery HTTP/1.1", "x"),
    ] {
        let mut shop = Shop::connect(rig.address).await;
        let answer = shop.send(format!("{line}\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.failure().0.as_str()), (421, "FAIL"), "{line}");
    }
    // Behind a base URL it would run into the host's name and port, and have the host asked last.
    let star = Shop::connect(rig.address).await.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((star.status, star.failure().0.as_str()), (400, "FAIL"));
    assert_eq!(wechat.count(), 0);
    // The same form with WeChat's own name: an SDK that was told of a proxy rather than of a base URL.
    let line = format!("GET {}/pay/orderquery HTTP/1.1\r\nHost: x\r\n\r\n", wechat.url);
    assert_eq!(Shop::connect(rig.address).await.send(line.as_bytes()).await.body, b"hello");
    // A name in Host leads nowhere else either.
    let line = "GET /pay/orderquery HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(Shop::connect(rig.address).await.send(line.as_bytes()).await.body, b"hello");
    assert_eq!(wechat.count(), 2);
}

#[tokio::test]
async fn only_the_listed_sources_may_call() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"hello"))).await;
    for (range, status) in [("10.0.0.0/8", 403), ("127.0.0.0/8", 200)] {
        let rig =
            Rig::with(&journal, &[&wechat.url], |config| config.sources = vec![range.parse().unwrap()]).await;
        assert_eq!(post(rig.address, UNIFIED, &order("T1", "1", &[])).await.status, status, "{range}");
        assert_eq!(rig.ledger.count(), usize::from(status == 200));
        assert_eq!(rig.calls(UNIFIED, "refused"), u64::from(status == 403));
    }
    assert_eq!(wechat.count(), 1);
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_declared_or_not() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"hello"))).await;
    let rig = Rig::with(&journal, &[&wechat.url], |config| config.limits.request_bytes_max = 100_000).await;
    let declared = b"POST /pay/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n";
    let answer = Shop::connect(rig.address).await.send(declared).await;
    assert_eq!((answer.status, answer.failure().0.as_str()), (413, "FAIL"));
    let mut shop = Shop::connect(rig.address).await;
    shop.0.write_all(b"POST /pay/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = [b"2710\r\n".as_slice(), &[b'a'; 10_000], b"\r\n"].concat();
    for _ in 0..11 {
        shop.0.write_all(&chunk).await.unwrap();
    }
    assert_eq!(shop.read().await.status, 413);
    assert_eq!(wechat.count(), 0, "nothing that is whole arrived");
    assert_eq!(post(rig.address, "/pay/x", &[b'a'; 100_000]).await.status, 200);
}

#[tokio::test]
async fn healthz_is_ours_and_everything_else_is_wechats() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"hello"))).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    for (path, body) in [
        ("/healthz", &b"ok\n"[..]),
        ("/", b"hello"),
        ("/v3/certificates?a=b%20c", b"hello"),
        ("/new/call", b"hello"),
    ] {
        let line = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(Shop::connect(rig.address).await.send(line.as_bytes()).await.body, body, "{path}");
    }
    assert_eq!(wechat.request(1).head.lines().next().unwrap(), "GET /v3/certificates?a=b%20c HTTP/1.1");
    assert_eq!(rig.calls("other", "answered"), 3);
}
