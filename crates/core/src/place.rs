//! Placing: what the record keeps of an order that a shop places through us, and the two steps around the call.
//!
//! *Begin* is stored before WeChat is called, *offered* after it answered, so whatever ends between them leaves an
//! order that we know. Neither needs a lease. When an order is given up counts from its begin, so a begin raises the
//! facts: who holds the lease decides again. No commit writes them.
//!
//! *Offered* is a fence, too: a payer is given only what it stored, and it stores nothing of a call that took so long
//! that others believe nobody calls any more. So who reads a record knows every offer that a payer may hold.
//! Calls nobody; the words of shop and answer stand in [`asked`] and [`refused`].

pub mod asked;
pub mod refused;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cadence::Cadence;
use crate::record::{Due, Record, State};
use crate::time::{Millis, Timestamp};

pub use asked::{CodeOf, Fields, Order, Pay, Payer, Placed, Scene, Store, Trade, TradeType, WhoPays};
pub use refused::{CashierError, Refusal, RefusalKind, Words};

/// When an order that was just placed for the first time is looked at, at the latest.
pub const FIRST_LOOK: Millis = Millis::seconds(15);

/// How long after its begin a call may still be on its way; who calls sees to it that it is not for longer.
pub const CALL_MAX: Millis = Millis::seconds(30);

/// WeChat's clock and ours may differ by that much when an order ends by its `expires_at`.
const CLOCK_RESERVE: Millis = Millis::seconds(60);

/// The name of an order's own end in a [`Wish`].
pub const TIME_EXPIRE: &str = "time_expire";

/// WeChat lets nobody begin to pay two hours after an order was placed; a little more for who has begun.
pub const OFFER_MAX: Millis = Millis::seconds(2 * 3600 + 600);

/// What is placed: by what a repeat is told from another order under the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub trade_type: TradeType,
    /// What must be equal on a repeat, by its name at WeChat: a digest each, as the values are others' data.
    pub parts: BTreeMap<String, String>,
}

/// What WeChat offered the payer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub prepay_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mweb_url: Option<String>,
    /// Its life counts from here: not after WeChat made it.
    pub at: Timestamp,
    /// A digest of the payer's address, where the offer is good for that one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
}

/// How far the placing of an order has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    pub wish: Wish,
    /// Before the first call: WeChat cannot know the order for longer.
    pub since: Timestamp,
    /// Before the last call.
    pub begun_at: Timestamp,
    /// Until then somebody may be calling WeChat: who places another number of the same business order keeps off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calling_until: Option<Timestamp>,
    /// The same of the call that this one came upon, should it still be on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_until: Option<Timestamp>,
    /// Absent until WeChat's answer is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Where WeChat was told to notify. It takes the order again with this address only, whatever ours is by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
}

/// A step of placing, each one compare-and-set without a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// WeChat is about to be called, and would notify there.
    Begin(Wish, String),
    /// WeChat answered the call that began when the offer says.
    Offered(Wish, Offer),
    /// WeChat was not called after all, or refused; of the call that began then, and of no other.
    Ended(Wish, Timestamp, Ending),
}

/// How a call ended that brought no offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    NotPlaced,
    /// WeChat knows another order under this number, which somebody else placed: it was never ours to offer.
    PlacedElsewhere,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stepped {
    /// It is stored.
    Stored(Box<Record>),
    /// Something else was offered under this number; the names of what differs.
    Different(Vec<String>),
    /// The order is no longer one that could be paid or offered.
    Settled(State),
    /// There is no such order, or nobody registered it: register first.
    Unregistered,
    /// It is of a wish that another took the place of, or of another call: nothing is kept, and nobody is given it.
    Outdated,
    /// Another call for the same was begun later and answered sooner: this one is as good, and need not be kept.
    Covered,
    /// The call took so long that others may believe nobody can pay: nobody is given it.
    Lapsed,
}

/// The record after the step. `None` leaves the stored one as it is.
pub fn place(stored: Option<&Record>, step: &Step, now: Timestamp) -> (Option<Record>, Stepped) {
    let Some(record) = stored.filter(|record| record.registration.is_some()) else {
        return (None, Stepped::Unregistered);
    };
    match step {
        Step::Begin(wish, notify_url) => begin(record, wish, notify_url, now),
        Step::Offered(wish, offer) => offered(record, wish, offer, now),
        Step::Ended(wish, begun_at, how) => ended(record, wish, (*begun_at, *how), now),
    }
}

/// A wish that WeChat never answered may be replaced: WeChat itself refuses another order under a number that it knows,
/// and the amount stands in the registration.
fn begin(stored: &Record, wish: &Wish, notify_url: &str, now: Timestamp) -> (Option<Record>, Stepped) {
    if stored.state != State::Pending {
        return (None, Stepped::Settled(stored.state));
    }
    let earlier = stored.placing.as_deref();
    if let Some(earlier) = earlier.filter(|earlier| earlier.offer.is_some()) {
        let different = earlier.wish.differences(wish);
        if !different.is_empty() {
            return (None, Stepped::Different(different));
        }
    }
    let mut record = stored.clone();
    let placing = Placing {
        wish: wish.clone(),
        since: earlier.map_or(now, |earlier| earlier.since),
        begun_at: now,
        calling_until: Some(now + CALL_MAX),
        called_until: earlier.and_then(|earlier| earlier.calling_until),
        offer: earlier.and_then(|earlier| earlier.offer.clone()),
        notify_url: Some(earlier.and_then(|one| one.told_url(wish)).unwrap_or(notify_url).to_owned()),
    };
    record.placing = Some(Box::new(placing));
    record.facts = record.facts.wrapping_add(1);
    // WeChat notifies us of its payment and nobody else: in shadow mode, too, the shop hears of it from us or not at all.
    record.progress.owed = true;
    record.updated_at = now;
    if earlier.is_none() && record.lease.is_none_or(|lease| lease.until <= now) {
        // The gaps of an order that was registered long ago are wide by now.
        let order = if record.refunds.is_empty() { record.due } else { record.order_due };
        record.rest_until(order.map(|due| Due { at: due.at.min(now + FIRST_LOOK), ..due }));
    }
    (Some(record.clone()), Stepped::Stored(Box::new(record)))
}

