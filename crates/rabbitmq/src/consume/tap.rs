//! Consumers on a set of queues, for ever: one channel, the prefetch set before anything is consumed, everything begun
//! anew when anything ends; a queue for which it ended is left out until a trial of it succeeds. It reads what comes and puts it on the tray; it acknowledges nothing by itself but what is
//! no content and was written down.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered, SelectAll, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicNackOptions};
use lapin::types::ShortString;
use lapin::{Acker, Channel};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::Consuming;
use super::begin::{begin, is_queues_fault};
use super::gauge::{Flow, Gauge};
use super::queues::Queues;
use super::strangers::Reading;
use super::tray::{Receipt, Tray};
use super::trial::{Verdict, trial};
use crate::link::{LinkError, Session, bounded};

/// Partitions in a row that may be missing when a connection begins. Asking for one that is not there leaves a line in
/// the broker's log, so later looks end at the first.
const GAP_MAX: u16 = 4;

/// How long the broker may take to end a consumer.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Questions that wait for an answer.
const ASKERS_MAX: usize = 64;

/// Keeps consumers on queues.
pub(crate) struct Tap<T> {
    shared: Consuming,
    queues: Queues,
    /// Deliveries without an acknowledgement at once, all queues together.
    prefetch: u16,
    read: fn(&Delivery) -> Reading<T>,
    tray: Arc<Tray<T>>,
    flow: watch::Sender<Flow>,
    asked: mpsc::Receiver<oneshot::Sender<usize>>,
}

/// What a tap consumes over one connection.
struct Flowing<'s> {
    session: &'s Session,
    channel: Channel,
    /// Those that are consumed.
    queues: Vec<String>,
    /// Of their consumers.
    tags: Vec<ShortString>,
    deliveries: Stream,
    /// Of the queues that are set aside.
    trials: FuturesUnordered<BoxFuture<'static, (String, Verdict)>>,
}

/// A delivery, or `None` when a consumer ended; with its queue.
type Stream = SelectAll<BoxStream<'static, (Arc<str>, Option<Result<Delivery, lapin::Error>>)>>;

/// Why a tap begins anew.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("queue {0} is missing")]
    Missing(String),
    #[error("the consumer of {0} was cancelled")]
    Cancelled(Arc<str>),
    #[error("the consumer of {queue} failed: {cause}")]
    Consumer { queue: Arc<str>, cause: lapin::Error },
}

