//! The client against small real servers: time-outs, failover, circuits, the second key, the rate.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and real time drives time-outs"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use wechat_pay::answer::KeyUsed;
use wechat_pay::client::{
    ANSWER_BYTES_MAX, CallError, Cause, Client, ClientConfig, KeyRing, MerchantAccount, Priority,
};
use wechat_pay::close::CloseResult;
use wechat_pay::query::{OrderQueryResult, TradeState};
use wechat_pay::request::OrderRef;
use wechat_pay::sign::{self, Algorithm, ApiKey, SignError};
use wechat_pay::xml::{self, Document};

const CURRENT: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
const PREVIOUS: &str = "PAs55YPJwrDdIOBBtY8YR51AlptScZJw";
/// So long an answer is waited for that is due, however busy the machine is.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// So long where none comes. Long enough for another host's answer on a machine that stands still now and then.
const TIMEOUT: Duration = Duration::from_secs(4);
const CIRCUIT_PAUSE: Duration = Duration::from_secs(5);

/// What a test's server does with a request.
enum Reply {
    Answer(u16, String),
    /// Never answers.
    Hang,
    /// Closes the connection instead of answering.
    Break,
}

type Fields = HashMap<String, String>;
/// Gets the request's number, counted from 0, and its fields (with `:path`).
type Behaviour = dyn Fn(usize, &Fields) -> Reply + Send + Sync;

/// A server on loopback; its tasks end with it.
struct Host {
    url: String,
    seen: Arc<Mutex<Vec<Fields>>>,
    _tasks: JoinSet<()>,
}

impl Host {
    async fn start(behaviour: impl Fn(usize, &Fields) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(behaviour), Arc::clone(&seen)));
        Self { url, seen, _tasks: tasks }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn request(&self, number: usize) -> Fields {
        self.seen.lock().unwrap()[number].clone()
    }
}

async fn accept(listener: TcpListener, behaviour: Arc<Behaviour>, seen: Arc<Mutex<Vec<Fields>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (behaviour, seen) = (Arc::clone(&behaviour), Arc::clone(&seen));
        let service = service_fn(move |request| answer(request, Arc::clone(&behaviour), Arc::clone(&seen)));
        connections.spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    behaviour: Arc<Behaviour>,
    seen: Arc<Mutex<Vec<Fields>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut fields: Fields = Document::parse(&body)
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    fields.insert(":path".to_owned(), path);
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(fields.clone());
        seen.len() - 1
    };
    match behaviour(number, &fields) {
        Reply::Answer(status, text) => Ok(Response::builder().status(status).body(Full::from(text)).unwrap()),
        Reply::Hang => std::future::pending::<Result<_, Infallible>>().await.map_err(|never| match never {}),
        Reply::Break => Err(std::io::Error::other("the test closes the connection")),
    }
}

fn key(text: &str) -> ApiKey {
    ApiKey::new(text).unwrap()
}

fn account(previous: Option<&str>, rate: u32) -> MerchantAccount {
    let keys = KeyRing::new(key(CURRENT), previous.map(key));
    let rate = NonZeroU32::new(rate).unwrap();
    MerchantAccount::new("1900000109", vec!["wx1".to_owned()], keys, Algorithm::Md5, rate)
}

fn client(hosts: &[&str]) -> Client {
    waiting(hosts, ANSWER_MAX)
}

/// A client for hosts of which one is silent.
fn hasty(hosts: &[&str]) -> Client {
    waiting(hosts, TIMEOUT)
}

fn waiting(hosts: &[&str], request_timeout: Duration) -> Client {
    Client::new(ClientConfig {
        base_urls: hosts.iter().map(|url| (*url).to_owned()).collect(),
        connect_timeout: request_timeout,
        request_timeout,
        total_timeout: request_timeout * 10,
        slot_wait_max: ANSWER_MAX,
        circuit_pause: CIRCUIT_PAUSE,
    })
    .unwrap()
}

fn order() -> OrderRef {
    OrderRef::new("wx1", "T1")
}

fn signed(extra: &[(&str, &str)], signing_key: &str) -> String {
    let mut fields = vec![("return_code", "SUCCESS"), ("appid", "wx1"), ("mch_id", "1900000109")];
    fields.extend(extra);
    let sign = sign::sign(fields.iter().copied(), &key(signing_key), Algorithm::Md5);
    fields.push(("sign", &sign));
    xml::write(fields)
}

