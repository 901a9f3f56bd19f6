//! The decision table: what an answer means for an order.
//!
//! Pure: the record, the answer and the ledger's time go in, a [`Decision`] comes out. It is the only way to an event.

mod denial;
mod draft;
mod payment;
mod refund;
mod undecided;

pub use self::refund::{REFUND_DENIAL_SPAN, REFUND_WATCH, RefundLook, decide_refund};

use crate::check::{Check, Reason};
use crate::dead::DeadLetter;
use crate::event::{Event, LearnedBy};
use crate::ids::{OutRefundNo, OutTradeNo};
use crate::memory::Memory;
use crate::observation::{Answer, Observation, Payment};
use crate::policy::Policy;
use crate::record::{Cause, Due, Entry, Progress, QuickLooks, Record, State};
use crate::refund::Refund;
use crate::shadow;
use crate::time::{Millis, Timestamp};

/// The gaps of the quick looks that follow a notification which the query does not confirm yet.
pub const QUICK_GAPS: [Millis; 4] =
    [Millis::seconds(1), Millis::seconds(2), Millis::seconds(4), Millis::seconds(8)];

/// The gap after the last cadence point where only a person can help.
pub const STUCK_GAP: Millis = Millis::seconds(6 * 3600);

/// The gap after which a denial is tried again when the clock could not be trusted.
pub const UNSTEADY_GAP: Millis = Millis::seconds(60);

/// WeChat refuses to close an order younger than this.
pub const CLOSE_AGE_MIN: Millis = Millis::seconds(300);

/// The gaps at which an order is closed again that WeChat did not close: they grow with the time since its last point.
pub const CLOSE_AGAIN_GAP_MIN: Millis = Millis::seconds(60);

/// The circumstances of one look at an order.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub check: &'a Check,
    pub policy: &'a Policy,
    /// The ledger's clock.
    pub now: Timestamp,
    /// False after a jump of the clock: then nothing is denied on its word.
    pub is_clock_steady: bool,
    /// What the retry policy waits after this many transient answers in a row.
    pub retry_delay: Millis,
    /// Whether closeorder was called in this look.
    pub closing: Closing,
    /// Which number of the order's business order was paid first, once that is claimed in this look.
    pub first_paid: Option<&'a OutTradeNo>,
    /// How far back the ledger knows what was told.
    pub memory: Memory,
}

/// How far `close_unpaid` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    NotTried,
    /// WeChat answered the closeorder; this is the last query after it.
    Answered(CloseSaid),
}

/// What WeChat said to a closeorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseSaid {
    /// It is closed, now or before.
    Closed,
    /// There is no such order, so nothing was closed: one that comes to exist later can be paid.
    NotExist,
    /// It is paid, or its payer is at it, or it is too young: it is not closed.
    NotClosed,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Call closeorder, ask once more, then decide again.
    CloseFirst,
    /// Claim that this number of its business order is paid first, then decide again.
    ClaimFirst,
    Commit(Box<Change>),
}

/// What a commit writes. It never contains what registering, `accept` and `reject` wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub state: State,
    pub version: u64,
    pub events: Vec<Event>,
    /// When the order is looked at next; its refunds bring their own due times.
    pub due: Option<Due>,
    pub progress: Progress,
    /// Replaces the record's payment if present.
    pub payment: Option<Payment>,
    pub entry: Entry,
    pub dead: Option<DeadLetter>,
    /// What a look at one refund found.
    pub refund: Option<(OutRefundNo, RefundFound)>,
    /// Nothing is worth remembering: delete the record.
    pub forget: bool,
    /// One word for metrics and logs.
    pub outcome: &'static str,
}

/// What becomes of a refund that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum RefundFound {
    Kept(Box<Refund>),
    /// There is none; forgotten, unless more wishes came meanwhile than the look answers.
    Nothing {
        hints: u32,
    },
}

