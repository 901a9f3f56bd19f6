//! One HTTP exchange: POST a body, read a bounded answer, in time.
//!
//! Knows nothing of signatures, merchants or retries. Verifies server certificates against the bundled web roots with
//! its own crypto provider, so that no process-wide default is needed. The bytes go back to [`super::Client`].

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::Cause;

/// Longest answer that is read, in bytes: an HTML page of some gateway is longer than any document of API v2.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// As many as a worker has checks in hand: fewer, and every burst of queries opens connections only to close them again.
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 320;
const AGENT: &str = concat!("wechat-pay-rust/", env!("CARGO_PKG_VERSION"));

pub(super) struct Transport {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Transport {
    pub(super) fn new(connect_timeout: Duration) -> Result<Self, rustls::Error> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(Arc::new(rustls::crypto::ring::default_provider()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp(connect_timeout));
        Ok(Self::over(connector))
    }

    /// With a configuration of its own: one that shows a client certificate.
    pub(super) fn with_tls(config: rustls::ClientConfig, connect_timeout: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp(connect_timeout));
        Self::over(connector)
    }

    fn over(connector: HttpsConnector<HttpConnector>) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
            .build(connector);
        Self { http }
    }

    /// Sends and reads within `limit`; only a 200 has an answer.
    pub(super) async fn post(&self, uri: &Uri, body: String, limit: Duration) -> Result<Bytes, Cause> {
        let exchange = async { read(self.send(uri, body).await?).await };
        timeout(limit, exchange).await.unwrap_or(Err(Cause::Timeout))
    }

    /// Asks for an address, which never shows in an error.
    pub(super) async fn get(&self, uri: Uri, limit: Duration) -> Result<Bytes, Cause> {
        let request = Request::get(uri).header(USER_AGENT, AGENT).body(Full::default());
        let request = request.expect("the address is an Uri already, and the header is constant");
        let exchange = async { read(self.answered(request).await?).await };
        timeout(limit, exchange).await.unwrap_or(Err(Cause::Timeout))
    }

    /// Posts a document; the answer's body is still to be read.
    pub(super) async fn send(&self, uri: &Uri, body: String) -> Result<Response<Incoming>, Cause> {
        let request = Request::post(uri.clone())
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(USER_AGENT, AGENT)
            .body(Full::from(body))
            .expect("the address was checked when the client was made, and the headers are constant");
        self.answered(request).await
    }

    async fn answered(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Cause> {
        let response = self.http.request(request).await.map_err(|error| {
            let text = chain(&error);
            if error.is_connect() { Cause::Connect(text) } else { Cause::Broken(text) }
        })?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Cause::HttpStatus(status.as_u16())),
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Cause> {
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Cause::TooLarge),
        Err(error) => Err(Cause::Broken(chain(&*error))),
    }
}

fn tcp(connect_timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp
}

/// The whole chain of causes as one line, since the outermost error says next to nothing.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
