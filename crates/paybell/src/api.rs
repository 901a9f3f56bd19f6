//! A small client of the private API, for the operator's commands: one request, one answer, refusals as sentences.
//! Knows routes no better than its callers do; streams go on to [`sse`].

pub mod sse;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::crypto::ring;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    config::{Secret, read_secret_file, values::base_url},
    error::Error,
};

/// Larger answers than any page of 1,000 rows.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the longest wait that the API allows (30 s).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Where a problem carries the header Retry-After, which stands beside its body.
const WAIT: &str = "retry_after";

/// What may stand unescaped in a path or a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where the private API is, and with which token.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// The private API (the [console] listener)
    #[arg(
        long,
        value_name = "URL",
        env = "PAYBELL_API",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8081"
    )]
    api: String,
    /// The file that holds the token
    #[arg(long, value_name = "FILE", env = "PAYBELL_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

/// A connection to the private API.
pub struct Api {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

/// A query: names with the values that are given.
pub type Query<'q> = &'q [(&'q str, Option<&'q str>)];

impl Api {
    /// Reads the token; connects with the first request.
    pub fn new(args: &ApiArgs) -> Result<Self, Error> {
        let base = base_url(&args.api).map_err(|what| Error::Usage(format!("--api: {what}")))?;
        let token = args.token_file.as_deref().map(read_secret_file).transpose();
        let token = token.map_err(|what| Error::Usage(format!("--token-file: {what}")))?;
        let authorization = token.as_ref().map(bearer).transpose()?;
        Self::at(base, authorization)
    }

    /// One that listens on this machine and asks for no token.
    pub fn on_loopback(address: &str) -> Result<Self, Error> {
        Self::at(format!("http://{address}"), None)
    }

    /// The one at that URL, with that token.
    pub fn with_token(base: &str, token: Option<&Secret>) -> Result<Self, Error> {
        Self::at(base.to_owned(), token.map(bearer).transpose()?)
    }

    fn at(base: String, authorization: Option<HeaderValue>) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())
            .map_err(|error| Error::Failed(format!("TLS cannot be set up: {error}")))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), base, authorization })
    }

    /// Reads.
    pub async fn get(&self, path: &str, query: Query<'_>) -> Result<Value, Error> {
        let (_, value) = self.call(self.request(Method::GET, path, query, None)?).await?;
        Ok(value)
    }

    /// Reads what may not be there.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Error> {
        let (status, value) = self.exchange(self.request(Method::GET, path, &[], None)?).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(value)),
            status => Err(refusal(status, &value)),
        }
    }

    /// Changes; the status tells what became of it.
    pub async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), Error> {
        self.call(self.request(method, path, &[], Some(body))?).await
    }

    /// The same with a query.
    pub async fn change_with(
        &self,
        path: &str,
        query: Query<'_>,
        body: &Value,
    ) -> Result<(StatusCode, Value), Error> {
        self.call(self.request(Method::POST, path, query, Some(body))?).await
    }

    /// Opens a stream of server-sent events.
    pub async fn stream(&self, path: &str, query: Query<'_>) -> Result<Incoming, StreamError> {
        let mut request = self.request(Method::GET, path, query, None).map_err(StreamError::Refused)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = self.send(request).await.map_err(StreamError::Unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let value = read(response.into_body()).await.map_err(StreamError::Unreachable)?;
        let refusal = refusal(status, &value);
        // A process that drains or an engine that is away comes back; a wrong token does not.
        Err(if status.is_server_error() {
            StreamError::Unreachable(refusal)
        } else {
            StreamError::Refused(refusal)
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let pairs: Vec<String> = query
            .iter()
            .filter_map(|(name, value)| value.map(|value| format!("{name}={}", escaped(value))))
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}{mark}{}", self.base, pairs.join("&")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        request.body(Full::new(bytes)).map_err(|error| Error::Usage(format!("--api {}: {error}", self.base)))
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), Error> {
        let (status, value) = self.exchange(request).await?;
        if status.is_success() { Ok((status, value)) } else { Err(refusal(status, &value)) }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), Error> {
        let exchange = async {
            let response = self.send(request).await?;
            let status = response.status();
            let wait =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(Value::from);
            let mut value = read(response.into_body()).await?;
            if let (Some(wait), Value::Object(problem), false) = (wait, &mut value, status.is_success()) {
                problem.insert(WAIT.to_owned(), wait);
            }
            Ok::<_, Error>((status, value))
        };
        let slow =
            || Error::Failed(format!("{} gave no answer within {} s", self.base, ANSWER_TIMEOUT.as_secs()));
        timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| slow())?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            Error::Failed(format!(
                "cannot reach the private API at {}: {cause}; is `paybell run console` up there? (--api URL)",
                self.base
            ))
        })
    }
}

/// Why a stream did not open.
#[derive(Debug)]
pub enum StreamError {
    /// Trying again may help.
    Unreachable(Error),
    /// It will not.
    Refused(Error),
}

/// A part of a path.
pub fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| {
        Error::Usage("--token-file: a token is one line of visible ASCII characters".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(body: Incoming) -> Result<Value, Error> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| Error::Failed(format!("the answer broke off: {error}")))?.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    // Not JSON: something else listens there; its status says the rest.
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// A problem document as a sentence.
fn refusal(status: StatusCode, problem: &Value) -> Error {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let title = text("title").or(status.canonical_reason()).unwrap_or("refused");
    let mut sentence = match text("detail") {
        Some(detail) if detail.starts_with(title) => detail.to_owned(),
        Some(detail) => format!("{title}: {detail}"),
        None => title.to_owned(),
    };
    if let Some(oldest) = text("oldest") {
        sentence.push_str(&format!("; the oldest event that is kept comes after {oldest} (--after)"));
    }
    if let Some(wait) = text(WAIT) {
        sentence.push_str(&format!("; ask again in {wait} s"));
    }
    // WeChat's own refusal: what to do about it stands in no help text.
    if text("code").is_some() {
        let remedy = |language| problem.pointer(language).and_then(Value::as_str);
        for remedy in ["/remedy/en", "/remedy/zh"].into_iter().filter_map(remedy) {
            sentence.push_str(&format!("\n  {remedy}"));
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        sentence.push_str("; give --token-file FILE");
    }
    Error::Failed(format!("{sentence} (HTTP {})", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_how_long_to_wait() {
        let problem = serde_json::json!({ "title": "too young", "retry_after": "240" });
        let said = refusal(StatusCode::CONFLICT, &problem).to_string();
        assert_eq!(said, "too young; ask again in 240 s (HTTP 409)");
    }
}
