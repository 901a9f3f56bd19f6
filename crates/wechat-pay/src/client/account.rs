//! In whose name calls are made: a merchant number, its apps, its keys, its rate.
//!
//! Shared by everybody who calls for the merchant (put it in an `Arc`). Knows of its keys which one worked last, and
//! nothing of orders.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::certificate::ClientCertificate;
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
    query_rate: NonZeroU32,
    slots: Arc<Slots>,
    certificate: Option<Arc<ClientCertificate>>,
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
        let slots = Arc::new(Slots::new(query_rate));
        Self { mch_id: mch_id.into(), app_ids, keys, algorithm, query_rate, slots, certificate: None }
    }

    /// With the certificate that refunds need.
    #[must_use]
    pub fn with_certificate(self, certificate: Arc<ClientCertificate>) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// In the place of `earlier`, the same merchant as it was configured before: goes on with its rate, and tries the
    /// key that worked last first, if it still has it. Calls in hand end with the account they began with.
    #[must_use]
    pub fn after(mut self, earlier: &MerchantAccount) -> Self {
        self.slots = if earlier.slots.has_rate(self.query_rate) {
            earlier.slots.clone()
        } else {
            Arc::new(earlier.slots.with_rate(self.query_rate))
        };
        self.keys.follow(&earlier.keys);
        self
    }

    /// Whether calls would be made just as for `other`.
    #[must_use]
    pub fn is_like(&self, other: &MerchantAccount) -> bool {
        self.mch_id == other.mch_id
            && self.app_ids == other.app_ids
            && self.keys.has_keys_of(&other.keys)
            && self.algorithm == other.algorithm
            && self.query_rate == other.query_rate
            && self.certificate == other.certificate
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

    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_deref()
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
    /// [`NONE_WORKED`], [`CURRENT_WORKED`] or [`PREVIOUS_WORKED`].
    worked_last: AtomicU8,
}

const NONE_WORKED: u8 = 0;
const CURRENT_WORKED: u8 = 1;
const PREVIOUS_WORKED: u8 = 2;

impl KeyRing {
    #[must_use]
    pub fn new(current: ApiKey, previous: Option<ApiKey>) -> Self {
        Self { current, previous, worked_last: AtomicU8::new(NONE_WORKED) }
    }

    /// The keys to try, the one that worked last before the other.
    pub fn in_order(&self) -> impl Iterator<Item = (KeyUsed, &ApiKey)> {
        let current = (KeyUsed::Current, &self.current);
        let previous = self.previous.as_ref().map(|key| (KeyUsed::Previous, key));
        match previous {
            Some(previous) if self.worked_last.load(Ordering::Relaxed) == PREVIOUS_WORKED => {
                [Some(previous), Some(current)]
            }
            previous => [Some(current), previous],
        }
        .into_iter()
        .flatten()
    }

    /// Remembers the key that worked.
    pub fn worked(&self, key: KeyUsed) {
        let key = match key {
            KeyUsed::Current => CURRENT_WORKED,
            KeyUsed::Previous => PREVIOUS_WORKED,
        };
        self.worked_last.store(key, Ordering::Relaxed);
    }

    /// The key that WeChat has, as far as that is sure: the only one, or the one that worked last.
    #[must_use]
    pub fn certain(&self) -> Option<&ApiKey> {
        match (self.worked_last.load(Ordering::Relaxed), &self.previous) {
            (_, None) | (CURRENT_WORKED, _) => Some(&self.current),
            (PREVIOUS_WORKED, previous) => previous.as_ref(),
            _ => None,
        }
    }

    /// Whether both have the same keys in the same places.
    #[must_use]
    pub fn has_keys_of(&self, other: &KeyRing) -> bool {
        self.current == other.current && self.previous == other.previous
    }

    /// Remembers of `earlier` which key worked last, wherever that key is now.
    fn follow(&self, earlier: &KeyRing) {
        let worked_last = match earlier.worked_last.load(Ordering::Relaxed) {
            CURRENT_WORKED => Some(&earlier.current),
            PREVIOUS_WORKED => earlier.previous.as_ref(),
            _ => None,
        };
        let Some(key) = worked_last else { return };
        if *key == self.current {
            self.worked(KeyUsed::Current);
        } else if self.previous.as_ref() == Some(key) {
            self.worked(KeyUsed::Previous);
        }
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
    fn of_two_keys_the_one_that_wechat_has_is_certain_once_it_worked() {
        let ring = KeyRing::new(named("new"), Some(named("old")));
        assert_eq!(ring.certain(), None);
        ring.worked(KeyUsed::Previous);
        assert_eq!(ring.certain(), Some(&named("old")));
        ring.worked(KeyUsed::Current);
        assert_eq!(ring.certain(), Some(&named("new")));
        assert_eq!(KeyRing::new(named("only"), None).certain(), Some(&named("only")));
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

    fn account(keys: KeyRing, rate: u32) -> MerchantAccount {
        MerchantAccount::new("1", vec!["wx1".into()], keys, Algorithm::Md5, NonZeroU32::new(rate).unwrap())
    }

    fn named(text: &str) -> ApiKey {
        ApiKey::new(&format!("{text:x<32}")).unwrap()
    }

    #[test]
    fn a_successor_tries_the_key_that_worked_first_wherever_it_is_now() {
        let before = account(KeyRing::new(named("old"), None), 10);
        let untried = account(KeyRing::new(named("new"), Some(named("old"))), 10).after(&before);
        assert_eq!(order(untried.keys()), [KeyUsed::Current, KeyUsed::Previous], "nothing is known yet");
        before.keys().worked(KeyUsed::Current);
        let during = account(KeyRing::new(named("new"), Some(named("old"))), 10).after(&before);
        assert_eq!(order(during.keys()), [KeyUsed::Previous, KeyUsed::Current]);
        during.keys().worked(KeyUsed::Current);
        let back = account(KeyRing::new(named("old"), Some(named("new"))), 10).after(&during);
        assert_eq!(order(back.keys()), [KeyUsed::Previous, KeyUsed::Current]);
        let other = account(KeyRing::new(named("other"), None), 10).after(&during);
        assert_eq!(order(other.keys()), [KeyUsed::Current]);
    }

    #[test]
    fn a_successor_goes_on_with_the_rate() {
        let before = account(KeyRing::new(named("a"), None), 10);
        let same_rate = account(KeyRing::new(named("b"), None), 10).after(&before);
        assert!(Arc::ptr_eq(&same_rate.slots, &before.slots));
        assert!(!same_rate.is_like(&before));
        let faster = account(KeyRing::new(named("a"), None), 20).after(&before);
        assert!(faster.slots.has_rate(NonZeroU32::new(20).unwrap()) && !faster.is_like(&before));
        assert!(account(KeyRing::new(named("a"), None), 10).is_like(&before));
        assert!(!account(KeyRing::new(named("a"), Some(named("b"))), 10).is_like(&before));
    }
}
