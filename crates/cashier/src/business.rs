//! One business order, several numbers: before another number can be paid, the earlier ones cannot any more.
//!
//! Whoever was asked for last wins, and the others make way: unpaid ones are closed, a paid one refuses the new number.
//! Where that cannot be known, or WeChat does not close yet, nothing is placed. What escapes this, as two orders that a
//! shop places by itself, is still told as `order.duplicate_payment` by the worker.

use paybell_core::decide::CLOSE_AGE_MIN;
use paybell_core::observation::{NotPaid, Observation};
use paybell_core::place::{CashierError, Refusal, RefusalKind};
use paybell_core::ports::BUSINESS_NUMBERS_MAX;
use paybell_core::time::Millis;
use paybell_core::{Answer, OrderKey, OutTradeNo, Record, State, Timestamp};
use worker::{Ask, Asked, CloseAsked};

use crate::desk::Desk;
use crate::refusal;

/// When a number that is being placed, or paid, may be looked at again.
const BUSY_WAIT: Millis = Millis::seconds(3);
const PAYING_WAIT: Millis = Millis::seconds(10);

/// What one other number is to the one that is to be placed.
enum Other {
    /// It cannot be paid.
    Over,
    /// It could be.
    Open(Box<Record>),
}

impl Desk {
    /// Closes what else could be paid for the same business order; says what it closed.
    pub(crate) async fn make_way(&self, record: &Record) -> Result<Vec<OutTradeNo>, CashierError> {
        let mut closed = Vec::new();
        for other in self.others(record).await? {
            if self.close_other(&other).await? {
                closed.push(other.key.out_trade_no);
            }
        }
        Ok(closed)
    }

    /// The same refusals as far as our own records show them, without a call.
    pub(crate) async fn see_the_others(&self, record: &Record) -> Result<(), CashierError> {
        self.others(record).await.map(drop)
    }

    /// The other numbers that could be paid.
    async fn others(&self, record: &Record) -> Result<Vec<Record>, CashierError> {
        let registration = record.registration.as_ref();
        let Some(business_no) = registration.and_then(|registration| registration.business_no.as_ref())
        else {
            return Ok(Vec::new());
        };
        let numbers = self.parts.businesses.numbers(&record.key.mch_id, business_no).await?;
        if numbers.len() >= BUSINESS_NUMBERS_MAX {
            return Err(RefusalKind::BusinessTooManyNumbers.into());
        }
        let mut open = Vec::new();
        for out_trade_no in numbers.into_iter().filter(|number| *number != record.key.out_trade_no) {
            let key = OrderKey { mch_id: record.key.mch_id.clone(), out_trade_no };
            let Some(other) = self.parts.records.read(&key).await? else { continue };
            let is_linked = other
                .registration
                .as_ref()
                .is_some_and(|registration| registration.business_no.as_ref() == Some(business_no));
            if is_linked && let Other::Open(other) = compare(record, other)? {
                open.push(*other);
            }
        }
        Ok(open)
    }

    /// Whether it was closed just now, or had been and we did not know.
    async fn close_other(&self, other: &Record) -> Result<bool, CashierError> {
        let now = self.now().await?;
        let placing = other.placing.as_deref();
        if placing.is_some_and(|placing| placing.is_calling(now)) {
            return Err(in_the_way(RefusalKind::BusinessBusy, other, Some(BUSY_WAIT)).into());
        }
        let may_be_offered = placing.is_some_and(|placing| placing.may_be_offered(now));
        let ask = Ask { is_urgent: true, ..Ask::about(other) };
        match self.ask(&ask).await? {
            Observation::NotPaid(NotPaid::NotExist) if !may_be_offered => Ok(false),
            Observation::NotPaid(NotPaid::UserPaying) => {
                Err(in_the_way(RefusalKind::BusinessPaying, other, Some(PAYING_WAIT)).into())
            }
            Observation::NotPaid(_) => {
                if let Some(wait) = too_young(other, now) {
                    return Err(in_the_way(RefusalKind::BusinessTooYoung, other, Some(wait)).into());
                }
                over(&self.close_at_wechat(&ask).await?, other).map_err(as_unknown)
            }
            observation => {
                self.look(&other.key).await;
                over(&observation, other)
            }
        }
    }

