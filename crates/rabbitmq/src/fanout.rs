//! The second publish of every event: to the topic exchange that subscribers bind to.
//!
//! One subscriber never stops another, nor us. A queue that refuses, or holds back its confirm for two seconds, is
//! counted and the event is not repeated, because a repeat would go to every healthy subscriber; who was refused
//! catches up from the log. After a confirm was held back, confirms are counted but not waited for. A channel that
//! closed is opened again, the exchange declared again, and what had no confirm is published again. What this user may
//! not publish there is counted like a refusal, and for a while not published again: it is in the log all the same.
//!
//! The connection is nobody else's: a broker that slows a publisher down for one slow queue slows the connection down.

mod carrier;
mod denials;
mod patience;

use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use paybell_core::event::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::log::entry::{properties, routing_key};
use carrier::Carrier;
use patience::Patience;

/// How long a confirm is waited for.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an append waits for a connection, and for the confirm that follows.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(2_400);

/// Events that wait for the carrier.
const WAITING_EVENTS_MAX: usize = 1_024;

/// Hands events to the carrier and waits for their fate.
pub(crate) struct Fanout {
    link: Link,
    parcels: mpsc::Sender<Parcel>,
    patience: Arc<Patience>,
}

/// An event on its way.
struct Parcel {
    routing_key: String,
    properties: BasicProperties,
    body: Arc<[u8]>,
    born: Instant,
    /// Where its fate is told, once.
    fate: Option<oneshot::Sender<Fate>>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Confirmed,
    /// A subscriber's queue refused it or held back its confirm, or the broker would not have it; counted.
    Refused,
    /// Handed to the broker while confirms are not waited for.
    Unwatched,
}

/// There was no connection to publish on: nothing is known, and a repeat is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events could not be handed to subscribers within {} ms", HANDOVER_TIMEOUT.as_millis())]
pub(crate) struct Undelivered;

impl Fanout {
    /// A fan-out to the exchange, and the task that carries events there until `cancel`.
    pub fn new(
        link: Link,
        exchange: String,
        cancel: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS_MAX);
        let patience = Arc::new(Patience::new());
        let carrier = Carrier::new(link.clone(), exchange, patience.clone());
        (Self { link, parcels: sender, patience }, carrier.run(receiver, cancel))
    }

    /// Publishes the events. Takes at most a little over two seconds, and while confirms are held back no time at all.
    pub async fn publish<'e>(
        &self,
        events: impl Iterator<Item = (&'e Event, &'e Arc<[u8]>)>,
    ) -> Result<(), Undelivered> {
        let hand_over = async {
            let mut fates = Vec::new();
            for (event, body) in events {
                let (parcel, fate) = Parcel::of(event, body.clone());
                self.parcels.send(parcel).await.map_err(|_| Undelivered)?;
                fates.push(fate);
            }
            for fate in fates {
                fate.await.map_err(|_| Undelivered)?;
            }
            Ok(())
        };
        timeout(HANDOVER_TIMEOUT, hand_over).await.unwrap_or(Err(Undelivered))
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Events that some subscriber's queue refused, or the broker, since the start.
    pub fn refused(&self) -> u64 {
        self.patience.refused()
    }
}

impl Parcel {
    fn of(event: &Event, body: Arc<[u8]>) -> (Self, oneshot::Receiver<Fate>) {
        let (fate, told) = oneshot::channel();
        let (routing_key, properties) = (routing_key(event), properties(event));
        (Self { routing_key, properties, body, born: Instant::now(), fate: Some(fate) }, told)
    }

    fn tell(&mut self, fate: Fate) {
        if let Some(listener) = self.fate.take() {
            // Who listened may have given up.
            let _ = listener.send(fate);
        }
    }

    /// Whether it is still to be published: who gave up waiting repeats it under the same id.
    fn is_wanted(&self) -> bool {
        match &self.fate {
            Some(listener) => !listener.is_closed(),
            None => self.born.elapsed() < HANDOVER_TIMEOUT,
        }
    }
}
