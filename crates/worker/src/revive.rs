//! Brings orders back whose merchant had left the configuration, once it is there again.
//!
//! While a merchant is missing, each look at one of its orders leaves a dead letter that names it. Nobody should have to
//! replay them one by one for a slip in a file: the worker role replays them when it learns of the merchant. In a
//! cluster this also mends the seconds in which one process knows a new merchant already and another does not yet.
//! Touches no letter of another reason.

use paybell_core::dead::Removed;
use paybell_core::ports::{CheckQueue, DeadLetters, PortError};
use paybell_core::{Check, DeadLetter, DeadReason};

/// Letters read at once.
const PAGE: usize = 256;

/// Replays the letters of merchants that `is_configured` knows; says how many went. A check is stored before its letter
/// goes: an end between them leaves both. Where a process that does not know the merchant yet takes that check, the letter
/// that it leaves stays for the next time.
pub async fn revive(
    dead: &dyn DeadLetters,
    queue: &dyn CheckQueue,
    is_configured: impl Fn(&str) -> bool,
) -> Result<usize, PortError> {
    let (mut revived, mut after) = (0, None);
    loop {
        let page = dead.list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(revived) };
        after = Some(last.id);
        let is_back = |letter: &&DeadLetter| {
            letter.reason == DeadReason::UnknownMerchant && is_configured(&letter.mch_id)
        };
        let back: Vec<&DeadLetter> = page.iter().filter(is_back).collect();
        let checks: Vec<Check> = back.iter().filter_map(|letter| letter.check()).collect();
        if !checks.is_empty() {
            queue.publish(&checks).await?;
        }
        for letter in back {
            revived += usize::from(dead.remove(letter).await? == Removed::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use paybell_core::dead::removal;
    use paybell_core::{Lane, OrderKey, OutRefundNo, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[derive(Default)]
    struct Store {
        letters: Mutex<BTreeMap<Uuid, DeadLetter>>,
        checks: Mutex<Vec<Check>>,
        is_queue_away: bool,
        /// What a worker that does not know the merchant yet buries before the letter is removed.
        left_by_the_check: Option<DeadLetter>,
    }

    #[async_trait]
    impl DeadLetters for Store {
        async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
            let mut letters = self.letters.lock().unwrap();
            let letter = match letters.remove(&letter.id) {
                Some(earlier) => earlier.repeated(letter.clone()),
                None => letter.clone(),
            };
            letters.insert(letter.id, letter);
            Ok(())
        }

        async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError> {
            let letters = self.letters.lock().unwrap();
            let rest = letters.values().filter(|letter| after.is_none_or(|after| letter.id > after));
            Ok(rest.take(limit).cloned().collect())
        }

        async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError> {
            Ok(self.letters.lock().unwrap().get(&id).cloned())
        }

        async fn remove(&self, read: &DeadLetter) -> Result<Removed, PortError> {
            let mut letters = self.letters.lock().unwrap();
            let removed = removal(letters.get(&read.id), read);
            if removed == Removed::Gone {
                letters.remove(&read.id);
            }
            Ok(removed)
        }
    }

    #[async_trait]
    impl CheckQueue for Store {
        async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
            if self.is_queue_away {
                return Err(PortError::Unavailable { part: "queue", cause: "away".to_owned() });
            }
            self.checks.lock().unwrap().extend_from_slice(checks);
            if let Some(letter) = &self.left_by_the_check {
                self.bury(letter).await?;
            }
            Ok(())
        }

        async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
            Ok(0)
        }
    }

    async fn bury(store: &Store, mch_id: &str, number: usize, reason: DeadReason) {
        let key = OrderKey::new(mch_id, format!("T{number}").as_str()).unwrap();
        let letter = DeadLetter::about(&key, reason, "seen", Timestamp::from_millis(1));
        store.bury(&letter).await.unwrap();
    }

    #[tokio::test]
    async fn only_orders_of_merchants_that_are_back_are_looked_at_again() {
        let store = Store::default();
        for number in 0..600 {
            bury(&store, "1900000109", number, DeadReason::UnknownMerchant).await;
        }
        bury(&store, "1900000109", 0, DeadReason::Poison).await;
        bury(&store, "1900000222", 0, DeadReason::UnknownMerchant).await;
        let revived = revive(&store, &store, |mch_id| mch_id == "1900000109").await.unwrap();
        assert_eq!(revived, 600, "all pages");
        let checks = store.checks.lock().unwrap();
        assert_eq!(checks.len(), 600);
        assert!(checks.iter().all(|check| check.key.mch_id.as_str() == "1900000109"));
        assert_eq!(store.letters.lock().unwrap().len(), 2, "other reasons and other merchants stay");
    }

    #[tokio::test]
    async fn a_refund_s_letter_has_the_refund_looked_at_and_not_the_payment() {
        let store = Store::default();
        let (key, number) = (OrderKey::new("1900000109", "T1").unwrap(), OutRefundNo::new("R1").unwrap());
        let now = Timestamp::from_millis(1);
        let letter = DeadLetter::about(&key, DeadReason::UnknownMerchant, "seen", now).of_refund(&number);
        store.bury(&letter).await.unwrap();
        assert_eq!(revive(&store, &store, |_| true).await.unwrap(), 1);
        let checks: Vec<_> = store.checks.lock().unwrap().iter().map(|check| check.refund.clone()).collect();
        assert_eq!(checks, [Some(number)]);
    }

    #[tokio::test]
    async fn what_the_check_itself_leaves_is_not_taken_for_the_letter_that_was_replayed() {
        let key = OrderKey::new("1900000109", "T0").unwrap();
        let again =
            DeadLetter::about(&key, DeadReason::UnknownMerchant, "unknown yet", Timestamp::from_millis(2));
        let store = Store { left_by_the_check: Some(again.clone()), ..Store::default() };
        bury(&store, "1900000109", 0, DeadReason::UnknownMerchant).await;
        assert_eq!(revive(&store, &store, |_| true).await.unwrap(), 0);
        let stored = store.get(again.id).await.unwrap().unwrap();
        assert_eq!(
            (stored.count, stored.detail.as_str()),
            (2, "unknown yet"),
            "the order waits for its next replay"
        );
        assert_eq!(store.checks.lock().unwrap().len(), 1, "and is not replayed without end");
    }

    #[tokio::test]
    async fn a_letter_stays_until_its_check_is_stored() {
        let store = Store { is_queue_away: true, ..Store::default() };
        bury(&store, "1900000109", 0, DeadReason::UnknownMerchant).await;
        assert!(revive(&store, &store, |_| true).await.is_err());
        assert_eq!(store.letters.lock().unwrap().len(), 1);
    }
}
