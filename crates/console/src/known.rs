//! The merchants that this process is configured for, as they are at this moment. Shared by the private API and by
//! registrations that come by message; replaced as a whole while requests are in hand.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use paybell_core::MchId;

/// A set of merchant numbers that can be replaced. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KnownMerchants(Arc<ArcSwap<HashSet<MchId>>>);

impl KnownMerchants {
    /// Whether the merchant is configured now.
    pub fn contains(&self, mch_id: &MchId) -> bool {
        self.0.load().contains(mch_id)
    }

    /// These and no others from now on.
    pub fn replace(&self, mch_ids: impl IntoIterator<Item = MchId>) {
        self.0.store(Arc::new(mch_ids.into_iter().collect()));
    }
}

impl FromIterator<MchId> for KnownMerchants {
    fn from_iter<I: IntoIterator<Item = MchId>>(mch_ids: I) -> Self {
        let known = Self::default();
        known.replace(mch_ids);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_sees_who_came_and_who_went() {
        let [one, other] = ["1900000109", "1900000222"].map(|mch_id| MchId::new(mch_id).unwrap());
        let known: KnownMerchants = [one.clone()].into_iter().collect();
        let clone = known.clone();
        known.replace([other.clone()]);
        assert!(!clone.contains(&one) && clone.contains(&other));
    }
}
