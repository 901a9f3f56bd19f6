//! Plays steps by webhook: signed, posted, and repeated as Paybell itself repeats, only sooner. Also what Paybell never
//! does: forgeries, and leaving before the answer. Notes answers; judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use delivery::secret::{WebhookSecret, signatures};
use delivery::transport::{Post, Reply, Transport};
use delivery::{EndpointUrl, HttpTransport};
use hyper::header::{CONTENT_TYPE, HeaderName};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::clock;
use super::event::Document;
use super::script::{Forgery, Step};
use super::stage::{Answers, Untaken};
use crate::error::Error;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// As many as Paybell posts to one endpoint at once.
const AT_ONCE_MAX: usize = 8;
/// The waits between the tries of one event, where Paybell waits from seconds to hours.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];
/// How long somebody stays who leaves before the answer comes. Who answers sooner sees a plain repeat.
const STAY: Duration = Duration::from_millis(20);
const TEN_MINUTES_S: i64 = 600;
const GONE: u16 = 410;

/// A webhook endpoint. Clones are the same one.
#[derive(Clone)]
pub struct Webhook {
    transport: Arc<HttpTransport>,
    url: EndpointUrl,
    secret: WebhookSecret,
    /// One that the endpoint does not know.
    other: WebhookSecret,
    /// Whether anything was ever answered.
    has_answered: Arc<AtomicBool>,
}

/// How the telling of one event ended.
struct Told {
    requests: u32,
    slowest: Duration,
    /// The last answer, if it was no yes.
    refusal: Option<Reply>,
}

impl Webhook {
    /// Connects with the first step.
    pub fn new(transport: HttpTransport, url: EndpointUrl, secret: WebhookSecret) -> Result<Self, Error> {
        let broken = |error| Error::Failed(format!("a second secret: {error}"));
        let other = WebhookSecret::parse("cmVoZWFyc2FsOm5vdC15b3VyLXNlY3JldCEh").map_err(broken)?;
        let has_answered = Arc::new(AtomicBool::new(false));
        Ok(Self { transport: Arc::new(transport), url, secret, other, has_answered })
    }

    /// Plays one step. An error means that nothing was ever answered: then there is nobody to judge.
    pub async fn play(&self, step: &Step, answers: &mut Answers) -> Result<(), Error> {
        let ours = std::slice::from_ref(&self.secret);
        match step {
            Step::Tell(document) => self.note(document, self.tell(document, ours).await, answers),
            Step::Rotate(document) => {
                let both = [self.other.clone(), self.secret.clone()];
                self.note(document, self.tell(document, &both).await, answers)
            }
            Step::Together(documents) => self.tell_all(documents, documents.len(), answers).await,
            Step::Crowd(documents) => self.tell_all(documents, AT_ONCE_MAX, answers).await,
            Step::Abandon(document) => {
                // Whether an answer came is the point: it must not matter.
                drop(timeout(STAY, self.transport.post(self.genuine(document, ours))).await);
                answers.sent += 1;
                self.note(document, self.tell(document, ours).await, answers)
            }
            Step::Forge(document, forgery) => {
                let reply = self.transport.post(self.forged(document, *forgery)).await;
                answers.sent += 1;
                if is_yes(&reply) {
                    answers.believed.push(*forgery);
                }
                Ok(())
            }
        }
    }

    async fn tell_all(
        &self,
        documents: &[Document],
        width: usize,
        answers: &mut Answers,
    ) -> Result<(), Error> {
        let places = Arc::new(Semaphore::new(width));
        let mut tasks = JoinSet::new();
        for document in documents.iter().cloned() {
            let (webhook, places) = (self.clone(), places.clone());
            tasks.spawn(async move {
                // It is never closed.
                let _place = places.acquire().await.ok();
                let told = webhook.tell(&document, std::slice::from_ref(&webhook.secret)).await;
                (document, told)
            });
        }
        while let Some(ended) = tasks.join_next().await {
            let (document, told) =
                ended.map_err(|error| Error::Failed(format!("a request broke off: {error}")))?;
            self.note(&document, told, answers)?;
        }
        Ok(())
    }

