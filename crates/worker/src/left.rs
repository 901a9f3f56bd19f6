//! What errors of an engine left behind: leases that stand, perhaps, and under which nobody of this worker works.
//!
//! Refuses to grow without bound, and to hand the same leftover to two deliveries at once: what is taken out is gone
//! until it is put back. What is forgotten ends by its time. Next: the lease request of the order's next delivery.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paybell_core::{LeaseToken, OrderKey};

/// Orders that are remembered.
const ORDERS_MAX: usize = 4_096;

/// What may stand of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// A lease that work ended under in an error.
    pub given_up: Option<LeaseToken>,
    /// A wish for the lease whose answer was lost. Nobody worked under it, so it is repeated as it was.
    pub tried: Option<LeaseToken>,
}

impl Left {
    /// What may be given back.
    pub fn tokens(self) -> impl Iterator<Item = LeaseToken> {
        [self.given_up, self.tried].into_iter().flatten()
    }

    /// Giving it back may have been done, or may be done yet: nobody may work under any of it.
    pub fn in_doubt(self) -> Self {
        Self { given_up: self.given_up.or(self.tried), tried: None }
    }
}

/// By order.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<BTreeMap<OrderKey, Left>>);

impl Leftovers {
    /// For the one who tries next.
    pub fn take_out(&self, key: &OrderKey) -> Left {
        self.lock().remove(key).unwrap_or_default()
    }

    /// For one who tries whatever there is.
    pub fn take_any(&self) -> Option<(OrderKey, Left)> {
        self.lock().pop_first()
    }

    /// Of two of a kind the earlier stays: the later one came of a try that met it.
    pub fn put_back(&self, key: &OrderKey, left: Left) {
        if left == Left::default() {
            return;
        }
        let mut orders = self.lock();
        if orders.len() >= ORDERS_MAX {
            orders.clear();
        }
        let earlier = orders.get(key).copied().unwrap_or_default();
        let both = Left { given_up: earlier.given_up.or(left.given_up), tried: earlier.tried.or(left.tried) };
        orders.insert(key.clone(), both);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrderKey, Left>> {
        // Each change is one call on the map: no panic leaves it half made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> OrderKey {
        OrderKey::new("1900000109", format!("T{number}")).unwrap()
    }

    fn given_up(token: u128) -> Left {
        Left { given_up: Some(LeaseToken(token)), tried: None }
    }

    #[test]
    fn one_delivery_gets_a_leftover_and_the_earlier_of_two_stays() {
        let leftovers = Leftovers::default();
        leftovers.put_back(&key(1), Left::default());
        assert!(leftovers.lock().is_empty(), "nothing is not remembered");
        leftovers.put_back(&key(1), given_up(1));
        leftovers.put_back(&key(1), given_up(2));
        assert_eq!(leftovers.take_out(&key(1)), given_up(1));
        assert_eq!(leftovers.take_out(&key(1)), Left::default());
    }

    #[test]
    fn a_wish_and_a_lease_that_two_deliveries_left_are_both_remembered() {
        let leftovers = Leftovers::default();
        let tried = Left { given_up: None, tried: Some(LeaseToken(1)) };
        leftovers.put_back(&key(1), tried);
        leftovers.put_back(&key(1), given_up(2));
        assert_eq!(leftovers.take_out(&key(1)), Left { given_up: Some(LeaseToken(2)), ..tried });
    }

    #[test]
    fn however_many_are_left_the_memory_is_bounded() {
        let leftovers = Leftovers::default();
        for number in 0..=ORDERS_MAX {
            leftovers.put_back(&key(number), given_up(1));
        }
        assert_eq!(leftovers.lock().len(), 1);
    }
}
