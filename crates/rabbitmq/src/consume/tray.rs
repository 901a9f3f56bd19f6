//! What was delivered and is not acknowledged: waiting here, or in somebody's hand.
//!
//! What is dropped instead of acknowledged goes to the end: one that cannot be dealt with must not come first for
//! ever. When a channel ends, all that came through it is the broker's again, which delivers it anew: an *epoch* is the
//! time of one channel, and what belongs to an earlier one is forgotten.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::Acker;
use lapin::options::BasicAckOptions;
use tokio::sync::Notify;

use crate::link::{Link, LinkError, Session, bounded};

/// How long an acknowledgement may take to reach the socket.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Deliveries of one kind.
pub(crate) struct Tray<T> {
    link: Link,
    shelf: Mutex<Shelf<T>>,
    arrived: Notify,
    repeats_expected: AtomicU64,
}

struct Shelf<T> {
    waiting: VecDeque<Held<T>>,
    epoch: u64,
    /// Delivered in this epoch and not acknowledged, wherever it is.
    held: usize,
    is_closed: bool,
}

/// One delivery.
struct Held<T> {
    content: T,
    receipt: Receipt,
}

/// What it takes to acknowledge a delivery.
pub(super) struct Receipt {
    pub acker: Acker,
    pub session: Session,
    pub epoch: u64,
}

/// A delivery in somebody's hand. Dropping it puts it back.
pub(crate) struct InHand<T> {
    /// Absent once it is acknowledged.
    held: Option<Held<T>>,
    tray: Arc<Tray<T>>,
}

impl<T> Tray<T> {
    pub fn new(link: Link) -> Self {
        let shelf = Shelf { waiting: VecDeque::new(), epoch: 0, held: 0, is_closed: false };
        Self { link, shelf: Mutex::new(shelf), arrived: Notify::new(), repeats_expected: AtomicU64::new(0) }
    }

    /// Waits until something is there, then takes 1 to `max`. Dropping the future loses nothing.
    pub async fn take(self: &Arc<Self>, max: usize) -> Result<Vec<InHand<T>>, LinkError> {
        loop {
            let arrived = self.arrived.notified();
            let taken = self.shelf().take(max.max(1))?;
            if !taken.is_empty() {
                let hand = |held| InHand { held: Some(held), tray: self.clone() };
                return Ok(taken.into_iter().map(hand).collect());
            }
            arrived.await;
        }
    }

    /// Acknowledgements that did not reach the broker: those messages come again.
    pub fn repeats_expected(&self) -> u64 {
        self.repeats_expected.load(Ordering::Relaxed)
    }

    /// Everybody who waits gets an error from now on.
    pub fn close(&self) {
        self.shelf().is_closed = true;
        self.arrived.notify_waiters();
    }

    /// A channel begins; what came through the last one is forgotten.
    pub(super) fn begin(&self) -> u64 {
        let mut shelf = self.shelf();
        shelf.epoch += 1;
        shelf.held = 0;
        shelf.waiting.clear();
        shelf.epoch
    }

    /// A delivery came; it waits elsewhere until it is put here or acknowledged.
    pub(super) fn came(&self) {
        self.shelf().held += 1;
    }

    /// Puts a delivery that came here.
    pub(super) fn put(&self, content: T, receipt: Receipt) {
        self.shelf().waiting.push_back(Held { content, receipt });
        self.arrived.notify_one();
    }

    /// What came and nobody took; whoever asks gives it back to the broker.
    pub(super) fn untaken(&self) -> Vec<Acker> {
        let mut shelf = self.shelf();
        let untaken: Vec<Acker> = shelf.waiting.drain(..).map(|held| held.receipt.acker).collect();
        shelf.held = shelf.held.saturating_sub(untaken.len());
        untaken
    }

    /// Waits until something may be here.
    pub(super) async fn put_back_or_arrived(&self) {
        self.arrived.notified().await;
    }

    /// How many are here, in hand, or elsewhere.
    pub(super) fn held(&self) -> usize {
        self.shelf().held
    }

    /// Removes the message from its queue.
    ///
    /// AMQP confirms no acknowledgement. One that certainly failed is counted, and the message comes again: the work is
    /// done and a repeat does no harm, so that is no error.
    pub(super) async fn acknowledge(&self, receipt: Receipt) {
        let acked = receipt.acker.ack(BasicAckOptions::default());
        let is_sent = match bounded("acknowledge", ACK_TIMEOUT, acked).await {
            Ok(is_sent) => is_sent,
            Err(LinkError::Timeout { .. }) => {
                self.link.broken(&receipt.session, "acknowledgements are stuck");
                false
            }
            Err(_) => false,
        };
        if !is_sent {
            self.repeats_expected.fetch_add(1, Ordering::Relaxed);
        }
        self.shelf().settled(receipt.epoch);
    }

    fn put_back(&self, held: Held<T>) {
        let mut shelf = self.shelf();
        if held.receipt.epoch == shelf.epoch {
            shelf.waiting.push_back(held);
            drop(shelf);
            self.arrived.notify_one();
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<T>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shelf<T> {
    fn take(&mut self, max: usize) -> Result<Vec<Held<T>>, LinkError> {
        if self.is_closed {
            return Err(LinkError::Closed);
        }
        let count = max.min(self.waiting.len());
        Ok(self.waiting.drain(..count).collect())
    }

    fn settled(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.held = self.held.saturating_sub(1);
        }
    }
}

impl<T> InHand<T> {
    /// What was delivered.
    pub fn content(&self) -> Option<&T> {
        self.held.as_ref().map(|held| &held.content)
    }

    /// It is done with.
    pub async fn done(mut self) {
        if let Some(held) = self.held.take() {
            self.tray.acknowledge(held.receipt).await;
        }
    }
}

impl<T> Drop for InHand<T> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.tray.put_back(held);
        }
    }
}
