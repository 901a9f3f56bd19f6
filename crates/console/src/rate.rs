//! Token buckets: how often something may happen, with room for a burst. Knows neither callers nor clocks: the moment is
//! an argument.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// How many in a second; twice as many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// A busy shop stays far below it; a caller in a loop does not.
    pub const DEFAULT: Rate = Rate::with_burst(2_000, 4_000);

    /// That many in a second; at least 1.
    pub fn per_second(count: u32) -> Self {
        Self::with_burst(count, count.saturating_mul(2))
    }

    pub(crate) const fn with_burst(per_second: u32, burst: u32) -> Self {
        const fn at_least_one(count: u32) -> NonZeroU32 {
            match NonZeroU32::new(count) {
                Some(count) => count,
                None => NonZeroU32::MIN,
            }
        }
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }

    fn gap(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }
}

/// What is left of a rate. It needs one moment only: when it would be full again if nothing more was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Takes one, or says how long nothing can be taken.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.rate.gap();
        let ahead = full_at.duration_since(now);
        let room = self.rate.gap() * self.rate.burst.get();
        if ahead > room {
            return Err(ahead.saturating_sub(room));
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether one could be taken.
    pub(crate) fn has_room(&self, now: Instant) -> Result<(), Duration> {
        let mut copy = *self;
        copy.take(now)
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant) -> u32 {
        (0..1_000_000).take_while(|_| bucket.take(now).is_ok()).count().try_into().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        for rate in [1, 3, 50, 100_000] {
            let mut bucket = Bucket::full(Rate::per_second(rate), start);
            assert_eq!(taken(&mut bucket, start), 2 * rate, "the burst");
            let second = start + Duration::from_secs(1);
            assert_eq!(taken(&mut bucket, second), rate, "then as many as a second brings");
            let after_a_pause = second + Duration::from_secs(3600);
            assert!(bucket.is_full(after_a_pause) && !bucket.is_full(second));
            assert_eq!(
                taken(&mut bucket, after_a_pause),
                2 * rate,
                "a pause saves up no more than the burst"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_as_long_as_told_gets_one() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full(Rate::per_second(4), now);
        taken(&mut bucket, now);
        for _ in 0..10 {
            let wait = bucket.take(now).unwrap_err();
            assert_eq!(wait, Duration::from_millis(250));
            assert!(bucket.take(now + wait / 2).is_err(), "asking earlier does not help");
            now += wait;
            assert_eq!(bucket.has_room(now), Ok(()));
            bucket.take(now).unwrap();
        }
    }
}
