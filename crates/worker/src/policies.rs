//! What the operator decided, per merchant.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use paybell_core::{MchId, Policy};

/// The policies of all merchants.
#[derive(Debug)]
pub struct Policies {
    by_mch_id: ArcSwap<HashMap<MchId, Arc<Policy>>>,
    /// For orders of a merchant that is no longer configured.
    otherwise: Arc<Policy>,
}

impl Policies {
    /// One policy per merchant, and one for the orders of merchants that are no longer configured.
    pub fn new(by_mch_id: HashMap<MchId, Policy>, otherwise: Policy) -> Self {
        let policies = Self { by_mch_id: ArcSwap::default(), otherwise: Arc::new(otherwise) };
        policies.replace(by_mch_id);
        policies
    }

    /// Other policies from the next decision on.
    pub fn replace(&self, by_mch_id: HashMap<MchId, Policy>) {
        let by_mch_id = by_mch_id.into_iter().map(|(id, policy)| (id, Arc::new(policy))).collect();
        self.by_mch_id.store(Arc::new(by_mch_id));
    }

    /// The policy of one merchant.
    pub fn of(&self, mch_id: &MchId) -> Arc<Policy> {
        self.by_mch_id.load().get(mch_id).cloned().unwrap_or_else(|| self.otherwise.clone())
    }
}
