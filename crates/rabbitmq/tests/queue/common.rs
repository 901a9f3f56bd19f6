//! What these tests share: a process under test, a client that is not ours, checks, and waiting.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use paybell_core::check::{Check, Claim, Lane};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{CheckQueue, CheckSource, Delivery, PortError};
use paybell_core::record::Cause;
use paybell_core::time::Timestamp;
use rabbitmq::topology::{Kind, plan};
use rabbitmq::{Needs, RabbitConfig, RabbitMq};
use testkit::servers::{shared_rabbit, unique_prefix};
use testkit::stalls::{Stalls, Watch};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// So often a scene is played that a machine may disturb.
const ROUNDS: u32 = 5;

/// One process.
pub struct Process {
    pub rabbit: RabbitMq,
    pub queue: Arc<dyn CheckQueue>,
    stalls: Stalls,
}

impl Process {
    /// On its way.
    pub fn begin(config: &RabbitConfig, needs: Needs) -> Self {
        // A second one is refused; one is enough.
        drop(tracing_subscriber::fmt().with_test_writer().try_init());
        let rabbit = RabbitMq::start(config, needs).unwrap();
        Self { queue: rabbit.queue(), rabbit, stalls: Stalls::watch() }
    }

    /// Connected.
    pub async fn start(config: &RabbitConfig, needs: Needs) -> Self {
        let process = Self::begin(config, needs);
        process.is_up().await;
        process
    }

    /// One that only publishes.
    pub async fn publisher(config: &RabbitConfig) -> Self {
        Self::start(config, Needs::default()).await
    }

    /// One that takes checks.
    pub async fn worker(config: &RabbitConfig) -> Self {
        Self::start(config, deliveries()).await
    }

    pub fn source(&self) -> Arc<dyn CheckSource> {
        self.rabbit.source().unwrap()
    }

    /// Why the queue does not work.
    pub fn trouble(&self) -> Option<PortError> {
        self.rabbit.parts().into_iter().find_map(|(part, state)| state.err().filter(|_| part == "queue"))
    }

    /// Waits until everything works.
    pub async fn is_up(&self) {
        until("the process is up", || async { self.trouble().is_none() }).await;
    }

    /// Publishes as whoever comes again does, where a busy machine keeps a confirm back. Some may be stored twice then.
    pub async fn publish(&self, checks: &[Check]) {
        until("they are stored", || async { self.queue.publish(checks).await.is_ok() }).await;
    }

    /// How long one publish takes beside what the machine keeps back, and how it ends.
    pub async fn timed_publish(&self, number: usize) -> (Duration, Result<(), PortError>) {
        let watch = self.watch();
        let published = self.queue.publish(&[manual(number)]).await;
        (watch.elapsed(), published)
    }

    /// Begins to measure.
    pub fn watch(&self) -> Watch {
        self.stalls.begin()
    }

    /// So many deliveries.
    pub async fn receive(&self, lane: Lane, count: usize) -> Vec<Delivery> {
        receive(&self.source(), lane, count).await
    }

    pub async fn backlog_becomes(&self, lane: Lane, count: u64) {
        until("the backlog is as expected", || async { self.queue.backlog(lane).await.ok() == Some(count) })
            .await;
    }

    /// Takes and finishes checks until all these orders were seen; gives how often a check came again.
    pub async fn drain(&self, mut expected: HashSet<OrderKey>) -> usize {
        let (source, mut repeats) = (self.source(), 0);
        while !expected.is_empty() {
            let received = timeout(PATIENCE, source.receive(Lane::Urgent, 256)).await;
            let received = received.unwrap_or_else(|_| panic!("{} checks never came", expected.len()));
            for delivery in received.unwrap() {
                repeats += usize::from(!expected.remove(&delivery.check.key));
                delivery.done().await.unwrap();
            }
        }
        repeats
    }
}

