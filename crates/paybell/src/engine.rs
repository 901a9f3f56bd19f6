//! The one place that picks an engine. Everything above it sees ports and never learns which engine is behind them.

use std::{sync::Arc, time::Duration};

use embedded::{OpenError, SystemClock};
use paybell_core::Lane;
use paybell_core::ports::{
    CheckQueue, CheckSource, DeadLetters, DueSet, EventLog, Ledger, PortError, Records, Registry,
};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    config::{Config, EngineKind},
    error::Error,
};

/// How long an engine may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The ports of an open engine.
pub struct Engine {
    pub queue: Arc<dyn CheckQueue>,
    pub source: Arc<dyn CheckSource>,
    pub ledger: Arc<dyn Ledger>,
    pub due: Arc<dyn DueSet>,
    pub registry: Arc<dyn Registry>,
    pub records: Arc<dyn Records>,
    pub dead: Arc<dyn DeadLetters>,
    pub log: Arc<dyn EventLog>,
    store: embedded::Engine,
}

impl Engine {
    /// Opens the configured engine.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        match config.engine {
            EngineKind::Embedded => open_embedded(config).await,
            EngineKind::Cluster => Err(Error::Usage(
                "engine = \"cluster\": this build has no cluster engine yet; set engine = \"embedded\""
                    .to_owned(),
            )),
        }
    }

    /// Finishes what was accepted and lets go of the storage.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Whether each part answers; the ledger has to write for it.
    pub async fn parts(&self) -> [(&'static str, Result<(), PortError>); 3] {
        let ledger = async {
            self.ledger.clock().await?;
            self.store.probe().await
        };
        let queue = async { self.queue.backlog(Lane::Urgent).await.map(drop) };
        let log = async { self.log.end().await.map(drop) };
        let (ledger, queue, log) =
            tokio::join!(bounded("ledger", ledger), bounded("queue", queue), bounded("log", log));
        [("ledger", ledger), ("queue", queue), ("log", log)]
    }
}

async fn bounded(
    part: &'static str,
    answer: impl Future<Output = Result<(), PortError>>,
) -> Result<(), PortError> {
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let cause = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        Err(PortError::Unavailable { part, cause })
    })
}

async fn open_embedded(config: &Config) -> Result<Engine, Error> {
    let engine_config = embedded::EngineConfig {
        cadence: config.cadence.clone(),
        retention: embedded::Retention {
            orders: config.retention.orders,
            events: config.retention.events,
            ..embedded::Retention::default()
        },
        ..embedded::EngineConfig::in_dir(&config.data_dir)
    };
    let opened =
        spawn_blocking(move || embedded::Engine::open(engine_config, Arc::new(SystemClock::new()))).await;
    let store = opened.map_err(|error| Error::Failed(format!("opening the engine broke off: {error}")))?;
    let store = store.map_err(|error| match error {
        OpenError::Locked { .. } => Error::Usage(error.to_string()),
        other => Error::Failed(other.to_string()),
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
        source: shared.clone(),
        ledger: shared.clone(),
        due: shared.clone(),
        registry: shared.clone(),
        records: shared.clone(),
        dead: shared.clone(),
        log: shared,
        store,
    })
}
