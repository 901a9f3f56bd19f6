//! The conformance suite: every rule of the ports that an engine can break, run against each engine.
//!
//! An engine's test brings a [`Factory`] and calls [`run_all`]. Nothing here knows which engine it is, or how long
//! its calls take: a case waits for conditions, never for time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation of a case is a failed test"
)]

mod absent;
mod acts;
mod businesses;
mod claims;
mod commits;
mod dead;
mod desk;
mod hints;
mod leases;
mod listings;
mod log;
mod modes;
mod notes;
mod queue;
mod races;
mod refunds;
mod registry;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use paybell_core::ports::{
    Acts, Businesses, CheckQueue, CheckSource, DeadLetters, DueSet, EventLog, Ledger, Notes, Records,
    Registry,
};
use paybell_core::time::Millis;
use tokio::task::{JoinError, JoinSet};

use desk::Desk;

pub use absent::absent;

/// The ports of one engine, all over the same store.
#[derive(Clone)]
pub struct Engines {
    pub queue: Arc<dyn CheckQueue>,
    pub source: Arc<dyn CheckSource>,
    pub ledger: Arc<dyn Ledger>,
    pub due: Arc<dyn DueSet>,
    pub registry: Arc<dyn Registry>,
    pub businesses: Arc<dyn Businesses>,
    pub records: Arc<dyn Records>,
    pub dead: Arc<dyn DeadLetters>,
    pub log: Arc<dyn EventLog>,
    pub notes: Arc<dyn Notes>,
    pub acts: Arc<dyn Acts>,
}

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Handles that work until the next [`Subject::reopen`].
    async fn engines(&self) -> Engines;
    /// Moves the ledger's clock on.
    async fn advance(&self, by: Millis);
    /// As after a restart of the process: what was acknowledged is there, what was in hand is in nobody's hand.
    async fn reopen(&self);
    /// Whether appending an event again keeps the repeat out of the log.
    fn keeps_repeats_out(&self) -> bool {
        true
    }
    /// Whether the log's end is seen through a replica, which may be behind another one.
    fn reads_replicas(&self) -> bool {
        false
    }
}

/// Makes subjects; each case gets an empty one of its own.
#[async_trait]
pub trait Factory: Send + Sync {
    /// An empty store.
    async fn fresh(&self) -> Arc<dyn Subject>;
}

/// So often a case is run that found its engine unavailable.
const ROUNDS: usize = 3;

/// One rule.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    run: fn(Desk) -> BoxFuture<'static, ()>,
}

/// Which ports a case works with: an engine may be made of parts that are tested by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Records, leases, due sets, dead letters.
    Ledger,
    /// The check queue.
    Queue,
    /// The event log.
    Log,
    /// What roles keep for themselves.
    Notes,
    /// What operators did.
    Acts,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 5] = [Group::Ledger, Group::Queue, Group::Log, Group::Notes, Group::Acts];

    fn cases(self) -> impl Iterator<Item = Case> {
        let files: &[&[Case]] = match self {
            Group::Ledger => &[
                leases::CASES,
                hints::CASES,
                commits::CASES,
                races::CASES,
                claims::CASES,
                registry::CASES,
                refunds::CASES,
                businesses::CASES,
                listings::CASES,
                dead::CASES,
            ],
            Group::Queue => &[queue::CASES],
            Group::Log => &[log::CASES],
            Group::Notes => &[notes::CASES, modes::CASES],
            Group::Acts => &[acts::CASES],
        };
        files.iter().copied().flatten().copied()
    }
}

/// Every case.
pub fn all() -> impl Iterator<Item = Case> {
    Group::ALL.into_iter().flat_map(Group::cases)
}

impl Case {
    /// Runs the case on an empty store; panics where the rule is broken.
    pub async fn run(self, factory: &dyn Factory) {
        (self.run)(Desk::new(factory.fresh().await).await).await;
    }
}

/// Runs every case and panics with the names of those that failed.
pub async fn run_all(factory: Arc<dyn Factory>) {
    run_groups(factory, &Group::ALL).await;
}

/// Runs the cases of some groups; the subject's other ports may be [`absent`].
pub async fn run_groups(factory: Arc<dyn Factory>, groups: &[Group]) {
    let cases: Vec<Case> = groups.iter().flat_map(|group| group.cases()).collect();
    let mut failed = Vec::new();
    for case in &cases {
        if !holds(*case, &factory).await {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{} of {} rules are broken: {failed:#?}", failed.len(), cases.len());
}

/// Whether the rule holds. An engine on servers may rightly say that it is unavailable where the machine keeps an answer
/// back beyond a deadline: the case showed nothing then, and is run again. One that always says so has failed.
async fn holds(case: Case, factory: &Arc<dyn Factory>) -> bool {
    for _ in 0..ROUNDS {
        let (factory, mut alone) = (factory.clone(), JoinSet::new());
        alone.spawn(async move { case.run(factory.as_ref()).await });
        match alone.join_next().await {
            Some(Ok(())) | None => return true,
            Some(Err(fallen)) => {
                if !was_unavailable(fallen) {
                    return false;
                }
            }
        }
    }
    false
}

/// Whether a case fell for that alone.
fn was_unavailable(fallen: JoinError) -> bool {
    let said = fallen.try_into_panic().ok().and_then(|said| said.downcast::<String>().ok());
    said.is_some_and(|said| said.contains("an `Err` value: Unavailable {"))
}
