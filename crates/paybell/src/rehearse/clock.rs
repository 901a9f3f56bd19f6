//! The wall clock of a rehearsal: times in events, and webhooks' timestamps, which are compared with the subscriber's
//! clock. Nothing is decided by it.
#![expect(clippy::disallowed_methods, reason = "a rehearsal has no engine whose clock it could take")]

use std::time::SystemTime;

use paybell_core::Timestamp;

/// This moment.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
