//! One attempt: find the event, make the request in the endpoint's form, post it, judge the reply. Decides nothing about
//! a next attempt.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName};
use paybell_core::event::Event;
use paybell_core::observation::Openid;
use paybell_core::ports::{Cursor, EventFilter, EventLog, LogRead, PAGE_ROWS_MAX, PortError, Records};
use paybell_core::record::Record;
use paybell_core::{MchId, State, Timestamp};
use tokio::time::Instant;

use crate::book::Entry;
use crate::config::{Endpoint, Kind, Refunded};
use crate::legacy::{self, MerchantKey};
use crate::machine::Parcel;
use crate::outcome::{Outcome, Report};
use crate::secret::{WebhookSecret, signatures};
use crate::transport::{Answer, Post, Reply, Transport};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why an event is not looked for at the beginning of the log: another one would be found.
const STRANDED: &str = "the place of the event is not in the log, which begins before it";

/// Why an event that is not found is not lost.
const BEHIND: &str =
    "it ends before the event, as far as this process knows: the copy that is read is behind";

/// Shorter values in an address are no tokens, and may be part of any text.
const TOKEN_BYTES_MIN: usize = 6;

/// The merchants' keys as they are at this moment; `None` for a merchant that is not configured.
pub type KeyOf = Arc<dyn Fn(&MchId) -> Option<MerchantKey> + Send + Sync>;

/// Everything an attempt at one endpoint needs.
pub(crate) struct Courier {
    pub endpoint: Endpoint,
    pub transport: Arc<dyn Transport>,
    pub log: Arc<dyn EventLog>,
    pub records: Arc<dyn Records>,
    pub key_of: KeyOf,
}

impl Courier {
    /// Never fails: everything that can happen is a report. `nonce` is new for every attempt.
    pub async fn deliver(&self, parcel: Parcel, now: Timestamp, nonce: String) -> Report {
        let Parcel { entry, event, position_max } = parcel;
        let made = match self.event(&entry, event, position_max).await {
            Ok(Some(event)) => self.request(&entry, &event, now, nonce).await,
            Ok(None) => Err(Report::unsent(Outcome::Lost, "the event has left the log")),
            Err(error) => Err(Report::unsent(Outcome::NotTried, error.to_string())),
        };
        let Made { post, payer } = match made {
            Ok(made) => made,
            Err(report) => return report,
        };
        let begun = Instant::now();
        let reply = self.transport.post(post).await;
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Judged is what came, shown is what may be: an address may hold a word that means success.
        let (judged, shown) =
            (self.judge(&reply, now), self.judge(&self.without_secrets(payer.as_ref(), &reply), now));
        let words = if shown.outcome == judged.outcome { shown.words } else { String::new() };
        Report { ms, words, ..judged }
    }

    /// The event from hand, or from its place in the log. It is not there only if the log was read up to `position_max`:
    /// the copy that is read may be behind the one that it was in.
    async fn event(
        &self,
        entry: &Entry,
        at_hand: Option<Event>,
        position_max: u64,
    ) -> Result<Option<Event>, PortError> {
        if at_hand.is_some() {
            return Ok(at_hand);
        }
        // The first of its merchant and type after its place is the event itself, whatever the endpoint wants today.
        let filter = EventFilter { kind: Some(entry.kind), mch_id: Some(entry.mch_id.clone()) };
        // Only from the beginning of the log there may be others before it.
        let is_first = entry.after != Cursor::START;
        let limit = if is_first { 1 } else { PAGE_ROWS_MAX };
        let mut after = entry.after;
        loop {
            let page = match self.log.read(Some(after), &filter, limit).await? {
                LogRead::Page(page) => page,
                // The place before it was pruned; it may be the oldest of its kind now.
                LogRead::Gone { oldest } if oldest != after && oldest.position >= after.position => {
                    after = oldest;
                    continue;
                }
                LogRead::Gone { oldest } if oldest.position < after.position => {
                    return Err(PortError::Unavailable { part: "log", cause: STRANDED.to_owned() });
                }
                LogRead::Gone { .. } => return Ok(None),
            };
            let is_read = is_first && !page.events.is_empty();
            let ends_before = !is_read && page.next.position < position_max;
            let found = page.events.into_iter().find(|(_, event)| event.id == entry.id);
            match found {
                Some((_, event)) => return Ok(Some(event)),
                None if page.has_more && !is_read => after = page.next,
                None if ends_before => {
                    return Err(PortError::Unavailable { part: "log", cause: BEHIND.to_owned() });
                }
                None => return Ok(None),
            }
        }
    }

