//! The private API over an engine in memory that runs core's own transitions. No sockets: requests go straight to
//! `Console::handle`, on tokio's paused clock.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod audit;
mod bills;
mod cashier;
mod desk;
mod documents;
mod endpoints;
mod engine;
mod limits;
mod listings;
mod refunds;
mod release;
mod statuses;
mod streams;
mod till;
mod tokens;
mod waits;
