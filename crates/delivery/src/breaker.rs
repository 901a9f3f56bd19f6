//! The breaker of one endpoint: while nothing answers, one attempt now and then instead of many.
//!
//! Opens on silence only. An endpoint that refuses single events is alive, and the others still reach it.

use paybell_core::Timestamp;
use paybell_core::time::Millis;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Attempts in a row without an answer that open it.
pub const FAILURES_MAX: u32 = 5;

const PAUSE_MIN: Millis = Millis::seconds(5);
const PAUSE_MAX: Millis = Millis::seconds(60);

/// Failures in a row, and until when nothing is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
}

impl Breaker {
    /// Until when nothing is sent, if it is open.
    pub fn closed_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now)
    }

    /// Whether only one attempt at a time is made, to see whether somebody answers again.
    pub fn is_probing(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Somebody answered. An asked-for pause goes on.
    pub fn answered(&mut self) {
        if self.is_probing() {
            self.open_until = None;
        }
        self.failures = 0;
    }

    /// Nobody answered. Attempts that began before it opened do not lengthen the pause.
    pub fn silent(&mut self, now: Timestamp, random: &mut impl Rng) {
        if self.closed_at(now).is_some() && self.is_probing() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.is_probing() {
            let doublings = (self.failures - FAILURES_MAX).min(4);
            let longest = (PAUSE_MIN.0 << doublings).min(PAUSE_MAX.0);
            self.open_until = Some(now + Millis(random.random_range(longest / 2..=longest)));
        }
    }

    /// The endpoint asked for a pause.
    pub fn pause(&mut self, until: Timestamp) {
        self.open_until = self.open_until.max(Some(until));
    }
}
