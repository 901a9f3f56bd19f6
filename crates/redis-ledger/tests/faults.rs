//! Redis dies, falls silent, forgets, or is full: what was acknowledged is there, and everything goes on by itself.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use paybell_core::check::{Check, Lane};
use paybell_core::dead::DeadLetter;
use paybell_core::lease::Committed;
use paybell_core::ports::{DeadLetters, DueSet, Ledger, PortError, Records, Registry};
use paybell_core::record::State;
use paybell_core::register::Registered;
use redis_ledger::{OpenError, RedisLedger};
use testkit::servers::{Fsync, Proxy, Redis, RedisOptions};
use testkit::stalls::Stalls;
use tokio::task::JoinSet;

/// Deadlines are 2 s, and nothing waits for a second one; what the machine keeps back is left out.
const AT_ONCE: Duration = Duration::from_millis(1_500);
const DEADLINE: Duration = Duration::from_millis(3_500);

fn is_unavailable<T>(answer: &Result<T, PortError>) -> bool {
    matches!(answer, Err(PortError::Unavailable { part: "ledger", .. }))
}

async fn goes_on(ledger: &RedisLedger, number: usize) {
    eventually("the ledger goes on", || async { ledger.register(&key(number), &asks(1)).await.is_ok() })
        .await;
    eventually("it is up", || async { ledger.is_up().is_ok() }).await;
    at_last("it can store", async || ledger.probe().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_a_kill() {
    let options = RedisOptions { fsync: Fsync::Always, ..RedisOptions::default() };
    let server = Redis::start_with(options).await;
    let ledger = open(&server).await;
    let (stop, stalls) = (Arc::new(AtomicBool::new(false)), Stalls::watch());
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let (ledger, stop, mut watch) = (ledger.clone(), stop.clone(), stalls.begin());
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in (0..).map(|round| round * 32 + task) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                watch.begin();
                let registered = ledger.register(&key(number), &asks(1)).await;
                let took = watch.elapsed();
                assert!(took < DEADLINE, "{took:?}");
                match registered {
                    Ok(_) => acknowledged.push(number),
                    // As a caller who waits a little and does something else.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            acknowledged
        });
    }
    for _ in 0..3 {
        let before = count(&server, &["dbsize"]).await;
        eventually("orders come in", || async { count(&server, &["dbsize"]).await > before + 500 }).await;
        server.kill().await;
        eventually("the loss is seen", || async { is_unavailable(&ledger.is_up()) }).await;
        server.start_again().await;
        eventually("the ledger comes back", || async { ledger.is_up().is_ok() }).await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    let count: usize = acknowledged.iter().map(Vec::len).sum();
    assert!(count > 1_000, "{count}");
    let lost = lost(&ledger, &acknowledged).await;
    assert!(lost.is_empty(), "{lost:?} of {count} were acknowledged and are gone");
}

#[tokio::test]
async fn a_silent_server_is_noticed_within_the_deadline() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.port());
    let ledger = RedisLedger::open(config(&proxy.through(&server.url()))).await.unwrap();
    goes_on(&ledger, 1).await;
    proxy.silence();
    let stalls = Stalls::watch();
    let mut watch = stalls.begin();
    let (known, new, asked) = (key(1), key(2), asks(1));
    let (write, read, probe) =
        tokio::join!(ledger.register(&new, &asked), ledger.read(&known), ledger.probe());
    assert!(watch.elapsed() < DEADLINE, "{:?}", watch.elapsed());
    assert!(is_unavailable(&write) && is_unavailable(&read) && is_unavailable(&probe));
    eventually("the silence is noticed", || async { is_unavailable(&ledger.is_up()) }).await;
    watch.begin();
    assert!(is_unavailable(&ledger.register(&key(3), &asks(1)).await));
    assert!(is_unavailable(&ledger.clock().await), "no time without its source");
    assert!(watch.elapsed() < AT_ONCE, "{:?}", watch.elapsed());
    proxy.speak();
    goes_on(&ledger, 4).await;
}

#[tokio::test]
async fn a_cut_connection_is_replaced() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.port());
    let ledger = RedisLedger::open(config(&proxy.through(&server.url()))).await.unwrap();
    for round in 0..5 {
        goes_on(&ledger, round).await;
        proxy.cut();
    }
    proxy.refuse();
    eventually("refusal is noticed", || async { is_unavailable(&ledger.is_up()) }).await;
    proxy.speak();
    goes_on(&ledger, 9).await;
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_waited_for() {
    let server = Redis::start().await;
    server.kill().await;
    let stalls = Stalls::watch();
    let watch = stalls.begin();
    let ledger = open(&server).await;
    assert!(watch.elapsed() < DEADLINE, "{:?}", watch.elapsed());
    assert!(is_unavailable(&ledger.register(&key(1), &asks(1)).await));
    assert_eq!(ledger.skew_ms(), None);
    server.start_again().await;
    goes_on(&ledger, 1).await;
    assert!(ledger.skew_ms().unwrap().abs() < 5_000, "one machine, one clock");
}

