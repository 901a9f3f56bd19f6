//! The breaker of one endpoint: while nothing answers, one attempt now and then instead of many.
//!
//! Opens on silence only. An endpoint that refuses single events is alive, and the others still reach it.

use paybell_core::Timestamp;
use paybell_core::time::Millis;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Attempts in a row without an answer that open it.
pub const FAILURES_MAX: u32 = 5;

/// The longest pause that an endpoint may ask for by `Retry-After`.
pub const PAUSE_ASKED_MAX: Millis = Millis::seconds(3600);

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
    /// Until when nothing is sent, if it is open. A pause longer than any was made before the clock was set back.
    pub fn closed_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now && *until <= now + PAUSE_ASKED_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const NOW: Timestamp = Timestamp::from_millis(1_795_147_200_000);

    #[test]
    fn it_opens_after_five_silences_and_closes_with_the_first_answer() {
        let (mut breaker, mut random) = (Breaker::default(), StdRng::seed_from_u64(1));
        for _ in 1..FAILURES_MAX {
            breaker.silent(NOW, &mut random);
            assert_eq!((breaker.closed_at(NOW), breaker.is_probing()), (None, false));
        }
        breaker.silent(NOW, &mut random);
        let first = breaker.closed_at(NOW).expect("it is open");
        assert!((2_500..=5_000).contains(&first.since(NOW).0), "{first:?}");
        // What was in flight when it opened lengthens nothing.
        breaker.silent(NOW, &mut random);
        assert_eq!(breaker.closed_at(NOW), Some(first));
        let mut now = NOW;
        for _ in 0..20 {
            now = breaker.closed_at(now).unwrap_or(now);
            breaker.silent(now, &mut random);
            assert!(breaker.closed_at(now).is_some_and(|until| until.since(now) <= PAUSE_MAX));
        }
        breaker.answered();
        assert_eq!((breaker.closed_at(now), breaker.is_probing()), (None, false));
    }

    #[test]
    fn an_asked_pause_outlives_answers_but_no_clock_that_is_set_back() {
        let mut breaker = Breaker::default();
        breaker.pause(NOW + PAUSE_ASKED_MAX);
        breaker.answered();
        assert_eq!(breaker.closed_at(NOW), Some(NOW + PAUSE_ASKED_MAX));
        assert_eq!(breaker.closed_at(NOW - Millis::seconds(86_400)), None);
    }
}
