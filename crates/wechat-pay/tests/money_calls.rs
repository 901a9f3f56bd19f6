//! The client's calls beyond query and close, against a raw server: bills in pieces, refunds, orders, openids.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test drives real sockets")]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use wechat_pay::bill::{self, BillDate, BillRequest, Opened, RefusalKind, Tally};
use wechat_pay::client::{
    BillDownload, CallError, Cause, Client, ClientCertificate, ClientConfig, DownloadError, ExchangeError,
    KeyRing, MerchantAccount, OpenIdClient, Priority, RequestError,
};
use wechat_pay::openid::{AppSecret, OpenIdError};
use wechat_pay::refund::{RefundRequest, RefundResult};
use wechat_pay::refund_query::{RefundQuery, RefundQueryResult};
use wechat_pay::request::OrderRef;
use wechat_pay::sign::{self, Algorithm, ApiKey};
use wechat_pay::unified_order::{Trade, UnifiedOrder, UnifiedOrderResult};
use wechat_pay::xml::{self, Document};

const CURRENT: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
const PREVIOUS: &str = "PAs55YPJwrDdIOBBtY8YR51AlptScZJw";
/// For answers that are due, however busy the machine is.
const TIMEOUT: Duration = Duration::from_secs(30);

type Pieces = Vec<Vec<u8>>;

/// Answers request `n` with the pieces that `reply` makes of its text; closes the connection after them.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(reply: impl Fn(usize, &str) -> Pieces + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&seen);
        tasks.spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                let pieces = reply(number, &request);
                log.lock().unwrap().push(request);
                for piece in pieces {
                    let _ = stream.write_all(&piece).await;
                    let _ = stream.flush().await;
                    tokio::task::yield_now().await;
                }
            }
        });
        Self { url, seen, _tasks: tasks }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

fn ok(body: &[u8]) -> Pieces {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut pieces = vec![head.into_bytes()];
    // The first bytes one by one: what came is told however slowly it comes.
    pieces.extend(body.iter().take(5).map(|byte| vec![*byte]));
    pieces.push(body.iter().skip(5).copied().collect());
    pieces
}

fn signed(extra: &[(&str, &str)]) -> Pieces {
    let mut fields = vec![("return_code", "SUCCESS"), ("appid", "wx1"), ("mch_id", "1900000109")];
    fields.extend(extra);
    let sign = sign::sign(fields.iter().copied(), &ApiKey::new(CURRENT).unwrap(), Algorithm::Md5);
    fields.push(("sign", &sign));
    ok(xml::write(fields).as_bytes())
}

fn refusal(text: &str, code: &str) -> Pieces {
    ok(xml::write([("return_code", "FAIL"), ("return_msg", text), ("error_code", code)]).as_bytes())
}

fn account() -> MerchantAccount {
    let keys = KeyRing::new(ApiKey::new(PREVIOUS).unwrap(), Some(ApiKey::new(CURRENT).unwrap()));
    let rate = NonZeroU32::new(100).unwrap();
    MerchantAccount::new("1900000109", vec!["wx1".to_owned()], keys, Algorithm::Md5, rate)
}

fn certified() -> MerchantAccount {
    let pair = rcgen::generate_simple_self_signed(["merchant".to_owned()]).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let certificate = ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    account().with_certificate(Arc::new(certificate))
}

fn client(hosts: &[&str]) -> Client {
    Client::new(ClientConfig {
        base_urls: hosts.iter().map(|url| (*url).to_owned()).collect(),
        connect_timeout: TIMEOUT,
        request_timeout: TIMEOUT,
        ..ClientConfig::default()
    })
    .unwrap()
}

fn bill_request() -> BillRequest {
    BillRequest::new("wx1", BillDate::parse("2026-11-18").unwrap())
}

fn is_signed_by(request: &str, key: &str) -> bool {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let document = Document::parse(body.as_bytes()).unwrap();
    sign::verify(&document, &ApiKey::new(key).unwrap(), Algorithm::Md5).is_ok()
}

fn packed_bill() -> Vec<u8> {
    use base64::Engine;
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let encoded = vectors["bills"][4]["inputs"]["body_base64"].as_str().unwrap().to_owned();
    base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()
}

