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
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use paybell_core::check::{Check, Lane};
use paybell_core::claim::CLAIM_LENGTH;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DeadLetters, DueSet, Ledger, PortError, Records};
use paybell_core::record::State;
use paybell_core::register::Application;
use paybell_core::time::Millis;
use redis_ledger::RedisLedger;
use testkit::servers::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// So often the machine may keep claims back before a test gives up on it.
const ROUNDS: usize = 3;

/// Registers so many orders whose due times are a second apart, and in no order of their numbers.
async fn registered(ledger: &RedisLedger, orders: usize) {
    let now = ledger.clock().await.unwrap().now;
    let mut tasks = JoinSet::new();
    for number in 0..orders {
        let age = Millis::seconds(i64::try_from(number * 7_919 % orders).unwrap());
        let application = Application { created_at: Some(now - age), ..asks(1) };
        let ledger = ledger.clone();
        tasks.spawn(async move { register(&ledger, &key(number), &application).await });
    }
    tasks.join_all().await;
}

/// What is due of all these orders, the earliest first.
async fn due_times(ledger: &RedisLedger, orders: usize) -> Vec<i64> {
    let mut times = Vec::new();
    for number in 0..orders {
        times.push(read(ledger, &key(number)).await.unwrap().due.unwrap().at.millis());
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
    for _ in 0..ROUNDS {
        let server = Redis::start().await;
        let (ledger, shift) = open_shifted(&server).await;
        registered(&ledger, 2_500).await;
        let times = due_times(&ledger, 2_500).await;
        shift.store(86_400_000, Ordering::SeqCst);
        let Some([first, second, third, none]) = four_claims(&ledger).await else { continue };
        assert_eq!(times_of(&first), times[..1_000]);
        assert_eq!(times_of(&second), times[1_000..2_000]);
        assert_eq!(times_of(&third), times[2_000..]);
        let keys: BTreeSet<OrderKey> =
            [first, second, third].into_iter().flatten().map(|check| check.key).collect();
        assert_eq!(keys.len(), 2_500, "each once");
        assert_eq!(none, []);
        return;
    }
    panic!("a claim is late in each of {ROUNDS} rounds");
}

/// Four claims of a thousand; `None` if one was late: what it claimed, or left to the next one, nobody can tell.
async fn four_claims(ledger: &RedisLedger) -> Option<[Vec<Check>; 4]> {
    let mut claims = [const { Vec::new() }; 4];
    for claim in &mut claims {
        let asked = Instant::now();
        let checks = ledger.claim(Lane::Cadence, 1_000).await;
        if asked.elapsed() >= ANSWER {
            return None;
        }
        *claim = checks.unwrap();
    }
    Some(claims)
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
        let (mut claimed, mut late) = (BTreeSet::new(), 0);
        loop {
            let asked = Instant::now();
            let checks = at_last("a claim", async || ledger.claim(Lane::Cadence, limit).await).await;
            if asked.elapsed() >= ANSWER {
                // What it claimed and nobody was handed comes again with all the others.
                shift.fetch_add(2 * CLAIM_LENGTH.0, Ordering::SeqCst);
                late += 1;
                assert!(late < ROUNDS, "{late} claims of {limit} were late");
            } else if checks.is_empty() {
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

/// A way to the server on which every answer travels for as long as it is told.
struct FarAway {
    port: u16,
    travels_ms: Arc<AtomicU64>,
}

impl FarAway {
    async fn from(server: &Redis) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, travels_ms) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let (target, travels) = (server.port(), travels_ms.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, travels.clone()));
            }
        });
        Self { port, travels_ms }
    }
}

/// Answers travel one behind the other, and any number at once.
async fn carry(client: TcpStream, target: u16, travels_ms: Arc<AtomicU64>) {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut asks, mut hears) = client.into_split();
    let (mut answers, mut asked) = server.into_split();
    let (travel, mut arrivals) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        // The end of either side ends the other, as the pumps are dropped with their halves.
        let _ = tokio::io::copy(&mut asks, &mut asked).await;
    });
    tokio::spawn(async move {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(length) = answers.read(&mut chunk).await
            && length > 0
        {
            let arrives = Instant::now() + Duration::from_millis(travels_ms.load(Ordering::SeqCst));
            if travel.send((arrives, chunk[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    while let Some((arrives, bytes)) = arrivals.recv().await {
        tokio::time::sleep_until(arrives).await;
        if hears.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

/// A command at a time is well within its deadline, and a claim needs three of them, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_slow_server_let_us_claim_is_handed_out() {
    let server = Redis::start().await;
    let far_away = FarAway::from(&server).await;
    let shift = Arc::new(AtomicI64::new(0));
    let url = server.url().replace(&format!(":{}", server.port()), &format!(":{}", far_away.port));
    let ledger = RedisLedger::open_shifted(config(&url), shift.clone()).await.unwrap();
    registered(&ledger, 250).await;
    let broken = record_key(&server, &key(7)).await;
    server.cli(&["setrange", &broken, "0", "\u{7f}"]).await;
    far_away.travels_ms.store(800, Ordering::SeqCst);
    let all = || async {
        // All are due, those too that a turn before claimed and lost.
        shift.fetch_add(86_400_000, Ordering::SeqCst);
        let claimed = ledger.claim(Lane::Cadence, 250).await;
        claimed.is_ok_and(|checks| checks.len() == 249)
    };
    eventually("all that is claimed is handed out", all).await;
    far_away.travels_ms.store(0, Ordering::SeqCst);
    eventually("the letter about the one that nobody can read", || async {
        DeadLetters::list(&ledger, None, 10).await.is_ok_and(|letters| letters.len() == 1)
    })
    .await;
}
