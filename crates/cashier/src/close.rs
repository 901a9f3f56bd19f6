//! Closing an order on a shop's demand. The worker's next look tells `order.closed`; what is learned here is only what
//! the shop is answered.

use paybell_core::observation::{NotPaid, Observation};
use paybell_core::place::{CashierError, Refusal, RefusalKind};
use paybell_core::ports::Closed;
use paybell_core::{OrderKey, Record, State};
use worker::Ask;

use crate::business::too_young;
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
            return Err(refusal::soon(RefusalKind::WechatBusy).into());
        }
        if let Some(wait) = too_young(&record, now) {
            return Err(Refusal { retry_after: Some(wait), ..RefusalKind::TooYoung.into() }.into());
        }
        let closed = self.close_and_ask(&record).await;
        // Whatever came of it, or may have: the worker finds out and tells.
        self.look(key).await;
        closed
    }

    async fn close_and_ask(&self, record: &Record) -> Result<Closed, CashierError> {
        let ask = Ask { is_urgent: true, ..Ask::about(record) };
        self.close_at_wechat(&ask).await.map_err(as_unknown)?;
        match self.ask(&ask).await.map_err(as_unknown)? {
            Observation::Closed(_) => Ok(Closed::Now),
            Observation::Payment(_) => Err(settled(State::Paid).into()),
            Observation::NotPaid(NotPaid::NotExist) => Ok(Closed::NeverPlaced),
            Observation::Failed => Err(settled(State::Failed).into()),
            Observation::NotPaid(_) | Observation::Unknown(_) => {
                Err(refusal::soon(RefusalKind::OutcomeUnknown).into())
            }
        }
    }
}

/// WeChat was called, so an order may be closed although no answer came.
fn as_unknown(error: CashierError) -> CashierError {
    match error {
        CashierError::Refused(refused) if refused.kind == RefusalKind::WechatAway => {
            refusal::soon(RefusalKind::OutcomeUnknown).into()
        }
        other => other,
    }
}
