//! The contracts that others program against, held to the running binary by tools that nobody here wrote: the OpenAPI
//! document by schemathesis, the AsyncAPI document by its own parser and by what really comes over each channel; and the
//! private API as somebody meets it who means harm. Knows only listeners and documents.
//!
//! `cargo build -p paybell` first: the harness runs the binary that lies beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

#[path = "../it/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "some of it is for the end-to-end tests alone")]
mod harness;

/// What the services under test keep everything in.
const ENGINE: harness::Engine = harness::Engine::Embedded;

mod asyncapi;
mod attacker;
mod openapi;
mod shop;
mod tools;
