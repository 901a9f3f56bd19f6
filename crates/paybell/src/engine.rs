//! The one place that picks an engine. Everything above it sees ports and never learns which engine is behind them.

mod cluster;
mod embedded;

use std::{collections::HashSet, sync::Arc, time::Duration};

use paybell_core::ports::{
    Acts, Businesses, CheckQueue, CheckSource, DeadLetters, DueSet, EventLog, Ledger, Notes, PortError,
    Records, Registry,
};
use paybell_core::{Lane, ModeKeeper};
use tokio::time::timeout;

use crate::{
    boot::Role,
    config::{Config, EngineKind},
    error::Error,
};

pub use cluster::{open_ledger, rabbit_config, redis_config};

/// How long an engine may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the roles of a process work with. An ingress alone touches no ledger, and does not connect to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    pub ledger: bool,
    /// Emits events.
    pub appends: bool,
    /// Reads the event log.
    pub reads: bool,
    /// Seldom does, for a question of its own.
    pub seldom: bool,
    /// Handles checks.
    pub deliveries: bool,
}

impl Needs {
    pub const ALL: Needs =
        Needs { ledger: true, appends: true, reads: true, seldom: false, deliveries: true };

    /// What these roles need. The worker reads the log for deliveries, and to know whether its ledger is the first; the
    /// scheduler for bills.
    pub fn of(roles: &HashSet<Role>, config: &Config) -> Self {
        let any = |of: &[Role]| of.iter().any(|role| roles.contains(role));
        let delivers = any(&[Role::Worker]) && !config.endpoints.is_empty();
        Self {
            ledger: any(&[Role::Worker, Role::Scheduler, Role::Console, Role::Proxy]),
            appends: any(&[Role::Worker, Role::Scheduler]),
            reads: any(&[Role::Worker, Role::Scheduler, Role::Console]),
            seldom: !delivers && !any(&[Role::Console]),
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
    pub notes: Arc<dyn Notes>,
    pub acts: Arc<dyn Acts>,
    pub businesses: Arc<dyn Businesses>,
}

/// An open engine, as far as it is needed.
pub struct Engine {
    pub queue: Arc<dyn CheckQueue>,
    ledger: Option<LedgerPorts>,
    log: Option<Arc<dyn EventLog>>,
    source: Option<Arc<dyn CheckSource>>,
    given_up: Option<Arc<dyn CheckSource>>,
    registrations: Option<Arc<rabbitmq::Orders>>,
    /// Whether what is decided is told: for the whole installation.
    pub modes: Arc<ModeKeeper>,
    backing: Backing,
}

/// What is behind the ports.
enum Backing {
    Embedded(::embedded::Engine),
    Cluster(cluster::Servers),
}

impl Engine {
    /// Opens the configured engine.
    pub async fn open(config: &Config, needs: Needs) -> Result<Self, Error> {
        match config.engine {
            EngineKind::Embedded => embedded::open(config, None).await,
            EngineKind::Cluster => cluster::open(config, needs).await,
        }
    }

    /// The same for a command that ends by itself: it works on what is there.
    pub async fn open_for(errand: &'static str, config: &Config, needs: Needs) -> Result<Self, Error> {
        match config.engine {
            EngineKind::Embedded => embedded::open(config, Some(errand)).await,
            EngineKind::Cluster => cluster::open(config, needs).await,
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

    /// Checks that the queue gave up on, where it does.
    pub fn given_up(&self) -> Option<&Arc<dyn CheckSource>> {
        self.given_up.as_ref()
    }

    /// Registrations that come by message, where they do.
    pub fn registrations(&self) -> Option<&Arc<rabbitmq::Orders>> {
        self.registrations.as_ref()
    }

    /// Events that some subscriber's queue refused, where the engine fans out.
    pub fn fanout_refused(&self) -> Option<u64> {
        match &self.backing {
            Backing::Embedded(_) => None,
            Backing::Cluster(servers) => Some(servers.fanout_refused()),
        }
    }

    /// Messages of the event log that this process met and cannot read as events, where others may write into it.
    pub fn log_unread(&self) -> Option<u64> {
        match &self.backing {
            Backing::Embedded(_) => None,
            Backing::Cluster(servers) => Some(servers.log_unread()),
        }
    }

    /// Queues that this process should consume and cannot, each with the reason; the others go on.
    pub fn unconsumed(&self) -> Vec<(String, Arc<str>)> {
        match &self.backing {
            Backing::Embedded(_) => Vec::new(),
            Backing::Cluster(servers) => servers.unconsumed(),
        }
    }

    /// Takes no more checks, where others may take them: what nobody here took goes back at once.
    pub fn stop_fetching(&self) {
        if let Backing::Cluster(servers) = &self.backing {
            servers.stop_fetching();
        }
    }

    /// Finishes what was accepted and lets go of the storage.
    pub async fn close(&self) {
        match &self.backing {
            Backing::Embedded(store) => store.close().await,
            Backing::Cluster(servers) => servers.close().await,
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
            Backing::Cluster(servers) => servers.parts().await,
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