    /// What WeChat says of an order, verified.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Observation, CashierError> {
        match self.parts.wechat.query(ask).await {
            Asked::Answered(Answer::Observed(observation)) => Ok(observation),
            Asked::Answered(answer) => Err(refusal::of_answer(&answer).into()),
            Asked::NoSlot => Err(refusal::soon(RefusalKind::WechatBusy).into()),
        }
    }

    /// What WeChat says of an order once it was told to close it. Whatever came of that, or may have: the worker finds
    /// out and tells.
    pub(crate) async fn close_at_wechat(&self, ask: &Ask) -> Result<Observation, CashierError> {
        let answered = match self.parts.wechat.close(ask).await {
            CloseAsked::NoSlot => return Err(refusal::soon(RefusalKind::WechatBusy).into()),
            CloseAsked::Answered => self.ask(ask).await,
            CloseAsked::Undecided(answer) => Err(refusal::of_answer(&answer).into()),
        };
        self.look(&ask.key).await;
        answered.map_err(as_unknown)
    }
}

/// WeChat was called, so an order may be closed although no answer came.
fn as_unknown(error: CashierError) -> CashierError {
    match error {
        CashierError::Refused(refused)
            if matches!(refused.kind, RefusalKind::WechatAway | RefusalKind::WechatBusy) =>
        {
            refusal::soon(RefusalKind::OutcomeUnknown).into()
        }
        other => other,
    }
}

/// Whether another number is closed, by what WeChat said last.
fn over(observation: &Observation, other: &Record) -> Result<bool, CashierError> {
    match observation {
        Observation::Payment(_) => {
            let state = Some(State::Paid);
            Err(Refusal { state, ..in_the_way(RefusalKind::BusinessPaid, other, None) }.into())
        }
        // It was told to close whatever it may not have known yet, and knows of nothing still.
        Observation::Closed(_) | Observation::Failed | Observation::NotPaid(NotPaid::NotExist) => Ok(true),
        // The answer to the close has not reached the books yet: the same request goes on from there.
        Observation::NotPaid(_) | Observation::Unknown(_) => {
            Err(refusal::soon(RefusalKind::WechatAway).into())
        }
    }
}

/// How long WeChat will not close it yet.
pub(crate) fn too_young(record: &Record, now: Timestamp) -> Option<Millis> {
    let may_close_at = record.counts_from() + CLOSE_AGE_MIN;
    (now < may_close_at).then(|| may_close_at.since(now))
}

fn compare(record: &Record, other: Record) -> Result<Other, CashierError> {
    match other.state {
        State::Paid | State::Refunded | State::Mismatch | State::Rejected => {
            let state = Some(other.state);
            Err(Refusal { state, ..in_the_way(RefusalKind::BusinessPaid, &other, None) }.into())
        }
        State::Closed | State::Failed => Ok(Other::Over),
        // We gave it up. WeChat did not: it may still take its payment.
        State::Unpaid => Ok(Other::Open(Box::new(other))),
        State::Pending => {
            let (own, newer) = (offered_at(record), offered_at(&other));
            if own.is_some() && newer > own {
                return Err(in_the_way(RefusalKind::BusinessSuperseded, &other, None).into());
            }
            Ok(Other::Open(Box::new(other)))
        }
    }
}

fn offered_at(record: &Record) -> Option<Timestamp> {
    record.placing.as_ref()?.offer.as_ref().map(|offer| offer.at)
}

fn in_the_way(kind: RefusalKind, other: &Record, retry_after: Option<Millis>) -> Refusal {
    Refusal { out_trade_no: Some(other.key.out_trade_no.clone()), retry_after, ..kind.into() }
}