#[tokio::test]
async fn a_bill_is_written_as_it_comes_and_reads_back() {
    let bill = packed_bill();
    let reply = bill.clone();
    // The first key is the wrong one, and the first host has a page of its own to show.
    let host = Server::start(move |_, request| match is_signed_by(request, CURRENT) {
        true => ok(&reply),
        false => refusal("SIGN ERROR", "20001"),
    })
    .await;
    let gateway = Server::start(|_, _| ok(b"<!doctype html><html>busy</html>")).await;
    let mut file = Vec::new();
    let account = account();
    let client = client(&[&gateway.url, &host.url]);
    let came = client.download_bill(&account, &bill_request(), &mut file).await.unwrap();
    assert_eq!(came, BillDownload::Written { bytes: u64::try_from(bill.len()).unwrap() });
    assert_eq!(file, bill);
    let request = host.requests()[0].clone();
    assert!(request.starts_with("POST /pay/downloadbill "), "{request}");
    for part in
        ["<bill_date><![CDATA[20261118]]>", "<bill_type><![CDATA[ALL]]>", "<tar_type><![CDATA[GZIP]]>"]
    {
        assert!(request.contains(part), "{request}");
    }
    let Opened::Bill(mut bill) = bill::open(file.as_slice()).unwrap() else { panic!("refused") };
    let mut tally = Tally::default();
    while let Some(entry) = bill.next_entry().unwrap() {
        tally.add(&entry);
    }
    assert_eq!((tally.entries, tally.differences(bill.summary().unwrap())), (4, vec![]));
}

#[tokio::test]
async fn a_refusal_in_place_of_a_bill_writes_nothing() {
    let host = Server::start(|_, _| refusal("No Bill Exist", "20002")).await;
    let mut file = Vec::new();
    let came = client(&[&host.url]).download_bill(&account(), &bill_request(), &mut file).await.unwrap();
    assert!(matches!(came, BillDownload::Refused(refusal) if refusal.kind == RefusalKind::NoBill));
    assert!(file.is_empty() && host.requests().len() == 1);

    let host = Server::start(|_, _| refusal("SIGN ERROR", "20001")).await;
    let came = client(&[&host.url]).download_bill(&account(), &bill_request(), &mut file).await.unwrap();
    assert!(matches!(came, BillDownload::Refused(refusal) if refusal.kind == RefusalKind::Sign));
    assert_eq!(host.requests().len(), 2, "both keys");
}

#[tokio::test]
async fn a_bill_that_breaks_off_is_no_bill() {
    let host = Server::start(|_, _| {
        let mut pieces = ok(&packed_bill());
        pieces.pop();
        pieces
    })
    .await;
    let other = Server::start(|_, _| ok(&packed_bill())).await;
    let mut file = Vec::new();
    let cut = client(&[&host.url, &other.url]).download_bill(&account(), &bill_request(), &mut file).await;
    assert!(matches!(cut, Err(DownloadError::Call(Cause::Broken(_)))), "{cut:?}");
    assert!(other.requests().is_empty(), "nothing is put behind half a bill");
    let empty = Server::start(|_, _| ok(b"")).await;
    let none = client(&[&empty.url]).download_bill(&account(), &bill_request(), &mut file).await;
    assert!(matches!(none, Err(DownloadError::Call(Cause::NotXml(_)))), "{none:?}");
}

#[tokio::test]
async fn a_refund_needs_a_certificate_and_keeps_its_number_on_every_repeat() {
    let refund = RefundRequest::new(OrderRef::new("wx1", "T1"), "R1", 1999, 500);
    let host = Server::start(|number, _| match number {
        // The connection breaks before an answer.
        0 => vec![],
        _ => signed(&[
            ("result_code", "SUCCESS"),
            ("transaction_id", "42"),
            ("out_trade_no", "T1"),
            ("out_refund_no", "R1"),
            ("refund_id", "50"),
            ("total_fee", "1999"),
            ("refund_fee", "500"),
        ]),
    })
    .await;
    let client = client(&[&host.url]);
    let without = client.refund(&account(), &refund, Priority::Urgent).await;
    assert!(matches!(without, Err(RequestError::NoCertificate)));
    let wrong = RefundRequest { refund_fee: 2000, ..refund.clone() };
    let wrong = client.refund(&certified(), &wrong, Priority::Urgent).await;
    assert!(matches!(wrong, Err(RequestError::Invalid(_))));
    assert!(host.requests().is_empty(), "neither was sent");

    let answer = client.refund(&certified(), &refund, Priority::Urgent).await.unwrap();
    assert!(matches!(&answer.result, RefundResult::Accepted(accepted) if accepted.refund_id == "50"));
    let requests = host.requests();
    assert_eq!(requests.len(), 3, "broken, the first key, the second");
    for request in &requests {
        assert!(request.starts_with("POST /secapi/pay/refund "), "{request}");
        assert!(request.contains("<out_refund_no><![CDATA[R1]]>") && !request.contains("refund_account"));
    }
}

