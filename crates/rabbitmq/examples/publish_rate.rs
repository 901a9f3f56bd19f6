//! How fast checks are published, beside the client library's own confirmed publishes to an equal queue:
//! `cargo run --release -p rabbitmq --example publish_rate -- amqp://guest:guest@127.0.0.1:5672/%2f [IN_FLIGHT] [SECONDS]`

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement runs in real time, by hand"
)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use paybell_core::check::{Check, Lane};
use paybell_core::ids::OrderKey;
use rabbitmq::topology::{Kind, plan};
use rabbitmq::{Needs, RabbitConfig, RabbitMq};
use tokio::task::JoinSet;

fn check(number: u64) -> Check {
    Check::manual(OrderKey::new("1900000109", format!("T20261120{number:010}")).unwrap())
}

/// Runs `publish` in so many tasks for so long; prints rate, latency and processor time.
async fn measure<F: Future<Output = ()> + Send>(
    name: &str,
    (in_flight, time): (usize, Duration),
    publish: impl Fn(u64) -> F + Clone + Send + 'static,
) {
    let (number, begun, cpu) = (Arc::new(AtomicU64::new(0)), Instant::now(), cpu_ms());
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (publish, number) = (publish.clone(), number.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < time {
                let published = Instant::now();
                publish(number.fetch_add(1, Ordering::Relaxed)).await;
                latencies.push(published.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    latencies.sort();
    let at =
        |per_mille: usize| latencies.get(latencies.len() * per_mille / 1000).copied().unwrap_or_default();
    let (count, took) = (u128::try_from(latencies.len()).unwrap(), begun.elapsed());
    let rate = count * 1000 / took.as_millis();
    let cpu_us = u128::from(cpu_ms() - cpu) * 1000 / count.max(1);
    println!(
        "{name:>8}: {rate:>6}/s, p50 {:?}, p99 {:?}, {cpu_us} µs of processor time each",
        at(500),
        at(990)
    );
}

/// Processor time of this process; a tick is 10 ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap();
    let mut number = |default: usize| args.next().map_or(default, |text| text.parse().unwrap());
    let (in_flight, seconds) = (number(256), number(5));
    let how = (in_flight, Duration::from_secs(u64::try_from(seconds).unwrap()));
    let config = RabbitConfig { prefix: format!("rate{}", std::process::id()), ..RabbitConfig::at(&url) };
    let rabbit = RabbitMq::start(&config, Needs::default()).unwrap();
    let queue = rabbit.queue();
    while queue.backlog(Lane::Urgent).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let raw_queue = format!("{}.checks.0", config.prefix);
    for _ in 0..2 {
        let (raw, name) = (channel.clone(), raw_queue.clone());
        measure("raw", how, move |number| {
            let (raw, name) = (raw.clone(), name.clone());
            async move {
                let options = BasicPublishOptions { mandatory: true, ..Default::default() };
                let properties = BasicProperties::default().with_delivery_mode(2);
                let body = check(number).to_json();
                let publish = raw.basic_publish("".into(), name.as_str().into(), options, &body, properties);
                assert_eq!(publish.await.unwrap().await.unwrap(), Confirmation::Ack(None));
            }
        })
        .await;
        let queue = rabbit.queue();
        measure("paybell", how, move |number| {
            let queue = queue.clone();
            async move { queue.publish(&[check(number)]).await.unwrap() }
        })
        .await;
    }
    rabbit.close().await;
    for item in plan(&config.shape()) {
        if matches!(item.kind, Kind::QuorumQueue | Kind::Stream) {
            channel.queue_delete(item.name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
    }
}
