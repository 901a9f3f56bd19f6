//! Messages that are no document of ours: written down as dead letters, and only then acknowledged.
//!
//! A document of a *newer* format is none of them. It is another process's to read, which comes with a rolling upgrade:
//! it is held for a while, then put at the end of its queue again (confirmed, before it is acknowledged). So nothing is
//! lost, no delivery limit is used up, nothing behind it waits, and it is no hot loop. Who upgrades workers first never
//! sees it.

use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use paybell_core::dead::DeadLetter;
use paybell_core::ports::{DeadLetters, Ledger, PortError};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::publisher::{Message, Publisher};

/// Between two attempts to write something down.
const BURY_PAUSE: Duration = Duration::from_secs(2);

/// So much of a document goes into a dead letter's text.
const SAMPLE_CHARS_MAX: usize = 200;

/// Characters of a registration that its dead letter keeps.
const DOCUMENT_CHARS_MAX: usize = 8_192;

/// Where what cannot be read is written down, and by which clock.
#[derive(Clone)]
pub struct Letters {
    pub dead: Arc<dyn DeadLetters>,
    pub ledger: Arc<dyn Ledger>,
}

/// What a message turned out to be.
pub(crate) enum Reading<T> {
    Content(T),
    /// Of a format that this process does not know yet.
    Newer,
    /// Not ours, with the reason.
    Malformed(String),
    /// A registration where it does not belong, with the reason.
    Registration(String),
}

/// Deals with what is no content.
pub(crate) struct Strangers {
    letters: Option<Letters>,
    publisher: Arc<Publisher>,
    /// The publisher's channel for what is handed on; one message at a time.
    slot: Mutex<usize>,
    newer_pause: Duration,
}

impl Strangers {
    pub fn new(
        letters: Option<Letters>,
        publisher: Arc<Publisher>,
        slot: usize,
        newer_pause: Duration,
    ) -> Self {
        Self { letters, publisher, slot: Mutex::new(slot), newer_pause }
    }

    /// Returns when the message may be acknowledged; tries for ever.
    pub(super) async fn dispose<T>(
        &self,
        reading: Reading<T>,
        queue: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        match reading {
            Reading::Content(_) => {}
            Reading::Newer => self.hand_on(queue, properties, body).await,
            Reading::Malformed(cause) => {
                let detail = format!("{queue}: {cause}: {}", text(body, SAMPLE_CHARS_MAX));
                self.bury(|now| DeadLetter::malformed(detail.as_str(), now)).await;
            }
            Reading::Registration(cause) => {
                let document = text(body, DOCUMENT_CHARS_MAX);
                self.bury(|now| DeadLetter::registration(None, document.clone(), cause.as_str(), now)).await;
            }
        }
    }

    async fn hand_on(&self, queue: &str, properties: BasicProperties, body: &[u8]) {
        tracing::warn!(queue, "a document in {queue} is newer than this process reads: left to a newer one");
        loop {
            sleep(self.newer_pause).await;
            let slot = self.slot.lock().await;
            let message = Message { queue, slot: *slot, properties: properties.clone(), body };
            match self.publisher.publish(message).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(error = %error, "not handed on yet: {error}"),
            }
        }
    }

    async fn bury(&self, letter: impl Fn(paybell_core::Timestamp) -> DeadLetter) {
        let Some(letters) = &self.letters else {
            tracing::warn!("a message that cannot be read waits for a process that keeps dead letters");
            return std::future::pending().await;
        };
        loop {
            let buried = async {
                let now = letters.ledger.clock().await?.now;
                letters.dead.bury(&letter(now)).await?;
                Ok::<(), PortError>(())
            };
            match buried.await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error = %error, "a message that cannot be read waits: {error}"),
            }
            sleep(BURY_PAUSE).await;
        }
    }
}

fn text(body: &[u8], chars_max: usize) -> String {
    String::from_utf8_lossy(body).chars().take(chars_max).collect()
}
