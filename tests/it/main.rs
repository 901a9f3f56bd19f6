//! End-to-end tests: the real binary, real sockets, a real disk. They refuse to look inside; what they know is the
//! command line, the configuration, the three listeners and WeChat's protocol.
//!
//! `cargo build -p paybell` first: the harness runs the binary that lies beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod harness;

/// What the services under test keep everything in.
const ENGINE: harness::Engine = harness::Engine::Embedded;

mod api;
mod bad_input;
mod bills;
mod burst;
mod closing;
mod devices;
mod disk;
mod disputes;
mod doctor;
mod edges;
mod folder;
mod kill;
mod legacy;
mod life;
mod looks;
mod openid;
mod placing;
mod placing_kills;
mod proxy;
mod refund_doubts;
mod refund_kills;
mod refunds;
mod reload;
mod republish;
mod secrets;
mod shadow;
mod shutdown;
mod trail;
mod unregistered;
mod vectors;
mod webhooks;
