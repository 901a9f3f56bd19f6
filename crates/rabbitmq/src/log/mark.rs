//! How far the log reaches, whatever our own node's copy of it says: a mark is written into it, and met again.
//!
//! A stream tells a reader where the copy of one node ends, and nothing of the others. What was confirmed before a mark
//! was written lies before it; so who has met a mark has met all of it, and a place beyond the mark that was known
//! before is no place of this log. A mark is no event, and shown to nobody. It is written only while somebody asks for a
//! place that stays beyond the end, or follows a log from which nothing comes; and on a connection of its own: a broker
//! that takes nothing would hold that up.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::entry::{MARK_TYPE, mark_id};
use super::tail::Tail;
use crate::config::Settings;
use crate::link::{LinkError, bounded, once};

/// Between two marks: so many are written at most, whoever asks for whatever.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the broker may take for one step of writing it.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a mark may take to come to us, before another one is written.
const MET_TIMEOUT: Duration = Duration::from_secs(5);

/// A mark that came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Met {
    /// All that was confirmed before this moment lies before the mark.
    pub begun: Instant,
    pub position: u64,
}

/// Where marks are asked for, and told of.
#[derive(Clone)]
pub(super) struct Marks {
    ask: mpsc::Sender<()>,
    met: watch::Receiver<Option<Met>>,
}

/// Writes them.
pub(super) struct Marker {
    pub settings: Arc<Settings>,
    pub stream: String,
    pub tail: Arc<Tail>,
}

impl Marks {
    /// Marks, and their two other ends.
    pub fn new() -> (Self, mpsc::Receiver<()>, watch::Sender<Option<Met>>) {
        let ((ask, asked), (told, met)) = (mpsc::channel(1), watch::channel(None));
        (Self { ask, met }, asked, told)
    }

    /// Has a mark written that begins after this moment.
    pub fn ask(&self) {
        // One that is asked for already has not begun.
        let _ = self.ask.try_send(());
    }

    /// The newest mark that came to us.
    pub fn met(&self) -> watch::Receiver<Option<Met>> {
        self.met.clone()
    }
}

impl Marker {
    /// Writes a mark whenever one is asked for, for ever.
    pub async fn run(self, mut asked: mpsc::Receiver<()>, told: watch::Sender<Option<Met>>) {
        let mut said = None;
        while asked.recv().await.is_some() {
            let begun = Instant::now();
            match self.write_and_meet().await {
                Ok(position) => {
                    told.send_replace(Some(Met { begun, position }));
                    said = None;
                }
                Err(error) => {
                    let cause = error.to_string();
                    if said.as_ref() != Some(&cause) {
                        tracing::warn!(cause, "nobody can tell how far the event log reaches: {cause}");
                        said = Some(cause);
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// The mark's place, once it came to us as all entries do.
    async fn write_and_meet(&self) -> Result<u64, LinkError> {
        let body = body();
        self.write(&body).await?;
        let (id, mut end) = (mark_id(&body), self.tail.watch());
        let place = || self.tail.position_of(id);
        let met = timeout(MET_TIMEOUT, end.wait_for(|_| place().is_some())).await;
        let is_met = met.is_ok_and(|met| met.is_ok());
        place().filter(|_| is_met).ok_or(LinkError::Timeout { what: "meet a mark", limit: MET_TIMEOUT })
    }

    async fn write(&self, body: &[u8]) -> Result<(), LinkError> {
        let session = once(&self.settings, "mark").await?;
        let channel = session.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        bounded("confirm.select", STEP_TIMEOUT, confirming).await?;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_type(MARK_TYPE.into()).with_delivery_mode(2);
        let written = async {
            channel
                .basic_publish("".into(), self.stream.as_str().into(), options, body, properties)
                .await?
                .await
        };
        let confirmation = bounded("write a mark", STEP_TIMEOUT, written).await?;
        session.close("the mark is written".into()).await;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(LinkError::Unroutable(self.stream.clone())),
            Confirmation::Nack(_) => Err(LinkError::Refused(self.stream.clone())),
            Confirmation::NotRequested => Err(LinkError::Unconfirmed),
        }
    }
}

/// Bytes that no other mark has. Nothing rests on nobody's guessing them.
fn body() -> Vec<u8> {
    let [one, other] = [0_u8, 1].map(|half| u128::from(RandomState::new().hash_one(half)));
    format!("paybell mark {}", Uuid::from_u128(one << 64 | other)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_marks_are_alike() {
        let [one, other] = [body(), body()];
        assert_ne!(mark_id(&one), mark_id(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_have_one_mark_written() {
        let (marks, mut asked, _told) = Marks::new();
        for _ in 0..100 {
            marks.ask();
        }
        assert_eq!((asked.recv().await, asked.try_recv().ok()), (Some(()), None));
        marks.ask();
        assert_eq!(asked.try_recv(), Ok(()), "one that has begun is no answer to who asks now");
    }
}
