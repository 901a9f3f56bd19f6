//! The routes about the API itself: index, OpenAPI document, liveness, readiness.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::answer::{Body, json, with_type};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::routes::{Access, ENDPOINTS};

/// The API's description, kept by hand; a test holds it against the route table.
const OPENAPI: &str = include_str!("openapi.json");

#[derive(Serialize)]
struct Index {
    service: &'static str,
    version: &'static str,
    mode: &'static str,
    description: &'static str,
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Route {
    method: &'static str,
    path: &'static str,
    needs: &'static str,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// `GET /`.
pub(crate) fn index(shared: &Shared) -> Response<Body> {
    let route = |endpoint: &'static crate::routes::Endpoint| Route {
        method: endpoint.method.as_str(),
        path: endpoint.template,
        needs: match endpoint.access {
            Access::Open => "nothing",
            Access::AnyToken => "any token",
            Access::Scope(scope) => scope.as_str(),
        },
    };
    let index = Index {
        service: "paybell",
        version: env!("CARGO_PKG_VERSION"),
        mode: shared.config.modes.current().as_str(),
        description: "Private API; GET /openapi.json describes every route",
        routes: ENDPOINTS.iter().map(route).collect(),
    };
    json(StatusCode::OK, &index)
}

/// `GET /openapi.json`.
pub(crate) fn openapi() -> Response<Body> {
    with_type(
        StatusCode::OK,
        "application/json",
        Full::new(Bytes::from_static(OPENAPI.as_bytes())).boxed_unsync(),
    )
}

/// `GET /healthz`: the process answers.
pub(crate) fn healthz() -> Response<Body> {
    json(StatusCode::OK, &Status { status: "ok" })
}

/// `GET /readyz`: the engines answer too, or did less than a second ago.
pub(crate) async fn readyz(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    if call.drain.is_cancelled() {
        return Err(Error::Draining);
    }
    shared.readiness.ask(&shared.ports).await?;
    Ok(json(StatusCode::OK, &Status { status: "ready" }))
}
