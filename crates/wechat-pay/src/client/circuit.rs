//! A circuit per host: after failures in a row it opens for a while, then lets one trial through.
//!
//! Counts only hosts that cannot be reached or do not answer in time; what a host answers is no failure of the host.
//! Takes the time as an argument. [`super::Client`] asks it before every attempt.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const FAILURES_TO_OPEN: u32 = 3;

#[derive(Debug)]
pub(super) struct Circuit {
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// While open: when the next trial is let through.
    trial_at: Option<Instant>,
}

impl Circuit {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, state: Mutex::default() }
    }

    /// Whether a request may go to this host. A trial moves the next one away, so that there is one at a time.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match state.trial_at {
            None => true,
            Some(at) if at <= now => {
                state.trial_at = Some(now + self.pause);
                true
            }
            Some(_) => false,
        }
    }

    /// When the next trial is let through; `None` while the circuit is closed.
    pub(super) fn trial_at(&self) -> Option<Instant> {
        self.lock().trial_at
    }

    pub(super) fn succeeded(&self) {
        *self.lock() = State::default();
    }

    /// Tells whether this failure opened the circuit.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES_TO_OPEN {
            return false;
        }
        state.trial_at.replace(now + self.pause).is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn three_failures_in_a_row_open_it_and_one_success_closes_it() {
        let circuit = Circuit::new(PAUSE);
        let start = Instant::now();
        assert!(!circuit.failed(start) && !circuit.failed(start));
        circuit.succeeded();
        assert!(!circuit.failed(start) && !circuit.failed(start) && circuit.admit(start));
        assert!(circuit.failed(start), "the third opens");
        assert!(!circuit.failed(start), "the fourth opens nothing");
        assert!(!circuit.admit(start + PAUSE - Duration::from_millis(1)));

        let later = start + PAUSE;
        assert!(circuit.admit(later), "one trial");
        assert!(!circuit.admit(later), "at a time");
        assert!(circuit.admit(later + PAUSE), "a trial that never came back does not close it for ever");
        assert!(!circuit.failed(later + PAUSE));
        assert_eq!(circuit.trial_at(), Some(later + PAUSE + PAUSE));
        circuit.succeeded();
        assert!(circuit.admit(later) && circuit.admit(later) && circuit.trial_at().is_none());
    }
}