#[tokio::test]
async fn orders_and_refund_queries_go_to_their_paths() {
    let host = Server::start(|_, request| {
        if request.starts_with("POST /pay/unifiedorder ") {
            signed(&[("result_code", "SUCCESS"), ("trade_type", "APP"), ("prepay_id", "wx20")])
        } else if request.starts_with("POST /pay/refundquery ") {
            signed(&[("result_code", "FAIL"), ("err_code", "REFUNDNOTEXIST")])
        } else {
            vec![]
        }
    })
    .await;
    let (client, account) = (client(&[&host.url]), account());
    let mut order = UnifiedOrder::new(OrderRef::new("wx1", "T1"), Trade::App, "tea", 1999);
    let unfit = client.unified_order(&account, &order, Priority::Urgent).await;
    assert!(matches!(unfit, Err(RequestError::Invalid(_))), "there is no notify_url");
    order.notify_url = "https://pay.example.com/notify".to_owned();
    let answer = client.unified_order(&account, &order, Priority::Urgent).await.unwrap();
    assert!(matches!(&answer.result, UnifiedOrderResult::Placed(placed) if placed.prepay_id == "wx20"));
    let query = RefundQuery::one(OrderRef::new("wx1", "T1"), "R1");
    let answer = client.refund_query(&account, &query, Priority::Cadence).await.unwrap();
    assert!(
        matches!(&answer.result, RefundQueryResult::Error { code, .. } if code.as_str() == "REFUNDNOTEXIST")
    );

    let unsigned = Server::start(|_, _| refusal("201 商户订单号重复", "")).await;
    let refused = self::client(&[&unsigned.url]).unified_order(&account, &order, Priority::Urgent).await;
    assert!(matches!(
        refused,
        Err(RequestError::Call(CallError::Transient(Cause::UnsignedFail { return_msg }))) if return_msg == "201 商户订单号重复"
    ));
}

#[tokio::test]
async fn codes_become_openids_and_no_error_shows_a_secret() {
    let host = Server::start(|number, _| match number {
        0 => ok(br#"{"openid":"oP","session_key":"k"}"#),
        1 => ok(br#"{"errcode":40163,"errmsg":"code been used"}"#),
        _ => vec![b"HTTP/1.1 502 Bad\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()],
    })
    .await;
    let secret = AppSecret::new("s3cret");
    let client = OpenIdClient::new(&host.url, TIMEOUT).unwrap();
    let identity = client.mini_program_code("wx1", &secret, "c0de").await.unwrap();
    assert_eq!(identity.openid.as_str(), "oP");
    let used = client.page_code("wx1", &secret, "c0de").await.unwrap_err();
    assert!(matches!(&used, ExchangeError::Answer(OpenIdError::Refused { errcode: 40163, .. })));
    let down = client.page_code("wx1", &secret, "c0de").await.unwrap_err();
    assert!(matches!(&down, ExchangeError::Call(Cause::HttpStatus(502))));
    // Bound, so that nobody else is given it, and refusing.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = format!("http://{}", refusing.local_addr().unwrap());
    let away =
        OpenIdClient::new(&away, TIMEOUT).unwrap().page_code("wx1", &secret, "c0de").await.unwrap_err();
    for error in [used, down, away] {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("c0de"), "{shown}");
    }
    let requests = host.requests();
    assert!(requests[0].starts_with("GET /sns/jscode2session?appid=wx1&secret=s3cret&js_code=c0de&"));
    assert!(requests[1].starts_with("GET /sns/oauth2/access_token?appid=wx1&secret=s3cret&code=c0de&"));
}
