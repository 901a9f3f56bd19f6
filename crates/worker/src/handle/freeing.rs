//! Gives back leases that errors of an engine left behind, once the engine is there again. The check that they were taken
//! for may have gone to another worker, which can only see that somebody holds the order; without this it would wait for
//! the lease's end. Takes no lease, and asks nobody.

use super::Worker;

/// Orders that one delivery frees: it is not to hold its own place for long.
const FREED_MAX: usize = 64;

impl Worker {
    /// Frees what is left behind, until the ledger fails again. What nobody holds by now is refused and forgotten.
    pub(super) async fn free_what_is_left(&self) {
        for _ in 0..FREED_MAX {
            let Some((key, left)) = self.left.take_any() else { return };
            for token in left.tokens() {
                let wait = self.with_random(|random| self.retry.delay(0, random));
                if let Err(error) = self.give_back(&key, token, wait).await {
                    tracing::debug!(error = %error, mch_id = %key.mch_id, out_trade_no = %key.out_trade_no,
                        "a lease of {} is left for longer: {error}", key.out_trade_no);
                    return self.left.put_back(&key, left.in_doubt());
                }
            }
        }
    }
}