    /// Posts until it is taken, like Paybell: the same id, a new timestamp.
    async fn tell(&self, document: &Document, secrets: &[WebhookSecret]) -> Told {
        let mut told = Told { requests: 0, slowest: Duration::ZERO, refusal: None };
        let mut pauses = PAUSES.into_iter();
        loop {
            let begun = Instant::now();
            let reply = self.transport.post(self.genuine(document, secrets)).await;
            told.requests += 1;
            told.slowest = told.slowest.max(begun.elapsed());
            if is_yes(&reply) {
                return Told { refusal: None, ..told };
            }
            let is_gone = matches!(&reply, Reply::Answered(answer) if answer.status == GONE);
            told.refusal = Some(reply);
            match pauses.next() {
                Some(pause) if !is_gone => sleep(pause).await,
                _ => return told,
            }
        }
    }

    fn note(&self, document: &Document, told: Told, answers: &mut Answers) -> Result<(), Error> {
        answers.sent += told.requests;
        answers.repeated += told.requests.saturating_sub(1);
        answers.slowest = answers.slowest.max(told.slowest);
        if !matches!(told.refusal, Some(Reply::Silent(_))) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        match told.refusal {
            Some(Reply::Silent(why)) if !self.has_answered.load(Ordering::Relaxed) => {
                Err(Error::Failed(format!("nothing answers at {}: {why}", self.url)))
            }
            Some(reply) => {
                let (kind, why) = (document.kind.clone(), describe(&reply));
                answers.untaken.push(Untaken { kind, why, tries: told.requests });
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn genuine(&self, document: &Document, secrets: &[WebhookSecret]) -> Post {
        let timestamp = now_s();
        let signature = signatures(secrets, &document.id, timestamp, &document.body);
        self.post(document, timestamp, Some(signature))
    }

    fn forged(&self, document: &Document, forgery: Forgery) -> Post {
        let now = now_s();
        let signed = |secret: &WebhookSecret, timestamp| {
            signatures(std::slice::from_ref(secret), &document.id, timestamp, &document.body)
        };
        let changed = |change: &dyn Fn(&mut Document)| {
            let mut document = document.clone();
            change(&mut document);
            document
        };
        match forgery {
            Forgery::OtherSecret => self.post(document, now, Some(signed(&self.other, now))),
            Forgery::NoSignature => self.post(document, now, None),
            Forgery::ChangedBody => {
                let body = changed(&|document| document.body.push(' '));
                self.post(&body, now, Some(signed(&self.secret, now)))
            }
            Forgery::ChangedId => {
                let id = changed(&|document| document.id.push('1'));
                self.post(&id, now, Some(signed(&self.secret, now)))
            }
            Forgery::TenMinutesOld | Forgery::TenMinutesAhead => {
                let ahead = if forgery == Forgery::TenMinutesOld { -TEN_MINUTES_S } else { TEN_MINUTES_S };
                self.post(document, now + ahead, Some(signed(&self.secret, now + ahead)))
            }
        }
    }

    fn post(&self, document: &Document, timestamp: i64, signature: Option<String>) -> Post {
        let mut headers = vec![
            (CONTENT_TYPE, "application/cloudevents+json; charset=utf-8".to_owned()),
            (WEBHOOK_ID, document.id.clone()),
            (WEBHOOK_TIMESTAMP, timestamp.to_string()),
        ];
        headers.extend(signature.map(|signature| (WEBHOOK_SIGNATURE, signature)));
        Post { url: self.url.clone(), headers, body: Bytes::from(document.body.clone()) }
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

fn now_s() -> i64 {
    clock::now().millis().div_euclid(1000)
}

fn is_yes(reply: &Reply) -> bool {
    matches!(reply, Reply::Answered(answer) if (200..300).contains(&answer.status))
}

fn describe(reply: &Reply) -> String {
    match reply {
        Reply::Answered(answer) => format!("HTTP {}", answer.status),
        Reply::Silent(why) => why.clone(),
    }
}
