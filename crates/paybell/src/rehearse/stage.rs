//! Where a script is played: by webhook, or over AMQP. Plays one act after the other and notes what was answered;
//! judges nothing.

use std::time::Duration;

use paybell_core::MchId;
use rabbitmq::{Performed, Place, StageError};
use tokio::time::{Instant, sleep};

use super::event::Document;
use super::script::{Act, Forgery, Play, Step};
use super::webhook::Webhook;
use crate::error::Error;

/// Between two looks whether a queue is bound.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// A way to the subscriber.
#[derive(Debug)]
pub enum Stage {
    Webhook(Box<Webhook>),
    Amqp(Amqp),
}

/// Messages of one merchant into one place.
#[derive(Debug)]
pub struct Amqp {
    pub stage: rabbitmq::Stage,
    pub mch_id: MchId,
    /// How long a subscriber may take to bind its queue: it may have waited for the exchange.
    pub patience: Duration,
}

/// What came back during one act.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Whether there is such a thing as an answer.
    pub has_answers: bool,
    /// Requests or messages.
    pub sent: u32,
    /// Messages of types that no queue is bound to.
    pub unwanted: u32,
    /// Requests that had to be made again.
    pub repeated: u32,
    pub slowest: Duration,
    pub untaken: Vec<Untaken>,
    pub believed: Vec<Forgery>,
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untaken {
    pub kind: String,
    /// The last answer, or why there was none.
    pub why: String,
    pub tries: u32,
}

impl Answers {
    /// Forged requests that were refused, in an act of nothing else.
    pub fn refused(&self) -> u32 {
        self.sent.saturating_sub(u32::try_from(self.believed.len()).unwrap_or(u32::MAX))
    }
}

impl Stage {
    /// Sends a first payment, where nothing else tells that somebody listens.
    pub async fn open(&self, play: &Play) -> Result<(), Error> {
        match self {
            Stage::Webhook(_) => Ok(()),
            Stage::Amqp(amqp) => amqp.begin(&play.first.1).await,
        }
    }

    /// Plays one act.
    pub async fn play(&self, act: &Act) -> Result<Answers, Error> {
        let mut answers = Answers { has_answers: self.has_answers(), ..Answers::default() };
        for step in &act.steps {
            match self {
                Stage::Webhook(webhook) => webhook.play(step, &mut answers).await?,
                Stage::Amqp(amqp) => {
                    for document in documents(step) {
                        if amqp.publish(document).await? {
                            answers.sent += 1;
                        } else {
                            answers.unwanted += 1;
                        }
                    }
                }
            }
        }
        Ok(answers)
    }

    /// Sends the last event, where nothing else tells when a subscriber has taken all.
    pub async fn close(&self, play: &Play) -> Result<(), Error> {
        match self {
            Stage::Webhook(_) => Ok(()),
            Stage::Amqp(amqp) => amqp.publish(&play.last.1).await.map(drop),
        }
    }

    /// Whether the subscriber tells by its answers what it took.
    pub fn has_answers(&self) -> bool {
        matches!(self, Stage::Webhook(_))
    }
}

impl Amqp {
    /// Waits until a queue takes a payment.
    async fn begin(&self, document: &Document) -> Result<(), Error> {
        let until = Instant::now() + self.patience;
        while let Err(error) = self.stage.perform(self.message(document)).await {
            match error {
                StageError::Unroutable(_) if Instant::now() < until => sleep(LOOK_PAUSE).await,
                error => return Err(Error::Failed(error.to_string())),
            }
        }
        Ok(())
    }

    /// Publishes one; whether a queue took it. A subscriber need not bind its queue to every type.
    async fn publish(&self, document: &Document) -> Result<bool, Error> {
        match self.stage.perform(self.message(document)).await {
            Ok(()) => Ok(true),
            Err(StageError::Unroutable(Place::Exchange(_) | Place::Rehearsal)) => Ok(false),
            Err(error) => Err(Error::Failed(error.to_string())),
        }
    }

    fn message<'m>(&'m self, document: &'m Document) -> Performed<'m> {
        let Document { id, kind, body } = document;
        Performed { id, kind, mch_id: self.mch_id.as_str(), body: body.as_bytes() }
    }
}

/// What a step comes to where there are neither requests nor signatures.
fn documents(step: &Step) -> &[Document] {
    match step {
        Step::Tell(document) | Step::Abandon(document) | Step::Rotate(document) => {
            std::slice::from_ref(document)
        }
        Step::Together(documents) | Step::Crowd(documents) => documents,
        Step::Forge(..) => &[],
    }
}
