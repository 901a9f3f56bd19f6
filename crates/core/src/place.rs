//! Placing: what the record keeps of an order that a shop places through us, and the two steps around the call.
//!
//! *Begin* is stored before WeChat is called, *offered* after it answered, so whatever ends between them leaves an
//! order that we know. Neither needs a lease. When an order is given up counts from its begin, so a begin raises the
//! facts: who holds the lease decides again. No commit writes them. Calls nobody; the words of shop and answer stand in
//! [`asked`] and [`refused`].

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
}

/// A step of placing, each one compare-and-set without a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// WeChat is about to be called.
    Begin(Wish),
    /// WeChat answered.
    Offered(Wish, Offer),
    /// WeChat was not called after all, or refused; of the call that began then, and of no other.
    Ended(Wish, Timestamp),
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
    /// It is of a wish that another took the place of, or of a slower call: good, but not kept.
    Outdated,
}

/// The record after the step. `None` leaves the stored one as it is.
pub fn place(stored: Option<&Record>, step: &Step, now: Timestamp) -> (Option<Record>, Stepped) {
    let Some(record) = stored.filter(|record| record.registration.is_some()) else {
        return (None, Stepped::Unregistered);
    };
    match step {
        Step::Begin(wish) => begin(record, wish, now),
        Step::Offered(wish, offer) => offered(record, wish, offer, now),
        Step::Ended(wish, begun_at) => ended(record, wish, *begun_at, now),
    }
}