/// Plays a scene until the machine kept nothing back in it that the scene is about. What is late, or fails, by itself
/// does so every time.
pub async fn in_time(scene: impl AsyncFn() -> bool) {
    for _ in 0..ROUNDS {
        if scene().await {
            return;
        }
    }
    panic!("it was late in each of {ROUNDS} rounds");
}

pub async fn receive(source: &Arc<dyn CheckSource>, lane: Lane, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = timeout(PATIENCE, source.receive(lane, count - all.len())).await;
        all.extend(more.expect("a delivery comes").unwrap());
    }
    all
}

/// Ends processes and removes what they declared.
pub async fn end<const N: usize>(config: &RabbitConfig, processes: [Process; N]) {
    for process in processes {
        process.rabbit.close().await;
    }
    Outsider::at(&config.url).await.clean(config).await;
}

pub fn deliveries() -> Needs {
    Needs { deliveries: true, ..Needs::default() }
}

/// A prefix of its own on the broker that all tests share.
pub async fn fresh() -> RabbitConfig {
    config(&shared_rabbit().await)
}

/// A prefix of its own on a broker.
pub fn config(url: &str) -> RabbitConfig {
    RabbitConfig { prefix: unique_prefix(), partitions: 2, ..RabbitConfig::at(url) }
}

pub fn key(number: usize) -> OrderKey {
    OrderKey::new("1900000109", format!("T{number:08}")).unwrap()
}

pub fn manual(number: usize) -> Check {
    Check::manual(key(number))
}

pub fn poll(number: usize) -> Check {
    Check::due(key(number), Claim { number: 1, due_for: Timestamp::from_millis(0), cause: Cause::Cadence })
}

pub fn keys(numbers: impl IntoIterator<Item = usize>) -> HashSet<OrderKey> {
    numbers.into_iter().map(key).collect()
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "it never came that {what}");
}

/// A client of the broker that is not ours.
pub struct Outsider {
    pub connection: Connection,
    pub channel: Channel,
}

impl Outsider {
    pub async fn at(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { connection, channel }
    }

    /// A message put into a queue as it is.
    pub async fn put(&self, queue: &str, body: &[u8]) {
        self.put_to("", queue, body).await;
    }

    /// Checks put into the partitions of a lane in turn, and stored there. Which one a process takes is its own business.
    pub async fn spread(&self, config: &RabbitConfig, lane: &str, checks: &[Check]) {
        let partitions = usize::from(config.partitions);
        let queue = |partition: usize| format!("{}.{lane}.{partition}", config.prefix);
        for (number, check) in checks.iter().enumerate() {
            self.put(&queue(number % partitions), &check.to_json()).await;
        }
        for partition in 0..partitions {
            let count = checks.iter().skip(partition).step_by(partitions).count();
            let count = u32::try_from(count).unwrap();
            until("they are stored", || async { self.waiting(&queue(partition)).await == count }).await;
        }
    }

    pub async fn put_to(&self, exchange: &str, key: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let properties = properties.with_delivery_mode(2);
        let put = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        put.await.unwrap();
    }

    /// The next message of a queue, taken out.
    pub async fn get(&self, queue: &str) -> Option<lapin::message::Delivery> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await.unwrap().map(|message| message.delivery)
    }

    /// Messages that wait in a queue.
    pub async fn waiting(&self, queue: &str) -> u32 {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        declared.unwrap().message_count()
    }

    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Removes everything under a prefix; a process that runs would declare it again.
    pub async fn clean(&self, config: &RabbitConfig) {
        for item in plan(&config.shape()) {
            let name = item.name.as_str().into();
            match item.kind {
                Kind::QuorumQueue | Kind::Stream => {
                    self.channel.queue_delete(name, QueueDeleteOptions::default()).await.map(drop).unwrap();
                }
                _ => self.channel.exchange_delete(name, ExchangeDeleteOptions::default()).await.unwrap(),
            }
        }
    }
}
