//! Turns due times into checks. The one delay mechanism of Paybell: retries, cadence, quick looks, lost checks and
//! unpublished events are all due times, and all of them pass here.
//!
//! Never asks WeChat and never decides: the check goes into the queue like any other.

mod metrics;
mod run;
mod tick;

pub use metrics::SchedulerMetrics;
pub use run::run;
pub use tick::{Scheduler, Ticked};
