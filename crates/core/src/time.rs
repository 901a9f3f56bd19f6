//! Points in time and their Beijing text form. Never reads a clock: the ledger's clock is brought by the caller.

use std::fmt;
use std::ops::{Add, Sub};

use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// WeChat's times and ours are shown in UTC+8; China has no daylight saving.
const BEIJING_HOURS: i8 = 8;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

/// A text that is no RFC 3339 time with an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time must be RFC 3339 with an offset, such as 2026-11-20T12:00:00+08:00")]
pub struct TimeError;

impl Millis {
    /// From whole seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1000)
    }
}

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// RFC 3339 with an offset; a time without one is refused, because it would mean something else on every machine.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimeError> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimeError)?;
        Ok(Self(instant.as_millisecond()))
    }

    /// `2026-11-20T12:00:05+08:00`, whole seconds.
    pub fn rfc3339(self) -> String {
        let Ok(instant) = jiff::Timestamp::from_millisecond(self.0) else { return String::new() };
        let zone = TimeZone::fixed(Offset::constant(BEIJING_HOURS));
        instant.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// How much later this is; negative if earlier.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;
    fn add(self, length: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(length.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Timestamp;
    fn sub(self, length: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub(length.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// The RFC 3339 form of a [`Timestamp`] for documents that people and services read.
pub mod rfc3339 {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.rfc3339())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// The same for a time that may be absent.
pub mod rfc3339_option {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&time.rfc3339()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| Timestamp::parse_rfc3339(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_beijing() {
        let time = Timestamp::parse_rfc3339("2026-11-20T04:00:05Z").unwrap();
        assert_eq!(time.rfc3339(), "2026-11-20T12:00:05+08:00");
        assert_eq!(Timestamp::parse_rfc3339(&time.rfc3339()), Ok(time));
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T12:00:05"), Err(TimeError));
    }
}
