//! The wall clock of this process, for times that are shown to people. No decision about an order looks here: those
//! take the ledger's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn seconds_since_1970() -> f64 {
    since_1970().as_secs_f64()
}

/// The same without what is behind the point.
pub fn whole_seconds_since_1970() -> u64 {
    since_1970().as_secs()
}

#[expect(clippy::disallowed_methods, reason = "the one place in the binary that reads it")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
