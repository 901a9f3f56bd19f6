//! Registrations that failed and wait for another attempt: bounded, in memory, oldest first. Tries nothing itself; the
//! registrar does.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::placed::Placed;

/// An order whose registration failed, and when its request came.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) placed: Placed,
    pub(crate) since: Instant,
}

#[derive(Debug)]
pub(crate) struct Backlog {
    waiting: Mutex<VecDeque<Waiting>>,
    arrived: Notify,
    max: usize,
}

impl Backlog {
    pub(crate) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), max }
    }

    /// False if there is no room.
    #[must_use]
    pub(crate) fn push(&self, waiting: Waiting) -> bool {
        let mut all = self.lock();
        if all.len() >= self.max {
            return false;
        }
        all.push_back(waiting);
        drop(all);
        self.arrived.notify_one();
        true
    }

    /// Up to `max` of the oldest.
    pub(crate) fn take(&self, max: usize) -> Vec<Waiting> {
        let mut all = self.lock();
        let count = all.len().min(max);
        all.drain(..count).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Completes when something waits.
    pub(crate) async fn filled(&self) {
        while self.len() == 0 {
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
