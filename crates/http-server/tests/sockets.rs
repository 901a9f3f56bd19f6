//! The listener over real sockets: drain, slow and oversize peers, idle crowds, taken ports.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use http_server::{Limits, Listener, Peer, read_body};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const GET: &[u8] = b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n";

/// A running listener: `/echo` answers the body, `/held` answers when released, `/endless` streams until the
/// drain, anything else streams an answer too big for the socket buffers.
struct Server {
    address: SocketAddr,
    drain: CancellationToken,
    entered: Arc<Notify>,
    release: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Server {
        let listener = Listener::bind("127.0.0.1:0", limits, None).await.unwrap();
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (address, drain) = (listener.local_addr(), CancellationToken::new());
        let held = (entered.clone(), release.clone(), drain.clone());
        let service = move |request, peer| serve(request, peer, held.clone());
        let task = tokio::spawn(listener.serve(service, drain.clone()));
        Server { address, drain, entered, release, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ended(self) {
        timeout(PATIENCE, self.task).await.expect("the listener ends").unwrap();
    }
}

type Held = (Arc<Notify>, Arc<Notify>, CancellationToken);

async fn serve(request: Request<Incoming>, peer: Peer, held: Held) -> Response<BoxBody<Bytes, Infallible>> {
    let (entered, release, drain) = held;
    match request.uri().path() {
        "/echo" => match read_body(request.into_body(), 1024, peer.request_deadline).await {
            Ok(bytes) => Response::new(Full::new(bytes).boxed()),
            Err(error) => {
                let mut refusal = Response::new(Full::new(Bytes::from(error.to_string())).boxed());
                *refusal.status_mut() = error.status();
                refusal
            }
        },
        "/held" => {
            entered.notify_one();
            release.notified().await;
            Response::new(Full::new(Bytes::from_static(b"released")).boxed())
        }
        "/endless" => {
            let frames = futures_util::stream::once(async { Ok(Frame::data(Bytes::from_static(b"first"))) });
            let end = futures_util::stream::once(async move {
                drain.cancelled().await;
                Ok(Frame::data(Bytes::from_static(b"last")))
            });
            Response::new(BodyExt::boxed(StreamBody::new(Box::pin(futures_util::StreamExt::chain(
                frames, end,
            )))))
        }
        _ => Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20])).boxed()),
    }
}

