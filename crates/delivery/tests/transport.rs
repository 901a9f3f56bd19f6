//! The transport over real sockets: redirects, silence, large answers, certificates, and addresses in disguise.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use delivery::transport::{ANSWER_BYTES_MAX, Answer, Post, Reply, Resolve, SystemResolver, Transport};
use delivery::{EndpointUrl, HttpTransport, Reach};
use hyper::header::CONTENT_TYPE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const PRIVATE: Reach = Reach { allow_private: true, allow_http: true };
const GUARDED: Reach = Reach { allow_private: false, allow_http: true };
/// For answers that are due, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(30);
/// Where silence is the subject.
const SHORT: Duration = Duration::from_millis(600);
/// Where a part of the answer is due and the rest never comes.
const MIDDLE: Duration = Duration::from_secs(5);

/// Answers each request with the same bytes, then keeps the connection open and silent.
struct Listener {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Listener {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
        let (seen, kept, answer) = (connections.clone(), requests.clone(), Arc::new(answer.into()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(stream, answer.clone(), kept.clone()));
            }
        });
        Self { address, connections, requests, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Vec<u8>>, requests: Arc<Mutex<Vec<String>>>) {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        received.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&received).into_owned();
        if text.ends_with("the body") {
            requests.lock().unwrap().push(text);
            received.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn plain(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn post(url: &str, reach: Reach) -> Post {
    Post {
        url: EndpointUrl::parse(url, reach).unwrap(),
        headers: vec![(CONTENT_TYPE, "text/plain".to_owned())],
        body: Bytes::from_static(b"the body"),
    }
}

fn over_system() -> HttpTransport {
    waiting(LIMIT)
}

fn waiting(limit: Duration) -> HttpTransport {
    HttpTransport::with_timeout(Arc::new(SystemResolver), limit).unwrap()
}

fn answered(reply: Reply) -> Answer {
    match reply {
        Reply::Answered(answer) => answer,
        Reply::Silent(words) => panic!("silent: {words}"),
    }
}

fn silent(reply: Reply) -> String {
    match reply {
        Reply::Silent(words) => words,
        Reply::Answered(answer) => panic!("answered: {answer:?}"),
    }
}

#[tokio::test]
async fn an_answer_comes_back_and_the_connection_is_used_again() {
    let listener = Listener::start(plain("202 Accepted", "Retry-After: 7\r\n", "fine")).await;
    let transport = over_system();
    for _ in 0..3 {
        let answer = answered(transport.post(post(&listener.url(), PRIVATE)).await);
        assert_eq!((answer.status, &answer.body[..], answer.is_whole), (202, &b"fine"[..], true));
        assert_eq!(answer.retry_after.as_deref(), Some("7"));
    }
    assert_eq!(listener.connections(), 1);
    let requests = listener.requests.lock().unwrap().clone();
    assert!(requests[0].starts_with("POST /hook HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains("user-agent: paybell/") && requests[0].contains("content-type: text/plain"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Listener::start(plain("200 OK", "", "")).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: {}\r\n", target.url());
        let listener = Listener::start(plain(status, &location, "")).await;
        let answer = answered(over_system().post(post(&listener.url(), PRIVATE)).await);
        assert!((300..400).contains(&answer.status));
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_silent_after_the_limit() {
    let listener = Listener::start("").await;
    let words = silent(waiting(SHORT).post(post(&listener.url(), PRIVATE)).await);
    assert_eq!(words, "no answer within 0.6 s");
    drop(listener);
    let words = silent(over_system().post(post("http://127.0.0.1:9/", PRIVATE)).await);
    assert!(words.to_lowercase().contains("refused"), "{words}");
}

#[tokio::test]
async fn a_status_counts_even_if_the_body_never_ends() {
    let listener = Listener::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let answer = answered(waiting(MIDDLE).post(post(&listener.url(), PRIVATE)).await);
    assert_eq!((answer.status, &answer.body[..], answer.is_whole), (200, &b"half"[..], false));
}

#[tokio::test]
async fn no_more_than_the_bound_is_read() {
    let long = "x".repeat(ANSWER_BYTES_MAX + 5_000);
    let listener = Listener::start(plain("200 OK", "", &long)).await;
    let answer = answered(over_system().post(post(&listener.url(), PRIVATE)).await);
    assert_eq!((answer.body.len(), answer.is_whole), (ANSWER_BYTES_MAX, false));
}

#[tokio::test]
async fn no_spelling_of_a_private_address_is_connected_to() {
    let listener = Listener::start(plain("200 OK", "", "")).await;
    let port = listener.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ] {
        let words = silent(over_system().post(post(&format!("http://{host}:{port}/"), GUARDED)).await);
        assert!(words.contains("not on the public internet"), "{host}: {words}");
    }
    assert_eq!(listener.connections(), 0);
    // The operator's word opens it.
    answered(over_system().post(post(&format!("http://2130706433:{port}/"), PRIVATE)).await);
    // And a connection made with it is not lent to who has no such word.
    silent(over_system().post(post(&listener.url(), GUARDED)).await);
    let transport = over_system();
    answered(transport.post(post(&format!("http://localhost:{port}/"), PRIVATE)).await);
    let before = listener.requests.lock().unwrap().len();
    silent(transport.post(post(&format!("http://localhost:{port}/"), GUARDED)).await);
    assert_eq!(listener.requests.lock().unwrap().len(), before);
}

/// Answers one set of addresses after the other, the last again and again.
struct Script {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Script {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[asked.min(self.answers.len() - 1)].clone())
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_even_among_public_ones() {
    let listener = Listener::start(plain("200 OK", "", "")).await;
    let url = format!("http://hook.example:{}/", listener.address.port());
    for answer in
        [&["127.0.0.1"][..], &["8.8.8.8", "127.0.0.1"], &["2606:4700::1", "::1"], &["::ffff:8.8.8.8"]]
    {
        let transport = HttpTransport::with_timeout(Script::new(&[answer]), LIMIT).unwrap();
        let words = silent(transport.post(post(&url, GUARDED)).await);
        assert!(words.contains("hook.example leads to"), "{answer:?}: {words}");
    }
    let transport = HttpTransport::with_timeout(Script::new(&[&[]]), LIMIT).unwrap();
    assert!(silent(transport.post(post(&url, GUARDED)).await).contains("no address"));
    assert_eq!(listener.connections(), 0);
    let transport = HttpTransport::with_timeout(Script::new(&[&["127.0.0.1"]]), LIMIT).unwrap();
    answered(transport.post(post(&url, PRIVATE)).await);
}

/// DNS rebinding: public when it is judged, private when it is connected to. There is no second look.
#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let listener = Listener::start(plain("200 OK", "", "")).await;
    let url = format!("http://hook.example:{}/", listener.address.port());
    // 3ffe::/16 counts as public, and belongs to nobody.
    let script = Script::new(&[&["3ffe::1"], &["127.0.0.1"]]);
    let transport = HttpTransport::with_timeout(script.clone(), MIDDLE).unwrap();
    silent(transport.post(post(&url, GUARDED)).await);
    assert_eq!(script.asked.load(Ordering::SeqCst), 1, "one look-up per connection");
    let words = silent(transport.post(post(&url, GUARDED)).await);
    assert!(words.contains("127.0.0.1"), "{words}");
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            assert!(acceptor.accept(stream).await.is_err(), "the client hangs up");
        }
    });
    let words = silent(over_system().post(post(&format!("https://localhost:{port}/"), PRIVATE)).await);
    assert!(words.contains("certificate") || words.contains("UnknownIssuer"), "{words}");
}
