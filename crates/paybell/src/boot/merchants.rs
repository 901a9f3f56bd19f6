//! The configured merchants as they are at this moment, for those who look them up at every use. Replaced as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Merchant;

/// Shared by everybody who looks a merchant up.
pub type LiveMerchants = Arc<ArcSwap<Vec<Merchant>>>;

/// As they were read.
pub fn live(merchants: &[Merchant]) -> LiveMerchants {
    Arc::new(ArcSwap::from_pointee(merchants.to_vec()))
}