    async fn request(
        &self,
        entry: &Entry,
        event: &Event,
        now: Timestamp,
        nonce: String,
    ) -> Result<Made, Report> {
        let with = |(headers, body): Parts, payer| {
            let post = Post { url: self.endpoint.url.clone(), headers, body };
            Made { post, payer }
        };
        let refunded = match &self.endpoint.kind {
            Kind::Webhook(secrets) => {
                return Ok(with(
                    webhook(event, &secrets.now(), now),
                    event.order().and_then(|data| data.openid.clone()),
                ));
            }
            Kind::Legacy(refunded) => *refunded,
        };
        let Some(key) = event.key() else { return Err(Report::unsent(Outcome::Unbuildable, NO_ORDER)) };
        let stored = self.records.read(&key).await;
        let stored = stored.map_err(|error| Report::unsent(Outcome::NotTried, error.to_string()))?;
        if !entry.asked && refunded == Refunded::HoldBack && is_refunded(event, stored.as_ref()) {
            return Err(Report::unsent(Outcome::HeldBack, REFUNDED));
        }
        let payment = stored.as_ref().and_then(|record| record.payment.as_ref());
        let payer = legacy::payer(event, payment).cloned();
        Ok(with(self.legacy(event, payer.as_ref(), &nonce)?, payer))
    }

    fn legacy(&self, event: &Event, payer: Option<&Openid>, nonce: &str) -> Result<Parts, Report> {
        let unbuildable = |words: String| Report::unsent(Outcome::Unbuildable, words);
        let mch_id = event.mch_id();
        let Some(key) = (self.key_of)(mch_id) else {
            return Err(unbuildable(format!("merchant {mch_id} is not configured: no key to sign with")));
        };
        let document = legacy::notification(event, payer, &key, nonce);
        let document = document.map_err(|error| unbuildable(error.to_string()))?;
        Ok((vec![(CONTENT_TYPE, "text/xml; charset=utf-8".to_owned())], Bytes::from(document)))
    }

    /// An endpoint may send back what it got, as many do that know no such path; what is shown of its answer names no
    /// payer, and holds no token of the address.
    fn without_secrets(&self, payer: Option<&Openid>, reply: &Reply) -> Reply {
        let Reply::Answered(answer) = reply else { return reply.clone() };
        let query = self.endpoint.url.uri().query().unwrap_or_default();
        let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        let values = values.filter(|value| value.len() >= TOKEN_BYTES_MIN);
        let payer = payer.map_or("", |payer| payer.0.as_str());
        let secrets: Vec<&str> =
            [payer, query].into_iter().chain(values).filter(|secret| !secret.is_empty()).collect();
        let mut body = String::from_utf8_lossy(&answer.body).into_owned();
        for secret in secrets {
            body = body.replace(secret, "***");
        }
        Reply::Answered(Answer { body: Bytes::from(body), ..answer.clone() })
    }

    fn judge(&self, reply: &Reply, now: Timestamp) -> Report {
        match self.endpoint.kind {
            Kind::Webhook(_) => Report::of_webhook(reply, now),
            Kind::Legacy(_) => Report::of_legacy(reply, now),
        }
    }
}

const REFUNDED: &str = "the payment was refunded, at least in part, before the handler was told of it: resend the \
                        event to tell it anyway";

const NO_ORDER: &str = "the event is about no order: an old notification handler knows nothing else";

type Parts = (Vec<(HeaderName, String)>, Bytes);

/// A request, and whom it names.
struct Made {
    post: Post,
    payer: Option<Openid>,
}

/// The body is the event exactly as in the log, and the signature is made over the same text.
fn webhook(event: &Event, secrets: &[WebhookSecret], now: Timestamp) -> Parts {
    let (id, seconds, body) = (event.id.to_string(), now.millis().div_euclid(1000), event.to_json());
    let headers = vec![
        (CONTENT_TYPE, "application/cloudevents+json; charset=utf-8".to_owned()),
        (WEBHOOK_SIGNATURE, signatures(secrets, &id, seconds, &body)),
        (WEBHOOK_TIMESTAMP, seconds.to_string()),
        (WEBHOOK_ID, id),
    ];
    (headers, Bytes::from(body))
}

/// Found refunded when it was first seen, or refunded while the handler could not be told.
fn is_refunded(event: &Event, stored: Option<&Record>) -> bool {
    event.order().is_some_and(|data| data.trade_state.as_deref() == Some("REFUND"))
        || stored.is_some_and(|record| record.state == State::Refunded)
}
