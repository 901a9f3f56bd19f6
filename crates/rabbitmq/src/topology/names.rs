//! What our exchanges and queues are called: the prefix, a dot, a word.
//!
//! Names only. What each of them is stands in `plan.rs`.

use paybell_core::check::Lane;

/// The stream that records what was emitted.
pub(crate) fn event_log(prefix: &str) -> String {
    format!("{prefix}.events.log")
}

/// The topic exchange that subscribers bind their queues to.
pub(crate) fn events(prefix: &str) -> String {
    format!("{prefix}.events")
}

/// The queue of registrations, and the exchange in front of it.
pub(crate) fn orders(prefix: &str) -> String {
    format!("{prefix}.orders")
}

/// Where the broker puts what reached its delivery limit.
pub(crate) fn dead(prefix: &str) -> String {
    format!("{prefix}.dead")
}

/// A partition of a lane of checks.
pub(crate) fn lane(prefix: &str, lane: Lane, partition: u16) -> String {
    match lane {
        Lane::Urgent => format!("{prefix}.checks.{partition}"),
        Lane::Cadence => format!("{prefix}.due.{partition}"),
    }
}
