//! What the engine keeps in memory beside the file: the lanes and the end of the log. Changed only after a commit.

use std::sync::Arc;

use paybell_core::check::Lane;
use tokio::sync::watch;

use crate::lane::LaneState;
use crate::store::Effects;

pub(crate) struct Shared {
    urgent: Arc<LaneState>,
    cadence: Arc<LaneState>,
    /// `None` once the engine is closed.
    log_end: watch::Sender<Option<i64>>,
}

impl Shared {
    pub fn new(urgent: LaneState, cadence: LaneState, log_end: i64) -> Self {
        Self {
            urgent: Arc::new(urgent),
            cadence: Arc::new(cadence),
            log_end: watch::Sender::new(Some(log_end)),
        }
    }

    pub fn lane(&self, lane: Lane) -> &Arc<LaneState> {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Cadence => &self.cadence,
        }
    }

    /// The position of the newest event, as it changes.
    pub fn log_end(&self) -> watch::Receiver<Option<i64>> {
        self.log_end.subscribe()
    }

    /// Takes over what a committed group did.
    pub fn apply(&self, effects: &Effects) {
        for (lane, lane_effects) in Lane::ALL.into_iter().zip(&effects.lanes) {
            self.lane(lane).apply(lane_effects);
        }
        if effects.log_end.is_some() {
            self.log_end.send_replace(effects.log_end);
        }
    }

    /// Lets everybody who waits go.
    pub fn close(&self) {
        self.urgent.close();
        self.cadence.close();
        self.log_end.send_replace(None);
    }
}