fn not_paid(signing_key: &str) -> Reply {
    let trade = [("result_code", "SUCCESS"), ("trade_state", "NOTPAY"), ("out_trade_no", "T1")];
    Reply::Answer(200, signed(&trade, signing_key))
}

fn fail(message: &str) -> Reply {
    Reply::Answer(200, xml::write([("return_code", "FAIL"), ("return_msg", message)]))
}

fn is_signed_by(fields: &Fields, signing_key: &str) -> bool {
    let pairs = fields.iter().filter(|(name, _)| !name.starts_with(':'));
    let sign = sign::sign(pairs.map(|(name, value)| (&**name, &**value)), &key(signing_key), Algorithm::Md5);
    fields["sign"] == sign
}

async fn state(client: &Client, account: &MerchantAccount) -> Result<TradeState, CallError> {
    let answer = client.order_query(account, &order(), Priority::Urgent).await?;
    match answer.into_inner().result {
        OrderQueryResult::Trade { state, .. } => Ok(state),
        OrderQueryResult::Error { code, .. } => panic!("{code}"),
    }
}

/// An address that refuses connections, and that nobody else is given meanwhile.
struct Nobody {
    url: String,
    _bound: TcpSocket,
}

fn nobody() -> Nobody {
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Nobody { url: format!("http://{}", bound.local_addr().unwrap()), _bound: bound }
}

/// Plays a scene that has to come to a point in time, as before a slot is free again; it says when that was. Where the machine
/// stood still meanwhile it showed nothing, and is played anew.
async fn within<T>(window: Duration, scene: impl AsyncFn() -> (Instant, T)) -> T {
    for _ in 0..20 {
        let start = Instant::now();
        let (begun, said) = scene().await;
        if begun.duration_since(start) < window {
            return said;
        }
    }
    panic!("no {window:?} went by without a halt");
}

#[tokio::test]
async fn a_query_is_signed_and_its_answer_verified() {
    let host = Host::start(|_, _| not_paid(CURRENT)).await;
    let answer =
        client(&[&host.url]).order_query(&account(None, 10), &order(), Priority::Urgent).await.unwrap();
    assert_eq!(answer.key_used(), KeyUsed::Current);
    assert_eq!(answer.out_trade_no.as_deref(), Some("T1"));
    let request = host.request(0);
    assert_eq!(request[":path"], "/pay/orderquery");
    assert_eq!((&*request["mch_id"], &*request["out_trade_no"]), ("1900000109", "T1"));
    assert!(is_signed_by(&request, CURRENT));
}

#[tokio::test]
async fn a_signed_error_is_an_answer() {
    let error = [("result_code", "FAIL"), ("err_code", "ORDERPAID")];
    let host = Host::start(move |_, _| Reply::Answer(200, signed(&error, CURRENT))).await;
    let answer =
        client(&[&host.url]).close_order(&account(None, 10), &order(), Priority::Cadence).await.unwrap();
    assert!(matches!(&answer.result, CloseResult::Error { code, .. } if code.as_str() == "ORDERPAID"));
    assert_eq!(host.request(0)[":path"], "/pay/closeorder");
}

#[tokio::test]
async fn another_host_answers_when_the_first_does_not() {
    let good = Host::start(|_, _| not_paid(CURRENT)).await;
    let account = account(None, 100);
    assert_eq!(state(&client(&[&nobody().url, &good.url]), &account).await, Ok(TradeState::NotPay));
    let replies: [fn() -> Reply; 4] = [
        || Reply::Hang,
        || Reply::Break,
        || Reply::Answer(502, "<html/>".to_owned()),
        || Reply::Answer(200, "<html>busy</html>".to_owned()),
    ];
    for reply in replies {
        let bad = Host::start(move |_, _| reply()).await;
        assert_eq!(state(&hasty(&[&bad.url, &good.url]), &account).await, Ok(TradeState::NotPay));
        assert!(bad.count() > 0);
    }
    assert_eq!(good.count(), 5);
}

