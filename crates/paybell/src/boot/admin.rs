//! The admin listener: `/metrics`, `/healthz`, `/readyz` of this process. Changes nothing and asks for no token;
//! the configuration keeps it off the public network.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use http_server::{Listener, Peer};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio_util::sync::CancellationToken;

use super::{Role, reload::Standing};
use crate::engine::Engine;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// On whose answer `/readyz` depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Every part of the engine.
    OfEngine,
    /// Nobody's: a process that only runs the proxy forwards calls while the ledger is away, and must not be taken out
    /// of service for it.
    OfNothing,
}

impl Readiness {
    pub fn of(roles: &HashSet<Role>) -> Self {
        if roles.iter().all(|role| *role == Role::Proxy) { Self::OfNothing } else { Self::OfEngine }
    }
}

/// What the admin listener tells.
pub struct Admin {
    engine: Arc<Engine>,
    registry: Registry,
    readiness: Readiness,
    standing: Standing,
    /// Cancelled when the process takes no work any more.
    drain: CancellationToken,
}

impl Admin {
    /// The registry is complete by now.
    pub fn new(
        engine: Arc<Engine>,
        registry: Registry,
        readiness: Readiness,
        standing: Standing,
        drain: CancellationToken,
    ) -> Self {
        Self { engine, registry, readiness, standing, drain }
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::OK, "ok\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut encoded = String::new();
        match encode(&mut encoded, &self.registry) {
            Ok(()) => with_type(StatusCode::OK, OPEN_METRICS, encoded),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// With what whoever looks should know besides; it takes nobody out of service.
    fn ready(&self) -> Response<Full<Bytes>> {
        let mut body = "ready\n".to_owned();
        for words in self.standing.words().iter() {
            body.push_str(&format!("{words}\n"));
        }
        // No other process could consume them either, and an ingress is none the worse for it.
        for (queue, cause) in self.engine.unconsumed() {
            body.push_str(&format!("{queue} cannot be consumed, the other queues are: {cause}\n"));
        }
        text(StatusCode::OK, body)
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        if self.drain.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        if self.readiness == Readiness::OfNothing {
            return self.ready();
        }
        let failures: Vec<String> = self
            .engine
            .parts()
            .await
            .into_iter()
            .filter_map(|(_, answer)| Some(answer.err()?.to_string()))
            .collect();
        if failures.is_empty() {
            self.ready()
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", failures.join("\n")))
        }
    }
}

/// Serves until `end` is cancelled.
pub async fn serve(listener: Listener, admin: Arc<Admin>, end: CancellationToken) {
    let service = move |request: Request<Incoming>, _: Peer| {
        let admin = admin.clone();
        async move { admin.answer(request.method(), request.uri().path()).await }
    };
    listener.serve(service, end).await;
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
