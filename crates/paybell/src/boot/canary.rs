//! The periodic canary in the scheduler role: over the public URL, with the keys that are current at that moment.

use std::{sync::Arc, time::Duration};

use doctor::{CanaryMetrics, net::Roots, watch::Watch, wechat};
use paybell_core::Mode;
use prometheus_client::registry::Registry;

use super::merchants::LiveMerchants;
use crate::config::{Config, Merchant};

/// What is to be sent and counted; `None` where none is wanted. In shadow mode another handler answers at the URL.
pub fn build(
    config: &Config,
    registry: &mut Registry,
    merchants: &LiveMerchants,
) -> Option<(Watch, CanaryMetrics)> {
    let interval = config.canary.filter(|_| config.mode == Mode::Live)?;
    let public_url = config.ingress.public_url.clone()?;
    let metrics = CanaryMetrics::register(registry, config.merchants.iter().map(|one| one.mch_id.as_str()));
    let merchants = merchants.clone();
    let watch = Watch {
        public_url,
        merchants: Arc::new(move || merchants.load().iter().map(merchant).collect()),
        interval: Duration::from_millis(u64::try_from(interval.0).unwrap_or(u64::MAX)),
        roots: Roots::public(),
    };
    Some((watch, metrics))
}

/// A merchant as the doctor knows it.
pub fn merchant(merchant: &Merchant) -> wechat::Merchant {
    wechat::Merchant {
        mch_id: merchant.mch_id.to_string(),
        app_ids: merchant.app_ids.iter().map(ToString::to_string).collect(),
        sub_mch_ids: merchant.sub_mch_ids.iter().map(ToString::to_string).collect(),
        keys: merchant.keys.clone(),
        algorithm: merchant.algorithm,
    }
}
