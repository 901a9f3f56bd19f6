//! One call from head to answer: may it come → body → **register, then forward** → answer. The order of the last two is
//! the promise: an order that WeChat knows was registered before, or is counted as missed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_server::Peer;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wechat_pay::xml::Document;

use crate::answer::AnswerBody;
use crate::config::{ProxyConfig, ProxyLimits, Trust};
use crate::endpoint::{Certificate, Endpoint};
use crate::error::Error;
use crate::headers;
use crate::known::Known;
use crate::merchants::Merchant;
use crate::metrics::{CallResult, ProxyMetrics};
use crate::refusal::Refusal;
use crate::registrar::Registrar;
use crate::source::SourceRange;
use crate::upload::Upload;
use crate::upstream::{Call, Failure, HttpClient, Upstream};

pub use crate::registrar::Ports;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The proxy of one process. Share it.
pub struct Proxy {
    registrar: Registrar,
    upstream: Upstream,
    known: ArcSwap<Known>,
    trust: Trust,
    sources: Vec<SourceRange>,
    limits: ProxyLimits,
    metrics: ProxyMetrics,
}

impl Proxy {
    /// Checks the whole configuration. Must be called with at least one base URL; without merchants it forwards only.
    pub fn new(config: ProxyConfig, ports: Ports, metrics: ProxyMetrics) -> Result<Self, Error> {
        let upstream = Upstream::new(&config)?;
        let ProxyConfig { merchants, sources, trust, limits, .. } = config;
        let known = ArcSwap::from_pointee(Known::new(merchants, &trust, &limits)?);
        let registrar = Registrar::new(ports, metrics.clone(), &limits);
        Ok(Self { registrar, upstream, known, trust, sources, limits, metrics })
    }

    /// Other merchants, keys and certificates from the next call on; calls in hand end with those they began with.
    /// An error changes nothing.
    pub fn replace_merchants(&self, merchants: Vec<Merchant>) -> Result<(), Error> {
        self.known.store(Arc::new(Known::new(merchants, &self.trust, &self.limits)?));
        Ok(())
    }

    /// Answers one call, with WeChat's answer if there is one.
    ///
    /// If the shop goes away, dropping the future ends the call, as a connection of the shop's own would.
    pub async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<AnswerBody> {
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        if head.uri.path() == "/healthz" && matches!(head.method, Method::GET | Method::HEAD) {
            return healthy();
        }
        let endpoint = Endpoint::of(head.uri.path());
        let (response, result) = match self.forward(endpoint, head, body, peer).await {
            Ok(answer) => (self.pass_on(answer), CallResult::Answered),
            Err(refusal) => (refusal.respond(), refusal.result()),
        };
        self.metrics.call(endpoint, result, begun.elapsed());
        response
    }

    /// Tries failed registrations again until `drain` is cancelled, then for a last few seconds. Cancel it when no call
    /// is in hand any more: a later miss would find nobody to try it again.
    pub async fn run_retries(&self, drain: CancellationToken) {
        self.registrar.run_retries(drain).await;
    }

    async fn forward(
        &self,
        endpoint: Endpoint,
        head: Parts,
        body: Incoming,
        peer: Peer,
    ) -> Result<Response<Incoming>, Refusal> {
        self.may_come(&head, peer)?;
        let body = Upload::take(body, self.limits.request_bytes_max, peer.request_deadline).await?;
        let known = self.known.load_full();
        let identity = identity(&known, endpoint, body.whole())?;
        if endpoint.places_orders && head.method == Method::POST {
            self.registrar.observe(body.whole().map(|whole| &**whole), &known.merchants).await;
        }
        let path_and_query = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let call = Call { method: head.method, path_and_query, headers: headers::for_wechat(head.headers) };
        let deadline = Instant::now() + Duration::from_millis(self.limits.answer_timeout_ms);
        let answer = self.upstream.send(&call, body, identity, deadline).await;
        answer.map_err(|failure| self.log(endpoint, failure))
    }

    /// The proxy is for the shop's own network, and for WeChat's hosts.
    fn may_come(&self, head: &Parts, peer: Peer) -> Result<(), Refusal> {
        let is_in = |range: &SourceRange| range.contains(peer.address.ip());
        if !self.sources.is_empty() && !self.sources.iter().any(is_in) {
            return Err(Refusal::Source);
        }
        match head.uri.host() {
            _ if head.method == Method::CONNECT => Err(Refusal::Host),
            Some(host) if !self.upstream.is_host(host) => Err(Refusal::Host),
            _ => Ok(()),
        }
    }

    fn pass_on(&self, answer: Response<Incoming>) -> Response<AnswerBody> {
        let (head, body) = answer.into_parts();
        let idle_timeout = Duration::from_millis(self.limits.answer_idle_timeout_ms);
        let mut response = Response::new(AnswerBody::wechats(body, idle_timeout, self.metrics.cut()));
        *response.status_mut() = head.status;
        *response.headers_mut() = headers::for_shop(head.headers);
        response
    }

    fn log(&self, endpoint: Endpoint, failure: Failure) -> Refusal {
        let path = endpoint.name();
        match &failure {
            Failure::Unreachable(cause) => tracing::warn!(path, cause, "{path} not sent: {cause}"),
            Failure::Broken(cause) => tracing::warn!(path, cause, "{path} sent, result unknown: {cause}"),
            Failure::Timeout => tracing::warn!(path, "{path} sent, result unknown: no answer in time"),
            Failure::Body(_) | Failure::Path => {}
        }
        failure.into()
    }
}

/// In whose name to connect. WeChat verifies the signature itself, so the certificate goes to whomever the document
/// names; where no document can be read (uploads of images), to the only merchant, if there is only one.
fn identity<'k>(
    known: &'k Known,
    endpoint: Endpoint,
    body: Option<&Bytes>,
) -> Result<Option<&'k HttpClient>, Refusal> {
    if endpoint.certificate == Certificate::Never {
        return Ok(None);
    }
    let merchants = &known.merchants;
    let document = body.and_then(|body| Document::parse(body).ok());
    let merchant = match &document {
        // Payments to users name the merchant differently.
        Some(document) => ["mch_id", "mchid"].iter().find_map(|name| merchants.find(document.get(name)?)),
        None => merchants.only(),
    };
    match (merchant.and_then(|merchant| known.client(&merchant.mch_id)), endpoint.certificate) {
        (None, Certificate::Always) => Err(Refusal::NoCertificate),
        (client, _) => Ok(client),
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("registrar", &self.registrar).finish_non_exhaustive()
    }
}

fn healthy() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::ours(Bytes::from_static(b"ok\n")));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
