//! Whether confirms of the fan-out are waited for, and how many events were refused.
//!
//! A confirm that is held back ends the waiting, also of those who wait at that moment. It begins again when none was
//! held back for [`STALL`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long after the last held-back confirm nobody waits: one delay a minute at most while a subscriber is stuck.
const STALL: Duration = Duration::from_secs(60);

/// Shared by the carrier and those who wait.
pub(super) struct Patience {
    refused: AtomicU64,
    stalled_until: watch::Sender<Option<Instant>>,
}

impl Patience {
    pub fn new() -> Self {
        Self { refused: AtomicU64::new(0), stalled_until: watch::Sender::new(None) }
    }

    /// A subscriber's queue refused an event.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A confirm did not come in time: that counts as refused, and nobody waits for a while.
    pub fn stall(&self) {
        self.refuse();
        self.stalled_until.send_replace(Some(Instant::now() + STALL));
    }

    /// Returns as soon as nobody waits for confirms.
    pub async fn is_over(&self) {
        // The sender lives as long as we do.
        drop(self.stalled_until.subscribe().wait_for(lies_ahead).await);
    }

    /// Whether nobody waits for confirms now.
    pub fn is_stalled(&self) -> bool {
        lies_ahead(&self.stalled_until.borrow())
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn lies_ahead(until: &Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_confirm_held_back_ends_the_waiting_for_a_while() {
        let patience = Patience::new();
        let mut waiting = Box::pin(patience.is_over());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        patience.refuse();
        assert_eq!(waiting.as_mut().now_or_never(), None, "a refusal at once delays nobody");
        patience.stall();
        assert_eq!(waiting.now_or_never(), Some(()), "who waits is let go");
        advance(STALL - Duration::from_millis(1)).await;
        assert_eq!(patience.is_over().now_or_never(), Some(()));
        advance(Duration::from_millis(1)).await;
        assert_eq!(patience.is_over().now_or_never(), None);
        assert_eq!(patience.refused(), 2);
    }
}
