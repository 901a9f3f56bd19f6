//! With a replica nothing is answered that only one server knows, and a failover loses nothing of it.

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
use std::time::{Duration, Instant};

use common::*;
use paybell_core::check::{Check, Claim};
use paybell_core::ports::{Ledger, Records, Registry};
use paybell_core::record::Cause;
use paybell_core::register::Registered;
use redis_ledger::RedisLedger;
use testkit::servers::{Redis, Sentinels};
use tokio::task::JoinSet;

/// An order that nobody else registers.
const LAST: usize = 9_999_999;

#[tokio::test]
async fn nothing_is_answered_that_the_replica_has_not_confirmed() {
    let master = Redis::start().await;
    let ledger = open(&master).await;
    let replica = Redis::replica_of(&master).await;
    eventually("the replica confirms", || async { ledger.register(&key(2), &asks(1)).await.is_ok() }).await;
    eventually("writes wait for the replica", || async {
        drop(ledger.register(&key(2), &asks(1)).await);
        master.cli(&["info", "commandstats"]).await.contains("cmdstat_wait")
    })
    .await;
    // A replica that a busy machine keeps back half a second is a rightful error; what was asked for is stored then.
    let registered = register(&ledger, &key(3), &asks(1)).await;
    assert!(matches!(registered, Registered::Added | Registered::Same), "{registered:?}");
    let now = at_last("the ledger tells the time", async || ledger.clock().await).await.now;
    replica.pause().await;
    let claim = Claim { number: 99, due_for: now, cause: Cause::Cadence };
    let (write, stale) = (asks(1), Check::due(key(2), claim));
    eventually("it names the replica, if it is not too busy to say more than that it is late", || async {
        ledger.register(&key(4), &write).await.unwrap_err().to_string().contains("replica")
    })
    .await;
    let started = Instant::now();
    assert!(ledger.register(&key(7), &write).await.is_err());
    assert!(ledger.register(&key(3), &write).await.is_err(), "`Same` rests on a write that may be lost");
    assert!(ledger.take(&request(stale, 1)).await.is_err(), "so does `Stale`");
    assert!(ledger.probe().await.is_err());
    assert!(started.elapsed() < Duration::from_secs(30), "each ends in time: {:?}", started.elapsed());
    assert!(read(&ledger, &key(3)).await.is_some(), "reading goes on");
    assert!(
        ledger.read_settled(&key(3)).await.is_err(),
        "but not for an answer that somebody rests on for good"
    );
    replica.resume().await;
    eventually("the replica confirms again", || async { ledger.register(&key(5), &write).await.is_ok() })
        .await;
    assert!(at_last("it is read for good", async || ledger.read_settled(&key(3)).await).await.is_some());
    replica.kill().await;
    eventually("without it the server counts", || async { ledger.register(&key(6), &write).await.is_ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_loses_nothing_that_was_acknowledged() {
    let master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinels = Sentinels::start(3, &master).await;
    let ledger = RedisLedger::open(config(&sentinels.url())).await.unwrap();
    sentinels.kill(0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = shops(&ledger, &stop);
    eventually("orders come in", || async { count(&replica, &["dbsize"]).await > 500 }).await;
    let leased_before = leased(&ledger, Check::manual(key(1)), 1).await;
    master.kill().await;
    let started = Instant::now();
    eventually("the replica leads", || async { replica.cli(&["role"]).await.starts_with("master") }).await;
    // Nobody else could take it.
    eventually("the new master is used", || async { ledger.register(&key(LAST), &asks(1)).await.is_ok() })
        .await;
    println!("failed over within {:?}", started.elapsed());
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    let lost = lost(&ledger, &acknowledged).await;
    assert!(lost.is_empty(), "{} were acknowledged and are gone", lost.len());
    let stored = read(&ledger, &key(1)).await.unwrap();
    assert_eq!(stored.lease, leased_before.lease, "a lease that was given out stands");
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let (one, other) = (Redis::start().await, Redis::start().await);
    let ledger = open(&one).await;
    register(&ledger, &key(1), &asks(1)).await;
    one.cli(&["replicaof", "127.0.0.1", &other.port().to_string()]).await;
    eventually("it is left", || async { ledger.is_up().is_err() }).await;
    assert!(ledger.register(&key(2), &asks(1)).await.is_err());
    one.cli(&["replicaof", "no", "one"]).await;
    eventually("it is used again", || async { ledger.register(&key(2), &asks(1)).await.is_ok() }).await;
}

#[tokio::test]
async fn a_replica_that_came_a_moment_ago_is_waited_for() {
    let master = Redis::start().await;
    let ledger = open(&master).await;
    for number in [1, 2] {
        register(&ledger, &key(number), &asks(1)).await;
    }
    // Too new for the regular look.
    let replica = Redis::replica_of(&master).await;
    eventually("it follows", || async { master.cli(&["role"]).await.contains("127.0.0.1") }).await;
    replica.pause().await;
    assert!(ledger.register(&key(3), &asks(1)).await.is_err(), "a write");
    let again = ledger.register(&key(1), &asks(1)).await;
    assert!(again.is_err(), "what is read: {again:?}");
    assert!(ledger.take(&request(Check::manual(key(2)), 1)).await.is_err(), "a lease");
    replica.resume().await;
    eventually("it confirms", || async { ledger.register(&key(4), &asks(1)).await.is_ok() }).await;
}

/// As for maintenance: the old master lives, and takes writes for seconds after its replica was promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_of_a_master_that_lives_loses_nothing_that_was_acknowledged() {
    let master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinels = Sentinels::start(3, &master).await;
    let ledger = RedisLedger::open(config(&sentinels.url())).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = shops(&ledger, &stop);
    eventually("orders come in", || async { count(&replica, &["dbsize"]).await > 500 }).await;
    sentinels.fail_over(0).await;
    eventually("the replica leads", || async { replica.cli(&["role"]).await.starts_with("master") }).await;
    eventually("the old master follows it", || async { master.cli(&["role"]).await.starts_with("slave") })
        .await;
    eventually("it has what the new one has", || async {
        replica.cli(&["info", "replication"]).await.contains("state=online")
    })
    .await;
    eventually("the new master is used", || async { ledger.register(&key(LAST), &asks(1)).await.is_ok() })
        .await;
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await;
    let lost = lost(&ledger, &acknowledged).await;
    let count: usize = acknowledged.iter().map(Vec::len).sum();
    assert!(lost.is_empty(), "{} of {count} were acknowledged and are gone", lost.len());
}

#[tokio::test]
async fn a_master_whose_last_replica_is_gone_for_good_is_used_alone_once_the_sentinels_stand_by_it() {
    let master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinels = Sentinels::start(3, &master).await;
    let ledger = RedisLedger::open(config(&sentinels.url())).await.unwrap();
    register(&ledger, &key(1), &asks(1)).await;
    eventually("the look has seen the replica", || async {
        drop(ledger.register(&key(1), &asks(1)).await);
        master.cli(&["info", "commandstats"]).await.contains("cmdstat_wait")
    })
    .await;
    // Two of three are no more: what is left cannot say that nobody else leads.
    sentinels.kill(0).await;
    sentinels.kill(1).await;
    replica.kill().await;
    let gone = Instant::now();
    eventually("a failover would be over", || async {
        let refused = ledger.register(&key(2), &asks(1)).await.is_err();
        assert!(refused, "nobody knows whom the sentinels follow: {:?}", gone.elapsed());
        gone.elapsed() > Duration::from_secs(13)
    })
    .await;
    sentinels.start_again(0).await;
    eventually("it is used alone", || async { ledger.register(&key(3), &asks(1)).await.is_ok() }).await;
}

/// Shops that register orders until they are stopped; each gives the numbers of those that were acknowledged.
fn shops(ledger: &RedisLedger, stop: &Arc<AtomicBool>) -> JoinSet<Vec<usize>> {
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let (ledger, stop) = (ledger.clone(), stop.clone());
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in (0..).map(|round| round * 16 + task) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                match ledger.register(&key(number), &asks(1)).await {
                    Ok(_) => acknowledged.push(number),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            acknowledged
        });
    }
    tasks
}
