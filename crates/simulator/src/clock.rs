//! The only place that reads a clock, and the simulator's own time: it runs faster than real by the scale, and leaps when
//! told to. Wall time for documents runs at its real pace and leaps too. Decides nothing; orders, refunds and notifiers
//! ask it and wait by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep},
};

/// Milliseconds of a day; Beijing has had no days of another length since 1991.
pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) struct Clock {
    scale: f64,
    began: Instant,
    offset_ms: i64,
    /// How far it leapt in all; who waits is woken by a leap.
    leapt: watch::Sender<Duration>,
}

impl Clock {
    /// `scale` was checked by the configuration; wall time starts `offset_s` away from the real one.
    pub(crate) fn new(scale: f64, offset_s: i64) -> Self {
        Clock {
            scale,
            began: Instant::now(),
            offset_ms: offset_s.saturating_mul(1000),
            leapt: watch::Sender::new(Duration::ZERO),
        }
    }

    /// Milliseconds since 1970, for documents.
    #[expect(clippy::disallowed_methods, reason = "the simulator's one reading of the wall clock")]
    pub(crate) fn wall_ms(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let leapt = *self.leapt.borrow();
        let ms = i64::try_from((since_1970 + leapt).as_millis()).unwrap_or(i64::MAX);
        ms.saturating_add(self.offset_ms)
    }

    /// The simulator's time since it began: what delays and ages of the protocol are measured in.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed().mul_f64(self.scale) + *self.leapt.borrow()
    }

    /// Lets time pass: everything that falls due in it happens at once.
    pub(crate) fn leap(&self, by: Duration) {
        self.leapt.send_modify(|leapt| *leapt = leapt.saturating_add(by));
    }

    /// Waits until the simulator's time is `target`.
    pub(crate) async fn sleep_until(&self, target: Duration) {
        let mut leaps = self.leapt.subscribe();
        while let Some(left) = target.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            select! {
                () = sleep(left.div_f64(self.scale)) => {}
                // The sender is this clock: it outlives the wait.
                _ = leaps.changed() => {}
            }
        }
    }

    /// Waits for `seconds` of the simulator's time.
    pub(crate) async fn sleep_s(&self, seconds: u64) {
        self.sleep_until(self.now() + Duration::from_secs(seconds)).await;
    }
}

/// `yyyyMMddHHmmss` in Beijing, which has had no summer time since 1991.
pub(crate) fn compact(wall_ms: i64) -> String {
    beijing(wall_ms).strftime("%Y%m%d%H%M%S").to_string()
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing: refunds and bills.
pub(crate) fn spaced(wall_ms: i64) -> String {
    beijing(wall_ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// RFC 3339 in Beijing, for people and test oracles.
pub(crate) fn rfc3339(wall_ms: i64) -> String {
    beijing(wall_ms).strftime("%Y-%m-%dT%H:%M:%S%.3f+08:00").to_string()
}

/// Reads `yyyyMMddHHmmss` of Beijing.
pub(crate) fn from_compact(text: &str) -> Option<i64> {
    let plain = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = DateTime::strptime("%Y%m%d%H%M%S", text).ok().filter(|_| plain)?;
    Some(Offset::constant(8).to_timestamp(time).ok()?.as_millisecond())
}

/// The beginning of a day `yyyyMMdd` of Beijing.
pub(crate) fn day_begin(text: &str) -> Option<i64> {
    let plain = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let day = Date::strptime("%Y%m%d", text).ok().filter(|_| plain)?;
    Some(Offset::constant(8).to_timestamp(day.to_datetime(Time::midnight())).ok()?.as_millisecond())
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
        assert_eq!(spaced(1_795_147_203_456), "2026-11-20 12:00:03");
        assert_eq!(rfc3339(1_795_147_203_456), "2026-11-20T12:00:03.456+08:00");
        assert_eq!(from_compact("20261120120003"), Some(1_795_147_203_000));
        assert_eq!(day_begin("20261120"), Some(1_795_147_203_000 - (12 * 3600 + 3) * 1000));
        assert_eq!(day_begin("20261131").or(day_begin("2026-11-2")), None);
        for text in ["", "20261120", "2026112012000", "20261131120003", "20261120 20003", "+0261120120003"] {
            assert_eq!(from_compact(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_scaled_and_leaps_end_them() {
        let clock = Clock::new(1000.0, 0);
        let began = Instant::now();
        clock.sleep_s(86_640).await;
        let took = began.elapsed();
        assert!((86_640..86_645).contains(&took.as_millis()), "{took:?}");
        let clock = Clock::new(1.0, 0);
        let began = Instant::now();
        tokio::join!(clock.sleep_s(86_640), async {
            sleep(Duration::from_secs(10)).await;
            clock.leap(Duration::from_secs(86_600));
        });
        assert_eq!(began.elapsed().as_secs(), 40);
    }

    #[test]
    fn documents_follow_leaps_and_the_offset() {
        let (real, other) = (Clock::new(1000.0, 0), Clock::new(1000.0, -3600));
        other.leap(Duration::from_secs(60));
        let behind_s = (real.wall_ms() - other.wall_ms()) / 1000;
        assert!((3539..=3540).contains(&behind_s), "{behind_s}");
    }
}
