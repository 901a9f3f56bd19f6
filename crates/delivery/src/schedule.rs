//! When an event is tried again, and when it is given up. Pure: time and randomness are brought.

use paybell_core::Timestamp;
use paybell_core::cadence::WECHAT_GAPS_S;
use paybell_core::time::Millis;
use rand::Rng;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// The longest waits after the first, second, … failure of a webhook, in seconds; the last one repeats. The shape is
/// that of Standard Webhooks.
const WEBHOOK_WAITS_S: [i64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// How long a webhook is tried, counted from the first attempt.
pub const WEBHOOK_TRIED: Millis = Millis::seconds(72 * HOUR);

/// How long an old handler is tried: WeChat's 24 h 4 m.
pub const LEGACY_TRIED: Millis = Millis::seconds(86_640);

/// The shortest wait.
const WAIT_MIN: Millis = Millis::seconds(1);

/// The plan of one kind of endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Growing waits with full jitter: anything between one second and the step's length. The last attempt is made
    /// three days after the first.
    Webhook,
    /// WeChat's own cadence, so that an old handler sees what it always saw.
    Legacy,
}

/// What was tried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that count, at least one.
    pub step: u32,
    pub first_at: Timestamp,
}

impl Schedule {
    /// When an event that was first tried then is given up at the latest.
    pub fn end(self, first_at: Timestamp) -> Timestamp {
        match self {
            Schedule::Webhook => first_at + WEBHOOK_TRIED,
            Schedule::Legacy => first_at + LEGACY_TRIED,
        }
    }

    /// When to try again after a failure; `None` gives up.
    pub fn next(self, tried: Tried, now: Timestamp, random: &mut impl Rng) -> Option<Timestamp> {
        let step = usize::try_from(tried.step.saturating_sub(1)).unwrap_or(usize::MAX);
        let end = self.end(tried.first_at);
        match self {
            _ if now >= end => None,
            Schedule::Webhook => {
                let last = WEBHOOK_WAITS_S.last().copied().unwrap_or(HOUR);
                let longest = Millis::seconds(WEBHOOK_WAITS_S.get(step).copied().unwrap_or(last));
                let wait = Millis(random.random_range(WAIT_MIN.0..=longest.0));
                Some((now + wait).min(end).max(now + WAIT_MIN))
            }
            Schedule::Legacy => WECHAT_GAPS_S.get(step).map(|gap| now + Millis::seconds(*gap)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const START: Timestamp = Timestamp::from_millis(1_795_147_200_000);

    /// The times of all attempts, counted from the first, if each fails at once.
    fn attempts(schedule: Schedule, seed: u64) -> Vec<i64> {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut now, mut times) = (START, vec![0]);
        for step in 1.. {
            match schedule.next(Tried { step, first_at: START }, now, &mut random) {
                Some(next) => now = next,
                None => return times,
            }
            times.push(now.since(START).0);
        }
        times
    }

    #[test]
    fn an_old_handler_is_tried_at_wechats_own_times() {
        let times = attempts(Schedule::Legacy, 1);
        assert_eq!(times.len(), 16);
        assert_eq!(times[1..4], [15_000, 30_000, 60_000]);
        assert_eq!(times.last(), Some(&86_640_000), "24 h 4 m");
    }

    #[test]
    fn a_webhook_is_tried_over_three_days_at_spread_times() {
        let mut seconds = std::collections::HashSet::new();
        for seed in 0..100 {
            let times = attempts(Schedule::Webhook, seed);
            assert_eq!(times.last(), Some(&WEBHOOK_TRIED.0), "the last attempt is made at the end");
            assert!((6..=60).contains(&times.len()), "{times:?}");
            assert!(times[1] <= 5_000 && times[2] - times[1] <= 300_000, "{times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= WAIT_MIN.0), "{times:?}");
            seconds.insert(times[2]);
        }
        assert!(seconds.len() > 90, "full jitter");
    }
}
