//! The embedded engine as the roles' ports: one SQLite file in this process.

use std::sync::Arc;

use embedded::{EngineConfig, OpenError, Retention, SystemClock};
use paybell_core::ModeKeeper;
use tokio::task::spawn_blocking;

use super::{Backing, Engine, LedgerPorts};
use crate::{config::Config, error::Error};

/// Opens the file and frees what the last process had in hand. An errand makes no file.
pub(super) async fn open(config: &Config, errand: Option<&'static str>) -> Result<Engine, Error> {
    let engine_config = EngineConfig {
        errand,
        cadence: config.cadence.clone(),
        retention: Retention {
            orders: config.retention.orders,
            events: config.retention.events,
            ..Retention::default()
        },
        ..EngineConfig::in_dir(&config.data_dir)
    };
    let opened =
        spawn_blocking(move || embedded::Engine::open(engine_config, Arc::new(SystemClock::new()))).await;
    let store = opened.map_err(|error| Error::Failed(format!("opening the engine broke off: {error}")))?;
    let store = store.map_err(|error| {
        let said = error.to_string();
        match error {
            OpenError::Locked { is_errand, .. } => Error::Held { said, is_errand },
            OpenError::Missing { .. } => Error::Usage(said),
            _ => Error::Failed(said),
        }
    })?;
    let freed = store.free_leases().await.map_err(|error| Error::Failed(error.to_string()))?;
    if freed > 0 {
        tracing::info!(
            orders = freed,
            "{freed} orders were in hand when the last process ended: looking again"
        );
    }
    let shared = Arc::new(store.clone());
    Ok(Engine {
        queue: shared.clone(),
        ledger: Some(LedgerPorts {
            ledger: shared.clone(),
            due: shared.clone(),
            registry: shared.clone(),
            records: shared.clone(),
            dead: shared.clone(),
            notes: shared.clone(),
            acts: shared.clone(),
            businesses: shared.clone(),
        }),
        log: Some(shared.clone()),
        source: Some(shared),
        given_up: None,
        registrations: None,
        // One process has the file to itself: nobody can be in another mode.
        modes: Arc::new(ModeKeeper::fixed(config.mode)),
        backing: Backing::Embedded(store),
    })
}
