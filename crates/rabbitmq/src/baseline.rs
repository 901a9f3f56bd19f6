//! The client library alone, for benchmarks to compare with: confirmed publishes over one connection and one channel to
//! a queue equal to those of checks. And the end of a benchmark: everything under its prefix is taken away.
//!
//! The one place that deletes anything at a broker. The engine neither knows nor uses it; it serves no promise.

use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::{BasicProperties, Channel, Confirmation};
use paybell_core::check::Lane;

use crate::config::{RabbitConfig, Settings};
use crate::link::{LinkError, Session, bounded, once};
use crate::topology::{Item, Kind, Shape, TopologyError, Unasked, declare_one, names, plan};

/// How long the broker may take over anything that is asked here; a queue full of checks takes its time to go.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// AMQP's delivery mode for what must survive a restart.
const PERSISTENT: u8 = 2;

/// One connection and one channel in confirm mode.
pub struct Baseline {
    session: Session,
    channel: Channel,
    shape: Shape,
    /// Queues declared here, beside those of the plan.
    queues: Vec<String>,
}

impl Baseline {
    /// Connects. Declares nothing.
    pub async fn connect(config: &RabbitConfig) -> Result<Self, Unasked> {
        let settings = Settings::judged(config)?;
        let session = once(&settings, "benchmark").await?;
        let channel = session.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        bounded("confirm.select", ANSWER_TIMEOUT, confirming).await?;
        Ok(Self { session, channel, shape: config.shape(), queues: Vec::new() })
    }

    /// Declares a queue of that name under the prefix, with every argument of a queue of checks. Returns its name.
    pub async fn declare(&mut self, word: &str) -> Result<String, Unasked> {
        let prefix = self.shape.prefix.as_str();
        let (model, name) = (names::lane(prefix, Lane::Urgent, 0), format!("{prefix}.{word}"));
        let model = plan(&self.shape).into_iter().find(|item| item.name == model);
        let model = model.expect("a plan has the first partition of the urgent lane");
        let item = Item { name: name.clone(), ..model };
        match declare_one(&self.session, &item).await {
            Ok(()) => {}
            Err(TopologyError::Link(cause)) => return Err(cause.into()),
            Err(TopologyError::Wrong(findings)) => {
                let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
                return Err(Unasked::Away(told.join("; ")));
            }
        }
        self.queues.push(name.clone());
        Ok(name)
    }

    /// Publishes persistently and mandatorily, and waits for the confirm, as long as it takes. As the client library alone
    /// does it: of publishes on several threads, two may be told what became of each other's message. Nothing rests on it
    /// here, and a rate without the engine's care for that is the one to compare with.
    pub async fn publish(&self, queue: &str, body: &[u8]) -> Result<(), Unasked> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let publish = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
        let confirmed = async { publish.await?.await };
        match confirmed.await.map_err(|cause| LinkError::Amqp { what: "publish", cause })? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(LinkError::Unroutable(queue.to_owned()).into()),
            Confirmation::Nack(_) => Err(LinkError::Refused(queue.to_owned()).into()),
            Confirmation::NotRequested => Err(LinkError::Unconfirmed.into()),
        }
    }

    /// Empties every queue of checks and every queue declared here, if they are there. Returns how many messages went.
    pub async fn purge(&self) -> Result<u64, Unasked> {
        let planned = plan(&self.shape);
        let planned = planned.iter().filter(|item| item.kind == Kind::QuorumQueue).map(|item| &item.name);
        let mut purged = 0;
        for name in planned.chain(&self.queues) {
            let channel = self.session.channel().await?;
            let purge = channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default());
            match bounded("purge", ANSWER_TIMEOUT, purge).await {
                Ok(count) => purged += u64::from(count),
                // Not there: the channel is lost over it, the next queue gets another.
                Err(LinkError::Amqp { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            // A channel that is left to itself stays open as long as its connection.
            bounded("close", ANSWER_TIMEOUT, channel.close(200, "done".into())).await?;
        }
        Ok(purged)
    }
}

/// Deletes everything under the prefix of a configuration, with what it holds: what the plan names, and the queues of
/// these words that a [`Baseline`] declared. What is not there is no error.
pub async fn erase(config: &RabbitConfig, words: &[&str]) -> Result<(), Unasked> {
    let settings = Settings::judged(config)?;
    let session = once(&settings, "benchmark").await?;
    let channel = session.channel().await?;
    let shape = config.shape();
    for item in plan(&shape) {
        let name = item.name.as_str().into();
        match item.kind.exchange() {
            Some(_) => {
                let gone = channel.exchange_delete(name, ExchangeDeleteOptions::default());
                bounded("delete", ANSWER_TIMEOUT, gone).await?;
            }
            None => {
                let gone = channel.queue_delete(name, QueueDeleteOptions::default());
                bounded("delete", ANSWER_TIMEOUT, gone).await?;
            }
        }
    }
    for word in words {
        let name = format!("{}.{word}", shape.prefix);
        let gone = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded("delete", ANSWER_TIMEOUT, gone).await?;
    }
    Ok(())
}
