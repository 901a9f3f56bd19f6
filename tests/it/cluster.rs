//! The end-to-end tests once more, over the cluster engine: RabbitMQ and Redis that `tests/run` started, or that
//! `PAYBELL_TEST_RABBITMQ` and `PAYBELL_TEST_REDIS` name. What is about the embedded engine's file alone is not here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

#[allow(dead_code, reason = "some of it is about the file of the embedded engine")]
mod harness;

/// What the services under test keep everything in.
const ENGINE: harness::Engine = harness::Engine::Cluster;

mod api;
mod bad_input;
mod bills;
mod burst;
mod closing;
mod devices;
mod disputes;
mod doctor;
mod doctor_cluster;
mod edges;
mod emptied;
mod encrypted;
mod kill;
mod legacy;
mod life;
mod looks;
mod modes;
mod openid;
mod placing;
mod placing_kills;
mod proxy;
mod readiness;
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
