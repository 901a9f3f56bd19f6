//! What this process knows of the end of the log. The follower writes it, readers read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use paybell_core::ports::Cursor;
use tokio::sync::watch;
use uuid::Uuid;

use super::entry::Entry;
use super::page::Wanted;
use super::recent::{Found, Recent};

/// The newest entries, and the place after them.
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    /// `None` until the broker was asked.
    end: watch::Sender<Option<Cursor>>,
    foreign: AtomicU64,
}

impl Tail {
    pub fn new() -> Self {
        Self {
            recent: Mutex::new(Recent::default()),
            end: watch::Sender::new(None),
            foreign: AtomicU64::new(0),
        }
    }

    /// The next entry came.
    pub fn push(&self, entry: Entry) {
        let is_foreign = entry.event.is_none() && !entry.is_mark;
        if self.with(|recent| recent.push(entry)) && is_foreign {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells readers what is the newest now.
    pub fn publish(&self) -> Cursor {
        let end = self.with(|recent| recent.newest().map(Entry::cursor)).unwrap_or(Cursor::START);
        self.end.send_if_modified(|known| known.replace(end) != Some(end));
        end
    }

    /// The newest entry's offset and cursor.
    pub fn newest(&self) -> Option<(u64, Cursor)> {
        self.with(|recent| recent.newest().map(|newest| (newest.offset, newest.cursor())))
    }

    /// Where the entry with that id lies, if it is one of the newest.
    pub fn position_of(&self, id: Uuid) -> Option<u64> {
        self.with(|recent| recent.position_of(id))
    }

    /// What was read is not what the log holds.
    pub fn forget(&self) {
        self.with(|recent| *recent = Recent::default());
    }

    /// A page, if it lies in what is kept here.
    pub fn page(&self, after: Cursor, wanted: Wanted<'_>) -> Found {
        self.with(|recent| recent.page(after, wanted))
    }

    /// The end as the follower learns it.
    pub fn watch(&self) -> watch::Receiver<Option<Cursor>> {
        self.end.subscribe()
    }

    /// Messages of the stream that are neither events nor marks, as far as this process met them while following.
    pub fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Recent) -> T) -> T {
        // A panic between two steps would lose no more than what is read again.
        work(&mut self.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
