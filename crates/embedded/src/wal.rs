//! Keeps the write-ahead log short: checkpoints run beside the writer, on a connection of their own.
//!
//! Only when the log has grown past its bound does the writer itself empty it, between two groups.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::schema;

/// A frame is a page and its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// So many frames that are not yet in the database file start a checkpoint (4 MB).
const CHECKPOINT_FRAMES: u64 = 1024;

/// The writer's side.
pub(crate) struct WalKeeper {
    start: SyncSender<()>,
    /// The checkpoint thread is at work.
    is_busy: Arc<AtomicBool>,
    frames_max: u64,
    is_urgent: bool,
}

/// The checkpoint thread's side.
pub(crate) struct Checkpointer {
    started: Receiver<()>,
    is_busy: Arc<AtomicBool>,
    data_dir: PathBuf,
}

/// The log's length, and how much of it is in the database file.
struct Frames {
    written: u64,
    copied: u64,
}

/// Both sides.
pub(crate) fn keeper(data_dir: &Path, wal_bytes_max: u64) -> (WalKeeper, Checkpointer) {
    let (start, started) = sync_channel(1);
    let is_busy = Arc::new(AtomicBool::new(false));
    let frames_max = (wal_bytes_max / FRAME_BYTES).max(CHECKPOINT_FRAMES);
    let keeper = WalKeeper { start, is_busy: is_busy.clone(), frames_max, is_urgent: false };
    (keeper, Checkpointer { started, is_busy, data_dir: data_dir.to_owned() })
}

impl WalKeeper {
    /// After each group.
    pub fn tend(&mut self, connection: &Connection) {
        let Ok(frames) = checkpoint(connection, "NOOP") else { return };
        let is_over = frames.written > self.frames_max;
        let is_far_over = frames.written > self.frames_max.saturating_mul(2);
        if is_far_over || ((is_over || self.is_urgent) && !self.is_busy.load(Ordering::Acquire)) {
            self.is_urgent = false;
            // Busy means that somebody still reads the old log: the next group tries again.
            let _ = checkpoint(connection, "RESTART");
        } else if frames.written.saturating_sub(frames.copied) > CHECKPOINT_FRAMES {
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

impl Checkpointer {
    /// Until the writer ends.
    pub fn run(self) {
        let mut connection = None;
        while self.started.recv().is_ok() {
            self.is_busy.store(true, Ordering::Release);
            if let Err(error) = self.copy(&mut connection) {
                connection = None;
                tracing::warn!(store.error = ?error, "a checkpoint failed; the next one tries again");
            }
            self.is_busy.store(false, Ordering::Release);
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
