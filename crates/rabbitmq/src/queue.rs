//! The check queue's publishing side: a check goes to the partition of its order, in the queue of its lane, or to the next
//! one while that one does not store.
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
use tokio::time::timeout;

use crate::config::Settings;
use crate::consume::{PART, waiting};
use crate::link::LinkError;
use crate::publisher::{Message, Publisher, Stored, all};
use crate::source::Source;
use crate::topology::names;
use partitions::Partitions;

/// How long counting a backlog may take.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(2);

/// The queue of one process.
pub(crate) struct Queue {
    publisher: Arc<Publisher>,
    urgent: Partitions,
    cadence: Partitions,
    /// Channels on which the lanes were counted last.
    urgent_count: Mutex<Option<Channel>>,
    cadence_count: Mutex<Option<Channel>>,
    /// Present where this process consumes: it knows what is in hand.
    source: Option<Arc<Source>>,
}

impl Queue {
    /// Channels that publishing checks takes; handing on takes one more.
    pub fn slots(settings: &Settings) -> usize {
        usize::from(settings.shape.partitions) * Lane::ALL.len()
    }

    pub fn new(settings: &Settings, publisher: Arc<Publisher>, source: Option<Arc<Source>>) -> Self {
        let (prefix, partitions) = (settings.shape.prefix.as_str(), settings.shape.partitions);
        let names =
            |lane| Partitions::new((0..partitions).map(|number| names::lane(prefix, lane, number)).collect());
        Self {
            publisher,
            urgent: names(Lane::Urgent),
            cadence: names(Lane::Cadence),
            urgent_count: Mutex::default(),
            cadence_count: Mutex::default(),
            source,
        }
    }

    fn partitions(&self, lane: Lane) -> &Partitions {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Cadence => &self.cadence,
        }
    }

    async fn store(&self, check: &Check) -> Stored {
        let (queues, first_slot) = match check.lane() {
            Lane::Urgent => (&self.urgent, 0),
            Lane::Cadence => (&self.cadence, self.urgent.names().len()),
        };
        let partition = queues.of(&check.key);
        let message = Message {
            queue: queues.name(partition),
            slot: first_slot + partition,
            properties: properties(check),
            body: &check.to_json(),
        };
        let stored = self.publisher.publish(message).await;
        queues.tell(partition, &stored);
        stored
    }

    /// Counted on the connection that publishes; what is in some worker's hand is not known here. The channel is kept:
    /// a scheduler counts many times a second.
    async fn waiting(&self, lane: Lane) -> Result<u64, LinkError> {
        let session = self.publisher.link().session()?;
        let kept = self.kept_channel(lane).take().filter(|channel| channel.status().connected());
        let channel = match kept {
            Some(channel) => channel,
            None => session.channel().await?,
        };
        let count = waiting(&channel, self.partitions(lane).names()).await?;
        // One that failed, or was too slow, is not counted on again.
        *self.kept_channel(lane) = Some(channel);
        Ok(count)
    }

    fn kept_channel(&self, lane: Lane) -> MutexGuard<'_, Option<Channel>> {
        let kept = match lane {
            Lane::Urgent => &self.urgent_count,
            Lane::Cadence => &self.cadence_count,
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn counted(&self, lane: Lane) -> Result<u64, LinkError> {
        match &self.source {
            Some(source) => source.backlog(lane, || self.waiting(lane)).await,
            None => self.waiting(lane).await,
        }
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
