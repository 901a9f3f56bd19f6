//! Consumers on a set of queues, for ever: one channel, the prefetch set before anything is consumed, everything begun
//! anew when anything ends. It reads what comes and puts it on the tray; it acknowledges nothing by itself but what is
//! no content and was written down.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered, SelectAll, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use paybell_core::check::Lane;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::strangers::{Reading, Strangers};
use super::tray::{Receipt, Tray};
use crate::config::PARTITIONS_MAX;
use crate::link::{Link, LinkError, Session, bounded};
use crate::topology::names;

/// How long the broker may take for one step of beginning to consume.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take to count what waits in a queue.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where there is one queue for ever, there is nothing to look for.
const ONE_QUEUE_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Partitions in a row that may be missing when a connection begins. Asking for one that is not there leaves a line in
/// the broker's log, so later looks end at the first.
const GAP_MAX: u16 = 4;

/// Questions that wait for an answer.
const ASKERS_MAX: usize = 64;

/// What a tap consumes.
pub(crate) enum Queues {
    One(String),
    /// Every partition of a lane: the configured ones, and higher ones of a process that is configured otherwise, which
    /// are looked for now and then.
    Lane {
        prefix: String,
        lane: Lane,
        configured: u16,
        look_pause: Duration,
    },
}

/// Keeps consumers on queues.
pub(crate) struct Tap<T> {
    link: Link,
    queues: Queues,
    /// Deliveries without an acknowledgement at once, all queues together.
    prefetch: u16,
    read: fn(&Delivery) -> Reading<T>,
    tray: Arc<Tray<T>>,
    strangers: Arc<Strangers>,
    flow: watch::Sender<Flow>,
    asked: mpsc::Receiver<oneshot::Sender<usize>>,
}

/// What can be asked about a tap.
#[derive(Clone)]
pub(crate) struct Gauge {
    flow: watch::Receiver<Flow>,
    ask: mpsc::Sender<oneshot::Sender<usize>>,
}

/// How a tap stands.
#[derive(Clone)]
enum Flow {
    /// It consumes nothing.
    Dry,
    /// Some queues may be consumed already.
    Beginning,
    Flowing {
        channel: Channel,
        queues: Vec<String>,
    },
}

/// A delivery, or `None` when a consumer ended; with its queue.
type Stream = SelectAll<BoxStream<'static, (Arc<str>, Option<Result<Delivery, lapin::Error>>)>>;

/// Why a tap begins anew.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the consumer of {0} was cancelled")]
    Cancelled(Arc<str>),
    #[error("the consumer of {queue} failed: {cause}")]
    Consumer { queue: Arc<str>, cause: lapin::Error },
}

