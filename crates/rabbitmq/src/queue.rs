//! The check queue's publishing side: a check goes to the partition of its order, in the queue of its lane, or to the next
//! one while that one does not store. What one refused is given to the next at once, while the publisher still waits.
//!
//! Which partition that is depends on how many are configured, so two processes may disagree while the number changes;
//! that does no harm, because workers consume every partition there is.

mod partitions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lapin::{BasicProperties, Channel};
use paybell_core::check::{Check, Lane};
use paybell_core::ports::{CheckQueue, PortError};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::consume::{PART, waiting};
use crate::link::LinkError;
use crate::publisher::{Message, PUBLISH_TIMEOUT, Publisher, Stored, all};
use crate::source::Source;
use crate::topology::names;
use partitions::{Partitions, Route};

/// How long counting a backlog may take.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(2);

/// How often one check is given to the broker before its publisher hears that it is not stored. One of three nodes may
/// have led several partitions; the first refusals tell which.
const ATTEMPTS_MAX: u32 = 3;

/// The queue of one process.
pub(crate) struct Queue {
    urgent: Arc<LaneQueue>,
    cadence: Arc<LaneQueue>,
    /// Trials are awaited by nobody but whoever closes the engine.
    tasks: TaskTracker,
    /// Present where this process consumes: it knows what is in hand.
    source: Option<Arc<Source>>,
}

/// One lane of it.
struct LaneQueue {
    publisher: Arc<Publisher>,
    partitions: Partitions,
    /// The publisher's channel for the first partition; each has its own.
    first_slot: usize,
    /// The channel on which it was counted last.
    counted_on: Mutex<Option<Channel>>,
}

impl Queue {
    /// Channels that publishing checks takes; handing on takes one more.
    pub fn slots(settings: &Settings) -> usize {
        usize::from(settings.shape.partitions) * Lane::ALL.len()
    }

    pub fn new(settings: &Settings, publisher: Arc<Publisher>, source: Option<Arc<Source>>) -> Self {
        let (prefix, partitions) = (settings.shape.prefix.as_str(), settings.shape.partitions);
        let lane = |lane, first_slot| {
            let names = (0..partitions).map(|number| names::lane(prefix, lane, number)).collect();
            let (publisher, partitions) = (publisher.clone(), Partitions::new(names));
            Arc::new(LaneQueue { publisher, partitions, first_slot, counted_on: Mutex::default() })
        };
        let (urgent, cadence) = (lane(Lane::Urgent, 0), lane(Lane::Cadence, usize::from(partitions)));
        Self { urgent, cadence, tasks: settings.tasks.clone(), source }
    }

    fn lane(&self, lane: Lane) -> &Arc<LaneQueue> {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Cadence => &self.cadence,
        }
    }

    /// Stores a check in one queue or another before its deadline. It may come to lie in two: where a partition is tried
    /// with a copy, or the connection ended under a publish that was stored. That does no harm, because a check only asks
    /// to look at its order: the second of them finds the order leased, or seen, or its claim stale, and is done.
    async fn store(&self, check: &Check) -> Stored {
        let (lane, body) = (self.lane(check.lane()), check.to_json());
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        let mut attempts = 0;
        loop {
            let Route { to, trial } = lane.partitions.route(&check.key);
            if let Some(partition) = trial {
                let (lane, properties, body) = (lane.clone(), properties(check), body.clone());
                self.tasks
                    .spawn(async move { drop(lane.give(partition, properties, &body, deadline).await) });
            }
            let stored = lane.give(to, properties(check), &body, deadline).await;
            attempts += 1;
            match stored {
                Err(error) if attempts < ATTEMPTS_MAX && error.is_for_another_attempt() => {
                    tracing::debug!(error = %error, "a check is given to the broker again: {error}");
                }
                stored => return stored,
            }
        }
    }

    async fn counted(&self, lane: Lane) -> Result<u64, LinkError> {
        match &self.source {
            Some(source) => source.backlog(lane, || self.lane(lane).waiting()).await,
            None => self.lane(lane).waiting().await,
        }
    }
}

impl LaneQueue {
    /// Publishes to one partition, which hears what became of it.
    async fn give(
        &self,
        partition: usize,
        properties: BasicProperties,
        body: &[u8],
        deadline: Instant,
    ) -> Stored {
        let (queue, slot) = (self.partitions.name(partition), self.first_slot + partition);
        let stored = self.publisher.publish_by(deadline, Message { queue, slot, properties, body }).await;
        self.partitions.tell(partition, &stored);
        stored
    }

    /// Counted on the connection that publishes; what is in some worker's hand is not known here. The channel is kept:
    /// a scheduler counts many times a second.
    async fn waiting(&self) -> Result<u64, LinkError> {
        let session = self.publisher.link().session()?;
        let kept = self.kept_channel().take().filter(|channel| channel.status().connected());
        let channel = match kept {
            Some(channel) => channel,
            None => session.channel().await?,
        };
        let count = waiting(&channel, self.partitions.names()).await?;
        // One that failed, or was too slow, is not counted on again.
        *self.kept_channel() = Some(channel);
        Ok(count)
    }

    fn kept_channel(&self) -> MutexGuard<'_, Option<Channel>> {
        self.counted_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckQueue for Queue {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        let stored = match checks {
            [check] => self.store(check).await,
            checks => {
                let mut publishes: Vec<BoxFuture<'_, Stored>> = Vec::with_capacity(checks.len());
                for check in checks {
                    publishes.push(Box::pin(self.store(check)));
                }
                all(publishes).await
            }
        };
        stored.map_err(|error| error.unavailable(PART))
    }

    async fn backlog(&self, lane: Lane) -> Result<u64, PortError> {
        let late = LinkError::Timeout { what: "count the backlog", limit: BACKLOG_TIMEOUT };
        let counted = timeout(BACKLOG_TIMEOUT, self.counted(lane)).await.unwrap_or(Err(late));
        counted.map_err(|error| error.unavailable(PART))
    }
}

/// For people who look into a queue; we read the body only.
fn properties(check: &Check) -> BasicProperties {
    let (mch_id, out_trade_no) = (check.key.mch_id.as_str(), check.key.out_trade_no.as_str());
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id([mch_id, out_trade_no].join(":").into())
}
