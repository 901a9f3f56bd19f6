//! The check queue on real brokers: the conformance suite, what is consumed and how, and what a broken broker, network
//! or topology does to it.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod broker_faults;
mod common;
mod confirms;
mod conformance;
mod consuming;
mod leaderless;
mod network_faults;
mod publishing;
mod strangers;
