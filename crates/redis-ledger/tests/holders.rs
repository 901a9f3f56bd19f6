//! Leases of processes that died: another process takes them over when their silence has lasted, and no sooner.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use paybell_core::check::Check;
use paybell_core::ids::LeaseToken;
use paybell_core::lease::{Cleared, Committed, HOLDER_LOOK, Taken};
use paybell_core::ports::Ledger;
use paybell_core::record::{Record, State};
use redis_ledger::RedisLedger;
use testkit::servers::Redis;

/// As `holders` has it: so long a holder must be silent.
const SILENCE: Duration = Duration::from_secs(7);

/// One process: a name, and a number for each lease that it takes.
fn token(holder: u64, number: u64) -> u128 {
    LeaseToken::of(holder, number).0
}

async fn take(ledger: &RedisLedger, order: usize, token: u128) -> Taken {
    taken(ledger, Check::manual(key(order)), token).await
}

async fn stored(ledger: &RedisLedger, order: usize) -> Record {
    read(ledger, &key(order)).await.unwrap()
}

/// Asks for the order until it is given, and says how long that took. `meanwhile` is looked at before every try.
async fn taken_over(
    ledger: &RedisLedger,
    order: usize,
    since: Instant,
    meanwhile: impl AsyncFn(),
) -> (Record, Duration) {
    while since.elapsed() < PATIENCE {
        meanwhile().await;
        // The outcome of a call that a cut connection lost is unknown; its own wish finds its own lease.
        match ledger.take(&request(Check::manual(key(order)), token(2, 1))).await {
            Ok(Taken::Leased(record)) => return (*record, since.elapsed()),
            Ok(Taken::Busy) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(other) => panic!("{other:?}"),
        }
    }
    panic!("nobody takes the order over: {:?}", stored(ledger, order).await)
}

#[tokio::test]
async fn a_dead_process_s_lease_is_taken_over_within_seconds_and_a_living_one_s_never() {
    let server = Redis::start().await;
    let (dies, lives) = (open(&server).await, open(&server).await);
    let left = leased(&dies, Check::manual(key(1)), token(1, 1)).await;
    leased(&lives, Check::manual(key(2)), token(3, 1)).await;
    // Without a close, as at a SIGKILL.
    drop(dies);
    let died = Instant::now();
    // A process that starts only now finds it out too.
    let other = open(&server).await;
    assert_eq!(take(&other, 1, token(2, 1)).await, Taken::Busy, "it may live, for all one knows yet");
    let (due, now) = (stored(&other, 1).await.due.unwrap().at, other.clock().await.unwrap().now);
    assert!(due <= now + HOLDER_LOOK, "it is looked at when its death is known");

    let (record, after) = taken_over(&other, 1, died, async || {
        assert_eq!(take(&other, 2, token(2, 2)).await, Taken::Busy, "its holder lives");
    })
    .await;
    assert!(after >= SILENCE, "{after:?}");
    assert_eq!((record.leases_lost, record.lease.unwrap().token.0), (1, token(2, 1)), "it counts as lost");
    let now = other.clock().await.unwrap().now;
    assert!(now < left.lease.unwrap().until, "long before the lease's end");

    // The first holder was only slow, and comes back with its decision.
    assert_eq!(commit(&lives, &left, State::Paid).await.unwrap(), Committed::Lost, "it is fenced off");
    assert_eq!(lives.clear(&key(1), left.lease.unwrap().token).await.unwrap(), Cleared::Lost);
    let own = lives.put_off(&key(2), LeaseToken(token(3, 1)), now).await.unwrap();
    assert_eq!(own, Cleared::Done, "it kept its own");
}

#[tokio::test]
async fn who_was_cut_off_listens_anew_before_it_calls_anybody_dead() {
    let server = Redis::start().await;
    let (dies, other) = (open(&server).await, open(&server).await);
    leased(&dies, Check::manual(key(1)), token(1, 1)).await;
    drop(dies);
    let died = Instant::now();
    leased(&other, Check::manual(key(2)), token(2, 9)).await;
    eventually("half of the silence has passed", async || {
        assert_eq!(take(&other, 1, token(2, 1)).await, Taken::Busy);
        died.elapsed() >= SILENCE / 2
    })
    .await;
    // The ledger is connected anew before the killer's own program has ended.
    let cut_off = Instant::now();
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let (_, after) = taken_over(&other, 1, cut_off, async || {}).await;
    assert!(after >= SILENCE, "only {after:?} after the new connection");
}

#[tokio::test]
async fn a_holder_that_never_said_a_word_is_waited_for() {
    let server = Redis::start().await;
    let (older, other) = (open(&server).await, open(&server).await);
    let left = leased(&older, Check::manual(key(1)), token(1, 1)).await;
    drop(older);
    // As a process of a version before this one.
    let removed = count(&server, &["ZREM", "test{meta}alive", "0000000000000001"]).await;
    assert_eq!(removed, 1, "it had spoken before it took its first lease");
    let fresh = open(&server).await;
    assert_eq!(take(&fresh, 1, token(2, 1)).await, Taken::Busy);
    assert_eq!(stored(&other, 1).await.due.unwrap().at, left.lease.unwrap().until, "until the lease's end");
}
