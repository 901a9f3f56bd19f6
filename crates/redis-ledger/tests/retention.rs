//! What is finished expires, and every count goes with it; what is not finished stays.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use common::*;
use paybell_core::check::Check;
use paybell_core::ids::BusinessNo;
use paybell_core::ports::{Businesses, Registry};
use paybell_core::record::State;
use paybell_core::register::Application;
use paybell_core::time::Millis;
use redis_ledger::{RedisLedger, Retention};
use testkit::servers::Redis;

async fn opened_with(server: &Redis, orders: Millis) -> RedisLedger {
    let mut config = config(&server.url());
    config.retention = Retention { orders, ..Retention::default() };
    RedisLedger::open(config).await.unwrap()
}

/// The record's key, found without knowing its shard.
async fn lives_ms(server: &Redis, number: usize) -> i64 {
    let pattern = format!("test{{*}}{}:{}", key(number).mch_id.as_str(), key(number).out_trade_no.as_str());
    let name = server.cli(&["--scan", "--pattern", &pattern]).await;
    count(server, &["pttl", name.trim()]).await
}

/// Moves the end of a member's life in the one index that has it.
const MOVE: &str = "local moved = 0 for shard = 0, 15 do moved = moved + \
     redis.call('ZADD', 'test{' .. shard .. '}:state:paid', 'XX', 'CH', ARGV[1], ARGV[2]) end return moved";

/// Ends the life of a paid order, as time does.
async fn outlive(server: &Redis, number: usize) {
    let (mch_id, out_trade_no) = (key(number).mch_id, key(number).out_trade_no);
    let name = server.cli(&["--scan", "--pattern", &format!("test{{*}}{mch_id}:{out_trade_no}")]).await;
    let member = format!("{mch_id}:{out_trade_no}");
    assert_eq!(count(server, &["eval", MOVE, "0", "1", &member]).await, 1, "{member} is in one index");
    assert_eq!(count(server, &["pexpire", name.trim(), "1"]).await, 1);
}

#[tokio::test]
async fn finished_records_expire_and_are_counted_no_more() {
    let server = Redis::start().await;
    let ledger = opened_with(&server, Millis::seconds(16 * 86_400)).await;
    for number in 0..3 {
        register(&ledger, &key(number), &asks(1999)).await;
    }
    settle(&ledger, &key(0), State::Paid).await;
    settle(&ledger, &key(1), State::Mismatch).await;
    assert_eq!(counted(&server, State::Paid).await, 1);
    let paid_ms = lives_ms(&server, 0).await;
    assert!((15 * 86_400_000..=16 * 86_400_000).contains(&paid_ms), "{paid_ms}");
    outlive(&server, 0).await;
    eventually("the paid order expires", || async { read(&ledger, &key(0)).await.is_none() }).await;
    assert_eq!(counted(&server, State::Paid).await, 0);
    let mut left = 0;
    for shard in 0..16 {
        left += count(&server, &["zcard", &format!("test{{{shard}}}:state:paid")]).await;
    }
    assert_eq!(left, 0, "counting forgets what expired");
    assert_eq!((counted(&server, State::Mismatch).await, counted(&server, State::Pending).await), (1, 1));
    assert_eq!(lives_ms(&server, 2).await, -1, "a record with a due time has no end");
    let disputed_ms = lives_ms(&server, 1).await;
    assert!(disputed_ms > 99 * 86_400_000, "{disputed_ms}");
    settle(&ledger, &key(0), State::Paid).await;
    assert_eq!(counted(&server, State::Paid).await, 1, "the same order again");
}

#[tokio::test]
async fn a_finished_record_that_is_woken_has_no_end_until_it_is_finished_again() {
    let server = Redis::start().await;
    let ledger = opened_with(&server, Millis::seconds(16 * 86_400)).await;
    settle(&ledger, &key(1), State::Paid).await;
    assert!(lives_ms(&server, 1).await > 15 * 86_400_000);
    ledger.register(&key(1), &asks(1999)).await.unwrap();
    assert_eq!(lives_ms(&server, 1).await, -1);
    assert_eq!((counted(&server, State::Paid).await, counted(&server, State::Pending).await), (1, 0));
    let record = leased(&ledger, Check::manual(key(1)), 5).await;
    assert_eq!((counted(&server, State::Paid).await, counted(&server, State::Pending).await), (1, 0));
    commit(&ledger, &record, State::Closed).await.unwrap();
    assert!(lives_ms(&server, 1).await > 15 * 86_400_000);
    assert_eq!((counted(&server, State::Paid).await, counted(&server, State::Closed).await), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pending_order_takes_few_bytes() {
    const ORDERS: usize = 100_000;
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let used = || async {
        let info = server.cli(&["info", "memory"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().to_owned();
        line.trim().parse::<usize>().unwrap()
    };
    let before = used().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..500 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            for number in (task..ORDERS).step_by(500) {
                let appid = paybell_core::AppId::new("wx8888888888888888").ok();
                let asked = paybell_core::register::Application { appid, ..asks(1999) };
                register(&ledger, &key(number), &asked).await;
            }
        });
    }
    tasks.join_all().await;
    let bytes = (used().await - before) / ORDERS;
    println!("{bytes} bytes per pending registered order");
    assert!(bytes <= 330, "{bytes} bytes");
    assert_eq!(counted(&server, State::Pending).await, ORDERS as u64);
    assert_eq!(server.cli(&["object", "encoding", &record_name(&server).await]).await.trim(), "embstr");
}

async fn record_name(server: &Redis) -> String {
    let names = server.cli(&["scan", "0", "match", "test{[0-9]*}[0-9]*", "count", "1000"]).await;
    names.lines().nth(1).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_business_order_is_remembered_for_100_days_after_its_last_change() {
    let server = Redis::start().await;
    let ledger = opened_with(&server, Millis(1_500)).await;
    let business_no = BusinessNo::new("A").unwrap();
    let application = Application { business_no: Some(business_no.clone()), ..asks(1) };
    ledger.register(&key(0), &application).await.unwrap();
    let name = server.cli(&["--scan", "--pattern", "test{*}:business:*"]).await;
    let left_ms = count(&server, &["pttl", name.trim()]).await;
    assert!((99 * 86_400_000..=100 * 86_400_000).contains(&left_ms), "{left_ms}");
    server.cli(&["pexpire", name.trim(), "1000000"]).await;
    let first = key(0).out_trade_no;
    assert_eq!(ledger.claim(&key(0).mch_id, &business_no, &first).await.unwrap(), first);
    let left_ms = count(&server, &["pttl", name.trim()]).await;
    assert!(left_ms > 99 * 86_400_000, "a claim is a change: {left_ms}");
}
