//! How far back a ledger knows what became of payments.
//!
//! A record that expired, or was lost with its ledger, looks like an order that nobody ever met, and its payment would
//! be told a second time. So it has to be known since when nothing is missing: records go after `retention.orders`, those
//! that were stored before it was raised went earlier, and a ledger that was emptied knows nothing of before. Decides
//! nothing: `decide` and the bills do.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::ports::{Cursor, EventFilter, EventLog, Ledger, LogRead, Note, Notes, PortError};
use crate::record::{Cause, Record};
use crate::time::{Millis, Timestamp};

/// The note's name: all processes over one ledger have it in common.
pub const RETENTION_NOTE: &str = "retention";

/// For so long after a change some process may still store records that expire by what was configured before.
const ROLLING: Millis = Millis::seconds(86_400);

/// WeChat tells its times in whole seconds, and so do events.
const GRAIN: Millis = Millis::seconds(1);

/// How often a look begins again because somebody else wrote meanwhile.
const LOOKS_MAX: usize = 8;

/// What bounds the memory of a ledger beside its retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// When it began, where payments of before may have been told: nothing is known of them.
    pub began: Option<Timestamp>,
    /// What a change of the retention left.
    pub kept: Option<Kept>,
}

/// Since when records are kept as long as the retention says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Payments before this may have been known and forgotten.
    pub since: Timestamp,
    /// When the retention was found changed: what was met before is known still.
    pub changed_at: Timestamp,
}

/// What the ledger keeps of its retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    orders_ms: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
}

/// Keeps a process in mind of what its ledger may have forgotten.
pub struct MemoryKeeper {
    retention: Millis,
    notes: Arc<dyn Notes>,
    ledger: Arc<dyn Ledger>,
    log: Arc<dyn EventLog>,
    /// Changes only with the configuration of a process.
    kept: OnceLock<Option<Kept>>,
    /// Of a ledger that began then: whether there was another one before it.
    succeeds: Mutex<Option<(Timestamp, bool)>>,
}

impl Memory {
    /// Whether a payment made then may have been known and expired before the order was met at `met_at`.
    pub fn may_have_expired(&self, paid_at: Timestamp, met_at: Timestamp, retention: Millis) -> bool {
        let is_before = |kept: Kept| kept.changed_at <= met_at && paid_at < kept.since;
        paid_at + retention < met_at || self.kept.is_some_and(is_before)
    }

    /// Whether a payment was made before there was this ledger. One whose moment is not known may have been.
    pub fn is_before(&self, paid_at: Option<Timestamp>) -> bool {
        self.began.is_some_and(|began| paid_at.is_none_or(|paid_at| paid_at + GRAIN <= began))
    }

    /// For payments of which nothing is known now: what was paid before this may have expired.
    pub fn remembered_since(&self, now: Timestamp, retention: Millis) -> Timestamp {
        let since = now - retention;
        self.kept.map_or(since, |kept| kept.since.max(since))
    }
}

impl MemoryKeeper {
    pub fn new(
        retention: Millis,
        notes: Arc<dyn Notes>,
        ledger: Arc<dyn Ledger>,
        log: Arc<dyn EventLog>,
    ) -> Self {
        Self { retention, notes, ledger, log, kept: OnceLock::new(), succeeds: Mutex::default() }
    }

    /// What the ledger may have forgotten, for a decision about this record.
    pub async fn about(&self, record: &Record, check: &Check) -> Result<Memory, PortError> {
        let kept = match self.kept.get() {
            Some(kept) => *kept,
            None => {
                let kept = kept(self.notes.as_ref(), self.ledger.as_ref(), self.retention).await?;
                *self.kept.get_or_init(|| kept)
            }
        };
        // A notification is of now, and whoever reads a bill has compared it with the event log.
        let is_told_apart = record.registration.is_some()
            || record.progress.notified
            || matches!(check.cause(), Cause::Notified | Cause::Billed);
        if is_told_apart {
            return Ok(Memory { began: None, kept });
        }
        let is_near = |began: &Timestamp| record.created_at < *began + self.retention;
        let began = match self.ledger.began().await?.filter(is_near) {
            Some(began) if self.succeeds_another(began).await? => Some(began),
            _ => None,
        };
        Ok(Memory { began, kept })
    }

