//! The simulator over real sockets: as a merchant's server sees it, and as a tester does.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod bills;
mod call_faults;
mod certificates;
mod control;
mod endpoints;
mod faults;
mod notifications;
mod openids;
mod placing;
mod refund_notifications;
mod refunds;
mod support;
mod till;
