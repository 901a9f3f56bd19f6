//! This machine's wall clock: the one place of the doctor that reads it, because comparing it with others is its work.

use std::time::{Duration, SystemTime};

/// Time since 1970.
#[expect(clippy::disallowed_methods, reason = "a doctor compares this machine's clock with others")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
pub fn wall_ms() -> i64 {
    i64::try_from(wall().as_millis()).unwrap_or(i64::MAX)
}
