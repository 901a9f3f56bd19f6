//! What can be asked about a tap: how much waits in its queues and is held by this process. It changes nothing.

use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{mpsc, oneshot, watch};

use crate::link::{LinkError, bounded};

/// How long it may take to count what waits in a queue.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks a tap and the broker.
#[derive(Clone)]
pub(crate) struct Gauge {
    pub(super) flow: watch::Receiver<Flow>,
    pub(super) ask: mpsc::Sender<oneshot::Sender<usize>>,
}

/// How a tap stands.
#[derive(Clone)]
pub(super) enum Flow {
    /// It consumes nothing.
    Dry,
    /// Some queues may be consumed already.
    Beginning,
    /// Those that are set aside are not among the queues.
    Flowing { channel: Channel, queues: Vec<String> },
}

impl Gauge {
    /// What waits in the queues and what this process holds. While it consumes nothing, `waiting` counts.
    pub async fn backlog<F: Future<Output = Result<u64, LinkError>>>(
        &self,
        waiting: impl Fn() -> F,
    ) -> Result<u64, LinkError> {
        let mut state = self.flow.clone();
        loop {
            let flow = state.borrow_and_update().clone();
            let counted = match flow {
                Flow::Flowing { channel, queues } => self.count(&channel, &queues).await?,
                Flow::Dry => Some(waiting().await?),
                Flow::Beginning => None,
            };
            // What was counted while consumers came or went may have been under way to one of them.
            match (counted, state.has_changed()) {
                (_, Err(_)) => return Err(LinkError::Closed),
                (Some(count), Ok(false)) => return Ok(count),
                (Some(_), Ok(true)) => {}
                (None, _) => state.changed().await.map_err(|_| LinkError::Closed)?,
            }
        }
    }

    /// Asks the broker, then the tap.
    async fn count(&self, channel: &Channel, queues: &[String]) -> Result<Option<u64>, LinkError> {
        let waiting = waiting(channel, queues).await?;
        // What the broker was delivering while it counted comes before its next answer on this channel.
        if let Some(queue) = queues.first() {
            messages(channel, queue).await?;
        }
        let (answer, answered) = oneshot::channel();
        self.ask.send(answer).await.map_err(|_| LinkError::Closed)?;
        let held = answered.await.ok();
        Ok(held.map(|held| waiting + u64::try_from(held).unwrap_or(u64::MAX)))
    }
}

/// Messages that wait in the queues.
pub(crate) async fn waiting(channel: &Channel, queues: &[String]) -> Result<u64, LinkError> {
    let counts = queues.iter().map(|queue| messages(channel, queue));
    Ok(futures_util::future::try_join_all(counts).await?.into_iter().sum())
}

pub(super) async fn messages(channel: &Channel, queue: &str) -> Result<u64, LinkError> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(bounded("count", COUNT_TIMEOUT, declared).await?.message_count().into())
}
