//! An encrypted connection to the broker, by our own certificate authority and by no other.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use paybell_core::ports::EventFilter;
use rabbitmq::RabbitConfig;
use rabbitmq::topology::check;
use testkit::servers::{Papers, Rabbit, unique_prefix};

use stand::{Process, answered, config, distinct, paid};

#[tokio::test]
async fn a_certificate_counts_if_our_authority_vouches_for_it() {
    let (rabbit, papers) = (Rabbit::start().await, Papers::issue());
    let port = rabbit.speak_tls(&papers).await;
    let prefix = unique_prefix();
    let at = |host: &str, authority: Option<&str>| RabbitConfig {
        authorities: authority.map(|pem| pem.as_bytes().to_vec()),
        ..config(&format!("amqps://guest:guest@{host}:{port}/%2f"), &prefix)
    };
    let trusting = at("localhost", Some(papers.authority()));
    let process = Process::start(trusting.clone()).await;
    process.append(&paid(0..3)).await;
    assert_eq!(distinct(&process.rest(None, &EventFilter::default(), 10).await), paid(0..3));
    assert_eq!(answered(|| check(&trusting)).await.unwrap(), []);
    process.engine.close().await;

    let stranger = Papers::issue();
    let refused = [
        at("localhost", None),
        at("localhost", Some(stranger.authority())),
        at("127.0.0.1", Some(papers.authority())),
    ];
    for config in refused {
        let told = answered(|| check(&config)).await.unwrap_err().to_string();
        assert!(told.contains("rabbitmq.ca_file: the broker's certificate is not trusted"), "{told}");
    }
}
