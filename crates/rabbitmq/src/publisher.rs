//! Confirmed publishes to queues: `Ok` means that the broker stored the message and said so.
//!
//! Every message is persistent and mandatory, a bounded number is under way, and nobody waits longer than
//! [`PUBLISH_TIMEOUT`]. It repeats nothing: an error means that the outcome is unknown, and whoever published decides.
//! The channels have a keeper of their own (`publisher/keeper.rs`); here they are only used.

mod keeper;
mod outlet;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use tokio::sync::{Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::link::{Link, LinkError};
use keeper::{Keeper, Opened};

/// Messages without a confirm at once: more only wait longer.
const IN_FLIGHT_MAX: u16 = 256;

/// How long a publish may take, waiting for a place, a connection and the confirm included. The ingress answers within
/// three seconds.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_millis(2_500);

/// While a connection is away no longer than this, publishes wait for the next one instead of failing at once.
const GRACE: Duration = Duration::from_secs(1);

/// So many confirms that did not come, while none came at all: the connection is given up.
const SILENCES_MAX: u32 = 3;

/// How a publish ended.
pub(crate) type Stored = Result<(), LinkError>;

/// Drives publishes to their ends, or gives the first error; some may be stored then.
pub(crate) async fn all<'a>(publishes: Vec<BoxFuture<'a, Stored>>) -> Stored {
    let mut waiting = publishes.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut outcome = Ok(());
    loop {
        while outcome.is_ok()
            && under_way.len() < usize::from(IN_FLIGHT_MAX)
            && let Some(publish) = waiting.next()
        {
            under_way.push(publish);
        }
        // What began is waited for, also after a failure: its confirm belongs to somebody.
        match under_way.next().await {
            Some(stored) => outcome = outcome.and(stored),
            None => return outcome,
        }
    }
}

/// Publishes to queues over one link.
pub(crate) struct Publisher {
    link: Link,
    /// The channels to publish on, while there are any.
    opened: watch::Receiver<Option<Arc<Opened>>>,
    places: Semaphore,
    /// Confirms that came.
    confirms: AtomicU64,
    /// Confirms that did not come in time, since one came.
    silences: AtomicU32,
}

/// A message for a queue.
pub(crate) struct Message<'a> {
    pub queue: &'a str,
    /// Which channel it goes through. A queue has one of its own: the client library cannot tell which of the messages
    /// that one confirm covers came back as unroutable, so it must be all of them or none.
    pub slot: usize,
    pub properties: BasicProperties,
    pub body: &'a [u8],
}

impl Publisher {
    /// A publisher over the link with so many channels, and its keeper's task until `cancel`.
    pub fn start(link: Link, settings: &Settings, slots: usize, cancel: CancellationToken) -> Self {
        let (sender, opened) = watch::channel(None);
        let keeper = Keeper::new(link.clone(), slots, sender);
        settings.tasks.spawn(cancel.run_until_cancelled_owned(keeper.keep()));
        let places = Semaphore::new(IN_FLIGHT_MAX.into());
        Self { link, opened, places, confirms: AtomicU64::new(0), silences: AtomicU32::new(0) }
    }

    /// Stores one message.
    pub async fn publish(&self, message: Message<'_>) -> Stored {
        self.publish_by(Instant::now() + PUBLISH_TIMEOUT, message).await
    }

    /// Stores one message before a deadline, which is at most [`PUBLISH_TIMEOUT`] away.
    pub async fn publish_by(&self, deadline: Instant, message: Message<'_>) -> Stored {
        let mut under_way = UnderWay(None);
        let confirms = self.confirms.load(Ordering::Relaxed);
        match timeout_at(deadline, self.store(message, &mut under_way)).await {
            Ok(result) => {
                under_way.0 = None;
                result
            }
            Err(_) => Err(self.late(under_way, confirms)),
        }
    }

