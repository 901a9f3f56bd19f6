//! One business order, several numbers: before another number can be paid, the earlier ones cannot any more.
//!
//! Whoever was asked for last wins, and the others make way: unpaid ones are closed, a paid one refuses the new number.
//! Where that cannot be known, or WeChat does not close yet, nothing is placed. What escapes this, as two orders that a
//! shop places by itself, is still told as `order.duplicate_payment` by the worker.

use paybell_core::decide::{CLOSE_AGE_MIN, CloseSaid};
use paybell_core::observation::{NotPaid, Observation};
use paybell_core::place::{CashierError, Refusal, RefusalKind};
use paybell_core::ports::BUSINESS_NUMBERS_MAX;
use paybell_core::time::Millis;
use paybell_core::{Answer, OrderKey, OutTradeNo, Record, State, Timestamp};
use worker::{Ask, Asked, CloseAsked};

use crate::desk::Desk;
use crate::refusal;

/// When a number that is being placed, or paid, may be looked at again.
pub(crate) const BUSY_WAIT: Millis = Millis::seconds(3);
pub(crate) const PAYING_WAIT: Millis = Millis::seconds(10);
/// When one may be closed again that its payer has not opened, at the latest: should the payer do so, it can be.
const UNOPENED_WAIT_MAX: Millis = Millis::seconds(300);

/// What a closeorder came to, by what WeChat said to it and to the query after it.
pub(crate) enum Came {
    Closed,
    Paid,
    Failed,
    /// WeChat said twice that it knows no such order.
    NotExist,
    /// It stays open: a payer is at it, or it came to exist only just now.
    Open,
    /// Closed, but not yet in the books; the same request goes on from there.
    Unsure,
}

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
        let ask = Ask { is_urgent: true, ..Ask::about(other) };
        match self.ask(&ask).await? {
            Observation::NotPaid(NotPaid::NotExist) if !other.may_be_offered(now) => Ok(false),
            Observation::NotPaid(NotPaid::UserPaying) => {
                Err(in_the_way(RefusalKind::BusinessPaying, other, Some(PAYING_WAIT)).into())
            }
            Observation::NotPaid(_) => {
                if let Some(wait) = too_young(other, now) {
                    return Err(in_the_way(RefusalKind::BusinessTooYoung, other, Some(wait)).into());
                }
                let came = self.close_at_wechat(&ask).await?;
                over(came, other, now)
            }
            Observation::Payment(_) => {
                self.look(&other.key).await;
                over(Came::Paid, other, now)
            }
            Observation::Closed(_) | Observation::Failed => {
                self.look(&other.key).await;
                Ok(true)
            }
            Observation::Unknown(_) => {
                self.look(&other.key).await;
                Err(refusal::soon(RefusalKind::WechatAway).into())
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

    /// What became of an order that WeChat was told to close. Whatever came of that, or may have: the worker finds out
    /// and tells.
    pub(crate) async fn close_at_wechat(&self, ask: &Ask) -> Result<Came, CashierError> {
        let came = match self.parts.wechat.close(ask).await {
            CloseAsked::NoSlot => return Err(refusal::soon(RefusalKind::WechatBusy).into()),
            CloseAsked::Answered(said) => self.ask(ask).await.map(|observation| came(said, &observation)),
            CloseAsked::Undecided(answer) => Err(refusal::of_answer(&answer).into()),
        };
        self.look(&ask.key).await;
        came.map_err(as_unknown)
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

fn came(said: CloseSaid, observation: &Observation) -> Came {
    match (observation, said) {
        (Observation::Payment(_), _) => Came::Paid,
        (Observation::Closed(_), _) => Came::Closed,
        (Observation::Failed, _) => Came::Failed,
        (Observation::NotPaid(NotPaid::NotExist), CloseSaid::NotExist) => Came::NotExist,
        // It closed what no payer had opened, and still shows it to nobody.
        (Observation::NotPaid(NotPaid::NotExist), CloseSaid::Closed) => Came::Closed,
        (Observation::NotPaid(_), CloseSaid::NotClosed | CloseSaid::NotExist) => Came::Open,
        (Observation::NotPaid(_), CloseSaid::Closed) | (Observation::Unknown(_), _) => Came::Unsure,
    }
}

/// Whether another number was closed, or else was nothing that could be paid.
fn over(came: Came, other: &Record, now: Timestamp) -> Result<bool, CashierError> {
    match came {
        Came::Closed | Came::Failed => Ok(true),
        Came::NotExist => match unopened_wait(other, now) {
            None => Ok(false),
            wait => Err(in_the_way(RefusalKind::BusinessNotClosed, other, wait).into()),
        },
        Came::Open => Err(in_the_way(RefusalKind::BusinessNotClosed, other, Some(PAYING_WAIT)).into()),
        Came::Paid => {
            let state = Some(State::Paid);
            Err(Refusal { state, ..in_the_way(RefusalKind::BusinessPaid, other, None) }.into())
        }
        Came::Unsure => Err(refusal::soon(RefusalKind::OutcomeUnknown).into()),
    }
}

/// When to try again to close an order that WeChat does not know and a payer may hold an offer of.
pub(crate) fn unopened_wait(record: &Record, now: Timestamp) -> Option<Millis> {
    let until = record.offered_until().filter(|until| *until > now)?;
    Some(until.since(now).min(UNOPENED_WAIT_MAX))
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
