//! How fast the ledger is, and how large: run by hand, `cargo run --release -p redis-ledger --example speed [ORDERS]`.
//! With `[ORDERS] [MERCHANTS]` it counts instead: what a tally takes when so many merchants' orders of a day are pending.
//! Starts a Redis of its own. The product's own measurement is `paybell bench ledger`.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement drives real time and fails loudly"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{asks, key, open_shifted, request, server_with};
use paybell_core::check::{Check, Lane};
use paybell_core::ids::{AppId, OrderKey};
use paybell_core::lease::Taken;
use paybell_core::ports::{DueSet, Ledger, Records, Registry};
use paybell_core::register::Application;
use paybell_core::time::Millis;
use redis_ledger::RedisLedger;
use testkit::servers::Redis;

/// An entry of Redis' log of slow commands: id, time, microseconds, words, client.
type Slow = (i64, i64, i64, Vec<Vec<u8>>, String, String);

const UNDER_WAY: usize = 1024;

#[tokio::main]
async fn main() {
    let orders: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let server = server_with(&[
        "--appendonly",
        "no",
        "--slowlog-log-slower-than",
        "1000",
        "--slowlog-max-len",
        "1000",
    ])
    .await;
    if let Some(merchants) = std::env::args().nth(2).and_then(|text| text.parse().ok()) {
        return count_a_day(&server, orders, merchants).await;
    }
    let (ledger, shift) = open_shifted(&server).await;
    let before = used_memory(&server).await;
    let took = each(&ledger, orders, |ledger, number| async move {
        let appid = AppId::new("wx8888888888888888").ok();
        ledger.registry().register(&key(number), &Application { appid, ..asks(1999) }).await.unwrap();
    })
    .await;
    println!("registrations: {:.0}/s at {UNDER_WAY} under way", orders as f64 / took.as_secs_f64());
    let bytes = used_memory(&server).await - before;
    println!("memory: {:.1} bytes per pending registered order", bytes as f64 / orders as f64);

    shift.fetch_add(20_000, Ordering::SeqCst);
    let mut claims = Vec::new();
    for _ in 0..(orders / 1000).min(100) {
        let started = Instant::now();
        let claimed = ledger.claim(Lane::Cadence, 1000).await.unwrap();
        claims.push(started.elapsed());
        assert_eq!(claimed.len(), 1000);
    }
    print("claim of 1,000", claims);

    let started = Instant::now();
    let mut alone = Vec::new();
    for number in 0..2_000 {
        let one = Instant::now();
        let token = number as u128;
        let taken = ledger.take(&request(Check::manual(key(number)), token)).await.unwrap();
        assert!(matches!(taken, Taken::Leased(_)));
        ledger
            .put_off(&key(number), paybell_core::LeaseToken(token), ledger.clock().await.unwrap().now)
            .await
            .unwrap();
        alone.push(one.elapsed());
    }
    println!("one at a time: {:.0} take + put_off/s", 2_000.0 / started.elapsed().as_secs_f64());
    print("take + put_off", alone);
    let took = each(&ledger, orders.min(100_000), |ledger, number| async move {
        ledger.take(&request(Check::manual(key(number)), number as u128)).await.unwrap();
    })
    .await;
    println!("takes: {:.0}/s at {UNDER_WAY} under way", orders.min(100_000) as f64 / took.as_secs_f64());
    let started = Instant::now();
    println!("{:?}", ledger.tally().await.unwrap().orders[0]);
    println!("tally: {:?}", started.elapsed());
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let slow: Vec<Slow> =
        redis::cmd("SLOWLOG").arg("GET").arg(1000).query_async(&mut connection).await.unwrap();
    let (over, longest) = (slow.len(), slow.iter().map(|one| one.2).max().unwrap_or(0));
    let names: std::collections::BTreeSet<&str> =
        slow.iter().map(|one| std::str::from_utf8(&one.3[0]).unwrap()).collect();
    println!("commands that held Redis up for over 1 ms: {over} {names:?}, the longest {longest} µs");
    ledger.close().await;
}

/// Orders of all merchants, pending for anything up to a day.
async fn count_a_day(server: &Redis, orders: usize, merchants: usize) {
    let (ledger, _) = open_shifted(server).await;
    let now = ledger.clock().await.unwrap().now;
    let before = used_memory(server).await;
    let took = each(&ledger, orders, move |ledger, number| async move {
        // 86,399 and the merchants have no divisor in common: every merchant has orders of every time of day.
        let age = Millis::seconds(i64::try_from(number * 7_919 % 86_399).unwrap());
        let key = OrderKey::new(format!("19{:08}", number % merchants), key(number).out_trade_no).unwrap();
        let application = Application { created_at: Some(now - age), ..asks(1999) };
        ledger.registry().register(&key, &application).await.unwrap();
    })
    .await;
    println!("registrations: {:.0}/s at {UNDER_WAY} under way", orders as f64 / took.as_secs_f64());
    let bytes = used_memory(server).await - before;
    println!("memory: {:.1} bytes per pending registered order", bytes as f64 / orders as f64);
    let mut sums = 0;
    for shard in 0..16 {
        sums += common::count(server, &["hlen", &format!("test{{{shard}}}:fen")]).await;
    }
    println!("sums kept: {sums}");
    for what in ["the first tally", "the next", "another process'"] {
        server.cli(&["config", "resetstat"]).await;
        let counting =
            if what.starts_with("another") { open_shifted(server).await.0 } else { ledger.clone() };
        let started = Instant::now();
        let tally = counting.tally().await.unwrap();
        let took = started.elapsed();
        assert_eq!(tally.unconfirmed_fen.len(), merchants);
        let busy = busy_us(server).await;
        println!("{what}: {took:?}, of which Redis worked {:.1} ms", busy as f64 / 1_000.0);
        if what == "the first tally" {
            tokio::time::sleep(took * 21 + Duration::from_secs(3)).await;
        }
    }
    ledger.close().await;
}

/// What the commands of a tally took since the statistics were reset.
async fn busy_us(server: &Redis) -> u64 {
    let stats = server.cli(&["info", "commandstats"]).await;
    let of_tally = |line: &&str| ["hscan", "eval:", "hdel", "set:"].iter().any(|name| line.contains(name));
    let usec = |line: &str| line.split_once("usec=")?.1.split(',').next()?.parse::<u64>().ok();
    stats.lines().filter(of_tally).filter_map(usec).sum()
}

trait Ports {
    fn registry(&self) -> &dyn Registry;
}

impl Ports for RedisLedger {
    fn registry(&self) -> &dyn Registry {
        self
    }
}

/// Calls it for each number, so many under way at once.
async fn each<F, T>(ledger: &RedisLedger, count: usize, call: F) -> Duration
where
    F: Fn(RedisLedger, usize) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..UNDER_WAY {
        let (next, ledger, call) = (next.clone(), ledger.clone(), call.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                call(ledger.clone(), number).await;
            }
        });
    }
    tasks.join_all().await;
    started.elapsed()
}

async fn used_memory(server: &Redis) -> i64 {
    let info = server.cli(&["info", "memory"]).await;
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}
