//! Counting for metrics: what it reads does not grow with the orders, and one process counts for all.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Instant;

use common::*;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{Ledger, Records, Tally};
use paybell_core::record::State;
use paybell_core::register::Application;
use paybell_core::time::Millis;
use redis_ledger::RedisLedger;
use testkit::servers::Redis;

const MERCHANTS: usize = 5;

fn key_of(merchant: usize, number: usize) -> OrderKey {
    OrderKey::new(format!("190000010{merchant}"), format!("T{number}")).unwrap()
}

/// Fields of all shards' sums.
async fn sums_kept(server: &Redis) -> i64 {
    let mut fields = 0;
    for shard in 0..16 {
        fields += count(server, &["hlen", &format!("test{{{shard}}}:fen")]).await;
    }
    fields
}

async fn tally(ledger: &RedisLedger) -> Tally {
    at_last("it is counted", async || ledger.tally().await).await
}

/// How often Redis was asked for sums.
async fn readings(server: &Redis) -> u64 {
    let stats = server.cli(&["info", "commandstats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hscan:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn orders_of_a_whole_day_take_a_sum_per_merchant_and_not_one_each() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    let now = ledger.clock().await.unwrap().now;
    let mut orders = Vec::new();
    for number in 0..400 {
        // Each in a span of its own.
        let created_at = Some(now - Millis::seconds(130 + 20 * i64::try_from(number).unwrap()));
        let ledger = ledger.clone();
        orders.push(async move {
            let application = Application { created_at, ..asks(10) };
            register(&ledger, &key_of(number % MERCHANTS, number), &application).await;
        });
    }
    futures_util::future::join_all(orders).await;
    // Of this one nothing is to be told yet.
    register(&ledger, &key_of(0, 1_000), &asks(7_000)).await;
    let fen = |tally: &Tally| -> Vec<i64> { tally.unconfirmed_fen.iter().map(|(_, fen)| *fen).collect() };
    assert_eq!(fen(&tally(&ledger).await), [800; MERCHANTS]);
    let kept = sums_kept(&server).await;
    assert!(kept <= 16 * 5 + 20, "{kept} sums of 401 orders");
    // What was young grows old; what is settled counts no more, young or old.
    settle(&ledger, &key_of(0, 0), State::Paid).await;
    settle(&ledger, &key_of(0, 395), State::Paid).await;
    shift.fetch_add(125_000, Ordering::SeqCst);
    let later = RedisLedger::open_shifted(config(&server.url()), shift.clone()).await.unwrap();
    forget_tally(&server).await;
    assert_eq!(fen(&tally(&later).await), [800 - 20 + 7_000, 800, 800, 800, 800]);
    settle(&later, &key_of(0, 1_000), State::Paid).await;
    for number in 0..400 {
        if ![0, 395].contains(&number) {
            settle(&later, &key_of(number % MERCHANTS, number), State::Paid).await;
        }
    }
    assert_eq!(sums_kept(&server).await, 0, "nothing is left of them");
}

#[tokio::test]
async fn one_process_counts_for_all() {
    let server = Redis::start().await;
    let ledgers = [open(&server).await, open(&server).await, open(&server).await];
    register(&ledgers[0], &key(1), &asks(1)).await;
    let begun = Instant::now();
    let (first, once) = loop {
        let first = tally(&ledgers[0]).await;
        let once = readings(&server).await;
        // Nobody looks later than what was left is good, which is 2 s and no more.
        if count(&server, &["PERSIST", "test{meta}tally"]).await == 1 {
            break (first, once);
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is left for the others");
    };
    assert!(once > 0);
    for ledger in &ledgers[1..] {
        assert_eq!(tally(ledger).await, first);
    }
    assert_eq!(readings(&server).await, once, "the others take what it left");
    // What a stranger left is counted anew, and so it is while somebody else has the right to count and never ends.
    server.cli(&["SET", "test{meta}tally", "rubbish"]).await;
    server.cli(&["SET", "test{meta}counting", "1"]).await;
    assert_eq!(tally(&open(&server).await).await, first);
    assert!(readings(&server).await > once);
}
