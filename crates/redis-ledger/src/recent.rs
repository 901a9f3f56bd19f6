//! What this process stored last for the orders that it works on: with it, a commit or a clear takes one round trip.
//! A guess only: Redis compares.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paybell_core::ids::OrderKey;
use paybell_core::record::Record;
use paybell_core::time::Timestamp;

/// Orders that are remembered, at most; a worker holds far fewer leases.
const ORDERS_MAX: usize = 4096;

/// A record with the bytes that it was stored as.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub bytes: Vec<u8>,
    pub record: Record,
}

/// The leased records of this process.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    orders: Mutex<HashMap<OrderKey, Stored>>,
}

impl Recent {
    /// What was stored for the order, if it was remembered.
    pub fn take(&self, key: &OrderKey) -> Option<Stored> {
        self.lock().remove(key)
    }

    /// Remembers a record while it has a lease, in the bounds of memory.
    pub fn remember(&self, stored: Stored, now: Timestamp) {
        let mut orders = self.lock();
        if stored.record.lease.is_none() {
            return;
        }
        if orders.len() >= ORDERS_MAX {
            let is_held = |stored: &Stored| stored.record.lease.is_some_and(|lease| lease.until > now);
            orders.retain(|_, stored| is_held(stored));
        }
        if orders.len() < ORDERS_MAX {
            orders.insert(stored.record.key.clone(), stored);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderKey, Stored>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paybell_core::ids::LeaseToken;
    use paybell_core::record::Lease;

    fn stored(number: usize, until: Option<i64>) -> Stored {
        let start = Timestamp::from_millis(0);
        let mut record = Record::new(OrderKey::new("1", format!("T{number}")).unwrap(), start, start);
        record.lease = until.map(|until| Lease {
            token: LeaseToken(1),
            until: Timestamp::from_millis(until),
            committed: false,
        });
        Stored { bytes: vec![1], record }
    }

    #[test]
    fn only_leased_records_are_remembered_and_each_is_given_once() {
        let recent = Recent::default();
        let now = Timestamp::from_millis(0);
        recent.remember(stored(1, Some(10)), now);
        recent.remember(stored(2, None), now);
        assert!(recent.take(&stored(1, None).record.key).is_some());
        assert!(recent.take(&stored(1, None).record.key).is_none());
        assert!(recent.take(&stored(2, None).record.key).is_none());
    }

    #[test]
    fn a_full_memory_forgets_the_expired_and_never_grows() {
        let recent = Recent::default();
        let now = Timestamp::from_millis(5);
        for number in 0..ORDERS_MAX {
            recent.remember(stored(number, Some(if number == 0 { 4 } else { 10 })), now);
        }
        recent.remember(stored(ORDERS_MAX, Some(10)), now);
        recent.remember(stored(ORDERS_MAX + 1, Some(10)), now);
        assert!(recent.take(&stored(0, None).record.key).is_none());
        assert!(recent.take(&stored(ORDERS_MAX, None).record.key).is_some());
        assert!(recent.take(&stored(ORDERS_MAX + 1, None).record.key).is_none());
    }
}
