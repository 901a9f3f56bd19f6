//! The ledger's clock: the wall clock, watched against the monotonic one. The only place that reads either.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use paybell_core::Timestamp;
use paybell_core::ports::Reading;
use paybell_core::time::Millis;

/// A shift of the wall clock against the monotonic one by more than this is a jump.
const JUMP: Millis = Millis::seconds(5);

/// For so long after a jump nothing is denied on the clock's word.
const UNSTEADY: Duration = Duration::from_secs(600);

/// Where the engine takes the time from.
pub trait WallClock: Send + Sync {
    /// What the clock on the wall says.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed point; never goes back, and nobody can set it.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts its monotonic side now.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that the embedded engine reads")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that the embedded engine reads")]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(millis_of(since_epoch))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A wall clock that does not go back by small steps and says when it jumped.
pub(crate) struct LedgerClock {
    source: std::sync::Arc<dyn WallClock>,
    watched: Mutex<Option<Watched>>,
}

#[derive(Clone, Copy)]
struct Watched {
    /// Wall minus monotonic, in milliseconds.
    offset: i64,
    latest: Timestamp,
    unsteady_until: Option<Duration>,
}

impl LedgerClock {
    pub fn new(source: std::sync::Arc<dyn WallClock>) -> Self {
        Self { source, watched: Mutex::new(None) }
    }

    pub fn now(&self) -> Timestamp {
        self.reading().now
    }

    pub fn monotonic(&self) -> Duration {
        self.source.monotonic()
    }

    pub fn reading(&self) -> Reading {
        let mut watched = self.lock();
        let (wall, monotonic) = (self.source.wall(), self.source.monotonic());
        let offset = wall.millis().saturating_sub(millis_of(monotonic));
        let earlier = watched.unwrap_or(Watched { offset, latest: wall, unsteady_until: None });
        let shift_ms = offset.saturating_sub(earlier.offset);
        let jumped = shift_ms.saturating_abs() > JUMP.0;
        if jumped {
            tracing::error!(
                clock.shift_ms = shift_ms,
                "the wall clock jumped by {shift_ms} ms: no order is denied for the next {} minutes",
                UNSTEADY.as_secs() / 60
            );
        }
        let until = if jumped { Some(monotonic + UNSTEADY) } else { earlier.unsteady_until };
        let unsteady_until = until.filter(|until| monotonic < *until);
        let goes_back_a_little = wall < earlier.latest && earlier.latest.since(wall).0 <= JUMP.0;
        let now = if goes_back_a_little { earlier.latest } else { wall };
        *watched = Some(Watched { offset, latest: now, unsteady_until });
        Reading { now, is_steady: unsteady_until.is_none() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis_of(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hands {
        wall_ms: AtomicI64,
        monotonic_ms: AtomicI64,
    }

    impl Hands {
        fn pass(&self, wall_ms: i64, monotonic_ms: i64) {
            self.wall_ms.fetch_add(wall_ms, Ordering::Relaxed);
            self.monotonic_ms.fetch_add(monotonic_ms, Ordering::Relaxed);
        }
    }

    impl WallClock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.wall_ms.load(Ordering::Relaxed))
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    fn clock() -> (Arc<Hands>, LedgerClock) {
        let hands = Arc::new(Hands::default());
        hands.pass(1_000_000, 0);
        let clock = LedgerClock::new(hands.clone());
        assert!(clock.reading().is_steady);
        (hands, clock)
    }

    #[test]
    fn i11_a_jump_makes_the_clock_unsteady_for_ten_minutes() {
        for jump_ms in [5_001, -5_001] {
            let (hands, clock) = clock();
            hands.pass(jump_ms, 0);
            assert!(!clock.reading().is_steady, "{jump_ms}");
            hands.pass(599_999, 599_999);
            assert!(!clock.reading().is_steady);
            hands.pass(1, 1);
            assert!(clock.reading().is_steady);
        }
    }

    #[test]
    fn passing_time_and_slow_drift_are_no_jump() {
        let (hands, clock) = clock();
        for _ in 0..10 {
            hands.pass(3_605_000, 3_600_000);
            assert!(clock.reading().is_steady);
        }
    }

    #[test]
    fn small_steps_back_are_held_and_large_ones_followed() {
        let (hands, clock) = clock();
        hands.pass(-4_000, 0);
        assert_eq!(clock.now(), Timestamp::from_millis(1_000_000));
        hands.pass(4_500, 4_500);
        assert_eq!(clock.now(), Timestamp::from_millis(1_000_500));
        hands.pass(-60_000, 0);
        assert_eq!(clock.now(), Timestamp::from_millis(940_500));
    }
}
