//! What the engine is told when it is opened. Reads no file and no environment: the binary does.

use std::path::PathBuf;

use paybell_core::Cadence;
use paybell_core::time::Millis;

const DAY_SECONDS: i64 = 86_400;

/// Where the file lives and how the engine keeps it.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Created with mode 0700 if it is not there, but for an errand.
    pub data_dir: PathBuf,
    /// What a command holds the folder for that is no service and ends by itself, such as `paybell reconcile`. It works
    /// on what a service left and makes nothing: an empty store would answer that nothing is known.
    pub errand: Option<&'static str>,
    /// Counted from when registered orders were created.
    pub cadence: Cadence,
    pub retention: Retention,
    /// The write-ahead log grows no longer than this and one group of writes, unless a foreign program reads on and on.
    pub wal_bytes_max: u64,
    /// Reader connections, each on a thread of its own.
    pub reader_threads: usize,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// From the record's last change, never while it has a due time or a lease.
    pub orders: Millis,
    /// The same for orders in mismatch or rejected.
    pub disputed: Millis,
    /// From when the event was appended.
    pub events: Millis,
}

impl EngineConfig {
    /// Everything but the folder as usual.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            errand: None,
            cadence: Cadence::wechat(),
            retention: Retention::default(),
            wal_bytes_max: 64 * 1024 * 1024,
            reader_threads: 2,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            orders: Millis::seconds(35 * DAY_SECONDS),
            disputed: Millis::seconds(100 * DAY_SECONDS),
            events: Millis::seconds(35 * DAY_SECONDS),
        }
    }
}
