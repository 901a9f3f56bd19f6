//! Taking messages from queues: what the check source, the rescue of dead checks, and registrations have in common.
//!
//! A [`Tap`] keeps consumers on a set of queues, reads what comes, and puts it on a [`Tray`]; whoever receives takes it
//! from there and acknowledges it, or drops it and so puts it back. Nothing is ever rejected to the broker: that would
//! be a hot loop, and would count towards the delivery limit.

mod strangers;
mod tap;
mod tray;

pub use strangers::Letters;
pub(crate) use strangers::{Reading, Strangers};
pub(crate) use tap::{Gauge, Queues, Tap, waiting};
pub(crate) use tray::{InHand, Tray};

/// How the ports name what is here.
pub(crate) const PART: &str = "queue";