/// A wish that WeChat never answered may be replaced: WeChat itself refuses another order under a number that it knows,
/// and the amount stands in the registration.
fn begin(stored: &Record, wish: &Wish, now: Timestamp) -> (Option<Record>, Stepped) {
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
    let Some(placing) = stored.placing.as_deref().filter(|placing| placing.wish == *wish) else {
        return (None, Stepped::Outdated);
    };
    if placing.offer.as_ref().is_some_and(|kept| kept.at >= offer.at) {
        // A slower call of the same wish: what is kept lives longer.
        return (None, Stepped::Outdated);
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
fn ended(stored: &Record, wish: &Wish, begun_at: Timestamp, now: Timestamp) -> (Option<Record>, Stepped) {
    let is_own = |placing: &&Placing| placing.wish == *wish && placing.begun_at == begun_at;
    let Some(placing) = stored.placing.as_deref().filter(is_own) else {
        return (None, Stepped::Outdated);
    };
    let mut record = stored.clone();
    let ended = Placing { calling_until: placing.called_until, called_until: None, ..placing.clone() };
    record.placing = Some(Box::new(ended));
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

    /// Whether a payer may hold an offer that is still good: WeChat's, or that of a call whose end nobody stored.
    /// As long as that is so, *not exist* does not say that nobody can pay: WeChat may come to know the order only
    /// when the payer opens it.
    pub fn may_be_offered(&self, now: Timestamp) -> bool {
        let offered_at = self.offer.as_ref().map(|offer| offer.at);
        let called_at = self.calling_until.map(|_| self.begun_at);
        offered_at.max(called_at).is_some_and(|at| now < at + OFFER_MAX)
    }
}

impl Record {
    /// Not after WeChat came to know the order: the cadence counts from here, and so does WeChat's own rule that an
    /// order younger than five minutes is not closed.
    pub fn counts_from(&self) -> Timestamp {
        let since = self.placing.as_ref().map(|placing| placing.since);
        since.map_or(self.created_at, |since| since.max(self.created_at))
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
mod tests {
    use super::*;
    use crate::samples::*;

    fn wish(body: &str) -> Wish {
        let parts = BTreeMap::from([("body".to_owned(), body.to_owned())]);
        Wish { trade_type: TradeType::Jsapi, parts }
    }

    fn offer(at: Timestamp) -> Offer {
        Offer { prepay_id: "wx20".into(), code_url: None, mweb_url: None, at, payer: None }
    }

    fn stored(stepped: (Option<Record>, Stepped)) -> Record {
        match stepped.1 {
            Stepped::Stored(record) => {
                assert_eq!(stepped.0.as_ref(), Some(&*record));
                *record
            }
            other => panic!("it was to be stored: {other:?}"),
        }
    }

    fn begin(record: &Record, body: &str, now: Timestamp) -> Record {
        stored(place(Some(record), &Step::Begin(wish(body)), now))
    }

    #[test]
    fn only_a_registered_and_pending_order_is_placed() {
        assert_eq!(place(None, &Step::Begin(wish("a")), T0), (None, Stepped::Unregistered));
        for state in State::ALL {
            for is_registered in [true, false] {
                let desk = Desk::in_state(state, is_registered);
                let (record, stepped) = place(desk.stored.as_ref(), &Step::Begin(wish("a")), at(80));
                match (is_registered, state) {
                    (false, _) => assert_eq!((record, stepped), (None, Stepped::Unregistered)),
                    (true, State::Pending) => assert!(matches!(stepped, Stepped::Stored(_))),
                    (true, state) => assert_eq!((record, stepped), (None, Stepped::Settled(state))),
                }
            }
        }
    }

    #[test]
    fn what_was_offered_stands_against_another_wish_and_names_what_differs() {
        let desk = Desk::registered();
        let begun = begin(desk.record(), "a", T0);
        let begun = begin(&begun, "b", at(1));
        assert_eq!(
            place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(2)),
            (None, Stepped::Outdated),
            "another wish took its place"
        );
        let offered = stored(place(Some(&begun), &Step::Offered(wish("b"), offer(at(1))), at(2)));
        let other = Wish { trade_type: TradeType::App, ..wish("c") };
        assert_eq!(
            place(Some(&offered), &Step::Begin(other), at(3)).1,
            Stepped::Different(vec!["trade_type".to_owned(), "body".to_owned()])
        );
        let slower = place(Some(&offered), &Step::Offered(wish("b"), offer(T0)), at(3));
        assert_eq!(slower, (None, Stepped::Outdated));
    }

    #[test]
    fn somebody_calls_from_the_begin_to_an_answer_or_for_half_a_minute() {
        let desk = Desk::registered();
        let begun = begin(desk.record(), "a", T0);
        let is_calling = |record: &Record, seconds| record.placing.as_ref().unwrap().is_calling(at(seconds));
        assert!(is_calling(&begun, 29) && !is_calling(&begun, 30));
        let offered = stored(place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(1)));
        assert!(!is_calling(&offered, 1));
        let ended = stored(place(Some(&begun), &Step::Ended(wish("a"), T0), at(1)));
        assert!(!is_calling(&ended, 1));
        assert_eq!(place(Some(&begun), &Step::Ended(wish("b"), T0), at(1)), (None, Stepped::Outdated));
        let again = begin(&offered, "a", at(100));
        let placing = again.placing.as_ref().unwrap();
        assert_eq!((placing.since, placing.begun_at), (T0, at(100)));
        assert!(is_calling(&again, 100) && placing.offer.is_some(), "the earlier offer stays good");
    }

    #[test]
    fn the_end_of_one_call_is_not_the_end_of_its_twin() {
        let desk = Desk::registered();
        let first = begin(desk.record(), "a", T0);
        let both = begin(&first, "a", at(2));
        let is_calling = |record: &Record, seconds| record.placing.as_ref().unwrap().is_calling(at(seconds));
        let second_ended = stored(place(Some(&both), &Step::Ended(wish("a"), at(2)), at(3)));
        assert!(is_calling(&second_ended, 29) && !is_calling(&second_ended, 30), "the first is on its way");
        let first_ended = place(Some(&both), &Step::Ended(wish("a"), T0), at(3));
        assert_eq!(first_ended, (None, Stepped::Outdated), "the second is on its way");
        let offered = stored(place(Some(&both), &Step::Offered(wish("a"), offer(T0)), at(3)));
        assert!(!is_calling(&offered, 3));
        let offered = stored(place(Some(&offered), &Step::Ended(wish("a"), at(2)), at(4)));
        assert!(!is_calling(&offered, 4) && offered.placing.unwrap().offer.is_some());
    }

    #[test]
    fn a_payer_may_hold_an_offer_until_it_ended_for_sure_or_was_refused() {
        let desk = Desk::registered();
        let may = |record: &Record, seconds| record.placing.as_ref().unwrap().may_be_offered(at(seconds));
        let begun = begin(desk.record(), "a", T0);
        assert!(may(&begun, 7799) && !may(&begun, 7800), "its end is not known");
        let ended = stored(place(Some(&begun), &Step::Ended(wish("a"), T0), at(1)));
        assert!(!may(&ended, 1), "nothing was offered");
        let again = begin(&begun, "a", at(100));
        let ended = stored(place(Some(&again), &Step::Ended(wish("a"), at(100)), at(101)));
        assert!(may(&ended, 7800), "the end of the first call is still not known");
        let offered = stored(place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(1)));
        assert!(may(&offered, 7799) && !may(&offered, 7800));
    }

    #[test]
    fn debug_output_shows_no_link() {
        assert!(!format!("{:?}", offer(T0)).contains("wx20"));
    }
}
