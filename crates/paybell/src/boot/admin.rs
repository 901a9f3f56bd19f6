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
    Engine,
    /// The ledger's: a console registers and places orders, and takes wishes, while RabbitMQ is away. Only events and
    /// checks wait for it.
    Ledger,
    /// Nobody's: a process that only runs the proxy forwards calls while the ledger is away, and must not be taken out
    /// of service for it.
    Nothing,
}

impl Readiness {
    pub fn of(roles: &HashSet<Role>) -> Self {
        if roles.iter().all(|role| *role == Role::Proxy) {
            Self::Nothing
        } else if roles.iter().all(|role| matches!(role, Role::Proxy | Role::Console)) {
            Self::Ledger
        } else {
            Self::Engine
        }
    }

    /// Whether it is lost with this part of the engine.
    fn needs(self, part: &str) -> bool {
        match self {
            Self::Engine => true,
            Self::Ledger => part == "ledger",
            Self::Nothing => false,
        }
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
    fn ready(&self, done_without: &[String]) -> Response<Full<Bytes>> {
        let mut body = "ready\n".to_owned();
        for failure in done_without {
            body.push_str(&format!("{failure}; what needs it waits, the rest goes on\n"));
        }
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
        if self.readiness == Readiness::Nothing {
            return self.ready(&[]);
        }
        let (mut failures, mut done_without) = (Vec::new(), Vec::new());
        for (part, answer) in self.engine.parts().await {
            let Err(error) = answer else { continue };
            if self.readiness.needs(part) { &mut failures } else { &mut done_without }
                .push(error.to_string());
        }
        if failures.is_empty() {
            return self.ready(&done_without);
        }
        failures.append(&mut done_without);
        text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", failures.join("\n")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_out_of_service_only_for_what_it_needs() {
        let needed = |roles: &[Role]| {
            let readiness = Readiness::of(&roles.iter().copied().collect());
            let mut parts = vec!["queue", "log", "ledger", "clock"];
            parts.retain(|part| readiness.needs(part));
            parts
        };
        let all = ["queue", "log", "ledger", "clock"];
        for role in [Role::Ingress, Role::Worker, Role::Scheduler] {
            assert_eq!(needed(&[role]), all, "{role:?}");
            assert_eq!(needed(&[role, Role::Console]), all, "{role:?} beside a console");
        }
        assert_eq!(needed(&[Role::Console]), ["ledger"]);
        assert_eq!(needed(&[Role::Console, Role::Proxy]), ["ledger"]);
        assert!(needed(&[Role::Proxy]).is_empty());
    }
}