#[tokio::test]
async fn an_emptied_redis_is_used_as_a_new_one() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let record = leased(&ledger, Check::manual(key(1)), 1).await;
    assert_eq!(ledger.register(&key(2), &asks(7)).await.unwrap(), Registered::Added);
    server.cli(&["flushall"]).await;
    server.cli(&["script", "flush"]).await;
    assert_eq!(commit(&ledger, &record, State::Paid).await.unwrap(), Committed::Lost);
    assert_eq!(
        ledger.register(&key(2), &asks(8)).await.unwrap(),
        Registered::Added,
        "the script is there again"
    );
    leased(&ledger, Check::manual(key(1)), 2).await;
    eventually("the layout is written again", || async {
        server.cli(&["get", "test{meta}layout"]).await.contains("layout=1 shards=16")
    })
    .await;
}

#[tokio::test]
async fn a_ledger_says_since_when_there_is_one() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let began = ledger.began().await.unwrap().expect("a new ledger knows");
    let age = ledger.clock().await.unwrap().now.since(began).0;
    assert!((0..60_000).contains(&age), "{age} ms");
    let other = open(&server).await;
    assert_eq!(other.began().await.unwrap(), Some(began), "one for all");
    server.cli(&["flushall"]).await;
    let anew = ledger.began().await.unwrap().expect("of this moment, if nobody wrote it yet");
    assert!(anew > began);
    eventually("it is written again", || async {
        server.cli(&["exists", "test{meta}began"]).await.trim() == "1"
    })
    .await;
    assert!(ledger.began().await.unwrap().unwrap() > began);
    assert_eq!(open(&server).await.began().await.unwrap(), ledger.began().await.unwrap());
}

#[tokio::test]
async fn a_ledger_of_an_earlier_version_has_no_beginning_until_it_is_lost() {
    let server = Redis::start().await;
    server.cli(&["set", "test{meta}layout", "layout=1 shards=16"]).await;
    let ledger = open(&server).await;
    assert_eq!(ledger.began().await.unwrap(), None, "it may be as old as it likes");
    server.cli(&["flushall"]).await;
    // A process of the earlier version is the first to write.
    server.cli(&["set", "test{meta}layout", "layout=1 shards=16"]).await;
    eventually("it begins now", || async {
        server.cli(&["get", "test{meta}began"]).await.trim().parse::<i64>().is_ok_and(|began| began > 0)
    })
    .await;
    assert!(ledger.began().await.unwrap().is_some());
}

#[tokio::test]
async fn a_restart_that_kept_nothing_is_survived() {
    let server = Redis::start_with(RedisOptions { is_volatile: true, ..RedisOptions::default() }).await;
    let ledger = open(&server).await;
    let record = leased(&ledger, Check::manual(key(1)), 1).await;
    server.kill().await;
    server.start_again().await;
    goes_on(&ledger, 3).await;
    assert_eq!(commit(&ledger, &record, State::Paid).await.unwrap(), Committed::Lost);
    assert_eq!(ledger.read(&key(1)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_redis_stores_a_step_whole_or_not_at_all() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let letter = DeadLetter::malformed("x".repeat(100), ledger.clock().await.unwrap().now);
    let used = count(&server, &["eval", "return redis.call('memory', 'stats')[4]", "0"]).await;
    server.cli(&["config", "set", "maxmemory", &(used + 2_000_000).to_string()]).await;
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut stored = Vec::new();
            for number in (0..).map(|round| round * 64 + task) {
                let is_stored = at_last("stored, or no room", async || {
                    match ledger.register(&key(number), &asks(1)).await {
                        Err(error) if error.to_string().contains("OOM") => Ok(false),
                        asked => asked.map(|_| true),
                    }
                });
                if !is_stored.await {
                    break;
                }
                stored.push(number);
            }
            stored
        });
    }
    let stored = tasks.join_all().await;
    let all: usize = stored.iter().map(Vec::len).sum();
    assert!(is_unavailable(&ledger.bury(&letter).await));
    assert!(is_unavailable(&ledger.probe().await));
    eventually("being full is seen", || async { is_unavailable(&ledger.is_up()) }).await;
    let first = *stored.iter().flatten().min().unwrap();
    assert!(read(&ledger, &key(first)).await.is_some(), "reading goes on");

    server.cli(&["config", "set", "maxmemory", "0"]).await;
    eventually("it goes on", || async { ledger.is_up().is_ok() }).await;
    let lost = lost(&ledger, &stored).await;
    assert!(lost.is_empty(), "{lost:?} of {all} were acknowledged");
    assert_eq!(everywhere(&server).await, (all, all, all), "records, due times, fen");
    assert_eq!(at_last("no letter", async || ledger.get(letter.id).await).await, None);
    at_last("there is room for it", async || ledger.bury(&letter).await).await;
}

