//! What a benchmark compares with, and that nothing of a benchmark stays at the broker.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use paybell_core::check::{Check, Lane};
use paybell_core::ids::OrderKey;
use rabbitmq::topology::{self, Finding};
use rabbitmq::{Baseline, Needs, RabbitConfig, RabbitMq, erase};
use testkit::servers::{Broker, Rabbit, shared_broker, unique_prefix};

use stand::{ROUNDS, answered, until};

/// `(name, arguments)` of every queue under the prefix.
async fn queues(server: &Broker, prefix: &str) -> Vec<(String, String)> {
    let rows = server.ctl(&["list_queues", "name", "arguments"]).await;
    let row =
        |row: &str| row.split_once('\t').map(|(name, arguments)| (name.to_owned(), arguments.to_owned()));
    rows.lines().filter_map(row).filter(|(name, _)| name.starts_with(prefix)).collect()
}

#[tokio::test]
async fn a_baseline_stores_in_a_queue_equal_to_ours_and_everything_goes_away() {
    let server = shared_broker().await;
    let config = RabbitConfig { prefix: unique_prefix(), partitions: 1, ..RabbitConfig::at(server.url()) };
    answered(|| topology::apply(&config)).await.unwrap();
    let rabbit = RabbitMq::start(&config, Needs::default()).unwrap();
    until("the queue is there", async || rabbit.queue().backlog(Lane::Urgent).await.is_ok()).await;
    let mut baseline = answered(|| Baseline::connect(&config)).await.unwrap();
    let raw = baseline.declare("raw").await.unwrap();
    let mut late = 0;
    for number in 0..3 {
        baseline.publish(&raw, b"body").await.unwrap();
        let key = OrderKey::new("1900000109", format!("T{number}")).unwrap();
        // One that is late may be stored, and so twice.
        while let Err(error) = rabbit.queue().publish(&[Check::manual(key.clone())]).await {
            late += 1;
            assert!(late < ROUNDS, "{error}");
        }
    }
    let found = queues(&server, &config.prefix).await;
    let of = |word: &str| found.iter().find(|(name, _)| name.ends_with(word)).unwrap();
    assert_eq!(of(".raw").1, of(".checks.0").1, "every argument is the same");
    let purged = usize::try_from(baseline.purge().await.unwrap()).unwrap();
    assert!(
        (6..=6 + late).contains(&purged),
        "three messages in each, {late} of them perhaps twice: {purged}"
    );
    until("nothing is left", async || rabbit.queue().backlog(Lane::Urgent).await.ok() == Some(0)).await;
    let unroutable = baseline.publish("nobody's", b"body").await.unwrap_err();
    assert!(unroutable.to_string().contains("nobody's"), "{unroutable}");
    rabbit.close().await;
    answered(|| erase(&config, &["raw"])).await.unwrap();
    assert_eq!(queues(&server, &config.prefix).await, []);
    let missing = answered(|| topology::check(&config)).await.unwrap();
    assert!(missing.iter().all(|finding| matches!(finding, Finding::Missing { .. })), "{missing:?}");
    assert_eq!(missing.len(), topology::plan(&config.shape()).len());
    answered(|| erase(&config, &["raw"])).await.unwrap();
}

#[tokio::test]
async fn counting_a_backlog_opens_no_channel_each_time_and_survives_a_restart() {
    let server = Rabbit::start().await;
    let config = RabbitConfig { prefix: unique_prefix(), partitions: 1, ..RabbitConfig::at(server.url()) };
    answered(|| topology::apply(&config)).await.unwrap();
    let rabbit = RabbitMq::start(&config, Needs::default()).unwrap();
    let queue = rabbit.queue();
    until("both are counted", async || {
        queue.backlog(Lane::Urgent).await.is_ok() && queue.backlog(Lane::Cadence).await.is_ok()
    })
    .await;
    let opened = async || -> u64 {
        let churn = "element(4, hd(ets:tab2list(connection_churn_metrics))).";
        server.ctl(&["eval", churn]).await.trim().parse().unwrap()
    };
    let before = opened().await;
    let mut late = 0;
    for _ in 0..25 {
        for lane in [Lane::Urgent, Lane::Cadence] {
            // A channel on which nobody answers is not counted on again.
            late += u64::from(queue.backlog(lane).await.is_err());
        }
    }
    assert!(late < 25, "{late} of 50 were late");
    let opened = opened().await - before;
    assert!(opened <= late, "{opened} channels were opened, and {late} lost");
    server.kill().await;
    until("it is away", async || queue.backlog(Lane::Urgent).await.is_err()).await;
    server.start_again().await;
    until("it is counted again", async || queue.backlog(Lane::Urgent).await.is_ok()).await;
    rabbit.close().await;
}
