//! The one consumer at the end of the stream that a process keeps while somebody reads: it feeds the tail, and tells
//! readers what the end is at this moment.
//!
//! It takes up again where it was, after any interruption; where its newest entry is not at its place any more, the
//! log is another one or has lost its tail, and everything that was kept is forgotten. Silence proves no emptiness: a
//! broker may be slow to begin, and a log that was taken for empty would be one in which nothing was ever told. So the
//! follower of an empty log has a mark written, and knows the end when that has come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::Cursor;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::mark::Marks;
use super::reading::{Reading, Start};
use super::tail::Tail;
use crate::link::{Link, LinkError, Session};

/// Deliveries ahead of us. The broker reads so many before it sends the first, one by one where they were written so,
/// and answers nothing meanwhile.
const PREFETCH: u16 = 128;

/// Rounds in which one question catches up with what was there; where entries come faster than that, the answer is what
/// is here by then.
const CATCH_UP_ROUNDS: u32 = 8;

/// How long an entry that is there may take.
const FIRST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a log may be silent at first until a mark is written into it, and how long a mark may take.
const SILENT_MAX: Duration = Duration::from_millis(100);
const MARK_TIMEOUT: Duration = Duration::from_secs(5);

/// After so long at most, what came is acknowledged: the broker ends a channel that leaves it open for half an hour.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Between two attempts to follow.
const RETRY_GAP: Duration = Duration::from_millis(300);

/// A reader that wants to know the end; who gave up is not answered.
pub(super) type Asker = oneshot::Sender<Cursor>;

pub(super) struct Follower {
    pub link: Link,
    pub stream: String,
    pub tail: Arc<Tail>,
    pub askers: mpsc::Receiver<Asker>,
    pub marks: Marks,
}

impl Follower {
    /// Follows for ever. Unless that begins at once, it begins with the first question: a process in which nobody
    /// reads is sent nothing.
    pub async fn run(mut self, at_once: bool) {
        let mut unanswered = None;
        if !at_once {
            unanswered = self.askers.recv().await;
        }
        loop {
            let session = self.link.up().await;
            let Err(cause) = self.follow(&session, &mut unanswered).await;
            if !session.has_ended() {
                tracing::warn!(%cause, "the end of the event log is lost from sight: {cause}");
                self.link.broken(&session, cause);
                sleep(RETRY_GAP).await;
            }
        }
    }

    /// Feeds the tail as long as the connection stands.
    async fn follow(
        &mut self,
        session: &Session,
        unanswered: &mut Option<Asker>,
    ) -> Result<Infallible, LinkError> {
        let mut reading = self.attach(session).await?;
        if let Some(asker) = unanswered.take() {
            self.answer(&mut reading, asker).await?;
        }
        let mut acknowledging = interval(ACKNOWLEDGED_WITHIN);
        acknowledging.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tail.publish();
            tokio::select! {
                entry = reading.next() => {
                    self.tail.push(entry?);
                    self.drain(&mut reading).await?;
                }
                _ = acknowledging.tick() => reading.fence().await?,
                Some(asker) = self.askers.recv() => self.answer(&mut reading, asker).await?,
            }
        }
    }

    /// Tells the end to one who asks, and to all who ask by now.
    async fn answer(&mut self, reading: &mut Reading, asker: Asker) -> Result<(), LinkError> {
        let mut askers = vec![asker];
        while let Ok(asker) = self.askers.try_recv() {
            askers.push(asker);
        }
        self.catch_up(reading).await?;
        let end = self.tail.publish();
        for asker in askers {
            // Who asked may have given up.
            let _ = asker.send(end);
        }
        Ok(())
    }

    /// A consumer at the end, everything before it in the tail.
    async fn attach(&self, session: &Session) -> Result<Reading, LinkError> {
        if let Some((offset, newest)) = self.tail.newest() {
            let mut reading = Reading::open(session, &self.stream, Start::Offset(offset), PREFETCH).await?;
            let first = timeout(FIRST_TIMEOUT, reading.next()).await.ok().transpose()?;
            if first.is_some_and(|first| first.cursor() == newest) {
                self.catch_up(&mut reading).await?;
                return Ok(reading);
            }
            tracing::warn!(offset, "the event log does not hold what it held at {offset}: it is read anew");
            self.tail.forget();
        }
        let mut reading = Reading::open(session, &self.stream, Start::Last, PREFETCH).await?;
        let first = match timeout(SILENT_MAX, reading.next()).await {
            Ok(first) => first?,
            Err(_) => {
                self.marks.ask();
                let late = LinkError::Timeout { what: "find the end of the event log", limit: MARK_TIMEOUT };
                timeout(MARK_TIMEOUT, reading.next()).await.map_err(|_| late)??
            }
        };
        self.tail.push(first);
        self.catch_up(&mut reading).await?;
        Ok(reading)
    }

    /// Takes what was there when this was called.
    async fn catch_up(&self, reading: &mut Reading) -> Result<(), LinkError> {
        for _ in 0..CATCH_UP_ROUNDS {
            reading.fence().await?;
            let entries = self.drain(reading).await?;
            self.tail.publish();
            // A whole prefetch at once may have hidden more behind it.
            if entries < usize::from(PREFETCH) {
                break;
            }
        }
        Ok(())
    }

    async fn drain(&self, reading: &mut Reading) -> Result<usize, LinkError> {
        let mut entries = 0;
        while let Some(entry) = reading.ready().await? {
            self.tail.push(entry);
            entries += 1;
        }
        Ok(entries)
    }
}
