//! Several processes over one Redis: each claim and each lease has one owner, and no guess is trusted.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::*;
use paybell_core::check::{Check, Lane};
use paybell_core::dead::{DeadLetter, DeadReason};
use paybell_core::ids::LeaseToken;
use paybell_core::lease::{Cleared, Committed, Taken};
use paybell_core::ports::{DeadLetters, DueSet, Ledger, Records, Registry};
use paybell_core::record::{Cause, State};
use paybell_core::register::Registered;
use testkit::servers::Redis;
use tokio::task::JoinSet;

const ORDERS: usize = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_due_time_is_claimed_twice_and_none_is_passed_over() {
    let server = Redis::start().await;
    let ledgers = [open_shifted(&server).await, open_shifted(&server).await];
    let mut tasks = JoinSet::new();
    for number in 0..ORDERS {
        let ledger = ledgers[number % 2].0.clone();
        tasks.spawn(async move { register(&ledger, &key(number), &asks(1)).await });
    }
    tasks.join_all().await;
    ledgers.iter().for_each(|(_, shift)| shift.store(20_000, Ordering::SeqCst));
    let lag_ms = at_last("how late all is", async || ledgers[0].0.lag_ms().await).await;
    assert!((4_000..60_000).contains(&lag_ms));
    let mut tasks = JoinSet::new();
    for (limit, place) in [(250, 0), (1000, 1), (7, 0), (100, 1)] {
        let ledger = ledgers[place].0.clone();
        tasks.spawn(async move {
            let (mut claimed, mut is_late): (Vec<Check>, _) = (Vec::new(), false);
            loop {
                let asked = Instant::now();
                let more = at_last("a claim", async || ledger.claim(Lane::Cadence, limit).await).await;
                is_late |= asked.elapsed() >= ANSWER;
                if more.is_empty() {
                    return (claimed, is_late);
                }
                claimed.extend(more);
            }
        });
    }
    let (mut times, mut are_late): (HashMap<_, u32>, _) = (HashMap::new(), false);
    for (checks, is_late) in tasks.join_all().await {
        are_late |= is_late;
        checks.into_iter().for_each(|check| *times.entry(check.key).or_default() += 1);
    }
    assert!(times.len() == ORDERS || are_late, "{} of {ORDERS} were handed out", times.len());
    assert!(times.values().all(|count| *count == 1));
    // Those too of which nobody was told.
    for number in 0..ORDERS {
        let stored = read(&ledgers[number % 2].0, &key(number)).await.unwrap();
        assert_eq!(stored.claim, 1, "{}", stored.key);
    }
    assert_eq!(at_last("how late all is", async || ledgers[1].0.lag_ms().await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_processes_has_the_lease() {
    let server = Redis::start().await;
    let ledgers = [open(&server).await, open(&server).await, open(&server).await];
    for round in 0..50 {
        let mut tasks = JoinSet::new();
        for token in 0..12 {
            let ledger = ledgers[token % 3].clone();
            let check = Check::notified(key(round), None);
            tasks.spawn(async move { taken(&ledger, check, token as u128).await });
        }
        let taken = tasks.join_all().await;
        assert_eq!(taken.iter().filter(|one| matches!(one, Taken::Leased(_))).count(), 1);
        assert_eq!(taken.iter().filter(|one| **one == Taken::Busy).count(), 11);
    }
}

#[tokio::test]
async fn what_a_process_remembers_is_only_a_guess() {
    let server = Redis::start().await;
    let (holder, other) = (open(&server).await, open(&server).await);
    let record = leased(&holder, Check::manual(key(1)), 1).await;
    assert_eq!(other.take(&request(Check::notified(key(1), None), 2)).await.unwrap(), Taken::Busy);
    assert_eq!(other.register(&key(1), &asks(5)).await.unwrap(), Registered::Added);
    let Committed::Changed(changed) = commit(&holder, &record, State::Paid).await.unwrap() else {
        panic!("a decision on older facts was stored")
    };
    assert_eq!(changed.registration.as_ref().unwrap().total_fee.get(), 5);
    assert_eq!(commit(&holder, &changed, State::Paid).await.unwrap(), Committed::Outgoing);
    assert_eq!(holder.clear(&key(1), LeaseToken(1)).await.unwrap(), Cleared::Done);
    let stored = holder.read(&key(1)).await.unwrap().unwrap();
    assert_eq!(stored.due.unwrap().cause, Cause::Registered, "the other process's wake-up is not lost");
    assert_eq!(holder.clear(&key(1), LeaseToken(1)).await.unwrap(), Cleared::Lost);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_somebody_else_s() {
    let server = Redis::start().await;
    let ((holder, one), (other, two)) = (open_shifted(&server).await, open_shifted(&server).await);
    let record = leased(&holder, Check::manual(key(1)), 1).await;
    [&one, &two].iter().for_each(|shift| shift.store(LEASE.0, Ordering::SeqCst));
    let next = leased(&other, Check::manual(key(1)), 2).await;
    assert_eq!(commit(&holder, &record, State::Paid).await.unwrap(), Committed::Lost);
    // Whoever knows the token holds the lease, whatever the process remembers.
    leased(&holder, Check::manual(key(2)), 1).await;
    [&one, &two].iter().for_each(|shift| shift.store(2 * LEASE.0, Ordering::SeqCst));
    let handed_over = leased(&other, Check::manual(key(2)), 3).await;
    assert_eq!(commit(&holder, &handed_over, State::Closed).await.unwrap(), Committed::Ended);
    let next = leased(&other, Check::manual(key(1)), next.lease.unwrap().token.0 + 2).await;
    assert_eq!(commit(&other, &next, State::Closed).await.unwrap(), Committed::Ended);
    assert_eq!(other.read(&key(1)).await.unwrap().unwrap().state, State::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn burials_of_all_processes_count() {
    let server = Redis::start().await;
    let ledgers = [open(&server).await, open(&server).await];
    let now = ledgers[0].clock().await.unwrap().now;
    let letter = DeadLetter::about(&key(1), DeadReason::WrongOrder, "again", now);
    let (mut tasks, asked) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for number in 0..60 {
        let (ledger, letter, asked) = (ledgers[number % 2].clone(), letter.clone(), asked.clone());
        tasks.spawn(async move {
            let bury = async || {
                asked.fetch_add(1, Ordering::SeqCst);
                ledger.bury(&letter).await
            };
            at_last("it is buried", bury).await;
        });
    }
    tasks.join_all().await;
    let stored = at_last("the letter", async || ledgers[0].get(letter.id).await).await.unwrap();
    // A burial that was not answered may count, too.
    assert!((60..=asked.load(Ordering::SeqCst)).contains(&stored.count), "{} of {asked:?}", stored.count);
}
