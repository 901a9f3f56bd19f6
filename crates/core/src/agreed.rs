//! The mode that all processes of an installation have in common, as their ledger keeps it.
//!
//! A configuration says for which mode its process was set up. Whether what is decided is told, the ledger says: one
//! process that was left in shadow beside live ones would keep to itself every payment that it happens to find, and
//! nobody else would look again. So nothing is withheld before the ledger was asked just then, and a process follows
//! the ledger from one second to the next. An operator changes the mode, by one command; no process does by itself.
//!
//! What was changed last is true, and a ledger that lost it is told again by whoever knows it. Starts no task and says
//! nothing: the binary compares the modes at the start, and looks again while it runs.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::ports::{Ledger, Note, Notes, PortError};
use crate::shadow::Mode;
use crate::time::Timestamp;

/// The note's name: all processes over one ledger have it in common.
pub const MODE_NOTE: &str = "mode";

/// How often a look begins again because somebody else wrote meanwhile.
const LOOKS_MAX: usize = 8;

/// What the ledger keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedMode {
    pub mode: Mode,
    /// By the ledger's clock.
    pub since: Timestamp,
    /// Grows with every change that an operator made; 0 where the first process stored what it was configured for.
    pub change: i64,
    /// Who changed it.
    #[serde(default)]
    pub by: String,
    /// In their words.
    #[serde(default)]
    pub why: String,
}

/// Keeps a process in the mode of its installation.
pub struct ModeKeeper {
    configured: Mode,
    /// Absent where one process has everything to itself, or touches no ledger.
    shared: Option<Shared>,
    known: Mutex<Option<AgreedMode>>,
    /// What is known, for those who may not wait for a lock.
    is_known: AtomicBool,
    is_shadow: AtomicBool,
}

struct Shared {
    notes: Arc<dyn Notes>,
    ledger: Arc<dyn Ledger>,
}

impl AgreedMode {
    /// As it is stored.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        serde_json::from_str(text).map_err(|error| PortError::Corrupt {
            part: "ledger",
            cause: format!("the note {MODE_NOTE:?}: {error}"),
        })
    }

    /// What [`AgreedMode::parse`] reads.
    pub fn to_text(&self) -> Result<String, PortError> {
        serde_json::to_string(self)
            .map_err(|error| PortError::Corrupt { part: "ledger", cause: error.to_string() })
    }

    /// The later change holds; of two that nobody made, the older, and at last the one that tells.
    fn outranks(&self, other: &Self) -> bool {
        let rank = |agreed: &Self| (agreed.change, Reverse(agreed.since), agreed.mode == Mode::Live);
        rank(self) > rank(other)
    }
}

impl ModeKeeper {
    /// One mode for good.
    pub fn fixed(mode: Mode) -> Self {
        Self {
            configured: mode,
            shared: None,
            known: Mutex::default(),
            is_known: AtomicBool::new(true),
            is_shadow: AtomicBool::new(mode == Mode::Shadow),
        }
    }

    /// The mode that a ledger keeps. One that keeps none yet is told what this process is configured for.
    pub fn shared(configured: Mode, notes: Arc<dyn Notes>, ledger: Arc<dyn Ledger>) -> Self {
        let shared = Some(Shared { notes, ledger });
        Self { shared, is_known: AtomicBool::new(false), ..Self::fixed(configured) }
    }

    /// What this process' configuration says.
    pub fn configured(&self) -> Mode {
        self.configured
    }

    /// The mode as it was last seen; before the ledger was heard, the configured one.
    pub fn current(&self) -> Mode {
        if self.is_shadow.load(Ordering::Acquire) { Mode::Shadow } else { Mode::Live }
    }

    /// What the ledger said last.
    pub fn agreed(&self) -> Option<AgreedMode> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mode by which to decide now: shadow only on the ledger's word of this moment.
    pub async fn settled(&self) -> Result<Mode, PortError> {
        let is_live = self.is_known.load(Ordering::Acquire) && self.current() == Mode::Live;
        if is_live || self.shared.is_none() { Ok(self.current()) } else { self.look().await }
    }

    /// What the ledger keeps, and nothing is written.
    pub async fn hear(&self) -> Result<Option<AgreedMode>, PortError> {
        match &self.shared {
            Some(shared) => Ok(shared.read().await?.1),
            None => Ok(None),
        }
    }

    /// Hears the ledger; tells it what it lost.
    pub async fn look(&self) -> Result<Mode, PortError> {
        let Some(shared) = &self.shared else { return Ok(self.configured) };
        for _ in 0..LOOKS_MAX {
            let (version, stored) = shared.read().await?;
            let untold = match (stored, self.agreed()) {
                (None, Some(known)) => known,
                (Some(stored), Some(known)) if known.outranks(&stored) => known,
                (Some(stored), _) => return Ok(self.adopt(stored)),
                (None, None) => AgreedMode {
                    mode: self.configured,
                    since: shared.ledger.clock().await?.now,
                    change: 0,
                    by: String::new(),
                    why: String::new(),
                },
            };
            if shared.write(version, &untold).await? {
                return Ok(self.adopt(untold));
            }
        }
        Err(busy())
    }

    /// Changes the mode of all processes over the ledger, whatever their configurations say; tells what holds now.
    /// Changes nothing where it is that already.
    pub async fn change(&self, to: Mode, by: &str, why: &str) -> Result<Option<AgreedMode>, PortError> {
        let Some(shared) = &self.shared else { return Ok(None) };
        for _ in 0..LOOKS_MAX {
            let (version, stored) = shared.read().await?;
            let since = shared.ledger.clock().await?.now;
            let last = stored.as_ref().map_or(0, |stored| stored.change);
            if let Some(stored) = stored.filter(|stored| stored.mode == to) {
                self.adopt(stored.clone());
                return Ok(Some(stored));
            }
            // A time, so that it is later than what others remember of a ledger that was emptied since.
            let change = since.millis().max(last.saturating_add(1));
            let changed = AgreedMode { mode: to, since, change, by: by.to_owned(), why: why.to_owned() };
            if shared.write(version, &changed).await? {
                self.adopt(changed.clone());
                return Ok(Some(changed));
            }
        }
        Err(busy())
    }

    /// Takes the ledger's word, unless a later one was heard meanwhile.
    fn adopt(&self, heard: AgreedMode) -> Mode {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| !known.outranks(&heard)) {
            self.is_shadow.store(heard.mode == Mode::Shadow, Ordering::Release);
            self.is_known.store(true, Ordering::Release);
            *known = Some(heard);
        }
        self.current()
    }
}

impl Shared {
    async fn read(&self) -> Result<(Option<u64>, Option<AgreedMode>), PortError> {
        let Some(Note { version, text }) = self.notes.read(MODE_NOTE).await? else { return Ok((None, None)) };
        Ok((Some(version), Some(AgreedMode::parse(&text)?)))
    }

    async fn write(&self, version: Option<u64>, agreed: &AgreedMode) -> Result<bool, PortError> {
        self.notes.write(MODE_NOTE, version, &agreed.to_text()?).await
    }
}

fn busy() -> PortError {
    let cause = format!("the note {MODE_NOTE:?} was written by others {LOOKS_MAX} times in a row");
    PortError::Unavailable { part: "ledger", cause }
}

impl std::fmt::Debug for ModeKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModeKeeper").field("configured", &self.configured).finish_non_exhaustive()
    }
}
