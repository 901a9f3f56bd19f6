//! The handle of the engine: opens what a process needs, hands out the ports, says how they stand, and closes.
//!
//! Opening never waits for the broker: a process starts while it is away, and works when it comes.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::{CheckQueue, CheckSource, EventLog, PortError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{RabbitConfig, Settings};
use crate::consume::{Aside, Consuming, Letters, PART, Strangers};
use crate::dead::GivenUp;
use crate::error::ConfigError;
use crate::link::{Link, Purpose};
use crate::log::{Access, StreamLog};
use crate::orders::Orders;
use crate::publisher::Publisher;
use crate::queue::Queue;
use crate::source::Source;

/// How long closing waits for farewells.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// What a process does besides publishing checks.
#[derive(Clone, Default)]
pub struct Needs {
    /// It handles checks, those given up on too.
    pub deliveries: bool,
    /// It takes registrations that come by message.
    pub registrations: bool,
    /// It emits events.
    pub appends: bool,
    /// It reads the event log.
    pub reads: bool,
    /// It seldom does, and follows the log's end only from its first question on.
    pub seldom: bool,
    /// Where whoever consumes writes down what it cannot read; without it such messages wait in their queues.
    pub letters: Option<Letters>,
}

/// RabbitMQ, as far as a process needs it.
pub struct RabbitMq {
    settings: Arc<Settings>,
    cancel: CancellationToken,
    publisher: Arc<Publisher>,
    queue: Arc<Queue>,
    consuming: Option<Consuming>,
    source: Option<Arc<Source>>,
    given_up: Option<Arc<GivenUp>>,
    orders: Option<Arc<Orders>>,
    log: Option<Arc<StreamLog>>,
}

impl RabbitMq {
    /// Begins to connect, and returns at once.
    pub fn start(config: &RabbitConfig, needs: Needs) -> Result<Self, ConfigError> {
        let settings = Arc::new(Settings::judged(config)?);
        let cancel = CancellationToken::new();
        let link = |purpose| Link::start(settings.clone(), purpose, cancel.clone());
        let handing_on = Queue::slots(&settings);
        let publisher = Publisher::start(link(Purpose::Publish), &settings, handing_on + 1, cancel.clone());
        let publisher = Arc::new(publisher);
        let strangers = Strangers::new(needs.letters, publisher.clone(), handing_on, settings.newer_pause);
        let strangers = Arc::new(strangers);
        let consuming = (needs.deliveries || needs.registrations).then(|| {
            let (settings, link, aside) = (settings.clone(), link(Purpose::Consume), Arc::new(Aside::new()));
            Consuming { settings, link, strangers, aside, stop: cancel.child_token() }
        });
        let deliveries = consuming.as_ref().filter(|_| needs.deliveries);
        let source = deliveries.map(|shared| Arc::new(Source::start(shared, &cancel)));
        let given_up = deliveries.map(|shared| Arc::new(GivenUp::start(shared, &cancel)));
        let registrations = consuming.as_ref().filter(|_| needs.registrations);
        let orders = registrations.map(|shared| Arc::new(Orders::start(shared, &cancel)));
        let access = Access { appends: needs.appends, reads: needs.reads, seldom: needs.seldom };
        let log = (needs.appends || needs.reads).then(|| StreamLog::start(&settings, access, &cancel));
        let queue = Arc::new(Queue::new(&settings, publisher.clone(), source.clone()));
        let log = log.map(Arc::new);
        Ok(Self { settings, cancel, publisher, queue, consuming, source, given_up, orders, log })
    }

    /// Where checks are published.
    pub fn queue(&self) -> Arc<dyn CheckQueue> {
        self.queue.clone()
    }

    /// Where deliveries come from; `None` if they are not needed.
    pub fn source(&self) -> Option<Arc<dyn CheckSource>> {
        self.source.clone().map(|source| source as Arc<dyn CheckSource>)
    }

    /// Checks that the broker gave up on: each wants a due time, and is then done. It gives the same checks for either
    /// lane.
    pub fn dead_source(&self) -> Option<Arc<dyn CheckSource>> {
        self.given_up.clone().map(|given_up| given_up as Arc<dyn CheckSource>)
    }

    /// Registrations that come by message.
    pub fn orders(&self) -> Option<Arc<Orders>> {
        self.orders.clone()
    }

    /// The event log.
    pub fn log(&self) -> Option<Arc<dyn EventLog>> {
        self.log.clone().map(|log| log as Arc<dyn EventLog>)
    }

    /// Whether each part that this process needs works now.
    pub fn parts(&self) -> Vec<(&'static str, Result<(), PortError>)> {
        let links = [Some(self.publisher.link()), self.consuming.as_ref().map(|shared| &shared.link)];
        let queue = links
            .into_iter()
            .flatten()
            .try_for_each(|link| link.session().map(drop).map_err(|error| error.unavailable(PART)));
        let log = self.log.as_ref().map(|log| ("log", log.state()));
        [("queue", queue)].into_iter().chain(log).collect()
    }

    /// Queues that this process should consume and cannot, each with the reason. The others go on.
    pub fn unconsumed(&self) -> Vec<(String, Arc<str>)> {
        self.consuming.as_ref().map_or_else(Vec::new, |shared| shared.aside.list())
    }

    /// Events that some subscriber's queue refused, since the start.
    pub fn fanout_refused(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.fanout_refused())
    }

    /// Messages in the event log that are no events of ours, or those of a newer version, as far as this process met them.
    pub fn foreign_messages(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.foreign_messages())
    }

    /// Checks that come again because their acknowledgement did not reach the broker, since the start.
    pub fn repeats_expected(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.repeats_expected())
    }

    /// Takes nothing more from any queue, and gives back what nobody took, at once: a process that ends may have much in
    /// hand for a while. What is in somebody's hand is acknowledged as ever.
    pub fn stop_fetching(&self) {
        if let Some(shared) = &self.consuming {
            shared.stop.cancel();
        }
    }

    /// Finishes what is being stored, gives back what is in hand, and takes leave of the broker; bounded.
    pub async fn close(&self) {
        if let Some(source) = &self.source {
            source.close();
        }
        if let Some(given_up) = &self.given_up {
            given_up.close();
        }
        if let Some(orders) = &self.orders {
            orders.close();
        }
        let appended = async {
            if let Some(log) = &self.log {
                log.finish().await;
            }
        };
        tokio::join!(self.publisher.finish(), appended);
        self.cancel.cancel();
        self.settings.tasks.close();
        if timeout(CLOSE_TIMEOUT, self.settings.tasks.wait()).await.is_err() {
            tracing::warn!("RabbitMQ did not take leave within {} s", CLOSE_TIMEOUT.as_secs());
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
