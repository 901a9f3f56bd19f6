//! One lane of the queue in memory: which rows were fetched, which wait to be handed over, how many there are.
//!
//! Rows are fetched by id cursor. That skips none, because ids rise in the order of commits: one thread writes them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paybell_core::check::Check;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::store::LaneEffects;

pub(crate) struct LaneState {
    inner: Mutex<Inner>,
    arrived: Notify,
}

#[derive(Default)]
struct Inner {
    /// Fetched or given back, waiting to be handed over.
    ready: VecDeque<(i64, Check)>,
    /// Fetched, and no checks of ours.
    malformed: Vec<Malformed>,
    /// Every row up to this id was fetched.
    fetched_id: i64,
    /// The newest committed row.
    newest_id: i64,
    backlog: u64,
    is_closed: bool,
}

/// A row that is no check of ours.
#[derive(Debug, Clone)]
pub(crate) struct Malformed {
    pub id: i64,
    pub cause: String,
}

/// What a lane has for a receiver.
pub(crate) enum Offer {
    Checks(Vec<(i64, Check)>),
    /// Rows after this id are not fetched yet.
    FetchAfter(i64),
    Nothing,
    Closed,
}

impl LaneState {
    pub fn new(backlog: u64, newest_id: i64) -> Self {
        let inner = Inner { backlog, newest_id, ..Inner::default() };
        Self { inner: Mutex::new(inner), arrived: Notify::new() }
    }

    pub fn backlog(&self) -> u64 {
        self.lock().backlog
    }

    /// The newest committed row, as far as is known here.
    pub fn newest_id(&self) -> i64 {
        self.lock().newest_id
    }

    /// Wakes when there may be something; created before the look, it misses nothing.
    pub fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// Up to `max` checks, from now on in hand.
    pub fn take(&self, max: usize) -> Offer {
        let mut inner = self.lock();
        if inner.is_closed {
            return Offer::Closed;
        }
        let count = inner.ready.len().min(max.max(1));
        let checks: Vec<_> = inner.ready.drain(..count).collect();
        let has_unfetched = inner.fetched_id < inner.newest_id;
        let has_more = !inner.ready.is_empty() || has_unfetched;
        let fetched_id = inner.fetched_id;
        drop(inner);
        if checks.is_empty() {
            return if has_unfetched { Offer::FetchAfter(fetched_id) } else { Offer::Nothing };
        }
        if has_more {
            self.arrived.notify_one();
        }
        Offer::Checks(checks)
    }

    /// Rows that were fetched after some id, in order; those that another fetch brought before are left out.
    pub fn fetched(&self, rows: Vec<(i64, Result<Check, Malformed>)>, reached_id: i64) {
        let mut inner = self.lock();
        let known = inner.fetched_id;
        for (id, row) in rows.into_iter().filter(|(id, _)| *id > known) {
            match row {
                Ok(check) => inner.ready.push_back((id, check)),
                Err(malformed) => inner.malformed.push(malformed),
            }
        }
        inner.fetched_id = known.max(reached_id);
        drop(inner);
        self.arrived.notify_one();
    }

    /// Malformed rows that still wait for their burial.
    pub fn take_malformed(&self) -> Vec<Malformed> {
        std::mem::take(&mut self.lock().malformed)
    }

    /// They could not be buried now.
    pub fn give_back_malformed(&self, malformed: Vec<Malformed>) {
        self.lock().malformed.extend(malformed);
    }

    /// A check that was in hand is deliverable again, after those that wait already.
    pub fn give_back(&self, id: i64, check: Check) {
        self.lock().ready.push_back((id, check));
        self.arrived.notify_one();
    }

    pub fn apply(&self, effects: &LaneEffects) {
        if effects.published == 0 && effects.done == 0 {
            return;
        }
        let mut inner = self.lock();
        inner.backlog = inner.backlog.saturating_add(effects.published).saturating_sub(effects.done);
        inner.newest_id = effects.newest_id.map_or(inner.newest_id, |id| inner.newest_id.max(id));
        drop(inner);
        if effects.published > 0 {
            self.arrived.notify_one();
        }
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
