//! Checks that are not worked on: those that the queue gave up on get a due time, and those whose record nobody here can
//! read become dead letters. Neither may keep others waiting.

use paybell_core::lease::Taken;
use paybell_core::ports::{Delivery, PortError};
use paybell_core::{Check, DeadLetter, DeadReason};

use super::Worker;

impl Worker {
    /// Gives the order of a check that the queue gave up on a due time, without working on it.
    pub async fn rescue(&self, delivery: Delivery) -> Result<(), PortError> {
        let check = &delivery.check;
        match self.give_due_time(check).await {
            Ok(()) => {
                tracing::error!(mch_id = %check.key.mch_id, out_trade_no = %check.key.out_trade_no,
                    "the queue gave up on a check of {}: its order is looked at again by its due time", check.key.out_trade_no);
                self.parts.metrics.checked(check.reason, "rescued");
            }
            Err(error) => {
                let outcome = self.set_aside(check, error).await?;
                self.parts.metrics.checked(check.reason, outcome);
            }
        }
        delivery.done().await
    }

    /// A lease that is given back at once leaves a due time.
    async fn give_due_time(&self, check: &Check) -> Result<(), PortError> {
        let (taken, token) = self.take(check).await?;
        // Where leases were lost in a row, the order may be what kills: a put-off would forget that, so the lease's own
        // due time stays.
        if let Taken::Leased(record) = taken
            && record.leases_lost == 0
        {
            let delay = self.with_random(|random| self.retry.delay(record.progress.attempts, random));
            // A refused put-off leaves the lease's own due time, which does as well.
            let given_back = self.give_back(&check.key, token, delay).await;
            if given_back.is_err() {
                self.remember_given_up(&check.key, token);
            }
            given_back?;
        }
        Ok(())
    }

    /// Handing a check out again helps where an engine is away, and never where a record cannot be read: it would come
    /// first for ever. A letter says which order it is, and the record stays for a process that can read it.
    pub(super) async fn set_aside(&self, check: &Check, error: PortError) -> Result<&'static str, PortError> {
        let PortError::Corrupt { .. } = error else { return Err(error) };
        let now = self.parts.ledger.clock().await?.now;
        let letter = DeadLetter::about(&check.key, DeadReason::Unreadable, error.to_string(), now);
        let letter = match &check.refund {
            Some(refund) => letter.of_refund(refund),
            None => letter,
        };
        self.parts.dead.bury(&letter).await?;
        tracing::error!(mch_id = %check.key.mch_id, out_trade_no = %check.key.out_trade_no,
            "a check of {} is a dead letter: {error}", check.key.out_trade_no);
        Ok("unreadable")
    }
}
