//! The part of the scheduler role that looks after bills: each merchant's book is turned, and a day that is wanted is
//! worked on. One day at a time and process, which bounds the memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paybell_core::ports::{CheckQueue, EventLog, Ledger, Notes, PortError, Records};
use paybell_core::time::Millis;
use paybell_core::{Day, MchId, ModeKeeper, Timestamp};
use reconcile::{Pattern, Scope};
use tokio_util::sync::CancellationToken;

use crate::book::{Opening, Request, Said};
use crate::error::Error;
use crate::fetch::BillSource;
use crate::folder::Folder;
use crate::metrics::BillMetrics;
use crate::round::{Rounded, round};
use crate::shelf::{Company, Shelf};

/// Between two looks at the folder for what is old.
const CLEAR_GAP: Duration = Duration::from_secs(3600);
/// A person waits so many paces for an engine that is away.
const FAILURES_MAX: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The ports that it works with.
#[derive(Clone)]
pub struct Ports {
    pub notes: Arc<dyn Notes>,
    pub records: Arc<dyn Records>,
    pub ledger: Arc<dyn Ledger>,
    pub queue: Arc<dyn CheckQueue>,
    pub log: Arc<dyn EventLog>,
}

/// A merchant whose bills are reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    pub mch_id: MchId,
    /// What was paid before is somebody else's; `None`: since this installation first met the merchant.
    pub active_since: Option<Timestamp>,
    /// Empty: all of them.
    pub app_ids: Vec<String>,
    pub sub_mch_ids: Vec<String>,
    pub pattern: Option<Pattern>,
}

impl Merchant {
    /// What may be healed, by a ledger that is younger than the merchant and one that forgets.
    pub(crate) fn scope(&self, since: Timestamp, remembered_since: Timestamp) -> Scope {
        Scope {
            active_since: self.active_since.unwrap_or(since),
            remembered_since,
            appids: self.app_ids.clone(),
            sub_mch_ids: self.sub_mch_ids.clone(),
            pattern: self.pattern.clone(),
            earlier: None,
        }
    }
}

/// What the operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    pub opening: Opening,
    /// Payments older than this are reported only.
    pub retention: Millis,
}

/// Paces and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two looks at the books.
    pub pace: Duration,
    /// How long a day is ours without a word of ours.
    pub lease: Millis,
    /// Between two words.
    pub renewal: Duration,
    /// How long checks wait for room in the queue before the day is put off.
    pub room: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        // A lease that is lost costs nothing but the work: the next one comes to the same result.
        Self {
            pace: Duration::from_secs(1),
            lease: Millis::seconds(20),
            renewal: Duration::from_secs(2),
            room: Duration::from_secs(120),
        }
    }
}

/// Everything that works on bills.
pub struct Bills {
    pub ports: Ports,
    pub source: Arc<dyn BillSource>,
    pub folder: Folder,
    /// As they are configured at this moment.
    pub merchants: Arc<dyn Fn() -> Vec<Merchant> + Send + Sync>,
    pub wants: Wants,
    /// Says whether results are told outside.
    pub modes: Arc<ModeKeeper>,
    pub timing: Timing,
    pub company: Company,
    /// Serves the requests of this number and nothing else; `None` serves everybody's.
    pub me: Option<u64>,
    pub metrics: BillMetrics,
}

impl Bills {
    pub(crate) fn shelf(&self, mch_id: &MchId) -> Shelf {
        Shelf::new(self.ports.notes.clone(), mch_id)
    }

    pub(crate) async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.ports.ledger.clock().await?.now)
    }

    /// Who has the engine to themselves for one request has no worker beside them either.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let is_by_itself = self.company == Company::Alone && self.me.is_some();
        (!is_by_itself).then_some(self.timing.room)
    }

    /// One look at every merchant: what keeps one from its bills keeps no other.
    async fn turn(&self, drain: &CancellationToken) -> Turned {
        let mut turned = Turned::default();
        for merchant in (self.merchants)() {
            if drain.is_cancelled() {
                break;
            }
            match round(self, &merchant, drain).await {
                Ok(rounded) => turned.has_worked |= rounded == Rounded::Worked,
                Err(error) => {
                    turned.has_failed = true;
                    let mch_id = &merchant.mch_id;
                    tracing::warn!(error = %error, merchant.mch_id = %mch_id, "bills of {mch_id} wait: {error}");
                }
            }
        }
        turned
    }

    async fn clear_folder(&self) -> Result<(), Error> {
        let now = self.now().await?;
        let since = Duration::from_millis(u64::try_from(now.millis()).unwrap_or(0));
        let removed = self.folder.clear(SystemTime::UNIX_EPOCH + since)?;
        if removed > 0 {
            tracing::info!(removed, "{removed} old bills were removed from {}", self.folder.path().display());
        }
        Ok(())
    }
}

/// What came of a look at every merchant.
#[derive(Debug, Clone, Copy, Default)]
struct Turned {
    has_worked: bool,
    has_failed: bool,
}

/// Looks after bills until `drain` is cancelled; what is in hand is given back.
pub async fn run(bills: Arc<Bills>, drain: CancellationToken) {
    let mut failures = 0u32;
    let mut cleared: Option<tokio::time::Instant> = None;
    while !drain.is_cancelled() {
        if cleared.is_none_or(|at| at.elapsed() > CLEAR_GAP) {
            cleared = Some(tokio::time::Instant::now());
            if let Err(error) = bills.clear_folder().await {
                tracing::warn!(error = %error, "old bills stay: {error}");
            }
        }
        let turned = bills.turn(&drain).await;
        failures = if turned.has_failed && !turned.has_worked { failures.saturating_add(1) } else { 0 };
        let pause = match (turned.has_worked, failures) {
            (true, _) if !turned.has_failed => Duration::ZERO,
            (_, 0) => bills.timing.pace,
            (_, failures) => (bills.timing.pace * (1u32 << failures.min(6))).min(PAUSE_MAX),
        };
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Works until a person's request is answered; for whoever has the engine to themselves, or shares it with others.
pub async fn finish(
    bills: &Bills,
    merchant: &Merchant,
    day: Day,
    request: &Request,
    drain: &CancellationToken,
) -> Result<Option<Said>, Error> {
    let shelf = bills.shelf(&merchant.mch_id);
    let mut failures = 0;
    while !drain.is_cancelled() {
        let rounded = match round(bills, merchant, drain).await {
            Ok(rounded) => rounded,
            // A process that has just begun may not be connected yet.
            Err(Error::Port(error @ PortError::Unavailable { .. })) if failures < FAILURES_MAX => {
                tracing::debug!(error = %error, "trying again: {error}");
                failures += 1;
                tokio::time::sleep(bills.timing.pace).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let entry = shelf.read().await?.and_then(|(_, book)| book.days.get(&day).cloned());
        let Some(entry) = entry else { return Ok(None) };
        if let Some(last) = &entry.last
            && last.request == Some(request.id)
        {
            return Ok(Some(last.clone()));
        }
        if entry.asked.as_ref().is_none_or(|asked| asked.id != request.id) {
            return Ok(None);
        }
        // Somebody else works on it, or it waits for an engine.
        if entry.lease.is_some() || rounded == Rounded::Idle || entry.broken_off > 0 {
            tokio::time::sleep(bills.timing.pace).await;
        }
    }
    Ok(None)
}
