//! Deliveries in the worker role: the configured endpoints with the engine's ports and the merchants' keys. Any number
//! of processes may run them; the lease in an endpoint's note decides which one serves it.

use std::{sync::Arc, time::Duration};

use delivery::{
    Company, Deliveries, DeliveryMetrics, Desk, HttpTransport, KeyOf, MerchantKey, Ports, SystemResolver,
    Timing,
};
use paybell_core::MchId;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use worker::Asker;

use crate::{
    config::{Config, EngineKind},
    engine::Engine,
    error::Error,
};

/// Nobody waits for a lease on one file, and each renewal is a write to the disk.
const LEASE_ALONE: Duration = Duration::from_secs(60);

/// Everything that is to be delivered; `None` without an endpoint.
pub fn build(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    asker: &Arc<Asker>,
) -> Result<Option<Deliveries>, Error> {
    if config.endpoints.is_empty() {
        return Ok(None);
    }
    let transport = HttpTransport::new(Arc::new(SystemResolver));
    let transport = transport.map_err(|error| Error::Failed(error.to_string()))?;
    let ledger = engine.ledger();
    let (company, timing) = match config.engine {
        EngineKind::Embedded => (Company::Alone, Timing { lease: LEASE_ALONE, ..Timing::default() }),
        EngineKind::Cluster => (Company::Others, Timing::default()),
    };
    Ok(Some(Deliveries {
        endpoints: config.endpoints.clone(),
        ports: Ports {
            log: engine.log().clone(),
            notes: ledger.notes.clone(),
            ledger: ledger.ledger.clone(),
            records: ledger.records.clone(),
        },
        transport: Arc::new(transport),
        key_of: key_of(asker.clone()),
        metrics: DeliveryMetrics::register(registry, config.endpoints.iter().map(|endpoint| &endpoint.name)),
        timing,
        company,
    }))
}

/// Delivers until `drain` is cancelled.
pub async fn run(deliveries: Deliveries, drain: CancellationToken) {
    if let Err(error) = delivery::run(deliveries, drain).await {
        tracing::error!(error = %error, "deliveries cannot begin: {error}");
    }
}

/// What people see of the endpoints and ask of them.
pub fn desk(config: &Config, engine: &Engine) -> Desk {
    Desk::new(&config.endpoints, engine.ledger().notes.clone(), engine.log().clone())
}

/// The old handler has the key that WeChat signs with: while a key is being changed, that is the one of the answers.
fn key_of(asker: Arc<Asker>) -> KeyOf {
    Arc::new(move |mch_id: &MchId| {
        let (key, algorithm) = asker.key_in_use(mch_id.as_str())?;
        Some(MerchantKey { key, algorithm })
    })
}
