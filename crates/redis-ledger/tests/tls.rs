//! An encrypted connection, by our own certificate authority and by no other.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use common::*;
use paybell_core::ports::{Records, Registry};
use redis_ledger::RedisLedger;
use testkit::servers::{Papers, Redis};

#[tokio::test]
async fn a_certificate_counts_if_our_authority_vouches_for_it() {
    let (server, papers) = (Redis::start().await, Papers::issue());
    let port = server.speak_tls(&papers).await;
    let url = format!("rediss://localhost:{port}");
    let trusting = config(&url).with_root_certificate(papers.authority().into());
    let ledger = RedisLedger::open(trusting).await.unwrap();
    ledger.register(&key(1), &asks(1)).await.unwrap();
    assert!(open(&server).await.read(&key(1)).await.unwrap().is_some());

    let stranger = Papers::issue();
    for config in [config(&url), config(&url).with_root_certificate(stranger.authority().into())] {
        let distrusting = RedisLedger::open(config).await.unwrap();
        let error = distrusting.is_up().unwrap_err().to_string();
        assert!(error.to_lowercase().contains("certificate"), "{error}");
    }
}
