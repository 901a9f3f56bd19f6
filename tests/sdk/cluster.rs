//! Payment SDKs that nobody here wrote, through the real binary, over RabbitMQ and Redis. `PAYBELL_TEST_WITHOUT_CLIENTS=1`
//! leaves these tests out where Python, Node or their registries are missing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod clients;
mod door;
#[allow(dead_code, unused_imports, reason = "the end-to-end tests use more of it")]
#[path = "../it/harness/mod.rs"]
mod harness;
mod refunds;
mod unchanged;

/// What the services under test keep everything in.
const ENGINE: harness::Engine = harness::Engine::Cluster;
