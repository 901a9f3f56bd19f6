//! The promise under faults, on real servers: two of each role work under load while a server, a network or a process
//! fails. For each fault: every request that a live ingress accepted is answered in time, every SUCCESS ends in an event
//! or in a dead letter that says why, every order that the simulator holds as paid has exactly one `order.paid` id, and
//! nothing of ours is restarted. How long the recovery took is printed.
//!
//! `cargo build -p paybell` first. The servers are private to each test; nothing stays behind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

#[allow(dead_code, unused_imports, reason = "shared with the end-to-end tests; not all of it is needed here")]
#[path = "../it/harness/mod.rs"]
mod harness;

/// What the services under test keep everything in.
const ENGINE: harness::Engine = harness::Engine::Cluster;

mod bill;
mod broker;
mod heap;
mod load;
mod money;
mod promise;
mod redis;
mod rig;
mod roles;
mod subscriber;
mod trade;
