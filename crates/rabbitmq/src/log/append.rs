//! Appending: a confirmed, mandatory, persistent publish straight to the stream. That is emission.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use paybell_core::event::Event;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::entry::properties;
use crate::link::{Link, LinkError, Session, bounded};

/// How long an append takes at most.
const APPEND_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Events without a confirm, of all appends together: more would only wait longer.
const SLOTS: u32 = 256;

/// Events of one append that are under way at once.
const BATCH_EVENTS_MAX: usize = 64;

pub(super) struct Appender {
    link: Link,
    stream: String,
    open: Mutex<Option<Open>>,
    slots: Semaphore,
}

/// A channel in confirm mode.
#[derive(Clone)]
struct Open {
    session: Session,
    channel: Channel,
}

impl Appender {
    pub fn new(link: Link, stream: String) -> Self {
        Self { link, stream, open: Mutex::new(None), slots: Semaphore::new(SLOTS as usize) }
    }

    /// All of them in this order, or an error: then any of them may be there.
    pub async fn append(&self, events: &[Event], bodies: &[Arc<[u8]>]) -> Result<(), LinkError> {
        let late = LinkError::Timeout { what: "append", limit: APPEND_TIMEOUT };
        timeout(APPEND_TIMEOUT, self.publish(events, bodies)).await.unwrap_or(Err(late))
    }

    /// Waits until nothing is under way.
    pub async fn settled(&self) {
        // It is never closed; whoever waits for all slots has them when everybody gave theirs back.
        drop(self.slots.acquire_many(SLOTS).await);
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    async fn publish(&self, events: &[Event], bodies: &[Arc<[u8]>]) -> Result<(), LinkError> {
        for (events, bodies) in events.chunks(BATCH_EVENTS_MAX).zip(bodies.chunks(BATCH_EVENTS_MAX)) {
            let slots = u32::try_from(events.len()).unwrap_or(u32::MAX);
            let _slots = self.slots.acquire_many(slots).await.map_err(|_| LinkError::Closed)?;
            let open = self.opened().await?;
            let stored =
                events.iter().zip(bodies).map(|(event, body)| self.stored(&open.channel, event, body));
            if let Err(cause) = try_join_all(stored).await {
                self.forget(&open).await;
                return Err(cause);
            }
        }
        Ok(())
    }

    async fn stored(&self, channel: &Channel, event: &Event, body: &[u8]) -> Result<(), LinkError> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = ("".into(), self.stream.as_str().into());
        let published =
            async { channel.basic_publish(exchange, key, options, body, properties(event)).await?.await };
        let confirmation = published.await.map_err(|cause| LinkError::Amqp { what: "append", cause })?;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(LinkError::Unroutable(self.stream.clone())),
            Confirmation::Nack(_) => Err(LinkError::Refused(self.stream.clone())),
            Confirmation::NotRequested => Err(LinkError::Unconfirmed),
        }
    }

    async fn opened(&self) -> Result<Open, LinkError> {
        let session = self.link.session()?;
        let mut kept = self.open.lock().await;
        if let Some(open) = kept.as_ref().filter(|open| open.session.generation() == session.generation()) {
            return Ok(open.clone());
        }
        let channel = session.channel().await?;
        bounded("confirm.select", APPEND_TIMEOUT, channel.confirm_select(ConfirmSelectOptions::default()))
            .await?;
        Ok(kept.insert(Open { session, channel }).clone())
    }

    async fn forget(&self, open: &Open) {
        let mut kept = self.open.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.channel.id() == open.channel.id()) {
            *kept = None;
        }
    }
}
