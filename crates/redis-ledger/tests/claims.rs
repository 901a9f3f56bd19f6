//! Claims of many orders at once: in the order of their due times, and past whatever is wrong with one of them.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use common::*;
use paybell_core::check::{Check, Lane};
use paybell_core::claim::CLAIM_LENGTH;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DueSet, Ledger, PortError, Records, Registry};
use paybell_core::record::State;
use paybell_core::register::Application;
use paybell_core::time::Millis;
use redis_ledger::RedisLedger;
use testkit::servers::Redis;
use tokio::task::JoinSet;

/// Registers so many orders whose due times are a second apart, and in no order of their numbers.
async fn registered(ledger: &RedisLedger, orders: usize) {
    let now = ledger.clock().await.unwrap().now;
    let mut tasks = JoinSet::new();
    for number in 0..orders {
        let age = Millis::seconds(i64::try_from(number * 7_919 % orders).unwrap());
        let application = Application { created_at: Some(now - age), ..asks(1) };
        let ledger = ledger.clone();
        tasks.spawn(async move { ledger.register(&key(number), &application).await.unwrap() });
    }
    tasks.join_all().await;
}

/// What is due of all these orders, the earliest first.
async fn due_times(ledger: &RedisLedger, orders: usize) -> Vec<i64> {
    let mut times = Vec::new();
    for number in 0..orders {
        times.push(ledger.read(&key(number)).await.unwrap().unwrap().due.unwrap().at.millis());
    }
    times.sort_unstable();
    times
}

fn times_of(checks: &[Check]) -> Vec<i64> {
    checks.iter().map(|check| check.claim.unwrap().due_for.millis()).collect()
}

/// The key of an order's record in Redis.
async fn record_key(server: &Redis, order: &OrderKey) -> String {
    server.cli(&["--scan", "--pattern", &format!("test{{*}}{}:{}", order.mch_id, order.out_trade_no)]).await
}

/// The due set that an order's entry is in.
fn due_set_of(record_key: &str) -> String {
    let (tag, _) = record_key.split_once('}').unwrap();
    format!("{tag}}}:due:cadence")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_claim_has_exactly_the_earliest_in_their_order() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    registered(&ledger, 2_500).await;
    let times = due_times(&ledger, 2_500).await;
    shift.store(86_400_000, Ordering::SeqCst);
    let first = ledger.claim(Lane::Cadence, 1_000).await.unwrap();
    assert_eq!(times_of(&first), times[..1_000]);
    let second = ledger.claim(Lane::Cadence, 1_000).await.unwrap();
    assert_eq!(times_of(&second), times[1_000..2_000]);
    let third = ledger.claim(Lane::Cadence, 1_000).await.unwrap();
    assert_eq!(times_of(&third), times[2_000..]);
    let keys: BTreeSet<OrderKey> =
        [first, second, third].into_iter().flatten().map(|check| check.key).collect();
    assert_eq!(keys.len(), 2_500, "each once");
    assert_eq!(ledger.claim(Lane::Cadence, 1_000).await.unwrap(), []);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_order_waiting() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    registered(&ledger, 200).await;
    let broken = record_key(&server, &key(7)).await;
    server.cli(&["setrange", &broken, "0", "\u{7f}"]).await;
    let bytes = server.cli(&["get", &broken]).await;
    shift.store(86_400_000, Ordering::SeqCst);
    for limit in [200, 1] {
        let mut claimed = BTreeSet::new();
        loop {
            let checks = ledger.claim(Lane::Cadence, limit).await.unwrap();
            if checks.is_empty() {
                break;
            }
            claimed.extend(checks.into_iter().map(|check| check.key));
        }
        let others = (0..200).filter(|number| *number != 7).map(key).collect::<BTreeSet<_>>();
        assert_eq!(claimed, others, "{limit} at once");
        assert_eq!(server.cli(&["get", &broken]).await, bytes, "a later version may read it");
        let due_at = count(&server, &["zscore", &due_set_of(&broken), "1900000109:T20261120000000007"]).await;
        let now = ledger.clock().await.unwrap().now;
        assert!((1..=CLAIM_LENGTH.0).contains(&(due_at - now.millis())), "it comes again in a minute");
        shift.fetch_add(2 * CLAIM_LENGTH.0, Ordering::SeqCst);
    }
    assert!(matches!(ledger.read(&key(7)).await, Err(PortError::Corrupt { .. })));
}

#[tokio::test]
async fn entries_that_no_record_agrees_with_are_put_right_and_claimed_by_nobody() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    registered(&ledger, 100).await;
    settle(&ledger, &key(3), State::Closed).await;
    let [settled, gone] = [record_key(&server, &key(3)).await, record_key(&server, &key(4)).await];
    server.cli(&["zadd", &due_set_of(&settled), "5", "1900000109:T20261120000000003"]).await;
    server.cli(&["zadd", &due_set_of(&settled), "4", "no order"]).await;
    server.cli(&["del", &gone]).await;
    shift.store(86_400_000, Ordering::SeqCst);
    let claimed = ledger.claim(Lane::Cadence, 1_000).await.unwrap();
    assert_eq!(claimed.len(), 98);
    assert!(claimed.iter().all(|check| check.key != key(3) && check.key != key(4)));
    for set in [due_set_of(&settled), due_set_of(&gone)] {
        assert_eq!(count(&server, &["zcount", &set, "-inf", "1000"]).await, 0, "{set}");
    }
    assert_eq!(server.cli(&["zscore", &due_set_of(&gone), "1900000109:T20261120000000004"]).await, "");
    assert_eq!(ledger.read(&key(3)).await.unwrap().unwrap().state, State::Closed);
    assert_eq!(ledger.claim(Lane::Cadence, 1_000).await.unwrap(), []);
}
