//! One HTTP/1.1 exchange over a stream that is there: what was answered, byte for byte, up to a bound.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{HeaderMap, Method};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{NetError, Place};

/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

const AGENT: &str = concat!("paybell-doctor/", env!("CARGO_PKG_VERSION"));

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    body: Bytes,
}

impl Request {
    #[must_use]
    pub fn get() -> Self {
        Self { method: Method::GET, body: Bytes::new() }
    }

    /// An XML document, posted.
    #[must_use]
    pub fn xml(body: String) -> Self {
        Self { method: Method::POST, body: body.into() }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the first byte sent to the last one read; connecting and TLS not included.
    pub took: Duration,
}

impl Answer {
    /// A header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether it is a page for people.
    #[must_use]
    pub fn is_html(&self) -> bool {
        let begin = self.body.get(..200).unwrap_or(&self.body).to_ascii_lowercase();
        let begin = String::from_utf8_lossy(&begin);
        self.header("content-type").contains("html")
            || begin.contains("<html")
            || begin.contains("<!doctype html")
    }

    /// Its beginning on one line, for a report.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut short: String = line.chars().filter(|this| !this.is_control()).take(80).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        short
    }
}

/// Sends, and reads to the end of the answer.
pub(super) async fn exchange<S>(stream: S, place: &Place, request: Request) -> Result<Answer, NetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let broken = |error: hyper::Error| NetError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = hyper::Request::builder()
        .method(request.method)
        .uri(place.path.as_str())
        .header(HOST, place.authority.as_str())
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "text/xml; charset=utf-8")
        .header(CONNECTION, "close")
        .body(Full::new(request.body))
        .map_err(|error| NetError::Broken(error.to_string()))?;
    let answered = Box::pin(async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (parts, mut body) = response.into_parts();
        let mut read = Vec::new();
        while read.len() < ANSWER_BYTES_MAX
            && let Some(frame) = body.frame().await
        {
            if let Some(data) = frame.map_err(broken)?.data_ref() {
                read.extend_from_slice(data);
            }
        }
        let status = parts.status.as_u16();
        Ok(Answer { status, headers: parts.headers, body: read.into(), took: Duration::ZERO })
    });
    match select(answered, Box::pin(connection)).await {
        Either::Left((answer, _)) => answer,
        // A connection may end with the answer already read in.
        Either::Right((_, answered)) => answered.await,
    }
}
