//! Taking messages from queues: what the check source, the rescue of dead checks, and registrations have in common.
//!
//! A [`Tap`] keeps consumers on a set of queues, reads what comes, and puts it on a [`Tray`]; whoever receives takes it
//! from there and acknowledges it, or drops it and so puts it back. Nothing is ever rejected to the broker: that would
//! be a hot loop, and would count towards the delivery limit. A queue that cannot be consumed is set [`Aside`], so that
//! it stops no other.

mod aside;
mod begin;
mod gauge;
mod queues;
mod strangers;
mod tap;
mod tray;
mod trial;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::link::Link;
pub(crate) use aside::Aside;
pub(crate) use gauge::{Gauge, waiting};
pub(crate) use queues::Queues;
pub use strangers::Letters;
pub(crate) use strangers::{Reading, Strangers};
pub(crate) use tap::Tap;
pub(crate) use tray::{InHand, Tray};

/// How the ports name what is here.
pub(crate) const PART: &str = "queue";

/// What all taps of a process share.
#[derive(Clone)]
pub(crate) struct Consuming {
    pub settings: Arc<Settings>,
    pub link: Link,
    pub strangers: Arc<Strangers>,
    pub aside: Arc<Aside>,
    /// Nothing more is taken: what nobody took goes back, and what is in somebody's hand can still be acknowledged.
    pub stop: CancellationToken,
}
