//! The retry policy: exponential backoff with jitter, 2 s to 5 min. The only user of the `backoff` crate.
//!
//! The crate gives the curve only. Attempts are counted by the record, so that a restart goes on where it was, and
//! the jitter comes from the caller's generator, so that a simulation can replay it.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;
use paybell_core::time::Millis;
use rand::Rng;

/// How long to wait after the n-th transient answer in a row.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    curve_ms: Vec<i64>,
}

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);
const STEPS_MAX: usize = 64;

impl RetryPolicy {
    /// 2 s, doubled up to 5 min.
    pub fn new() -> Self {
        let mut curve = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST)
            .with_max_interval(LONGEST)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            // Its default gives up after 15 minutes; an order is never given up.
            .with_max_elapsed_time(None)
            .build();
        let mut curve_ms = Vec::new();
        while let Some(step) = curve.next_backoff() {
            curve_ms.push(i64::try_from(step.as_millis()).unwrap_or(i64::MAX));
            if step >= LONGEST || curve_ms.len() >= STEPS_MAX {
                break;
            }
        }
        Self { curve_ms }
    }

    /// The wait after `attempts` earlier transient answers, spread by a quarter to either side.
    pub fn delay(&self, attempts: u32, random: &mut impl Rng) -> Millis {
        let step = usize::try_from(attempts).unwrap_or(usize::MAX);
        let longest = self.curve_ms.last().copied().unwrap_or(2_000);
        let base = self.curve_ms.get(step).copied().unwrap_or(longest);
        let spread = base / 4;
        let delay = base - spread + random.random_range(0..=2 * spread);
        Millis(delay.clamp(2_000, 300_000))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn waits_grow_from_2_s_to_5_min_and_never_end() {
        let policy = RetryPolicy::new();
        assert_eq!(policy.curve_ms, [2000, 4000, 8000, 16000, 32000, 64000, 128_000, 256_000, 300_000]);
        let mut random = StdRng::seed_from_u64(1);
        for attempts in [0, 1, 5, 8, 9, 1000, u32::MAX] {
            let delay = policy.delay(attempts, &mut random).0;
            assert!((2_000..=300_000).contains(&delay), "{attempts}: {delay}");
        }
    }

    #[test]
    fn waits_are_spread() {
        let policy = RetryPolicy::new();
        let mut random = StdRng::seed_from_u64(1);
        let delays: std::collections::HashSet<i64> =
            (0..100).map(|_| policy.delay(4, &mut random).0).collect();
        assert!(delays.len() > 50, "{delays:?}");
        assert!(delays.iter().all(|delay| (24_000..=40_000).contains(delay)));
    }
}