#[tokio::test]
async fn without_another_host_the_cause_is_told() {
    let account = account(None, 100);
    let cause = async |reply: fn() -> Reply| {
        let host = Host::start(move |_, _| reply()).await;
        match state(&hasty(&[&host.url]), &account).await {
            Err(CallError::Transient(cause)) => cause,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cause(|| Reply::Hang).await, Cause::Timeout);
    assert_eq!(cause(|| Reply::Answer(502, String::new())).await, Cause::HttpStatus(502));
    assert_eq!(cause(|| Reply::Answer(200, " ".repeat(ANSWER_BYTES_MAX + 1))).await, Cause::TooLarge);
    assert!(matches!(cause(|| Reply::Break).await, Cause::Broken(_)));
    assert!(matches!(cause(|| Reply::Answer(200, String::new())).await, Cause::NotXml(_)));
    let broken = || Reply::Answer(200, signed(&[("result_code", "SUCCESS")], CURRENT));
    assert_eq!(cause(broken).await, Cause::MalformedAnswer("trade_state"));
    let refused = state(&client(&[&nobody().url]), &account).await.unwrap_err();
    assert!(matches!(refused, CallError::Transient(Cause::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let private_key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], private_key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(|_| ())
    });
    match state(&client(&[&url]), &account(None, 10)).await {
        Err(CallError::Transient(Cause::Connect(text))) => assert!(text.contains("UnknownIssuer"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(
        server.join_next().await.unwrap().unwrap().is_err(),
        "the client said nothing after the handshake"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_once_is_not_the_end() {
    let host = Host::start(|number, _| if number == 0 { Reply::Break } else { not_paid(CURRENT) }).await;
    assert_eq!(state(&client(&[&host.url]), &account(None, 10)).await, Ok(TradeState::NotPay));
    assert_ne!(host.request(0)["nonce_str"], host.request(1)["nonce_str"]);
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_the_hosts_do() {
    // Each of them alone would be waited for, and both together not.
    let asked = within(TIMEOUT * 2, async || {
        let hosts = [Host::start(|_, _| Reply::Hang).await, Host::start(|_, _| Reply::Hang).await];
        let client = Client::new(ClientConfig {
            base_urls: hosts.iter().map(|host| host.url.clone()).collect(),
            request_timeout: TIMEOUT,
            total_timeout: TIMEOUT * 7 / 4,
            ..ClientConfig::default()
        })
        .unwrap();
        assert_eq!(state(&client, &account(None, 10)).await, Err(CallError::Transient(Cause::Timeout)));
        (Instant::now(), (hosts[0].count(), hosts[1].count()))
    })
    .await;
    assert_eq!(asked, (1, 1));
}

#[tokio::test]
async fn a_dead_host_is_left_alone_and_tried_again_later() {
    let dead = Host::start(|number, _| if number < 3 { Reply::Hang } else { not_paid(CURRENT) }).await;
    let good = Host::start(|_, _| not_paid(CURRENT)).await;
    let client = hasty(&[&dead.url, &good.url]);
    let account = account(None, 100);
    for _ in 0..5 {
        assert_eq!(state(&client, &account).await, Ok(TradeState::NotPay));
    }
    assert_eq!((dead.count(), good.count()), (3, 5), "the circuit opens after three failures");
    sleep(CIRCUIT_PAUSE).await;
    for _ in 0..2 {
        assert_eq!(state(&client, &account).await, Ok(TradeState::NotPay));
    }
    assert_eq!((dead.count(), good.count()), (5, 5), "a trial that succeeds closes it");
}

#[tokio::test]
async fn when_every_circuit_is_open_one_host_is_still_asked() {
    let host = Host::start(|number, _| if number < 3 { Reply::Hang } else { not_paid(CURRENT) }).await;
    let client = hasty(&[&host.url]);
    let account = account(None, 100);
    for _ in 0..3 {
        assert_eq!(state(&client, &account).await, Err(CallError::Transient(Cause::Timeout)));
    }
    assert_eq!(state(&client, &account).await, Ok(TradeState::NotPay));
}

#[tokio::test]
async fn the_other_key_is_tried_at_once_and_first_from_then_on() {
    let host =
        Host::start(
            |_, request| {
                if is_signed_by(request, PREVIOUS) { not_paid(PREVIOUS) } else { fail("签名错误") }
            },
        )
        .await;
    let client = client(&[&host.url]);
    let account = account(Some(PREVIOUS), 100);
    let answer = client.order_query(&account, &order(), Priority::Urgent).await.unwrap();
    assert_eq!((answer.key_used(), host.count()), (KeyUsed::Previous, 2));
    assert_eq!(answer.exchanges(), 2, "WeChat may have acted on either");
    assert_ne!(host.request(0)["nonce_str"], host.request(1)["nonce_str"]);
    let answer = client.order_query(&account, &order(), Priority::Urgent).await.unwrap();
    assert_eq!((answer.key_used(), host.count()), (KeyUsed::Previous, 3), "tried first now");
    assert_eq!(answer.exchanges(), 1);
}

#[tokio::test]
async fn keys_are_refused_only_when_every_one_of_them_is() {
    let forged = Host::start(|_, _| not_paid("00000000000000000000000000000000")).await;
    let refused = CallError::KeyRefused(Cause::BadSignature(SignError::Mismatch));
    assert_eq!(state(&client(&[&forged.url]), &account(Some(PREVIOUS), 10)).await, Err(refused.clone()));
    assert_eq!(forged.count(), 2);
    assert_eq!(state(&client(&[&forged.url]), &account(None, 10)).await, Err(refused));

    let vague = Host::start(|_, _| fail("系统繁忙")).await;
    let cause = Cause::UnsignedFail { return_msg: "系统繁忙".to_owned() };
    let transient = Err(CallError::Transient(cause));
    assert_eq!(state(&client(&[&vague.url]), &account(Some(PREVIOUS), 10)).await, transient);
    assert_eq!(vague.count(), 2);
}

#[tokio::test]
async fn a_rate_limit_does_not_burn_the_other_key() {
    let host = Host::start(|_, _| fail("频率限制")).await;
    let cause = Cause::UnsignedFail { return_msg: "频率限制".to_owned() };
    let transient = Err(CallError::Transient(cause));
    assert_eq!(state(&client(&[&host.url]), &account(Some(PREVIOUS), 10)).await, transient);
    assert_eq!(host.count(), 1);
}

#[tokio::test]
async fn without_a_slot_nothing_is_sent() {
    let (first, second, sent) = within(Duration::from_millis(900), async || {
        let host = Host::start(|_, _| not_paid(CURRENT)).await;
        let (client, account) = (impatient(&host), account(None, 1));
        let (first, second) = (state(&client, &account).await, state(&client, &account).await);
        (Instant::now(), (first, second, host.count()))
    })
    .await;
    assert_eq!((first, second, sent), (Ok(TradeState::NotPay), Err(CallError::NoSlot), 1));
}

/// A client that waits for a slot no longer than a moment.
fn impatient(host: &Host) -> Client {
    Client::new(ClientConfig {
        base_urls: vec![host.url.clone()],
        slot_wait_max: Duration::from_millis(50),
        ..ClientConfig::default()
    })
    .unwrap()
}

#[tokio::test]
async fn repeats_count_against_the_rate() {
    let (first, second, sent) = within(Duration::from_millis(400), async || {
        let host = Host::start(|_, _| fail("签名错误")).await;
        let (client, account) = (impatient(&host), account(Some(PREVIOUS), 2));
        let (first, second) = (state(&client, &account).await, state(&client, &account).await);
        (Instant::now(), (first, second, host.count()))
    })
    .await;
    assert!(matches!(first, Err(CallError::KeyRefused(_))), "{first:?}");
    assert_eq!((second, sent), (Err(CallError::NoSlot), 2), "two keys, two slots");
}

#[tokio::test]
async fn an_urgent_query_overtakes_the_cadence() {
    let order = within(Duration::from_millis(400), async || {
        let host = Host::start(|_, _| not_paid(CURRENT)).await;
        let (client, account) = (client(&[&host.url]), account(None, 2));
        for _ in 0..2 {
            state(&client, &account).await.unwrap();
        }
        let (first, second) = (OrderRef::new("wx1", "N0"), OrderRef::new("wx1", "N1"));
        let (cadence, urgent, begun) = tokio::join!(
            client.order_query(&account, &first, Priority::Cadence),
            client.order_query(&account, &second, Priority::Urgent),
            async { Instant::now() },
        );
        assert!(cadence.is_ok() && urgent.is_ok(), "{cadence:?} {urgent:?}");
        (begun, [2, 3].map(|number| host.request(number)["out_trade_no"].clone()))
    })
    .await;
    assert_eq!(order, ["N1", "N0"], "the urgent query first");
}
