//! What the operator decided, per merchant, and the mode that the whole installation is in.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use paybell_core::ports::PortError;
use paybell_core::{Check, MchId, Memory, MemoryKeeper, ModeKeeper, Policy, Record};

/// The policies of all merchants.
#[derive(Debug)]
pub struct Policies {
    by_mch_id: ArcSwap<HashMap<MchId, Arc<Policy>>>,
    /// For orders of a merchant that is no longer configured.
    otherwise: Arc<Policy>,
    /// Whose word on the mode counts, where it is not the configuration's.
    modes: Option<Arc<ModeKeeper>>,
    /// Knows what the ledger may have forgotten.
    memory: Option<MemoryKeeper>,
}

impl Policies {
    /// One policy per merchant, and one for the orders of merchants that are no longer configured.
    pub fn new(by_mch_id: HashMap<MchId, Policy>, otherwise: Policy) -> Self {
        let policies =
            Self { by_mch_id: ArcSwap::default(), otherwise: Arc::new(otherwise), modes: None, memory: None };
        policies.replace(by_mch_id);
        policies
    }

    /// Follows the mode of the installation, whatever these policies say of it.
    pub fn following(self, modes: Arc<ModeKeeper>) -> Self {
        Self { modes: Some(modes), ..self }
    }

    /// Withholds what the ledger may have told and forgotten.
    pub fn remembering(self, memory: MemoryKeeper) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// How far back the ledger knows what was told, for a decision about this record.
    pub async fn memory(&self, record: &Record, check: &Check) -> Result<Memory, PortError> {
        match &self.memory {
            Some(memory) => memory.about(record, check).await,
            None => Ok(Memory::default()),
        }
    }

    /// Other policies from the next decision on.
    pub fn replace(&self, by_mch_id: HashMap<MchId, Policy>) {
        let by_mch_id = by_mch_id.into_iter().map(|(id, policy)| (id, Arc::new(policy))).collect();
        self.by_mch_id.store(Arc::new(by_mch_id));
    }

    /// The policy of one merchant for a decision that is made now. In shadow the ledger is asked each time: nothing is
    /// withheld that a live installation would tell.
    pub async fn now(&self, mch_id: &MchId) -> Result<Arc<Policy>, PortError> {
        let policy = self.by_mch_id.load().get(mch_id).cloned().unwrap_or_else(|| self.otherwise.clone());
        let Some(modes) = &self.modes else { return Ok(policy) };
        let mode = modes.settled().await?;
        Ok(if policy.mode == mode { policy } else { Arc::new(Policy { mode, ..(*policy).clone() }) })
    }
}
