//! Closing an order on a shop's demand. The worker's next look tells `order.closed`; what is learned here is only what
//! the shop is answered.

use paybell_core::observation::{NotPaid, Observation};
use paybell_core::place::{CashierError, Refusal, RefusalKind};
use paybell_core::ports::Closed;
use paybell_core::{OrderKey, State};
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
        let placing = record.placing.as_deref();
        let may_be_offered = placing.is_some_and(|placing| placing.may_be_offered(now));
        let ask = Ask { is_urgent: true, ..Ask::about(&record) };
        match self.close_at_wechat(&ask).await? {
            Observation::Closed(_) => Ok(Closed::Now),
            Observation::Payment(_) => Err(settled(State::Paid).into()),
            // WeChat may not have known it yet, but was told to close it.
            Observation::NotPaid(NotPaid::NotExist) if may_be_offered => Ok(Closed::Now),
            Observation::NotPaid(NotPaid::NotExist) => Ok(Closed::NeverPlaced),
            Observation::Failed => Err(settled(State::Failed).into()),
            Observation::NotPaid(_) | Observation::Unknown(_) => {
                Err(refusal::soon(RefusalKind::OutcomeUnknown).into())
            }
        }
    }
}