impl<T: Send + 'static> Tap<T> {
    pub fn new(
        shared: &Consuming,
        queues: Queues,
        prefetch: u16,
        read: fn(&Delivery) -> Reading<T>,
    ) -> (Self, Arc<Tray<T>>, Gauge) {
        let tray = Arc::new(Tray::new(shared.link.clone()));
        let (flow, flowing) = watch::channel(Flow::Dry);
        let (ask, asked) = mpsc::channel(ASKERS_MAX);
        let tap = Self { shared: shared.clone(), queues, prefetch, read, tray: tray.clone(), flow, asked };
        (tap, tray, Gauge { flow: flowing, ask })
    }

    /// Returns only once it was stopped, and the connection has ended.
    pub async fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            let session = self.shared.link.up().await;
            let interrupted = self.flow(&session).await.err();
            self.flow.send_replace(Flow::Dry);
            // What was delivered is the broker's again.
            self.tray.begin();
            if let Some(cause) = interrupted {
                self.shared.link.broken(&session, cause);
            }
        }
    }

    /// Consumes until the connection ends or has to.
    async fn flow(&mut self, session: &Session) -> Result<(), Interruption> {
        let (epoch, mut flowing) = self.begin(session).await?;
        let mut disposals: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut look = interval(self.queues.look_pause());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        loop {
            tokio::select! {
                biased;
                () = session.ended() => return Ok(()),
                () = self.shared.stop.cancelled() => return self.wind_down(flowing).await,
                // Before questions, so that an answer counts all that came before them.
                Some((queue, delivery)) = flowing.deliveries.next() => {
                    let delivery = match delivery {
                        Some(Ok(delivery)) => delivery,
                        Some(Err(cause)) => return Err(Interruption::Consumer { queue, cause }),
                        None => return Err(Interruption::Cancelled(queue)),
                    };
                    disposals.extend(self.came(queue, delivery, session, epoch));
                }
                Some(()) = disposals.next() => {}
                Some(answer) = self.asked.recv() => drop(answer.send(self.tray.held())),
                Some((queue, verdict)) = flowing.trials.next() => self.tried(&mut flowing, queue, verdict).await?,
                _ = look.tick() => {
                    let mut new = self.queues.existing(session, 0).await?;
                    new.retain(|queue| !flowing.queues.contains(queue) && !self.shared.aside.has(queue));
                    self.consume(&mut flowing, new).await?;
                }
            }
        }
    }

    /// Consumes all that is there, but for what is set aside: that is tried.
    async fn begin<'s>(&self, session: &'s Session) -> Result<(u64, Flowing<'s>), Interruption> {
        let existing = self.queues.existing(session, GAP_MAX).await?;
        let channel = session.channel().await?;
        let epoch = self.tray.begin();
        self.flow.send_replace(Flow::Beginning);
        let (aside, fit): (Vec<_>, Vec<_>) =
            existing.into_iter().partition(|queue| self.shared.aside.has(queue));
        let trials = aside.into_iter().map(|queue| trial(self.shared.clone(), queue)).collect();
        let (queues, tags, deliveries) = (Vec::new(), Vec::new(), Stream::new());
        let mut flowing = Flowing { session, channel, queues, tags, deliveries, trials };
        self.consume(&mut flowing, fit).await?;
        Ok((epoch, flowing))
    }

    /// Ends the consumers, then gives back what came and nobody took, and whatever is put back later. The channel stays
    /// open until the connection ends: what is in somebody's hand is acknowledged on it.
    async fn wind_down(&self, mut flowing: Flowing<'_>) -> Result<(), Interruption> {
        // What this process holds is not counted any more.
        self.flow.send_replace(Flow::Dry);
        for tag in &flowing.tags {
            let ended = flowing.channel.basic_cancel(tag.clone(), BasicCancelOptions::default());
            bounded("stop consuming", CANCEL_TIMEOUT, ended).await?;
        }
        // The broker's word that a consumer has ended comes after all that it delivered.
        while let Some(Some((_, delivery))) = flowing.deliveries.next().now_or_never() {
            if let Some(Ok(delivery)) = delivery {
                give_back(&delivery.acker).await?;
            }
        }
        loop {
            for acker in self.tray.untaken() {
                give_back(&acker).await?;
            }
            tokio::select! {
                () = flowing.session.ended() => return Ok(()),
                () = self.tray.put_back_or_arrived() => {}
            }
        }
    }

    /// A queue that was set aside can be consumed, or is gone.
    async fn tried(
        &self,
        flowing: &mut Flowing<'_>,
        queue: String,
        verdict: Verdict,
    ) -> Result<(), Interruption> {
        if verdict == Verdict::Missing {
            self.shared.aside.forget(&queue);
            return Err(Interruption::Missing(queue));
        }
        self.consume(flowing, vec![queue.clone()]).await?;
        self.shared.aside.take(&queue);
        Ok(())
    }

    /// Begins to consume queues; the prefetch is per consumer, and so each gets its share. A queue that cannot be consumed
    /// is set aside and costs the connection: the broker may have ended it for that, and its channel certainly.
    async fn consume(&self, flowing: &mut Flowing<'_>, queues: Vec<String>) -> Result<(), LinkError> {
        let consumers = flowing.queues.len() + flowing.trials.len() + queues.len();
        let share = self.prefetch.div_ceil(u16::try_from(consumers).unwrap_or(u16::MAX).max(1));
        let _turn = self.shared.aside.turn().await;
        for queue in queues {
            // Another tap may have lost the connection while this one waited for its turn.
            if flowing.session.has_ended() {
                return Err(LinkError::Closed);
            }
            let consumer = match begin(&flowing.channel, &queue, share).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    if is_queues_fault(&error, flowing.session).await {
                        self.shared.aside.put(&queue, &error.told());
                    }
                    // While it is our turn, so that no other tap takes this end for its own queue's fault.
                    self.shared.link.broken(flowing.session, &error);
                    return Err(error);
                }
            };
            flowing.tags.push(consumer.tag());
            let (name, ended): (Arc<str>, _) =
                (queue.as_str().into(), stream::once(std::future::ready(None)));
            let deliveries = consumer.map(Some).chain(ended).map(move |item| (name.clone(), item));
            flowing.deliveries.push(deliveries.boxed());
            flowing.queues.push(queue);
        }
        let (channel, queues) = (flowing.channel.clone(), flowing.queues.clone());
        self.flow.send_replace(Flow::Flowing { channel, queues });
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
                let (tray, strangers) = (self.tray.clone(), self.shared.strangers.clone());
                let (body, properties) = (std::mem::take(&mut delivery.data), delivery.properties);
                Some(Box::pin(async move {
                    strangers.dispose(stranger, &queue, properties, &body).await;
                    tray.acknowledge(receipt).await;
                }))
            }
        }
    }
}

/// It comes to another process, with one delivery of its limit used.
async fn give_back(acker: &Acker) -> Result<(), LinkError> {
    let back = acker.nack(BasicNackOptions { requeue: true, ..Default::default() });
    bounded("give back", CANCEL_TIMEOUT, back).await.map(drop)
}
