//! In whose name calls are made: a merchant number, its apps, its keys, its rate.
//!
//! Shared by everybody who calls for the merchant (put it in an `Arc`). Knows of its keys which one worked last, and
//! nothing of orders.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};

use super::slots::Slots;
use crate::answer::KeyUsed;
use crate::sign::{Algorithm, ApiKey};

/// A merchant as the client knows it. Debug output shows no key.
#[derive(Debug)]
pub struct MerchantAccount {
    mch_id: String,
    app_ids: Vec<String>,
    keys: KeyRing,
    algorithm: Algorithm,
    slots: Slots,
}

impl MerchantAccount {
    /// `algorithm` signs the requests, and answers must be signed alike. `query_rate` is calls per second; a burst
    /// may be as long as one second of it.
    pub fn new(
        mch_id: impl Into<String>,
        app_ids: Vec<String>,
        keys: KeyRing,
        algorithm: Algorithm,
        query_rate: NonZeroU32,
    ) -> Self {
        Self { mch_id: mch_id.into(), app_ids, keys, algorithm, slots: Slots::new(query_rate) }
    }

    #[must_use]
    pub fn mch_id(&self) -> &str {
        &self.mch_id
    }

    /// The first is for orders whose app is not known.
    #[must_use]
    pub fn app_ids(&self) -> &[String] {
        &self.app_ids
    }

    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }
}

/// A merchant's key, and the one before or after it while it is being changed.
#[derive(Debug)]
pub struct KeyRing {
    current: ApiKey,
    previous: Option<ApiKey>,
    previous_first: AtomicBool,
}

impl KeyRing {
    #[must_use]
    pub fn new(current: ApiKey, previous: Option<ApiKey>) -> Self {
        Self { current, previous, previous_first: AtomicBool::new(false) }
    }

    /// The keys to try, the one that worked last before the other.
    pub fn in_order(&self) -> impl Iterator<Item = (KeyUsed, &ApiKey)> {
        let current = (KeyUsed::Current, &self.current);
        let previous = self.previous.as_ref().map(|key| (KeyUsed::Previous, key));
        match previous {
            Some(previous) if self.previous_first.load(Ordering::Relaxed) => [Some(previous), Some(current)],
            previous => [Some(current), previous],
        }
        .into_iter()
        .flatten()
    }

    /// Remembers the key that worked.
    pub fn worked(&self, key: KeyUsed) {
        self.previous_first.store(key == KeyUsed::Previous, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(ring: &KeyRing) -> Vec<KeyUsed> {
        ring.in_order().map(|(used, _)| used).collect()
    }

    #[test]
    fn the_key_that_worked_is_tried_first() {
        let key = || ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let ring = KeyRing::new(key(), Some(key()));
        assert_eq!(order(&ring), [KeyUsed::Current, KeyUsed::Previous]);
        ring.worked(KeyUsed::Previous);
        assert_eq!(order(&ring), [KeyUsed::Previous, KeyUsed::Current]);
        ring.worked(KeyUsed::Current);
        assert_eq!(order(&ring), [KeyUsed::Current, KeyUsed::Previous]);
        let single = KeyRing::new(key(), None);
        single.worked(KeyUsed::Previous);
        assert_eq!(order(&single), [KeyUsed::Current]);
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let ring = KeyRing::new(key.clone(), Some(key));
        let rate = NonZeroU32::new(1).unwrap();
        let shown =
            format!("{:?}", MerchantAccount::new("1", vec!["wx1".into()], ring, Algorithm::Md5, rate));
        assert!(shown.contains("ApiKey(***)") && !shown.contains("K6Yz"), "{shown}");
    }
}
