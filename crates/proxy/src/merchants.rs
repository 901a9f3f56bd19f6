//! Whose requests can be verified: a pure lookup by number.

use std::collections::HashMap;

use wechat_pay::sign::ApiKey;

use crate::error::Error;
use crate::identity::ClientIdentity;

/// What the proxy knows of one merchant. Debug output shows no key.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub mch_id: String,
    /// Orders of other apps are registered too: WeChat judges whether an app belongs to the merchant. They are logged,
    /// because their notifications will be refused.
    pub app_ids: Vec<String>,
    /// Restricts only when it is not empty.
    pub sub_mch_ids: Vec<String>,
    /// The current key first, then the previous one during a rotation.
    pub keys: Vec<ApiKey>,
    /// Towards WeChat, for the calls that need one (refunds).
    pub identity: Option<ClientIdentity>,
}

/// All merchants of this process.
#[derive(Debug)]
pub(crate) struct Merchants {
    by_mch_id: HashMap<String, Merchant>,
}

impl Merchants {
    pub(crate) fn new(merchants: Vec<Merchant>) -> Result<Self, Error> {
        let mut by_mch_id = HashMap::new();
        for merchant in merchants {
            let mch_id = merchant.mch_id.clone();
            if merchant.keys.is_empty() {
                return Err(Error::NoKey(mch_id));
            }
            if by_mch_id.insert(mch_id.clone(), merchant).is_some() {
                return Err(Error::MerchantTwice(mch_id));
            }
        }
        Ok(Self { by_mch_id })
    }

    pub(crate) fn find(&self, mch_id: &str) -> Option<&Merchant> {
        self.by_mch_id.get(mch_id)
    }

    /// The merchant, where there is only one.
    pub(crate) fn only(&self) -> Option<&Merchant> {
        let mut merchants = self.by_mch_id.values();
        merchants.next().filter(|_| merchants.next().is_none())
    }
}
