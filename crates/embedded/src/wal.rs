//! Keeps the write-ahead log short: checkpoints run beside the writer, on a connection of their own.
//!
//! When the log has grown past half its bound and no checkpoint runs, the writer itself empties it, between two
//! groups; at the bound it waits for the running checkpoint first, so that the bound holds.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::schema;

/// A frame is a page and its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// So many frames that are not yet in the database file start a checkpoint (16 MB), fewer where the log must be short.
const CHECKPOINT_FRAMES_MAX: u64 = 4096;

/// The shortest log that may be asked for (1 MB).
const FRAMES_MIN: u64 = 256;

/// The writer's side.
pub(crate) struct WalKeeper {
    start: SyncSender<()>,
    turn: Turn,
    frames_max: u64,
    is_urgent: bool,
}

/// The checkpoint thread's side.
pub(crate) struct Checkpointer {
    started: Receiver<()>,
    turn: Turn,
    data_dir: PathBuf,
}

/// Held by whoever copies the log into the database file.
#[derive(Clone, Default)]
struct Turn(Arc<Mutex<()>>);

/// The log's length, and how much of it is in the database file.
struct Frames {
    written: u64,
    copied: u64,
}

/// Both sides.
pub(crate) fn keeper(data_dir: &Path, wal_bytes_max: u64) -> (WalKeeper, Checkpointer) {
    let (start, started) = sync_channel(1);
    let turn = Turn::default();
    let frames_max = (wal_bytes_max / FRAME_BYTES).max(FRAMES_MIN);
    let keeper = WalKeeper { start, turn: turn.clone(), frames_max, is_urgent: false };
    (keeper, Checkpointer { started, turn, data_dir: data_dir.to_owned() })
}

impl WalKeeper {
    /// After each group.
    pub fn tend(&mut self, connection: &Connection) {
        let Ok(frames) = checkpoint(connection, "NOOP") else { return };
        let turn = if frames.written > self.frames_max {
            Some(self.turn.wait())
        } else if self.is_urgent || frames.written > self.frames_max / 2 {
            self.turn.try_take()
        } else {
            None
        };
        if turn.is_some() {
            self.is_urgent = false;
            // Busy means that somebody still reads the old log: the next group tries again.
            let _ = checkpoint(connection, "RESTART");
        } else if frames.written.saturating_sub(frames.copied)
            > CHECKPOINT_FRAMES_MAX.min(self.frames_max / 4)
        {
            // A full channel means that a checkpoint is asked for already.
            let _ = self.start.try_send(());
        }
    }

    /// The disk may be full: free what the log holds as soon as a group is through.
    pub fn empty_soon(&mut self) {
        self.is_urgent = true;
    }

    /// At the end, so that the file stands alone.
    pub fn finish(&self, connection: &Connection) {
        let _ = checkpoint(connection, "TRUNCATE");
    }
}

impl Turn {
    fn wait(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Checkpointer {
    /// Until the writer ends.
    pub fn run(self) {
        let mut connection = None;
        while self.started.recv().is_ok() {
            let _turn = self.turn.wait();
            if let Err(error) = self.copy(&mut connection) {
                connection = None;
                tracing::warn!(store.error = ?error, "a checkpoint failed; the next one tries again");
            }
        }
    }

    fn copy(&self, connection: &mut Option<Connection>) -> Result<(), StoreError> {
        let open = match connection.take() {
            Some(open) => open,
            None => {
                let open = schema::open_writer(&self.data_dir)?;
                open.busy_timeout(std::time::Duration::ZERO)?;
                open
            }
        };
        checkpoint(connection.insert(open), "PASSIVE").map(drop)
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<Frames, StoreError> {
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection
        .prepare_cached(&sql)?
        .query_row([], |row| Ok(Frames { written: count(row.get(1)?), copied: count(row.get(2)?) }))?)
}