    /// Whether the log has, or had, an event from before the ledger. If not, nothing was ever told: this is the first one.
    async fn succeeds_another(&self, began: Timestamp) -> Result<bool, PortError> {
        let known = *self.succeeds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, succeeds)) = known
            && of == began
        {
            return Ok(succeeds);
        }
        let succeeds = is_older(self.log.as_ref(), began).await?;
        *self.succeeds.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, succeeds));
        Ok(succeeds)
    }
}

/// Whether the log's oldest event is from before that moment, or was.
async fn is_older(log: &dyn EventLog, began: Timestamp) -> Result<bool, PortError> {
    let mut after = Cursor::START;
    loop {
        let page = match log.read(Some(after), &EventFilter::default(), 1).await? {
            LogRead::Page(page) => page,
            LogRead::Gone { .. } => return Ok(true),
        };
        if let Some((_, event)) = page.events.first() {
            return Ok(event.time + GRAIN <= began);
        }
        if !page.has_more {
            return Ok(false);
        }
        after = page.next;
    }
}

/// Tells the ledger by which retention this process keeps records, and hears what the last change of it left.
pub async fn kept(
    notes: &dyn Notes,
    ledger: &dyn Ledger,
    retention: Millis,
) -> Result<Option<Kept>, PortError> {
    for _ in 0..LOOKS_MAX {
        let note = notes.read(RETENTION_NOTE).await?;
        let stored = note.as_ref().map(read).transpose()?;
        let new = match stored {
            Some(stored) if stored.orders_ms == retention => return Ok(stored.kept),
            Some(stored) => {
                let now = ledger.clock().await?.now;
                let since = (now - stored.orders_ms) + ROLLING;
                let since = stored.kept.map_or(since, |kept| kept.since.max(since));
                Stored { orders_ms: retention, kept: Some(Kept { since, changed_at: now }) }
            }
            None => Stored { orders_ms: retention, kept: None },
        };
        let text = serde_json::to_string(&new).map_err(|error| corrupt(&error))?;
        if notes.write(RETENTION_NOTE, note.map(|note| note.version), &text).await? {
            return Ok(new.kept);
        }
    }
    let cause = format!("the note {RETENTION_NOTE:?} was written by others {LOOKS_MAX} times in a row");
    Err(PortError::Unavailable { part: "ledger", cause })
}

fn read(note: &Note) -> Result<Stored, PortError> {
    serde_json::from_str(&note.text).map_err(|error| corrupt(&error))
}

fn corrupt(error: &serde_json::Error) -> PortError {
    PortError::Corrupt { part: "ledger", cause: format!("the note {RETENTION_NOTE:?}: {error}") }
}

impl std::fmt::Debug for MemoryKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryKeeper").field("retention", &self.retention).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_millis(number * DAY_MS)
    }

    fn days(count: i64) -> Millis {
        Millis(count * DAY_MS)
    }

    #[test]
    fn what_expired_before_a_raise_stays_unknown() {
        // Raised on day 100 from 35 days to 90.
        let kept = Some(Kept { since: day(66), changed_at: day(100) });
        let memory = Memory { began: None, kept };
        let (paid_at, retention) = (day(60), days(90));
        assert!(memory.may_have_expired(paid_at, day(101), retention), "its record went on day 95");
        assert!(!Memory::default().may_have_expired(paid_at, day(101), retention), "nobody else would know");
        assert!(!memory.may_have_expired(day(66), day(101), retention));
        assert!(!memory.may_have_expired(paid_at, day(61), retention), "the order was met in time");
        assert_eq!(memory.remembered_since(day(101), retention), day(66));
        assert_eq!(memory.remembered_since(day(170), retention), day(80), "the raise is forgotten by and by");
    }
}
