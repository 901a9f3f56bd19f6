//! Posts notifications over kept connections, judges what comes back as WeChat does, and remembers each post. Decides
//! neither when nor what; the notifier does.

use std::{
    collections::VecDeque,
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::crypto::ring;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use wechat_pay::xml::{BODY_BYTES_MAX, Document};

use crate::{config::SimulatorConfig, order::OrderKey};

/// One notification that was posted, or would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Post {
    /// Milliseconds since 1970 when it was sent.
    pub at_ms: i64,
    /// Absent for custom posts.
    #[serde(flatten)]
    pub order: Option<OrderKey>,
    /// Of a refund's notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_refund_no: Option<String>,
    pub kind: Kind,
    /// 0 for the first attempt, to 15 for the last point of the cadence.
    pub attempt: u32,
    /// The fault that it is an instance of.
    pub fault: Option<&'static str>,
    #[serde(flatten)]
    pub outcome: Outcome,
    pub took_ms: u64,
}

/// Whether a post is WeChat's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Genuine,
    Tampered,
    Unsigned,
    Forged,
    /// Not even encrypted.
    Garbage,
    /// Sent on command.
    Custom,
}

/// What came of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// HTTP 200, XML, `return_code` SUCCESS, in time.
    Acknowledged,
    /// Any other answer.
    Refused(String),
    TimedOut,
    Unreachable(String),
    /// A fault took it.
    Lost,
}

pub(crate) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    in_flight: Semaphore,
    timeout: Duration,
    log: Mutex<VecDeque<Post>>,
    log_max: usize,
}

impl Poster {
    pub(crate) fn new(config: &SimulatorConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())
            .expect("ring has the protocol versions that rustls considers safe")
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(config.notifications_in_flight_max)
            .build(connector);
        Poster {
            client,
            in_flight: Semaphore::new(config.notifications_in_flight_max.min(Semaphore::MAX_PERMITS)),
            timeout: Duration::from_millis(config.notification_timeout_ms),
            log: Mutex::default(),
            log_max: config.notification_log_max,
        }
    }

    /// Posts and waits for the answer. Waits for a free place first, which does not count against the answer's time.
    pub(crate) async fn post(&self, url: &str, content_type: &str, body: String) -> (Outcome, u64) {
        let place = self.in_flight.acquire().await.expect("the semaphore is never closed");
        let began = Instant::now();
        let outcome = match timeout(self.timeout, self.exchange(url, content_type, body)).await {
            Ok(Ok(())) => Outcome::Acknowledged,
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::TimedOut,
        };
        drop(place);
        (outcome, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn remember(&self, post: Post) {
        let mut log = self.log();
        if log.len() >= self.log_max {
            log.pop_front();
        }
        if self.log_max > 0 {
            log.push_back(post);
        }
    }

    /// The newest `limit` posts that `wanted` picks, oldest first.
    pub(crate) fn posts(&self, limit: usize, wanted: impl Fn(&Post) -> bool) -> Vec<Post> {
        let mut posts: Vec<Post> =
            self.log().iter().rev().filter(|post| wanted(post)).take(limit).cloned().collect();
        posts.reverse();
        posts
    }

    async fn exchange(&self, url: &str, content_type: &str, body: String) -> Result<(), Outcome> {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, "Mozilla/4.0")
            .header(header::ACCEPT, "*/*")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(error.into()))?;
        let answer = self.client.request(request).await.map_err(|error| unreachable(error.into()))?;
        let status = answer.status();
        let body: Limited<Incoming> = Limited::new(answer.into_body(), BODY_BYTES_MAX);
        let bytes = body.collect().await.map_err(unreachable)?.to_bytes();
        judge(status, &bytes).map_err(Outcome::Refused)
    }

    fn log(&self) -> MutexGuard<'_, VecDeque<Post>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says the last cause: the texts above it only say that a client failed.
fn unreachable(error: Box<dyn Error + Send + Sync>) -> Outcome {
    let mut cause: &(dyn Error + 'static) = &*error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Outcome::Unreachable(cause.to_string())
}

/// Only HTTP 200 with `return_code` SUCCESS in XML ends the notifications of an order.
fn judge(status: StatusCode, body: &[u8]) -> Result<(), String> {
    if status != StatusCode::OK {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    let document = Document::parse(body).map_err(|error| error.to_string())?;
    match document.get("return_code") {
        Some("SUCCESS") => Ok(()),
        Some(code) => Err(format!("return_code {:?}", code.chars().take(32).collect::<String>())),
        None => Err("no return_code".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_in_xml_with_200_is_an_acknowledgement() {
        let ok = "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";
        assert_eq!(judge(StatusCode::OK, ok.as_bytes()), Ok(()));
        assert_eq!(judge(StatusCode::CREATED, ok.as_bytes()), Err("HTTP 201".to_owned()));
        let wrong = [
            "",
            "success",
            "ok",
            "{\"code\":\"SUCCESS\"}",
            "<html></html>",
            "<xml><return_code>FAIL</return_code></xml>",
            "<xml><return_msg>OK</return_msg></xml>",
            "<xml><return_code>success</return_code></xml>",
            "SUCCESS<xml><return_code>SUCCESS</return_code></xml>",
        ];
        for body in wrong {
            assert!(judge(StatusCode::OK, body.as_bytes()).is_err(), "{body}");
        }
    }
}