/// Everything until the peer closes. A reset is an error, which a test that expects an answer must not meet.
async fn read_to_end(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the connection ends")?;
    Ok(String::from_utf8_lossy(&all).into_owned())
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(end) {
        let n = timeout(PATIENCE, stream.read(&mut piece)).await.expect("bytes come").unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn drain_finishes_what_is_in_hand_and_ends_streams_and_idle_connections() {
    let server = Server::start(Limits { drain_timeout_ms: 60_000, ..Limits::default() }).await;
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let mut endless = server.connect().await;
    endless.write_all(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    read_until(&mut endless, "first").await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let mut silent = server.connect().await;

    server.drain.cancel();
    assert!(read_until(&mut endless, "last").await.contains("last"));
    assert_eq!(read_to_end(&mut idle).await.unwrap(), "");
    assert_eq!(
        read_to_end(&mut silent).await.unwrap_or_default(),
        "",
        "a silent connection is closed, or was never accepted"
    );
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing new is accepted");
    assert!(!server.task.is_finished(), "a request is still in hand");
    server.release.notify_one();
    assert!(read_to_end(&mut held).await.unwrap().ends_with("released"));
    server.ended().await;
}

#[tokio::test]
async fn drain_is_bounded() {
    let server = Server::start(Limits { drain_timeout_ms: 200, ..Limits::default() }).await;
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let began = Instant::now();
    server.drain.cancel();
    assert_eq!(read_to_end(&mut held).await.unwrap_or_default(), "");
    server.ended().await;
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_slow_head_is_cut_even_if_bytes_keep_coming() {
    let limits = Limits { head_timeout_ms: 1_000, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut fresh = server.connect().await;
    let mut kept = server.connect().await;
    kept.write_all(GET).await.unwrap();
    read_until(&mut kept, "\r\n\r\n").await;
    for stream in [&mut fresh, &mut kept] {
        let began = Instant::now();
        stream.write_all(b"GET /echo HTTP/1.1\r\n").await.unwrap();
        let (mut input, mut output) = stream.split();
        let drip = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while output.write_all(b"X-Drip: 1\r\n").await.is_ok() {
                tick.tick().await;
            }
        };
        let cut = async { input.read(&mut [0; 64]).await.unwrap_or(0) };
        let read = tokio::select! { n = cut => n, () = drip => 0, () = tokio::time::sleep(PATIENCE) => panic!("never cut") };
        assert_eq!(read, 0, "closed without an answer");
        assert!(began.elapsed() < Duration::from_secs(10), "long before the whole request's time");
    }
}

#[tokio::test]
async fn a_slow_body_is_answered_408_and_cut() {
    let server = Server::start(Limits { request_timeout_ms: 300, ..Limits::default() }).await;
    let mut slow = server.connect().await;
    let began = Instant::now();
    slow.write_all(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    let answer = read_until(&mut slow, "in time").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert_eq!(read_to_end(&mut slow).await.unwrap(), "");
}

#[tokio::test]
async fn an_oversize_body_gets_its_413_although_the_client_still_sends() {
    let server = Server::start(Limits::default()).await;
    for head in ["Content-Length: 4000000", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect().await;
        stream
            .write_all(format!("POST /echo HTTP/1.1\r\nHost: test\r\n{head}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        if head.starts_with("Transfer") {
            stream.write_all(b"3d0900\r\n").await.unwrap();
        }
        for _ in 0..200 {
            stream.write_all(&[b'x'; 20_000]).await.expect("no reset while we send");
        }
        let answer = read_to_end(&mut stream).await.expect("an answer, not a reset");
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("limit of 1024 bytes"), "{answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_a_used_one_is_not() {
    let server =
        Server::start(Limits { idle_timeout_ms: 8_000, head_timeout_ms: 7_000, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    // All of it is longer than the time, each pause much shorter: a machine may stand still for seconds.
    for _ in 0..4 {
        stream.write_all(GET).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(2_700)).await;
    }
    assert_eq!(read_to_end(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn a_peer_that_takes_no_answer_is_cut() {
    let server = Server::start(Limits { write_timeout_ms: 300, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    // Reading nothing: the cut is seen as a write that fails once the server has reset the connection.
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let cut = async {
        while stream.write_all(b"G").await.is_ok() {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, cut).await.expect("cut");
}

#[tokio::test]
async fn a_thousand_idle_connections_hinder_nobody() {
    let server = Server::start(Limits::default()).await;
    let mut crowd = Vec::new();
    for _ in 0..1000 {
        crowd.push(server.connect().await);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(15), "{slowest:?}");
}

#[tokio::test]
async fn beyond_the_limit_callers_wait_for_a_place() {
    let server = Server::start(Limits { connections_max: 2, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.write_all(GET).await.unwrap();
    read_until(&mut first, "\r\n\r\n").await;
    let mut second = server.connect().await;
    second.write_all(GET).await.unwrap();
    read_until(&mut second, "\r\n\r\n").await;
    let mut third = server.connect().await;
    third.write_all(GET).await.unwrap();
    let early = timeout(Duration::from_millis(200), third.read(&mut [0; 1])).await;
    assert!(early.is_err(), "no answer while the places are taken");
    drop(first);
    read_until(&mut third, "\r\n\r\n").await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_so() {
    let first = Listener::bind("127.0.0.1:0", Limits::default(), None).await.unwrap();
    let address = first.local_addr().to_string();
    let error = Listener::bind(&address, Limits::default(), None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: the address is already in use by another process")
    );
    let error = Listener::bind("127.0.0.1", Limits::default(), None).await.unwrap_err();
    assert!(error.to_string().contains("write it as HOST:PORT"), "{error}");
}

#[tokio::test]
async fn a_given_socket_is_served() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::from_socket(socket, Limits::default(), None).unwrap();
    assert_eq!(listener.local_addr(), address);
    let drain = CancellationToken::new();
    let answer = |_: Request<Incoming>, peer: Peer| async move {
        Response::new(Full::new(Bytes::from(format!("{} {}", peer.address, peer.encrypted))))
    };
    let task = tokio::spawn(listener.serve(answer, drain.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let me = stream.local_addr().unwrap();
    assert!(read_until(&mut stream, "false").await.ends_with(&format!("{me} false")));
    drain.cancel();
    timeout(PATIENCE, task).await.unwrap().unwrap();
}
