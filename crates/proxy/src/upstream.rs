//! WeChat's hosts: sends a call to the first that can be connected to, and never a second time.
//!
//! A call goes to the next host only if connecting failed, before any byte of it was sent: an order placed twice is a
//! payer who may pay twice. A body over 64 KiB is not kept, so such a call has one host only. (The library below repeats a call in one case, on a kept connection that turns out closed
//! before the call was begun to be written; that sends nothing twice either.) Follows no redirect, reads no answer.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_server::BodyError;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::config::{ProxyConfig, ProxyLimits};
use crate::connector::Connector;
use crate::error::Error;
use crate::identity;
use crate::upload::Upload;

/// Keeps connections of its own.
pub(crate) type HttpClient = Client<Connector, Upload>;

/// A call as it goes out, but for its body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No host could be connected to; nothing was sent.
    Unreachable(String),
    /// Broken off after something was sent.
    Broken(String),
    Timeout,
    /// The shop's own body.
    Body(BodyError),
    /// The path makes no address.
    Path,
}

pub(crate) struct Upstream {
    hosts: Vec<Host>,
    plain: HttpClient,
    host_pause: Duration,
}

impl Upstream {
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, Error> {
        let hosts: Vec<Host> =
            config.base_urls.iter().map(|base| Host::new(base)).collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(Error::NoBaseUrl);
        }
        Ok(Self {
            hosts,
            plain: client(identity::tls(&config.trust, None)?, &config.limits),
            host_pause: Duration::from_millis(config.limits.host_pause_ms),
        })
    }

    /// Whether a call that names its host means one of ours.
    pub(crate) fn is_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.name.eq_ignore_ascii_case(host))
    }

    /// Sends the call, in the name that `identity` connects in if there is one.
    pub(crate) async fn send(
        &self,
        call: &Call,
        body: Upload,
        identity: Option<&HttpClient>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Failure> {
        let client = identity.unwrap_or(&self.plain);
        let mut next = Some(body);
        let mut failure = Failure::Path;
        for host in self.in_order(Instant::now()) {
            let Some(body) = next.take() else { break };
            next = body.whole().cloned().map(Upload::Whole);
            let request = host.request(call, body).ok_or(Failure::Path)?;
            failure = match timeout_at(deadline, client.request(request)).await {
                Ok(Ok(answer)) => {
                    host.answers();
                    return Ok(answer);
                }
                Ok(Err(error)) if error.is_connect() => {
                    let cause = chain(&error);
                    self.count_against(host, &cause);
                    Failure::Unreachable(cause)
                }
                Ok(Err(error)) => return Err(broken(&error)),
                Err(_) => return Err(Failure::Timeout),
            };
        }
        Err(failure)
    }

    /// Those that could be connected to lately before the others.
    fn in_order(&self, now: Instant) -> Vec<&Host> {
        let (lately, not): (Vec<&Host>, Vec<&Host>) =
            self.hosts.iter().partition(|host| !host.is_left_alone(now));
        lately.into_iter().chain(not).collect()
    }

    fn count_against(&self, host: &Host, cause: &str) {
        let now = Instant::now();
        if host.leave_alone(now, now + self.host_pause) {
            let name = &host.name;
            tracing::warn!(host = name, cause, "cannot connect to {name}, asked last for a while: {cause}");
        }
    }
}

/// One base URL, and how long it is to be asked last.
struct Host {
    name: String,
    /// Without a slash at its end.
    base: String,
    left_alone_until: Mutex<Option<Instant>>,
}

impl Host {
    fn new(base: &str) -> Result<Self, Error> {
        let wrong = || Error::BaseUrl(base.to_owned());
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri.query().is_none() && !base.contains('#') && !base.contains('@');
        match uri.host() {
            Some(name) if is_http && is_plain && !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                base: base.trim_end_matches('/').to_owned(),
                left_alone_until: Mutex::default(),
            }),
            _ => Err(wrong()),
        }
    }

    /// `None` if there is no path to ask for: `*` behind a base URL would run into its host's name and port.
    fn request(&self, call: &Call, body: Upload) -> Option<Request<Upload>> {
        if !call.path_and_query.starts_with('/') {
            return None;
        }
        let mut request = Request::new(body);
        *request.uri_mut() = format!("{}{}", self.base, call.path_and_query).parse().ok()?;
        *request.method_mut() = call.method.clone();
        *request.headers_mut() = call.headers.clone();
        Some(request)
    }

    fn is_left_alone(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| until > now)
    }

    /// Whether it was not left alone before.
    fn leave_alone(&self, now: Instant, until: Instant) -> bool {
        self.until().replace(until).is_none_or(|before| before <= now)
    }

    fn answers(&self) {
        *self.until() = None;
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn client(tls: rustls::ClientConfig, limits: &ProxyLimits) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_millis(limits.idle_connection_timeout_ms))
        .pool_max_idle_per_host(limits.idle_connections_max)
        .build(Connector::new(tls, Duration::from_millis(limits.connect_timeout_ms)))
}

/// A call that broke off: by the shop's own body, or by WeChat.
fn broken(error: &legacy::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(body) = cause.downcast_ref::<BodyError>() {
            return Failure::Body(*body);
        }
        source = cause.source();
    }
    Failure::Broken(chain(error))
}

/// The whole chain of causes as one line, since the outermost error says next to nothing. Names hosts, never paths.
fn chain(error: &legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
