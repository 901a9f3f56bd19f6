//! The examples that shops copy, as they stand in `examples/`, against `paybell rehearse`: each passes every scene.
//! A subscriber with one mistake fails the scene that is about it.
//!
//! `cargo build -p paybell` first: the harness runs the binary that lies beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

#[allow(dead_code, unused_imports, reason = "the tests of the examples need a part of it")]
#[path = "../it/harness/mod.rs"]
mod harness;

/// What the service that examples register orders with keeps everything in.
const ENGINE: harness::Engine = harness::Engine::Embedded;

mod command;
mod language;
mod live;
mod mistakes;
mod placing;
mod queues;
mod register;
mod rehearsal;
mod webhooks;