/// Records, entries of the due sets, and fen, each counted by itself; every order is about one fen.
async fn everywhere(server: &Redis) -> (usize, usize, usize) {
    let records = server.cli(&["--scan", "--pattern", "test{[0-9]*}[0-9]*"]).await.lines().count();
    let (mut due, mut fen) = (0, 0);
    for shard in 0..16 {
        due += count(server, &["zcard", &format!("test{{{shard}}}:due:cadence")]).await;
        // The young are summed once more, under names with a colon.
        let sums = server.cli(&["hgetall", &format!("test{{{shard}}}:fen")]).await;
        let sums: Vec<&str> = sums.lines().collect();
        let of_merchants = sums.chunks(2).filter(|pair| !pair[0].contains(':'));
        fen += of_merchants.filter_map(|pair| pair[1].parse::<i64>().ok()).sum::<i64>();
    }
    (records, usize::try_from(due).unwrap(), usize::try_from(fen).unwrap())
}

#[tokio::test]
async fn a_redis_that_would_drop_records_is_refused() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = server_with(&["--maxmemory-policy", policy]).await;
        let refused = RedisLedger::open(config(&server.url())).await.unwrap_err();
        assert!(matches!(&refused, OpenError::Evicts { policy: named } if named == policy), "{refused}");
    }
    // Changed while we were away: down, with the remedy, until it is mended.
    let server = Redis::start().await;
    let ledger = open(&server).await;
    server.cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]).await;
    server.cli(&["client", "kill", "type", "normal"]).await;
    let says = |word: &'static str| {
        let ledger = &ledger;
        move || async move { ledger.is_up().is_err_and(|error| error.to_string().contains(word)) }
    };
    eventually("the policy is seen", says("set maxmemory-policy noeviction")).await;
    assert!(is_unavailable(&ledger.register(&key(1), &asks(1)).await));
    server.cli(&["config", "set", "maxmemory-policy", "noeviction"]).await;
    goes_on(&ledger, 1).await;
}

#[tokio::test]
async fn a_foreign_layout_is_refused() {
    let server = Redis::start().await;
    server.cli(&["set", "test{meta}layout", "layout=2 shards=64"]).await;
    let refused = RedisLedger::open(config(&server.url())).await.unwrap_err();
    assert!(refused.to_string().contains("layout=2 shards=64"), "{refused}");
    assert_eq!(server.cli(&["get", "test{meta}layout"]).await.trim(), "layout=2 shards=64", "left alone");
    assert_eq!(server.cli(&["dbsize"]).await.trim(), "1");
}

#[tokio::test]
async fn i10_a_wrong_password_is_refused_and_never_shown() {
    let server = Redis::start().await;
    server.cli(&["config", "set", "requirepass", "right"]).await;
    let url = format!("redis://:topsecret@127.0.0.1:{}", server.port());
    let config = config(&url);
    assert!(!format!("{config:?}").contains("topsecret"));
    let refused = RedisLedger::open(config).await.unwrap_err();
    assert!(matches!(refused, OpenError::Denied(_)), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("topsecret"));
    let without = RedisLedger::open(common::config(&server.url())).await.unwrap_err();
    assert!(matches!(without, OpenError::Denied(_)), "{without}");
    let right = url.replace("topsecret", "right");
    goes_on(&RedisLedger::open(common::config(&right)).await.unwrap(), 1).await;
}

#[tokio::test]
async fn entries_that_their_record_does_not_bear_out_are_put_right() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    ledger.register(&key(1), &asks(1)).await.unwrap();
    for shard in 0..16 {
        let urgent = format!("test{{{shard}}}:due:urgent");
        server.cli(&["zadd", &urgent, "5", "1900000109:T2026112NOBODY"]).await;
        server.cli(&["zadd", &urgent, "6", "no order at all"]).await;
        server.cli(&["zadd", &urgent, "7", &format!("1900000109:{}", key(1).out_trade_no.as_str())]).await;
    }
    assert!(ledger.claim(Lane::Urgent, 100).await.unwrap().is_empty());
    let mut left = 0;
    for shard in 0..16 {
        left += count(&server, &["zcard", &format!("test{{{shard}}}:due:urgent")]).await;
    }
    assert_eq!(left, 0, "what is wrong comes up once");
    shift.store(20_000, Ordering::SeqCst);
    assert_eq!(ledger.claim(Lane::Cadence, 100).await.unwrap().len(), 1, "the right entry is untouched");
}

#[tokio::test]
async fn a_closed_ledger_has_written_what_it_took() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let registrations: Vec<_> = (0..200)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.register(&key(number), &asks(1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    ledger.close().await;
    assert!(is_unavailable(&ledger.register(&key(999), &asks(1)).await));
    let again = open(&server).await;
    for (number, registration) in registrations.into_iter().enumerate() {
        let is_stored = read(&again, &key(number)).await.is_some();
        assert!(registration.await.unwrap().is_err() || is_stored, "{number} was acknowledged");
    }
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_begins_to_drop_keys_is_left_until_it_stops() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    server.cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]).await;
    eventually("it is left, and the policy named", || async {
        ledger.is_up().is_err_and(|error| error.to_string().contains("maxmemory-policy allkeys-lru"))
    })
    .await;
    assert!(is_unavailable(&ledger.register(&key(1), &asks(1)).await));
    server.cli(&["config", "set", "maxmemory-policy", "noeviction"]).await;
    goes_on(&ledger, 2).await;
}