fn offered(stored: &Record, wish: &Wish, offer: &Offer, now: Timestamp) -> (Option<Record>, Stepped) {
    let Some(placing) = stored.placing.as_deref() else {
        // Registered anew, by somebody who has not begun: the ledger lost what was begun.
        return (None, Stepped::Unregistered);
    };
    if stored.state != State::Pending {
        return (None, Stepped::Settled(stored.state));
    }
    if placing.wish != *wish {
        return (None, Stepped::Outdated);
    }
    if now >= offer.at + CALL_MAX {
        return (None, Stepped::Lapsed);
    }
    if placing.offer.as_ref().is_some_and(|kept| kept.at >= offer.at) {
        return (None, Stepped::Covered);
    }
    let mut record = stored.clone();
    // Whoever still calls for it adds nothing: WeChat knows the order, and opens none that was closed.
    let offer = Some(offer.clone());
    let offered = Placing { offer, calling_until: None, called_until: None, ..placing.clone() };
    record.placing = Some(Box::new(offered));
    record.updated_at = now;
    (Some(record.clone()), Stepped::Stored(Box::new(record)))
}

/// The same request twice at once is two calls: the end of one says nothing of the other.
fn ended(
    stored: &Record,
    wish: &Wish,
    (begun_at, how): (Timestamp, Ending),
    now: Timestamp,
) -> (Option<Record>, Stepped) {
    let is_own = |placing: &&Placing| placing.wish == *wish && placing.begun_at == begun_at;
    let Some(placing) = stored.placing.as_deref().filter(is_own) else {
        return (None, Stepped::Outdated);
    };
    let mut record = stored.clone();
    let ended = Placing { calling_until: placing.called_until, called_until: None, ..placing.clone() };
    let is_first = placing.since == begun_at && placing.offer.is_none();
    record.placing = match how {
        Ending::PlacedElsewhere if is_first => None,
        _ => Some(Box::new(ended)),
    };
    record.updated_at = now;
    (Some(record.clone()), Stepped::Stored(Box::new(record)))
}

impl Wish {
    /// The names of what differs.
    pub fn differences(&self, other: &Wish) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if self.trade_type != other.trade_type {
            names.push("trade_type".to_owned());
        }
        let all = self.parts.keys().chain(other.parts.keys());
        for name in all.filter(|name| self.parts.get(*name) != other.parts.get(*name)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl Placing {
    /// Whether somebody may be calling WeChat.
    pub fn is_calling(&self, now: Timestamp) -> bool {
        self.calling_until.is_some_and(|until| until > now)
    }

    /// Until when a payer may hold an offer that is still good: WeChat's, or that of a call whose end nobody stored.
    fn offered_until(&self) -> Option<Timestamp> {
        let offered_at = self.offer.as_ref().map(|offer| offer.at);
        let called_at = self.calling_until.map(|_| self.begun_at);
        offered_at.max(called_at).map(|at| at + OFFER_MAX)
    }

    /// Where WeChat was told to notify of this wish, if it may have been told.
    fn told_url(&self, wish: &Wish) -> Option<&str> {
        let may_be_told = self.offer.is_some() || self.calling_until.is_some();
        self.notify_url.as_deref().filter(|_| may_be_told && self.wish == *wish)
    }
}

impl Record {
    /// Not after WeChat came to know the order: the cadence counts from here, and so does WeChat's own rule that an
    /// order younger than five minutes is not closed.
    pub fn counts_from(&self) -> Timestamp {
        let since = self.placing.as_ref().map(|placing| placing.since);
        since.map_or(self.created_at, |since| since.max(self.created_at))
    }

    /// Until when a payer may hold an offer that is still good. As long as that is so, *not exist* does not say that
    /// nobody can pay: WeChat may come to know the order only when the payer opens it, or when a request arrives whose
    /// sender has long given it up. Of an order that we did not place nobody knows whether the shop's own SDK did.
    pub fn offered_until(&self) -> Option<Timestamp> {
        let registration = self.registration.as_ref()?;
        let (until, has_own_end) = match self.placing.as_deref() {
            Some(placing) => (placing.offered_until()?, placing.wish.parts.contains_key(TIME_EXPIRE)),
            None => (self.created_at + OFFER_MAX, true),
        };
        let own_end = registration.expires_at.filter(|_| has_own_end).map(|at| at + CLOCK_RESERVE);
        Some(own_end.map_or(until, |own_end| own_end.min(until)))
    }

    /// Whether that is so now.
    pub fn may_be_offered(&self, now: Timestamp) -> bool {
        self.offered_until().is_some_and(|until| now < until)
    }

    /// When an order that was offered once more may be given up: once that offer has ended for sure, or has had as long
    /// as the cadence gives any order. The cadence alone says when one is given up that was offered once.
    pub fn payable_until(&self, cadence: &Cadence) -> Option<Timestamp> {
        let again = self.placing.as_ref().filter(|placing| placing.begun_at > placing.since)?;
        let own_end = cadence.last_point(again.begun_at, None);
        Some(own_end.min(again.begun_at + OFFER_MAX))
    }
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "place/tests.rs"]
mod tests;