    /// The connection's state.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Lets nothing new begin, and waits for what is under way, but not for ever.
    pub async fn finish(&self) {
        // Out of time, what is left fails with its connection.
        drop(timeout(PUBLISH_TIMEOUT, self.places.acquire_many(IN_FLIGHT_MAX.into())).await);
        self.places.close();
    }

    async fn store(&self, message: Message<'_>, under_way: &mut UnderWay) -> Result<(), LinkError> {
        let _place = self.places.acquire().await.map_err(|_| LinkError::Closed)?;
        let opened = self.opened().await?;
        let Message { queue, slot, properties, body } = message;
        let outlet = opened.outlet(slot)?;
        // Others that are about to publish come along: the client library's thread wakes up for all of them at once.
        yield_now().await;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = properties.with_delivery_mode(PERSISTENT);
        under_way.0 = Some(opened.clone());
        let confirmation = outlet.publish(queue, options, properties, body).await.map_err(|cause| {
            opened.spend();
            LinkError::Amqp { what: "publish", cause }
        })?;
        self.confirms.fetch_add(1, Ordering::Relaxed);
        if self.silences.load(Ordering::Relaxed) > 0 {
            self.silences.store(0, Ordering::Relaxed);
        }
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            // Confirmed and returned: nobody has it.
            Confirmation::Ack(Some(_)) => {
                self.link.broken(opened.session(), format!("queue {queue} is missing"));
                Err(LinkError::Unroutable(queue.to_owned()))
            }
            Confirmation::Nack(_) => Err(LinkError::Refused(queue.to_owned())),
            Confirmation::NotRequested => {
                opened.spend();
                Err(LinkError::Unconfirmed)
            }
        }
    }

    /// The channel to publish on. Waits for it only while the connection has hardly gone.
    async fn opened(&self) -> Result<Arc<Opened>, LinkError> {
        if let Some(opened) = lent(&self.opened.borrow()) {
            return Ok(opened);
        }
        let (mut opened, mut state) = (self.opened.clone(), self.link.watch());
        let nothing = || LinkError::Timeout { what: "open a channel", limit: GRACE };
        loop {
            if let Some(opened) = lent(&opened.borrow_and_update()) {
                return Ok(opened);
            }
            let patience = match state.borrow_and_update().session() {
                Ok(_) => GRACE,
                Err(LinkError::Down { down_for, .. }) if down_for < GRACE => GRACE - down_for,
                Err(error) => return Err(error),
            };
            tokio::select! {
                changed = opened.changed() => changed.map_err(|_| LinkError::Closed)?,
                changed = state.changed() => changed.map_err(|_| LinkError::Closed)?,
                () = tokio::time::sleep(patience) => {
                    return Err(self.link.session().err().unwrap_or_else(nothing));
                }
            }
        }
    }

    /// Nobody knows what became of it; says why, as far as that is known. Where others were confirmed since it began, the
    /// connection is not at fault.
    fn late(&self, under_way: UnderWay, confirms: u64) -> LinkError {
        let late = |what| LinkError::Timeout { what, limit: PUBLISH_TIMEOUT };
        let Some(opened) = &under_way.0 else { return late("wait for a place to publish") };
        match self.link.session() {
            Ok(session) => {
                if confirms == self.confirms.load(Ordering::Relaxed)
                    && self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES_MAX
                    && session.generation() == opened.session().generation()
                {
                    self.link.broken(&session, "no confirms");
                }
                late("confirm")
            }
            Err(error) => error,
        }
    }
}

/// What the keeper lends, if it is of use still: the keeper hears of an end a little later than whoever published.
fn lent(opened: &Option<Arc<Opened>>) -> Option<Arc<Opened>> {
    opened.as_ref().filter(|opened| !opened.is_over()).cloned()
}

/// AMQP's delivery mode for what must survive a restart.
const PERSISTENT: u8 = 2;

/// A publish whose end nobody saw. The client library keeps what belongs to it as long as the channel lives, so the
/// channel's successor has to come when there are many.
struct UnderWay(Option<Arc<Opened>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(opened) = &self.0 {
            opened.leave_one_behind();
        }
    }
}
