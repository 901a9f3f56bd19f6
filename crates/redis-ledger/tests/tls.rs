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
use testkit::servers::Redis;

#[tokio::test]
async fn a_certificate_counts_if_our_authority_vouches_for_it() {
    let server = Redis::start().await;
    let (dir, own) =
        (tempfile::tempdir().unwrap(), rcgen::generate_simple_self_signed(["localhost".to_owned()]));
    let own = own.unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key_file) =
        (file("cert.pem", own.cert.pem()), file("key.pem", own.signing_key.serialize_pem()));
    // The server's block of ports is its own.
    let port = server.port() + 1;
    let words = ["config", "set", "tls-port", &port.to_string(), "tls-auth-clients", "no"].map(str::to_owned);
    let files =
        ["tls-cert-file", &cert, "tls-key-file", &key_file, "tls-ca-cert-file", &cert].map(str::to_owned);
    let words: Vec<String> = words.into_iter().chain(files).collect();
    let said = server.cli(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(said.trim(), "OK", "this redis-server was built without TLS");

    let url = format!("rediss://localhost:{port}");
    let trusting = config(&url).with_root_certificate(own.cert.pem().into_bytes());
    let ledger = RedisLedger::open(trusting).await.unwrap();
    ledger.register(&key(1), &asks(1)).await.unwrap();
    assert!(open(&server).await.read(&key(1)).await.unwrap().is_some());

    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for config in [config(&url), config(&url).with_root_certificate(stranger.cert.pem().into_bytes())] {
        let distrusting = RedisLedger::open(config).await.unwrap();
        let error = distrusting.is_up().unwrap_err().to_string();
        assert!(error.to_lowercase().contains("certificate"), "{error}");
    }
}