impl<T: Send + 'static> Tap<T> {
    pub fn new(
        link: Link,
        queues: Queues,
        prefetch: u16,
        read: fn(&Delivery) -> Reading<T>,
        strangers: Arc<Strangers>,
    ) -> (Self, Arc<Tray<T>>, Gauge) {
        let tray = Arc::new(Tray::new(link.clone()));
        let (flow, flowing) = watch::channel(Flow::Dry);
        let (ask, asked) = mpsc::channel(ASKERS_MAX);
        let tap = Self { link, queues, prefetch, read, tray: tray.clone(), strangers, flow, asked };
        (tap, tray, Gauge { flow: flowing, ask })
    }

    /// Never returns.
    pub async fn run(mut self) {
        loop {
            let session = self.link.up().await;
            let interrupted = tokio::select! {
                () = session.ended() => None,
                interrupted = self.flow(&session) => interrupted.err(),
            };
            self.flow.send_replace(Flow::Dry);
            // What was delivered is the broker's again.
            self.tray.begin();
            if let Some(cause) = interrupted {
                self.link.broken(&session, cause);
            }
        }
    }

    async fn flow(&mut self, session: &Session) -> Result<(), Interruption> {
        let mut queues = self.queues.existing(session, GAP_MAX).await?;
        let channel = session.channel().await?;
        let epoch = self.tray.begin();
        self.flow.send_replace(Flow::Beginning);
        let mut deliveries = Stream::new();
        self.consume(&channel, &queues, queues.len(), &mut deliveries).await?;
        self.flow.send_replace(Flow::Flowing { channel: channel.clone(), queues: queues.clone() });
        let mut disposals: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut look = interval(self.queues.look_pause());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        loop {
            tokio::select! {
                biased;
                // First, so that an answer counts all that came before the question.
                Some((queue, delivery)) = deliveries.next() => {
                    let delivery = match delivery {
                        Some(Ok(delivery)) => delivery,
                        Some(Err(cause)) => return Err(Interruption::Consumer { queue, cause }),
                        None => return Err(Interruption::Cancelled(queue)),
                    };
                    disposals.extend(self.came(queue, delivery, session, epoch));
                }
                Some(()) = disposals.next() => {}
                Some(answer) = self.asked.recv() => drop(answer.send(self.tray.held())),
                _ = look.tick() => {
                    let existing = self.queues.existing(session, 0).await?;
                    let new: Vec<_> = existing.into_iter().filter(|queue| !queues.contains(queue)).collect();
                    if !new.is_empty() {
                        self.consume(&channel, &new, queues.len() + new.len(), &mut deliveries).await?;
                        queues.extend(new);
                        self.flow.send_replace(Flow::Flowing { channel: channel.clone(), queues: queues.clone() });
                    }
                }
            }
        }
    }

    /// Begins to consume queues; the prefetch is per consumer, and so each gets its share.
    async fn consume(
        &self,
        channel: &Channel,
        queues: &[String],
        consumers: usize,
        deliveries: &mut Stream,
    ) -> Result<(), LinkError> {
        let consumers = u16::try_from(consumers).unwrap_or(u16::MAX).max(1);
        let share = self.prefetch.div_ceil(consumers);
        bounded("qos", STEP_TIMEOUT, channel.basic_qos(share, BasicQosOptions::default())).await?;
        for queue in queues {
            let options = BasicConsumeOptions::default();
            let consuming =
                channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
            let consumer = bounded("consume", STEP_TIMEOUT, consuming).await?;
            let queue: Arc<str> = queue.as_str().into();
            let ended = stream::once(std::future::ready(None));
            deliveries.push(consumer.map(Some).chain(ended).map(move |item| (queue.clone(), item)).boxed());
        }
        Ok(())
    }

    /// Sorts a delivery; gives the future that disposes of it, if it is no content.
    fn came(
        &self,
        queue: Arc<str>,
        mut delivery: Delivery,
        session: &Session,
        epoch: u64,
    ) -> Option<BoxFuture<'static, ()>> {
        self.tray.came();
        let reading = (self.read)(&delivery);
        let receipt = Receipt { acker: delivery.acker.clone(), session: session.clone(), epoch };
        match reading {
            Reading::Content(content) => {
                self.tray.put(content, receipt);
                None
            }
            stranger => {
                let (tray, strangers) = (self.tray.clone(), self.strangers.clone());
                let (body, properties) = (std::mem::take(&mut delivery.data), delivery.properties);
                Some(Box::pin(async move {
                    strangers.dispose(stranger, &queue, properties, &body).await;
                    tray.acknowledge(receipt).await;
                }))
            }
        }
    }
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

impl Queues {
    fn look_pause(&self) -> Duration {
        match self {
            Queues::One(_) => ONE_QUEUE_PAUSE,
            Queues::Lane { look_pause, .. } => *look_pause,
        }
    }

    /// Those that are there.
    async fn existing(&self, session: &Session, gap_max: u16) -> Result<Vec<String>, LinkError> {
        let (prefix, lane, configured) = match self {
            Queues::One(queue) => return Ok(vec![queue.clone()]),
            Queues::Lane { prefix, lane, configured, .. } => (prefix, *lane, *configured),
        };
        let mut queues: Vec<_> = (0..configured).map(|number| names::lane(prefix, lane, number)).collect();
        let (mut number, mut gap) = (configured, 0);
        let mut channel = session.channel().await?;
        while number < PARTITIONS_MAX && gap <= gap_max {
            let queue = names::lane(prefix, lane, number);
            match messages(&channel, &queue).await {
                Ok(_) => {
                    gap = 0;
                    queues.push(queue);
                }
                Err(error) if is_missing(&error) => {
                    gap += 1;
                    // The broker closed the channel with its answer.
                    channel = session.channel().await?;
                }
                Err(error) => return Err(error),
            }
            number += 1;
        }
        Ok(queues)
    }
}

/// Messages that wait in the queues.
pub(crate) async fn waiting(channel: &Channel, queues: &[String]) -> Result<u64, LinkError> {
    let counts = queues.iter().map(|queue| messages(channel, queue));
    Ok(futures_util::future::try_join_all(counts).await?.into_iter().sum())
}

async fn messages(channel: &Channel, queue: &str) -> Result<u64, LinkError> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(bounded("count", COUNT_TIMEOUT, declared).await?.message_count().into())
}

fn is_missing(error: &LinkError) -> bool {
    const NOT_FOUND: u16 = 404;
    match error {
        LinkError::Amqp { cause, .. } => {
            matches!(cause.kind(), ErrorKind::ProtocolError(told) if told.get_id() == NOT_FOUND)
        }
        _ => false,
    }
}
