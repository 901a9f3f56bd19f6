//! The only place that reads a clock: wall time for what is written into documents, and delays divided by the scale.
//! Decides nothing; orders and the notifier ask it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, civil::DateTime, tz::Offset};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    scale: f64,
}

impl Clock {
    /// `scale` was checked by the configuration.
    pub(crate) fn new(scale: f64) -> Self {
        Clock { scale }
    }

    #[expect(clippy::disallowed_methods, reason = "the simulator's one reading of the wall clock")]
    pub(crate) fn wall_ms(self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn now(self) -> Instant {
        Instant::now()
    }

    /// A delay of the protocol, shortened by the scale.
    pub(crate) fn scaled_s(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).div_f64(self.scale)
    }
}

/// `yyyyMMddHHmmss` in Beijing, which has had no summer time since 1991.
pub(crate) fn compact(wall_ms: i64) -> String {
    beijing(wall_ms).strftime("%Y%m%d%H%M%S").to_string()
}

/// RFC 3339 in Beijing, for people and test oracles.
pub(crate) fn rfc3339(wall_ms: i64) -> String {
    beijing(wall_ms).strftime("%Y-%m-%dT%H:%M:%S%.3f+08:00").to_string()
}

fn beijing(wall_ms: i64) -> DateTime {
    Offset::constant(8).to_datetime(Timestamp::from_millisecond(wall_ms).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_beijing_time() {
        assert_eq!(compact(1_795_147_203_456), "20261120120003");
        assert_eq!(rfc3339(1_795_147_203_456), "2026-11-20T12:00:03.456+08:00");
    }

    #[test]
    fn only_delays_are_scaled() {
        let clock = Clock::new(1000.0);
        assert_eq!(clock.scaled_s(86_640), Duration::from_millis(86_640));
        assert_eq!(Clock::new(1.0).scaled_s(15), Duration::from_secs(15));
    }
}
