//! The record: everything we store about one order.
//!
//! Engines keep it and hand it to the transitions of this crate; only those change it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::decide::earlier;
use crate::event::Event;
use crate::ids::{AppId, LeaseToken, MchId, OrderKey, OutRefundNo, TransactionId};
use crate::observation::Payment;
use crate::place::Placing;
use crate::refund::{self, Refund};
use crate::register::Registration;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// Entries of history kept per order; the oldest notes go first, emitted events stay.
pub const HISTORY_ENTRIES_MAX: usize = 64;

/// What we know of the order. The order of the variants says nothing; [`State::rank`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Pending,
    Unpaid,
    Closed,
    Failed,
    Mismatch,
    Rejected,
    Paid,
    Refunded,
}

impl State {
    /// Every state.
    pub const ALL: [State; 8] = [
        State::Pending,
        State::Unpaid,
        State::Closed,
        State::Failed,
        State::Mismatch,
        State::Rejected,
        State::Paid,
        State::Refunded,
    ];

    /// An observation never leads to an equal or lower rank.
    pub fn rank(self) -> u8 {
        match self {
            State::Pending => 0,
            State::Unpaid | State::Closed | State::Failed => 1,
            State::Mismatch | State::Rejected => 2,
            State::Paid => 3,
            State::Refunded => 4,
        }
    }

    /// The word used in documents, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Unpaid => "unpaid",
            State::Closed => "closed",
            State::Failed => "failed",
            State::Mismatch => "mismatch",
            State::Rejected => "rejected",
            State::Paid => "paid",
            State::Refunded => "refunded",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What made a record due. Every cause but the cadence is urgent, and its retries stay so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    #[default]
    Cadence,
    Notified,
    Registered,
    Accepted,
    Manual,
    Billed,
    /// Events are committed and not yet published.
    Outgoing,
    /// A refund was asked for, or a notification of one came.
    Refund,
}

impl Cause {
    /// Whether it is claimed before all cadence polls.
    pub fn is_urgent(self) -> bool {
        self != Cause::Cadence
    }

    /// The more urgent of two.
    pub fn or(self, other: Cause) -> Cause {
        if self.is_urgent() { self } else { other }
    }

    /// What two wake-ups ask for together. A notification may turn out to be a duplicate (I6), and outgoing events are
    /// published by whoever ends the lease; any other wish must not be dropped with them.
    pub fn and(self, other: Cause) -> Cause {
        let asks_for = |cause: Cause| match cause {
            Cause::Cadence => 0,
            // A refund's own due time says when it is looked at.
            Cause::Outgoing | Cause::Refund => 1,
            Cause::Notified => 2,
            Cause::Registered | Cause::Accepted | Cause::Manual | Cause::Billed => 3,
        };
        if asks_for(other) > asks_for(self) { other } else { self }
    }
}

/// When the record is looked at next, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    pub at: Timestamp,
    pub cause: Cause,
}

/// The right of one worker to decide, until a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub token: LeaseToken,
    pub until: Timestamp,
    /// The holder has committed and only the clear is missing.
    #[serde(default)]
    pub committed: bool,
}

/// The transaction_id that unanswered notifications named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hint {
    One(TransactionId),
    /// None, or two different ones.
    Any,
}

impl Hint {
    /// From what a notification carried.
    pub fn of(transaction_id: Option<TransactionId>) -> Self {
        transaction_id.map_or(Hint::Any, Hint::One)
    }

    /// Two hints together.
    pub fn and(self, other: Hint) -> Hint {
        if self == other { self } else { Hint::Any }
    }

    /// Whether a payment under this id answers the notifications.
    pub fn is_answered_by(&self, transaction_id: Option<&TransactionId>) -> bool {
        match self {
            Hint::One(id) => Some(id) == transaction_id,
            Hint::Any => transaction_id.is_some(),
        }
    }
}

/// A wake-up that came while the lease was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAgain {
    pub cause: Cause,
    /// Present when a notification was among the wake-ups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notified: Option<Hint>,
}

/// The quick looks that follow a notification which the query does not confirm yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuickLooks {
    /// How many of them were made.
    pub made: u8,
    /// When the next one is; absent before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    pub hint: Hint,
}

/// Where the looking stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// A notification of the order was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notified: bool,
    /// WeChat was answered SUCCESS by us, the order was placed through us, or a person asked: whatever the mode, this order
    /// is told outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick: Option<QuickLooks>,
    /// Transient answers in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// When a look last ended, whatever it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// Until when a payment of an unregistered order is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
    /// As whose order a notification came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_as: Option<SeenAs>,
    /// The order was met by its refunds only: its payment is neither asked about nor told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refund_only: bool,
}

/// As whose order a notification came: used to ask about an order that nobody registered, proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAs {
    pub appid: AppId,
    /// A service provider must name the sub merchant in every query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_mch_id: Option<MchId>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// One line of an order's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    /// A word: `registered`, `observed`, `transient`, `refused`, `emitted`, `accepted`, `rejected`, …
    pub what: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// An emitted event is kept whole, so that it can be published again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<Event>>,
}

