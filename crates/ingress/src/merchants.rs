//! Whose notifications we take: a pure lookup by number, with what is counted of each. A set is never changed, only
//! replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use wechat_pay::sign::{AcceptedAlgorithm, ApiKey};

/// What the ingress knows of one merchant.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub mch_id: String,
    pub app_ids: Vec<String>,
    /// Restricts only when it is not empty.
    pub sub_mch_ids: Vec<String>,
    /// The current key first, then the previous one during a rotation.
    pub keys: Vec<ApiKey>,
    pub accepted: AcceptedAlgorithm,
}

/// All merchants of this process.
#[derive(Debug, Default)]
pub struct Merchants {
    by_mch_id: HashMap<String, Arc<Merchant>>,
}

/// A set of merchants that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MerchantsError {
    #[error("merchant {0} occurs twice")]
    Twice(String),
    #[error("merchant {0} has no key")]
    NoKey(String),
}

impl Merchants {
    /// From the configuration.
    pub fn new(merchants: impl IntoIterator<Item = Merchant>) -> Result<Self, MerchantsError> {
        Ok(Self { by_mch_id: index(merchants)? })
    }

    /// Every number.
    pub fn mch_ids(&self) -> impl Iterator<Item = &str> {
        self.by_mch_id.keys().map(String::as_str)
    }

    /// The merchant of that number.
    pub fn find(&self, mch_id: &str) -> Option<Arc<Merchant>> {
        self.by_mch_id.get(mch_id).cloned()
    }
}

fn index(
    merchants: impl IntoIterator<Item = Merchant>,
) -> Result<HashMap<String, Arc<Merchant>>, MerchantsError> {
    let mut by_mch_id = HashMap::new();
    for merchant in merchants {
        let mch_id = merchant.mch_id.clone();
        if merchant.keys.is_empty() {
            return Err(MerchantsError::NoKey(mch_id));
        }
        if by_mch_id.insert(mch_id.clone(), Arc::new(merchant)).is_some() {
            return Err(MerchantsError::Twice(mch_id));
        }
    }
    Ok(by_mch_id)
}
