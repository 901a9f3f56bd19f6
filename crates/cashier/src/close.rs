//! Closing an order on a shop's demand. The worker's next look tells `order.closed`; what is learned here is only what
//! the shop is answered.

use paybell_core::place::{CashierError, Refusal, RefusalKind};
use paybell_core::ports::Closed;
use paybell_core::time::Millis;
use paybell_core::{OrderKey, Record, State};
use worker::Ask;

use crate::business::{BUSY_WAIT, Came, PAYING_WAIT, too_young, unopened_wait};
use crate::desk::Desk;
use crate::place::settled;
use crate::refusal;

impl Desk {
    pub(crate) async fn close_order(&self, key: &OrderKey) -> Result<Closed, CashierError> {
        self.settings().shop(&key.mch_id)?;
        let record = self.parts.records.read(key).await?.ok_or(RefusalKind::UnknownOrder)?;
        match record.state {
            State::Closed => return Ok(Closed::Before),
            State::Paid | State::Refunded | State::Mismatch | State::Rejected => {
                return Err(settled(record.state).into());
            }
            State::Pending | State::Unpaid | State::Failed => {}
        }
        let now = self.now().await?;
        if record.placing.as_ref().is_some_and(|placing| placing.is_calling(now)) {
            return Err(not_closed(BUSY_WAIT).into());
        }
        if let Some(wait) = too_young(&record, now) {
            return Err(Refusal { retry_after: Some(wait), ..RefusalKind::TooYoung.into() }.into());
        }
        let ask = Ask { is_urgent: true, ..Ask::about(&record) };
        match self.close_at_wechat(&ask).await? {
            Came::Closed => Ok(Closed::Now),
            Came::Paid => Err(settled(State::Paid).into()),
            Came::Failed => Err(settled(State::Failed).into()),
            Came::NotExist => self.nothing_to_close(record).await,
            Came::Open => Err(not_closed(PAYING_WAIT).into()),
            Came::Unsure => Err(refusal::soon(RefusalKind::OutcomeUnknown).into()),
        }
    }

    /// WeChat knows no such order. That nobody can pay is sure only where no payer may hold an offer, nor was given one
    /// meanwhile.
    async fn nothing_to_close(&self, before: Record) -> Result<Closed, CashierError> {
        let record = self.parts.records.read(&before.key).await?.unwrap_or(before);
        let now = self.now().await?;
        match unopened_wait(&record, now) {
            None => Ok(Closed::NeverPlaced),
            Some(wait) => Err(not_closed(wait).into()),
        }
    }
}

fn not_closed(wait: Millis) -> Refusal {
    Refusal { retry_after: Some(wait), ..RefusalKind::NotClosed.into() }
}
