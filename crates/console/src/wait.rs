//! Looks that somebody waits for. Requests that wait for the same order at the same time share one check and one
//! reader of the ledger; the last one that goes away ends it. Nothing is spawned: the waiting requests drive it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use paybell_core::lease::FRESH;
use paybell_core::ports::PortError;
use paybell_core::record::Record;
use paybell_core::{Check, Lane, OrderKey, Timestamp};
use tokio::time::{Instant, sleep};

use crate::check::WAIT_MAX;
use crate::console::Ports;

/// Between two readings of the ledger.
const READ_GAP: Duration = Duration::from_millis(50);

/// Readings in a row that find neither a record nor any urgent check: then ours was handled and left nothing, if no hand
/// is out of sight.
const ABSENT_READINGS: u32 = 4;

/// What came of waiting.
#[derive(Debug, Clone)]
pub(crate) enum Looked {
    /// A look ended after the request (or just before it).
    Record(Arc<Record>),
    /// A look ended and left no record: WeChat does not know the order, and nobody registered it.
    Unknown,
    /// No look has ended yet.
    NotYet,
}

/// A look in hand: first the check is stored, then it is looked for.
pub(crate) struct InHand {
    pub asked: Shared<BoxFuture<'static, Result<Asked, PortError>>>,
    pub looked: Shared<BoxFuture<'static, Result<Looked, PortError>>>,
}

/// When, by the ledger's clock, and what was known already.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    at: Timestamp,
    was_known: bool,
}

type WeakLook = (WeakShared<BoxFuture<'static, Result<Asked, PortError>>>, WeakLooked);
type WeakLooked = WeakShared<BoxFuture<'static, Result<Looked, PortError>>>;

/// The looks that somebody waits for, by order.
#[derive(Clone, Default)]
pub(crate) struct Waits {
    in_hand: Arc<Mutex<Numbered>>,
}

#[derive(Default)]
struct Numbered {
    last: u64,
    looks: HashMap<OrderKey, (u64, WeakLook)>,
}

impl Waits {
    /// The look in hand for the order, or a new one.
    pub(crate) fn join(&self, ports: &Ports, key: &OrderKey) -> InHand {
        let mut numbered = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let known = numbered.looks.get(key).map(|(_, (asked, looked))| (asked.upgrade(), looked.upgrade()));
        if let Some((Some(asked), Some(looked))) = known {
            return InHand { asked, looked };
        }
        numbered.last = numbered.last.wrapping_add(1);
        let number = numbered.last;
        let place = Place { waits: self.clone(), key: key.clone(), number };
        let asked = ask(ports.clone(), key.clone()).boxed().shared();
        let looked = look(ports.clone(), place, asked.clone()).boxed().shared();
        if let (Some(weak_asked), Some(weak_looked)) = (asked.downgrade(), looked.downgrade()) {
            numbered.looks.insert(key.clone(), (number, (weak_asked, weak_looked)));
        }
        InHand { asked, looked }
    }
}

/// Takes the look off the list when it has ended or nobody waits any more.
struct Place {
    waits: Waits,
    key: OrderKey,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut numbered = self.waits.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = numbered.looks.entry(self.key.clone())
            && entry.get().0 == self.number
        {
            entry.remove();
        }
    }
}

/// Stores the check, unless the order was looked at this very moment. That look says nothing of its refunds: for them the
/// check is stored, and looks at the order no sooner than otherwise.
async fn ask(ports: Ports, key: OrderKey) -> Result<Asked, PortError> {
    let at = ports.ledger.clock().await?.now;
    let record = ports.records.read(&key).await?;
    let was_known = record.is_some();
    if !record.is_some_and(|record| is_answered(&record, at) && !record.has_open_refunds()) {
        ports.queue.publish(&[Check::manual(key)]).await?;
    }
    Ok(Asked { at, was_known })
}

/// Reads the ledger until a look has ended. It keeps `asked` to its end, so that whoever joins finds it.
async fn look(
    ports: Ports,
    place: Place,
    asked: Shared<BoxFuture<'static, Result<Asked, PortError>>>,
) -> Result<Looked, PortError> {
    let Asked { at, mut was_known } = asked.clone().await?;
    let give_up = Instant::now() + WAIT_MAX;
    let mut absent = 0;
    while Instant::now() < give_up {
        match ports.records.read(&place.key).await? {
            Some(record) if is_answered(&record, at) => return Ok(Looked::Record(Arc::new(record))),
            Some(_) => (was_known, absent) = (true, 0),
            None if was_known => return Ok(Looked::Unknown),
            // The check may be in the hand of another process: nothing tells that from one that left no record.
            None if !ports.queue.counts_all_hands() => {}
            None if ports.queue.backlog(Lane::Urgent).await? > 0 => absent = 0,
            None => absent += 1,
        }
        if absent >= ABSENT_READINGS {
            return Ok(Looked::Unknown);
        }
        sleep(READ_GAP).await;
    }
    Ok(Looked::NotYet)
}

/// Whether the record shows a look that answers a question asked `at`: one that ended later, or so shortly before that
/// the ledger lets no second one follow. A transient answer is none.
fn is_answered(record: &Record, at: Timestamp) -> bool {
    let Some(looked_at) = record.progress.looked_at else { return false };
    let is_settled = record.look_again.is_none() && record.outgoing.is_empty();
    let is_fresh = is_settled && at.since(looked_at) < FRESH;
    record.progress.attempts == 0 && (looked_at >= at || is_fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paybell_core::time::Millis;

    #[test]
    fn a_place_is_given_back_but_never_a_newer_ones() {
        let waits = Waits::default();
        let key = OrderKey::new("1", "T").unwrap();
        let place = |number| Place { waits: waits.clone(), key: key.clone(), number };
        let asked = async { Ok(Asked { at: Timestamp::from_millis(0), was_known: false }) }.boxed().shared();
        let looked = async { Ok(Looked::NotYet) }.boxed().shared();
        let look = (asked.downgrade().unwrap(), looked.downgrade().unwrap());
        waits.in_hand.lock().unwrap().looks.insert(key.clone(), (2, look));
        drop(place(1));
        assert_eq!(waits.in_hand.lock().unwrap().looks.len(), 1, "a newer look has the place by now");
        drop(place(2));
        assert!(waits.in_hand.lock().unwrap().looks.is_empty());
    }

    #[test]
    fn a_look_answers_if_it_ended_later_or_just_before() {
        let at = Timestamp::from_millis(10_000);
        let mut record = Record::new(OrderKey::new("1", "T").unwrap(), at, at);
        assert!(!is_answered(&record, at), "never looked at");
        for (earlier, answers) in [(-1, true), (0, true), (999, true), (1_000, false)] {
            record.progress.looked_at = Some(at - Millis(earlier));
            assert_eq!(is_answered(&record, at), answers, "{earlier} ms before");
        }
        record.progress.looked_at = Some(at);
        record.progress.attempts = 1;
        assert!(!is_answered(&record, at), "a transient answer says nothing about the order");
    }
}
