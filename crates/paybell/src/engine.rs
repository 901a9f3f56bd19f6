//! The one place that picks an engine. Everything above it sees ports and never learns which engine is behind them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use embedded::{OpenError, SystemClock};
use paybell_core::Lane;
use paybell_core::ports::{
    CheckQueue, CheckSource, DeadLetters, DueSet, EventLog, Ledger, PortError, Records, Registry,
};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    boot::Role,
    config::{Config, EngineKind},
    error::Error,
};

/// How long an engine may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the roles of a process work with. An ingress alone touches no ledger, and does not connect to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    pub ledger: bool,
    pub log: bool,
    pub deliveries: bool,
}

impl Needs {
    pub const ALL: Needs = Needs { ledger: true, log: true, deliveries: true };

    /// What these roles need.
    pub fn of(roles: &HashSet<Role>) -> Self {
        let any = |of: &[Role]| of.iter().any(|role| roles.contains(role));
        Self {
            ledger: any(&[Role::Worker, Role::Scheduler, Role::Console]),
            log: any(&[Role::Worker, Role::Console]),
            deliveries: any(&[Role::Worker]),
        }
    }
}

/// The ports over records.
#[derive(Clone)]
pub struct LedgerPorts {
    pub ledger: Arc<dyn Ledger>,
    pub due: Arc<dyn DueSet>,
    pub registry: Arc<dyn Registry>,
    pub records: Arc<dyn Records>,
    pub dead: Arc<dyn DeadLetters>,
}

/// An open engine, as far as it is needed.
pub struct Engine {
    pub queue: Arc<dyn CheckQueue>,
    ledger: Option<LedgerPorts>,
    log: Option<Arc<dyn EventLog>>,
    source: Option<Arc<dyn CheckSource>>,
    backing: Backing,
}

/// What is behind the ports.
enum Backing {
    Embedded(embedded::Engine),
}

impl Engine {
    /// Opens the configured engine.
    pub async fn open(config: &Config, _needs: Needs) -> Result<Self, Error> {
        match config.engine {
            EngineKind::Embedded => open_embedded(config).await,
            EngineKind::Cluster => Err(Error::Usage(
                "engine = \"cluster\": this build has no cluster engine yet; set engine = \"embedded\""
                    .to_owned(),
            )),
        }
    }

    /// The ports over records, if this process needs them.
    pub fn ledger_if_needed(&self) -> Option<&LedgerPorts> {
        self.ledger.as_ref()
    }

    /// The same for a role that does.
    pub fn ledger(&self) -> &LedgerPorts {
        self.ledger.as_ref().expect("a role that works with records was named when the engine was opened")
    }

    /// The event log, for a role that needs it.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        self.log.as_ref().expect("a role that works with events was named when the engine was opened")
    }

    /// Where deliveries come from, for the role that handles them.
    pub fn source(&self) -> &Arc<dyn CheckSource> {
        self.source.as_ref().expect("the worker was named when the engine was opened")
    }

    /// Finishes what was accepted and lets go of the storage.
    pub async fn close(&self) {
        match &self.backing {
            Backing::Embedded(store) => store.close().await,
        }
    }

    /// Whether each part answers; the ledger has to write for it.
    pub async fn parts(&self) -> Vec<(&'static str, Result<(), PortError>)> {
        match &self.backing {
            Backing::Embedded(store) => {
                let ledger = async {
                    self.ledger().ledger.clock().await?;
                    store.probe().await
                };
                let queue = async { self.queue.backlog(Lane::Urgent).await.map(drop) };
                let log = async { self.log().end().await.map(drop) };
                let (ledger, queue, log) =
                    tokio::join!(bounded("ledger", ledger), bounded("queue", queue), bounded("log", log));
                vec![("ledger", ledger), ("queue", queue), ("log", log)]
            }
        }
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
        ledger: Some(LedgerPorts {
            ledger: shared.clone(),
            due: shared.clone(),
            registry: shared.clone(),
            records: shared.clone(),
            dead: shared.clone(),
        }),
        log: Some(shared.clone()),
        source: Some(shared),
        backing: Backing::Embedded(store),
    })
}