/// Our stored order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: OrderKey,
    pub state: State,
    /// Rises with every event.
    pub version: u64,
    pub registration: Option<Registration>,
    /// The cadence counts from here.
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub due: Option<Due>,
    /// Raised by every claim and every commit.
    pub claim: u64,
    pub lease: Option<Lease>,
    pub look_again: Option<LookAgain>,
    /// Leases in a row that ended without a commit, put-off or clear.
    pub leases_lost: u32,
    /// Raised by registering, placing, `accept` and `reject`; a commit that was decided on older facts is refused.
    pub facts: u32,
    pub verdict: Option<Verdict>,
    /// Present on orders that are placed through us.
    pub placing: Option<Box<Placing>>,
    pub progress: Progress,
    /// The payment that decided the state.
    pub payment: Option<Payment>,
    /// Committed and not yet published.
    pub outgoing: Vec<Event>,
    /// What the due time becomes once nothing is outgoing; where there are refunds, that of the order itself.
    pub due_decided: Option<Due>,
    pub history: Vec<Entry>,
    /// In the order in which they were met.
    pub refunds: Vec<Refund>,
    /// When the order itself is looked at next; kept apart from [`Record::due`] only where there are refunds.
    pub order_due: Option<Due>,
}

impl Record {
    /// A new record without a registration.
    pub fn new(key: OrderKey, created_at: Timestamp, now: Timestamp) -> Self {
        Self {
            key,
            state: State::Pending,
            version: 0,
            registration: None,
            created_at,
            updated_at: now,
            due: None,
            claim: 0,
            lease: None,
            look_again: None,
            leases_lost: 0,
            facts: 0,
            verdict: None,
            placing: None,
            progress: Progress::default(),
            payment: None,
            outgoing: Vec::new(),
            due_decided: None,
            history: Vec::new(),
            refunds: Vec::new(),
            order_due: None,
        }
    }

    /// The transaction that the state stands on.
    pub fn transaction_id(&self) -> Option<&TransactionId> {
        self.payment.as_ref().and_then(|payment| payment.transaction_id.as_ref())
    }

    /// Whether an event of this id was ever committed.
    pub fn has_event(&self, id: Uuid) -> bool {
        self.events().any(|event| event.id == id)
    }

    /// Every committed event, published or not, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.history.iter().filter_map(|entry| entry.event.as_deref()).chain(&self.outgoing)
    }

    /// I6: whether a notification of this payment has nothing left to tell.
    pub fn has_seen(&self, transaction_id: Option<&TransactionId>) -> bool {
        let is_decided =
            matches!(self.state, State::Paid | State::Refunded | State::Mismatch | State::Rejected);
        is_decided
            && self.outgoing.is_empty()
            && transaction_id.is_some()
            && self.transaction_id() == transaction_id
    }

    /// One of its refunds.
    pub fn refund(&self, number: &OutRefundNo) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.out_refund_no == *number)
    }

    /// The refund that the present lease is for; none where it is for the order itself.
    pub fn refund_in_hand(&self) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.in_hand)
    }

    /// Adds a refund, which brings its own due time.
    pub(crate) fn add_refund(&mut self, refund: Refund) {
        if self.refunds.is_empty() {
            self.order_due = self.due;
        }
        self.refunds.push(refund);
    }

    /// The order is met by itself, not only by a refund: from here on it is an order like any other, from its beginning.
    pub(crate) fn meet(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.progress.refund_only) {
            self.state = State::Pending;
            self.created_at = now;
            // What was decided of an order known by its refunds does not hold any more.
            self.facts = self.facts.wrapping_add(1);
        }
    }

    /// The one place where the due time of the order and those of its refunds meet: the record is due at the earlier.
    pub(crate) fn rest_until(&mut self, order: Option<Due>) {
        let order = order.filter(|_| !self.progress.refund_only);
        self.order_due = order.filter(|_| !self.refunds.is_empty());
        self.due = earlier(order, refund::due(&self.refunds));
    }

    /// Adds a line of history within its bound.
    pub fn note(&mut self, entry: Entry) {
        self.history.push(entry);
        if self.history.len() > HISTORY_ENTRIES_MAX
            && let Some(oldest) = self.history.iter().position(|entry| entry.event.is_none())
        {
            self.history.remove(oldest);
        }
    }

    /// I8: a record that is pending, leased, has outgoing events or a refund to look at has a due time.
    pub fn keeps_its_due_time(&self) -> bool {
        let needs_one = self.state == State::Pending
            || self.lease.is_some()
            || !self.outgoing.is_empty()
            || self.refunds.iter().any(|refund| refund.next_at.is_some());
        !needs_one || self.due.is_some()
    }
}

impl Entry {
    /// A line without an event.
    pub fn new(at: Timestamp, what: &str, detail: impl Into<String>) -> Self {
        Self { at, what: what.to_owned(), detail: detail.into(), event: None }
    }

    /// A published event.
    pub fn emitted(at: Timestamp, event: Event) -> Self {
        let detail = event.kind.as_str().to_owned();
        Self { at, what: "emitted".to_owned(), detail, event: Some(Box::new(event)) }
    }
}
