//! The transport over HTTP/1.1 and TLS. Follows no redirect, uses no proxy, verifies certificates against the bundled
//! web roots, and connects to judged addresses only.

use std::error::Error as StdError;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::resolve::{Guard, judge};
use super::{ANSWER_BYTES_MAX, Answer, Post, Reply, Resolve, Transport};
use crate::error::Error;

/// The whole exchange, the answer's body included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 8;
const AGENT: &str = concat!("paybell/", env!("CARGO_PKG_VERSION"));

type Http = Client<HttpsConnector<HttpConnector<Guard>>, Full<Bytes>>;

/// Two clients, so that a connection made with the operator's leave is never used without it.
pub struct HttpTransport {
    guarded: Http,
    trusting: Http,
    exchange_timeout: Duration,
}

impl HttpTransport {
    /// With 15 s for an exchange.
    pub fn new(resolver: Arc<dyn Resolve>) -> Result<Self, Error> {
        Self::with_timeout(resolver, EXCHANGE_TIMEOUT)
    }

    /// With another limit for an exchange.
    pub fn with_timeout(resolver: Arc<dyn Resolve>, exchange_timeout: Duration) -> Result<Self, Error> {
        let client = |allow_private| client(Guard { resolver: resolver.clone(), allow_private });
        Ok(Self { guarded: client(false)?, trusting: client(true)?, exchange_timeout })
    }

    async fn exchange(&self, post: Post, until: Instant) -> Result<Reply, String> {
        let allow_private = post.url.reach.allow_private;
        if !allow_private {
            judge_literal(post.url.uri())?;
        }
        let mut request = Request::post(post.url.uri().clone()).header(USER_AGENT, AGENT);
        for (name, value) in &post.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(post.body)).map_err(|error| error.to_string())?;
        let http = if allow_private { &self.trusting } else { &self.guarded };
        let response = http.request(request).await.map_err(|error| chain(&error))?;
        Ok(Reply::Answered(read(response, until).await))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn post(&self, post: Post) -> Reply {
        let until = Instant::now() + self.exchange_timeout;
        match timeout_at(until, self.exchange(post, until)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(words)) => Reply::Silent(words),
            Err(_) => Reply::Silent(format!("no answer within {} s", self.exchange_timeout.as_secs_f32())),
        }
    }
}

impl std::fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTransport")
            .field("exchange_timeout", &self.exchange_timeout)
            .finish_non_exhaustive()
    }
}

fn client(guard: Guard) -> Result<Http, Error> {
    let mut tcp = HttpConnector::new_with_resolver(guard);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(Arc::new(rustls::crypto::ring::default_provider()))
        .map_err(|error| Error::Tls(error.to_string()))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
        .build(connector))
}

/// The connector resolves no address that is written out, so it is judged here.
fn judge_literal(uri: &Uri) -> Result<(), String> {
    let host = uri.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => judge(bare, &[address]).map_err(|error| error.to_string()),
        Err(_) => Ok(()),
    }
}

/// As much of the body as comes within the bounds; the status counts even if the body does not end.
async fn read(response: Response<Incoming>, until: Instant) -> Answer {
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (mut incoming, mut body) = (response.into_body(), BytesMut::new());
    // A little before the exchange's own end, which would forget the answer.
    let until = until - Duration::from_millis(100);
    let is_whole = loop {
        match timeout_at(until, incoming.frame()).await {
            Ok(None) => break true,
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                let room = ANSWER_BYTES_MAX - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    break false;
                }
            }
            Ok(Some(Err(_))) | Err(_) => break false,
        }
    };
    Answer { status, retry_after, body: body.freeze(), is_whole }
}

/// The whole chain of causes as one line, since the outermost error says next to nothing.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
