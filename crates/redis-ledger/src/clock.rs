//! The ledger's clock: Redis `TIME`, sampled about once a second and carried on by this machine's monotonic clock. The
//! only place that reads a clock of this machine.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use paybell_core::Timestamp;
use paybell_core::ports::Reading;
use tokio::time::Instant;

/// A shift of the server's clock against this machine's monotonic one by more than this is a jump.
const JUMP_MS: i64 = 5_000;

/// For so long after a jump nothing is denied on the clock's word.
const UNSTEADY: Duration = Duration::from_secs(600);

/// A sample whose answer took longer says too little to correct an earlier one by less than a jump.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(250);

/// The ledger's clock as this process knows it.
pub(crate) struct LedgerClock {
    started: Instant,
    /// For tests: added to the server's time.
    shift_ms: Arc<AtomicI64>,
    watched: Mutex<Option<Watched>>,
}

impl LedgerClock {
    /// A clock that goes before the server's by `shift_ms`.
    pub fn new(shift_ms: Arc<AtomicI64>) -> Self {
        Self { started: Instant::now(), shift_ms, watched: Mutex::new(None) }
    }

    /// Time since some fixed point.
    pub fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes over what the server said between `asked` and now.
    pub fn sample(&self, server_ms: i64, asked: Duration) {
        let answered = self.monotonic();
        let round_trip = answered.saturating_sub(asked);
        let middle = asked.saturating_add(round_trip / 2);
        let mut watched = self.lock();
        match watched.as_mut() {
            None => *watched = Some(Watched::new(server_ms, middle)),
            Some(watched) => {
                let shift_ms = watched.sample(server_ms, middle, round_trip);
                if let Some(shift_ms) = shift_ms {
                    tracing::error!(
                        clock.shift_ms = shift_ms,
                        "Redis' clock jumped by {shift_ms} ms: no order is denied for the next {} minutes",
                        UNSTEADY.as_secs() / 60
                    );
                }
            }
        }
    }

    /// The ledger's time; `None` before the first sample.
    pub fn reading(&self) -> Option<Reading> {
        let monotonic = self.monotonic();
        let mut watched = self.lock();
        let (server_ms, is_steady) = watched.as_mut()?.read(monotonic);
        Some(Reading { now: Timestamp::from_millis(server_ms.saturating_add(self.shift_ms())), is_steady })
    }

    /// The ledger's time minus the server's.
    pub fn shift_ms(&self) -> i64 {
        self.shift_ms.load(Ordering::Relaxed)
    }

    /// This machine's wall clock minus the server's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that compares this machine's clock with Redis'"
    )]
    pub fn skew_ms(&self) -> Option<i64> {
        let monotonic = self.monotonic();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Some(millis_of(wall).saturating_sub(self.lock().as_ref()?.expected_ms(monotonic)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's clock by its last sample. Does not go back by small steps, and says when it jumped.
#[derive(Debug, Clone, Copy)]
struct Watched {
    server_ms: i64,
    at: Duration,
    latest_ms: i64,
    unsteady_until: Option<Duration>,
}

impl Watched {
    fn new(server_ms: i64, at: Duration) -> Self {
        Self { server_ms, at, latest_ms: server_ms, unsteady_until: None }
    }

    fn expected_ms(&self, monotonic: Duration) -> i64 {
        self.server_ms.saturating_add(millis_of(monotonic.saturating_sub(self.at)))
    }

    /// The size of the jump, if it is one.
    fn sample(&mut self, server_ms: i64, at: Duration, round_trip: Duration) -> Option<i64> {
        let shift_ms = server_ms.saturating_sub(self.expected_ms(at));
        let jumped = shift_ms.saturating_abs() > JUMP_MS;
        if !jumped && round_trip > ROUND_TRIP_MAX {
            return None;
        }
        (self.server_ms, self.at) = (server_ms, at);
        if jumped {
            self.latest_ms = server_ms;
            self.unsteady_until = Some(at.saturating_add(UNSTEADY));
        }
        jumped.then_some(shift_ms)
    }

    fn read(&mut self, monotonic: Duration) -> (i64, bool) {
        let now_ms = self.expected_ms(monotonic);
        let back_ms = self.latest_ms.saturating_sub(now_ms);
        if !(0..=JUMP_MS).contains(&back_ms) {
            self.latest_ms = now_ms;
        }
        self.unsteady_until = self.unsteady_until.filter(|until| monotonic < *until);
        (self.latest_ms, self.unsteady_until.is_none())
    }
}

fn millis_of(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_passes_between_samples() {
        let mut clock = Watched::new(1_000_000, at(10));
        assert_eq!(clock.read(at(13)), (1_003_000, true));
    }

    #[test]
    fn i11_a_jump_makes_the_clock_unsteady_for_ten_minutes() {
        for jump_ms in [5_001, -5_001] {
            let mut clock = Watched::new(1_000_000, at(10));
            assert_eq!(clock.sample(1_001_000 + jump_ms, at(11), QUICK), Some(jump_ms));
            assert_eq!(clock.read(at(11)), (1_001_000 + jump_ms, false), "a jump is followed");
            assert_eq!(clock.sample(1_002_000 + jump_ms, at(12), QUICK), None);
            assert!(!clock.read(at(610)).1);
            assert!(clock.read(at(611)).1);
        }
    }

    #[test]
    fn small_steps_back_are_held_until_time_has_caught_up() {
        let mut clock = Watched::new(1_000_000, at(10));
        assert_eq!(clock.read(at(12)), (1_002_000, true));
        assert_eq!(clock.sample(1_000_500, at(13), QUICK), None);
        assert_eq!(clock.read(at(13)), (1_002_000, true));
        assert_eq!(clock.read(at(15)), (1_002_500, true));
    }

    #[test]
    fn a_slow_answer_corrects_nothing_but_a_jump() {
        let mut clock = Watched::new(1_000_000, at(10));
        clock.sample(1_001_400, at(11), Duration::from_secs(1));
        assert_eq!(clock.read(at(11)).0, 1_001_000);
        assert_eq!(clock.sample(1_101_000, at(11), Duration::from_secs(1)), Some(100_000));
        assert_eq!(clock.read(at(11)).0, 1_101_000);
    }

    #[test]
    fn a_shifted_clock_reads_the_server_s_time_and_its_shift() {
        let shift = Arc::new(AtomicI64::new(0));
        let clock = LedgerClock::new(shift.clone());
        assert_eq!((clock.reading(), clock.skew_ms()), (None, None));
        clock.sample(5_000_000, clock.monotonic());
        shift.store(-4_000_000, Ordering::Relaxed);
        let now = clock.reading().unwrap().now.millis();
        assert!((1_000_000..1_060_000).contains(&now), "{now}");
        assert!(clock.skew_ms().unwrap() > 1_000_000_000, "this machine does not live in 1970");
    }
}
