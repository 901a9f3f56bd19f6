//! Asks the subscriber's own check URL how often it shipped an order: `GET`, JSON, one number in it. Waits until the
//! numbers stand still, because a subscriber may ship after it answered.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri, body::Bytes};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use paybell_core::MchId;
use rustls::crypto::ring;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::event::Order;
use super::script::Play;
use crate::{api::escaped, config::Secret, error::Error};

/// Where the order's number goes in the URL.
const OUT_TRADE_NO: &str = "{out_trade_no}";
/// Where the merchant's number may go.
const MCH_ID: &str = "{mch_id}";

const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const AT_ONCE_MAX: usize = 4;
/// Looks during one settling time.
const LOOKS: u32 = 4;

/// When the numbers count as final.
#[derive(Debug, Clone, Copy)]
pub struct Settling {
    /// They did not change for so long.
    pub quiet: Duration,
    /// Where the last event tells that all have been taken: how long it may take after the last change.
    pub patience: Duration,
    /// Whether it does.
    pub has_last: HasLast,
}

/// Whether the script's last event was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasLast {
    Yes,
    No,
}

/// The numbers when they stood still.
#[derive(Debug, Clone)]
pub struct Settled {
    /// How often each order was shipped, act by act.
    pub shipped: Vec<Vec<u64>>,
    /// Whether the last event was handled, where one was sent. Without it "not shipped" may mean "not read".
    pub has_all: bool,
}

/// A check URL. Clones are the same one.
#[derive(Clone)]
pub struct Checker {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    template: String,
    field: String,
    authorization: Option<HeaderValue>,
}

impl Checker {
    /// `field` is a name, or names with dots between them.
    pub fn new(template: &str, field: &str, token: Option<&Secret>) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Usage(format!("--check-url: {why}")));
        if !template.contains(OUT_TRADE_NO) {
            return refuse("put {out_trade_no} where the order's number goes");
        }
        let sample = fill(template, "1", "1").parse::<Uri>().ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if !sample.as_ref().is_some_and(is_http) {
            return refuse("must be an absolute http:// or https:// URL");
        }
        let authorization = token.map(bearer).transpose()?;
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(ANSWER_TIMEOUT));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())
            .map_err(|error| Error::Failed(format!("TLS cannot be set up: {error}")))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, template: template.to_owned(), field: field.to_owned(), authorization })
    }

    /// How often one order was shipped. An order that the subscriber does not know (404) was never shipped.
    pub async fn shipped(&self, mch_id: &MchId, order: &Order) -> Result<u64, Error> {
        let url = fill(&self.template, mch_id.as_str(), order.out_trade_no.as_str());
        let failed = |why: &str| Error::Failed(format!("the check URL {url}: {why}"));
        let answer = timeout(ANSWER_TIMEOUT, self.ask(&url)).await;
        let (status, body) =
            answer.map_err(|_| failed("no answer within 10 s"))?.map_err(|why| failed(&why))?;
        if status == StatusCode::NOT_FOUND {
            return Ok(0);
        }
        if !status.is_success() {
            return Err(failed(&format!("HTTP {}", status.as_u16())));
        }
        let document: Value = serde_json::from_slice(&body).map_err(|_| failed("the answer is not JSON"))?;
        let found = self.field.split('.').try_fold(&document, |value, name| value.get(name));
        found.and_then(Value::as_u64).ok_or_else(|| {
            failed(&format!("no whole number in the field {:?} of the answer (--check-field)", self.field))
        })
    }

    /// The numbers of every order, act by act, once they stand still.
    pub async fn settled(&self, play: &Play, settling: Settling) -> Result<Settled, Error> {
        let (mut seen, mut since) = (self.look(play).await?, Instant::now());
        loop {
            let quiet = since.elapsed();
            let has_all =
                settling.has_last == HasLast::No || self.shipped(&play.mch_id, &play.last.0).await? > 0;
            if quiet >= settling.quiet && (has_all || quiet >= settling.patience) {
                return Ok(Settled { shipped: seen, has_all });
            }
            sleep(settling.quiet / LOOKS).await;
            let now = self.look(play).await?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    async fn look(&self, play: &Play) -> Result<Vec<Vec<u64>>, Error> {
        let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), JoinSet::new());
        for (act, number, order) in orders(play) {
            let (checker, mch_id, order) = (self.clone(), play.mch_id.clone(), order.clone());
            let places = places.clone();
            tasks.spawn(async move {
                // It is never closed.
                let _place = places.acquire().await.ok();
                (act, number, checker.shipped(&mch_id, &order).await)
            });
        }
        let mut seen: Vec<Vec<u64>> = play.acts.iter().map(|act| vec![0; act.orders.len()]).collect();
        while let Some(ended) = tasks.join_next().await {
            let (act, number, shipped) =
                ended.map_err(|error| Error::Failed(format!("a look broke off: {error}")))?;
            if let Some(place) = seen.get_mut(act).and_then(|act| act.get_mut(number)) {
                *place = shipped?;
            }
        }
        Ok(seen)
    }

    async fn ask(&self, url: &str) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            cause.to_string()
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").field("template", &self.template).finish_non_exhaustive()
    }
}

fn orders(play: &Play) -> impl Iterator<Item = (usize, usize, &Order)> {
    play.acts.iter().enumerate().flat_map(|(act, written)| {
        written.orders.iter().enumerate().map(move |(number, order)| (act, number, order))
    })
}

fn fill(template: &str, mch_id: &str, out_trade_no: &str) -> String {
    template.replace(MCH_ID, &escaped(mch_id)).replace(OUT_TRADE_NO, &escaped(out_trade_no))
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal().trim_end()))
        .map_err(|_| Error::Usage("--check-token-env: a token is one line of visible ASCII".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_url_has_a_place_for_the_order() {
        let refused = |url: &str| Checker::new(url, "shipped", None).unwrap_err().to_string();
        assert!(refused("http://127.0.0.1/shipped").contains("{out_trade_no}"));
        assert!(refused("/shipped/{out_trade_no}").contains("absolute"));
        let url = fill("http://h/{mch_id}/{out_trade_no}?x={out_trade_no}", "19", "A|1");
        assert_eq!(url, "http://h/19/A%7C1?x=A%7C1");
        Checker::new("https://h/{out_trade_no}", "order.shipped", None).unwrap();
    }
}
