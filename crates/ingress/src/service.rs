//! The public listener's routes: notify, of payments and of refunds, and `/healthz`, nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use http_server::{BodyError, Peer, read_body};
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::Instant;
use wechat_pay::xml::BODY_BYTES_MAX;

use crate::answer::Answer;
use crate::metrics::Kind;
use crate::receive::{Ingress, Reception};

const NOTIFY_PATHS: [(&str, Kind); 2] = [("/notify/pay", Kind::Payment), ("/notify/refund", Kind::Refund)];
const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Bounds of the ingress.
#[derive(Debug)]
pub struct IngressLimits {
    /// WeChat waits 5 s; what is not durable by then is answered FAIL.
    pub durable_timeout_ms: u64,
    /// Notifications being stored at once; more are answered FAIL at once.
    pub in_flight_max: usize,
    in_flight: AtomicUsize,
}

impl IngressLimits {
    /// With these bounds.
    pub fn new(durable_timeout_ms: u64, in_flight_max: usize) -> Self {
        Self { durable_timeout_ms, in_flight_max, in_flight: AtomicUsize::new(0) }
    }
}

impl Default for IngressLimits {
    fn default() -> Self {
        Self::new(3_000, 4_096)
    }
}

/// A place among the notifications in hand; given back when dropped, also when the peer goes away.
struct Place<'l>(&'l AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ingress {
    /// Answers one request of the public listener.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        is_draining: IsDraining,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let (kind, path_mch_id) = match route(parts.uri.path()) {
            Route::Health if parts.method == Method::GET || parts.method == Method::HEAD => return healthy(),
            Route::Health => return respond(Answer::MethodNotAllowed, Some("GET, HEAD")),
            Route::Unknown => return respond(Answer::NotFound, None),
            Route::Notify(..) if parts.method != Method::POST => {
                return respond(Answer::MethodNotAllowed, Some("POST"));
            }
            Route::Notify(kind, path_mch_id) => (kind, path_mch_id),
        };
        let begun = Instant::now();
        let body = match read_body(body, BODY_BYTES_MAX, peer.request_deadline).await {
            Ok(body) => body,
            Err(error) => return respond(self.unread(kind, error), None),
        };
        let _place = match self.place(kind, is_draining) {
            Ok(place) => place,
            Err(answer) => return respond(answer, None),
        };
        let reception = self.notified(kind, path_mch_id, &body).await;
        if reception.came_to_be_stored() {
            self.metrics.answered(begun.elapsed());
        }
        respond(reception.answer, None)
    }

    fn place(&self, kind: Kind, is_draining: IsDraining) -> Result<Place<'_>, Answer> {
        let place = Place(&self.limits.in_flight);
        let is_full = place.0.fetch_add(1, Ordering::Relaxed) >= self.limits.in_flight_max;
        if is_full || is_draining.0 {
            self.metrics.refused(kind, None, if is_full { "overloaded" } else { "draining" });
            return Err(Answer::Unavailable);
        }
        Ok(place)
    }

    async fn notified(&self, kind: Kind, path_mch_id: Option<&str>, body: &[u8]) -> Reception {
        let patience = Duration::from_millis(self.limits.durable_timeout_ms);
        let received = async {
            match kind {
                Kind::Payment => self.receive(path_mch_id, body).await,
                Kind::Refund => self.receive_refund(path_mch_id, body).await,
            }
        };
        match tokio::time::timeout(patience, received).await {
            Ok(reception) => reception,
            Err(_) => {
                self.metrics.refused(kind, None, "not_durable");
                Reception { answer: Answer::Unavailable, result: "not_durable" }
            }
        }
    }

    fn unread(&self, kind: Kind, error: BodyError) -> Answer {
        let (answer, result) = match error {
            BodyError::TooLarge { .. } => (Answer::TooLarge, "too_large"),
            BodyError::Timeout => (Answer::TooSlow, "too_slow"),
            BodyError::Broken => (Answer::Malformed, "broken_off"),
        };
        self.metrics.refused(kind, None, result);
        answer
    }
}

/// Whether the process takes no new notifications any more.
#[derive(Debug, Clone, Copy)]
pub struct IsDraining(pub bool);

enum Route<'p> {
    Notify(Kind, Option<&'p str>),
    Health,
    Unknown,
}

fn route(path: &str) -> Route<'_> {
    if path == "/healthz" {
        return Route::Health;
    }
    let found = NOTIFY_PATHS.iter().find_map(|(prefix, kind)| Some((path.strip_prefix(prefix)?, *kind)));
    match found {
        Some(("", kind)) => Route::Notify(kind, None),
        Some((rest, kind)) => match rest.strip_prefix('/') {
            Some(mch_id) if !mch_id.is_empty() && !mch_id.contains('/') => Route::Notify(kind, Some(mch_id)),
            _ => Route::Unknown,
        },
        None => Route::Unknown,
    }
}

fn healthy() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok\n")));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

fn respond(answer: Answer, allow: Option<&'static str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(answer.body())));
    *response.status_mut() = answer.status();
    response.headers_mut().insert(CONTENT_TYPE, XML);
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
