//! Calendar days in Beijing, by which bills are made. Reads no clock: whose day it is, the caller's time says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Millis, Timestamp};

const DAY_MS: i64 = 86_400_000;
const OFFSET_MS: i64 = 8 * 3_600_000;
/// 9998-12-31, counted from 1970-01-01.
const DAY_MAX: i64 = 2_932_531;

/// A day in Beijing: `2026-11-20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(i64);

/// A text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a day must be written like 2026-11-20, from 1970 on")]
pub struct DayError;

impl Day {
    /// Reads `2026-11-20` and nothing else.
    pub fn parse(text: &str) -> Result<Self, DayError> {
        let is_shaped = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let date: jiff::civil::Date = text.parse().map_err(|_| DayError)?;
        let begin = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| DayError)?.timestamp();
        let day = Self::of_utc(begin.as_millisecond());
        if is_shaped && day.to_string() == text { Ok(day) } else { Err(DayError) }
    }

    /// The day of a moment; moments outside the years 1970 to 9998 belong to the nearest day inside.
    pub fn of(time: Timestamp) -> Self {
        Self::of_utc(time.millis().saturating_add(OFFSET_MS))
    }

    fn of_utc(millis: i64) -> Self {
        Self(millis.div_euclid(DAY_MS).clamp(0, DAY_MAX))
    }

    /// Its midnight.
    pub fn begin(self) -> Timestamp {
        Timestamp::from_millis(self.0 * DAY_MS - OFFSET_MS)
    }

    /// The midnight at which the next day begins.
    pub fn end(self) -> Timestamp {
        self.begin() + Millis(DAY_MS)
    }

    /// So many days later; earlier if negative.
    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days).clamp(0, DAY_MAX))
    }

    /// How many days later this is; negative if earlier.
    pub fn days_since(self, earlier: Day) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.begin().rfc3339().get(..10).unwrap_or_default())
    }
}

impl TryFrom<String> for Day {
    type Error = DayError;
    fn try_from(text: String) -> Result<Self, DayError> {
        Self::parse(&text)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> String {
        day.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_beijing() {
        let day = Day::parse("2026-11-20").unwrap();
        assert_eq!(day.begin().rfc3339(), "2026-11-20T00:00:00+08:00");
        assert_eq!(day.end().rfc3339(), "2026-11-21T00:00:00+08:00");
        assert_eq!(Day::of(day.begin()), day);
        assert_eq!(Day::of(day.end()), day.plus(1));
        assert_eq!(Day::of(day.end() - Millis(1)), day);
        assert_eq!(day.plus(-20).to_string(), "2026-10-31");
        assert_eq!(day.days_since(day.plus(-20)), 20);
    }

    #[test]
    fn every_day_is_read_as_it_is_written_and_nothing_else_is() {
        for day in [Day(0), Day(19_782), Day(DAY_MAX)] {
            assert_eq!(Day::parse(&day.to_string()), Ok(day));
        }
        for text in
            ["", "2026-11-31", "20261120", "2026-1-02", "2026-11-20T00:00:00", "-002026-11-20", "1969-12-31"]
        {
            assert_eq!(Day::parse(text), Err(DayError), "{text}");
        }
    }
}