/// Decides what an answer means for an order.
pub fn decide(record: &Record, answer: &Answer, look: &Look<'_>) -> Decision {
    if record.progress.refund_only {
        // Nobody told us of the payment itself, so nobody is told of it.
        return Decision::Commit(Box::new(Change::keep(
            record,
            look,
            "not_looked_at",
            "known by a refund only",
        )));
    }
    let mut change = match answer {
        Answer::Transient(cause) => undecided::transient(record, cause, look),
        Answer::Refused { reason, detail } => undecided::refused(record, reason, detail, look),
        Answer::Observed(Observation::Unknown(state)) => undecided::unknown_state(record, state, look),
        Answer::Observed(Observation::Payment(payment)) => {
            let change = payment::paid(record, payment, look);
            if payment::must_claim(record, &change, look) {
                return Decision::ClaimFirst;
            }
            change
        }
        Answer::Observed(observation) => match denial::not_paid(record, observation, look) {
            Decision::Commit(change) => *change,
            first => return first,
        },
    };
    shadow::come_back(record, &mut change, look);
    Decision::Commit(Box::new(change))
}

impl Look<'_> {
    /// Whether what happened at WeChat then may have been known here and forgotten before the record was made.
    pub(crate) fn may_have_forgotten(&self, at: Timestamp, record: &Record) -> bool {
        self.memory.may_have_expired(at, record.created_at, self.policy.retention)
    }

    /// How we came to know, if this look's answer is the first to say so.
    pub(crate) fn learned_by(&self, record: &Record) -> LearnedBy {
        if record.progress.notified {
            return LearnedBy::Notification;
        }
        match (self.check.reason, self.check.cause()) {
            (Reason::Notified, _) => LearnedBy::Notification,
            (_, Cause::Manual) => LearnedBy::Manual,
            (_, Cause::Billed) => LearnedBy::Bill,
            (..) => LearnedBy::Poll,
        }
    }

    /// The same for a refund.
    pub(crate) fn refund_learned_by(&self, refund: &Refund) -> LearnedBy {
        match self.check.cause() {
            _ if refund.notified => LearnedBy::Notification,
            Cause::Manual => LearnedBy::Manual,
            Cause::Billed => LearnedBy::Bill,
            _ => LearnedBy::Poll,
        }
    }

    /// The first cadence point after max(now, the due time this check was made for).
    pub(crate) fn next_cadence_point(&self, record: &Record) -> Option<Timestamp> {
        let due_for = self.check.claim.map_or(self.now, |claim| claim.due_for);
        let expires_at = record.registration.as_ref().and_then(|registration| registration.expires_at);
        let after = self.now.max(due_for);
        let next = self.policy.cadence.next_point(record.counts_from(), expires_at, after);
        let payable_until = || record.payable_until(&self.policy.cadence).filter(|_| expires_at.is_none());
        next.or_else(|| payable_until().filter(|until| *until > after))
    }
}

/// The quick looks after this one: they go on until the query confirms the notification or all are made.
pub(crate) fn quick_after(record: &Record, now: Timestamp) -> Option<QuickLooks> {
    let quick = record.progress.quick.as_ref()?;
    if quick.at.is_some_and(|at| at > now) {
        return Some(quick.clone());
    }
    let gap = QUICK_GAPS.get(usize::from(quick.made))?;
    Some(QuickLooks { made: quick.made.saturating_add(1), at: Some(now + *gap), hint: quick.hint.clone() })
}

/// When the next quick look is due.
pub(crate) fn quick_due(quick: Option<&QuickLooks>) -> Option<Due> {
    quick.and_then(|quick| quick.at).map(|at| Due { at, cause: Cause::Notified })
}

/// The earlier of two due times, urgent if either is: what is urgent must not wait behind what is not.
pub(crate) fn earlier(one: Option<Due>, other: Option<Due>) -> Option<Due> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Due { at: one.at.min(other.at), cause: one.cause.or(other.cause) }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
#[path = "decide/tests.rs"]
mod tests;
