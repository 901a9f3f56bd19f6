//! The check queue's publishing side: a check goes to the partition of its order, in the queue of its lane.
//!
//! Which partition that is depends on how many are configured, so two processes may disagree while the number changes;
//! that does no harm, because workers consume every partition there is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lapin::BasicProperties;
use paybell_core::check::{Check, Lane};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{CheckQueue, PortError};
use tokio::time::timeout;

use crate::config::Settings;
use crate::consume::{PART, waiting};
use crate::link::LinkError;
use crate::publisher::{Message, Publisher, Stored, all};
use crate::source::Source;
use crate::topology::names;

/// How long counting a backlog may take.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(2);

/// The queue of one process.
pub(crate) struct Queue {
    publisher: Arc<Publisher>,
    urgent: Vec<String>,
    cadence: Vec<String>,
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
        let names = |lane| (0..partitions).map(|number| names::lane(prefix, lane, number)).collect();
        Self { publisher, urgent: names(Lane::Urgent), cadence: names(Lane::Cadence), source }
    }

    fn queues(&self, lane: Lane) -> &[String] {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Cadence => &self.cadence,
        }
    }

    async fn store(&self, check: &Check) -> Result<(), LinkError> {
        let lane = check.lane();
        let (queues, offset) = match lane {
            Lane::Urgent => (&self.urgent, 0),
            Lane::Cadence => (&self.cadence, self.urgent.len()),
        };
        let partition = partition(&check.key, queues.len());
        let queue = queues.get(partition).map(String::as_str).unwrap_or_default();
        let message = Message {
            queue,
            slot: offset + partition,
            properties: properties(check),
            body: &check.to_json(),
        };
        self.publisher.publish(message).await
    }

    /// Counted on the connection that publishes; what is in some worker's hand is not known here.
    async fn waiting(&self, lane: Lane) -> Result<u64, LinkError> {
        let session = self.publisher.link().session()?;
        let channel = session.channel().await?;
        waiting(&channel, self.queues(lane)).await
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

/// The same in every process and for ever: FNV-1a over the order's two numbers.
fn partition(key: &OrderKey, partitions: usize) -> usize {
    let bytes = key.mch_id.as_str().bytes().chain([b'\n']).chain(key.out_trade_no.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The low bits of FNV are weak where texts differ in their last characters only.
    let mixed = hash ^ (hash >> 32);
    let partitions = u64::try_from(partitions).unwrap_or(1).max(1);
    usize::try_from(mixed % partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_never_moves_and_partitions_are_even() {
        let key = |number: usize| OrderKey::new("1900000109", format!("T20261120{number:08}")).unwrap();
        assert_eq!([1, 2, 3, 4].map(|number| partition(&key(number), 4)), [3, 2, 1, 0], "written down");
        for partitions in [2, 4, 7] {
            let mut counts = vec![0_usize; partitions];
            (0..10_000).for_each(|number| counts[partition(&key(number), partitions)] += 1);
            let fair = 10_000 / partitions;
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 10), "{counts:?}");
        }
    }
}
