//! A consumer of the stream at one place, on a channel of its own. Dropping it closes the channel.
//!
//! It acknowledges as it goes, which for a stream only asks for more.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Channel, Consumer};

use super::entry::Entry;
use crate::link::{LinkError, Session, bounded};

/// How long the broker may take for one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the oldest entry that is kept.
    First,
    /// At the broker's newest chunk: at least the newest entry comes. From an empty stream nothing may come before the
    /// second entry: where the first is written while the broker looks for it, the broker goes on behind it.
    Last,
    /// At the offset, or the next one that is there. Beyond the end nothing comes, until it is reached.
    Offset(u64),
}

/// An open consumer.
pub(super) struct Reading {
    channel: Channel,
    consumer: Consumer,
    prefetch: u16,
    /// Taken and not acknowledged yet.
    taken: u16,
    last: Option<Acker>,
}

impl Reading {
    /// Begins at `start`, with at most `prefetch` deliveries ahead of us.
    pub async fn open(
        session: &Session,
        stream: &str,
        start: Start,
        prefetch: u16,
    ) -> Result<Self, LinkError> {
        let channel = session.channel().await?;
        bounded("basic.qos", STEP_TIMEOUT, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), start.value());
        let options = BasicConsumeOptions::default();
        let consumed = channel.basic_consume(stream.into(), "".into(), options, arguments);
        let consumer = bounded("basic.consume", STEP_TIMEOUT, consumed).await?;
        Ok(Self { channel, consumer, prefetch, taken: 0, last: None })
    }

    /// Waits for the next entry, for ever if there is none. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Entry, LinkError> {
        self.ask_for_more().await?;
        let delivery = self.consumer.next().await;
        self.take(delivery)
    }

    /// The next entry, if it is here.
    pub async fn ready(&mut self) -> Result<Option<Entry>, LinkError> {
        self.ask_for_more().await?;
        self.consumer.next().now_or_never().map(|delivery| self.take(delivery)).transpose()
    }

    /// When this returns, everything that the broker had for us when it was called is [`Reading::ready`], up to the
    /// prefetch: deliveries and replies of one channel come in order.
    pub async fn fence(&mut self) -> Result<(), LinkError> {
        self.acknowledge().await?;
        // Any question will do; this one costs the broker least and changes nothing.
        let asked = self.channel.basic_qos(self.prefetch, BasicQosOptions::default());
        bounded("basic.qos", STEP_TIMEOUT, asked).await
    }

    /// Waits for nothing: what was taken out of the client library's hands must reach the caller.
    fn take(&mut self, delivery: Option<Result<Delivery, lapin::Error>>) -> Result<Entry, LinkError> {
        let delivery = delivery.ok_or(LinkError::Stream("the broker ended its consumer"))?;
        let delivery = delivery.map_err(|cause| LinkError::Amqp { what: "consume", cause })?;
        let entry = Entry::of(&delivery);
        self.last = Some(delivery.acker);
        self.taken = self.taken.saturating_add(1);
        entry.ok_or(LinkError::Stream("a message without an offset, as no stream has any"))
    }

    async fn ask_for_more(&mut self) -> Result<(), LinkError> {
        if self.taken > self.prefetch / 4 { self.acknowledge().await } else { Ok(()) }
    }

    async fn acknowledge(&mut self) -> Result<(), LinkError> {
        let Some(acker) = self.last.take() else { return Ok(()) };
        self.taken = 0;
        let acknowledged = acker.ack(BasicAckOptions { multiple: true });
        bounded("basic.ack", STEP_TIMEOUT, acknowledged).await.map(drop)
    }
}

impl Start {
    fn value(self) -> AMQPValue {
        match self {
            Start::First => AMQPValue::LongString("first".into()),
            Start::Last => AMQPValue::LongString("last".into()),
            Start::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
        }
    }
}
