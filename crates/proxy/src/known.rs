//! The merchants of this moment: whose keys verify requests, and in whose name we connect. Made whole and replaced
//! whole, so that a call sees one state from its head to its end; refuses what could not be used.

use std::collections::HashMap;

use crate::config::{ProxyLimits, Trust};
use crate::error::Error;
use crate::identity;
use crate::merchants::{Merchant, Merchants};
use crate::upstream::{HttpClient, client};

pub(crate) struct Known {
    pub(crate) merchants: Merchants,
    /// One per client certificate: the certificate belongs to the connection.
    clients: HashMap<String, HttpClient>,
}

impl Known {
    pub(crate) fn new(merchants: Vec<Merchant>, trust: &Trust, limits: &ProxyLimits) -> Result<Self, Error> {
        let mut clients = HashMap::new();
        for merchant in &merchants {
            let Some(identity) = &merchant.identity else { continue };
            let tls = identity::tls(trust, Some(identity)).map_err(|error| match error {
                Error::Tls(problem) => Error::IdentityRefused { mch_id: merchant.mch_id.clone(), problem },
                other => other,
            })?;
            clients.insert(merchant.mch_id.clone(), client(tls, limits));
        }
        Ok(Self { merchants: Merchants::new(merchants)?, clients })
    }

    /// Connects in the merchant's name, if there is a certificate to do it with.
    pub(crate) fn client(&self, mch_id: &str) -> Option<&HttpClient> {
        self.clients.get(mch_id)
    }
}
