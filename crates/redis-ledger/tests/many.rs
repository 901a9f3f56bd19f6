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
use std::sync::atomic::Ordering;

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
        tasks.spawn(async move { ledger.register(&key(number), &asks(1)).await.unwrap() });
    }
    tasks.join_all().await;
    ledgers.iter().for_each(|(_, shift)| shift.store(20_000, Ordering::SeqCst));
    assert!((4_000..60_000).contains(&ledgers[0].0.lag_ms().await.unwrap()));
    let mut tasks = JoinSet::new();
    for (limit, place) in [(250, 0), (1000, 1), (7, 0), (100, 1)] {
        let ledger = ledgers[place].0.clone();
        tasks.spawn(async move {
            let mut claimed: Vec<Check> = Vec::new();
            loop {
                let more = ledger.claim(Lane::Cadence, limit).await.unwrap();
                if more.is_empty() {
                    return claimed;
                }
                claimed.extend(more);
            }
        });
    }
    let mut times: HashMap<_, u32> = HashMap::new();
    for check in tasks.join_all().await.into_iter().flatten() {
        *times.entry(check.key).or_default() += 1;
    }
    assert_eq!(times.len(), ORDERS);
    assert!(times.values().all(|count| *count == 1));
    assert_eq!(ledgers[1].0.lag_ms().await.unwrap(), 0);
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
            tasks.spawn(async move { ledger.take(&request(check, token as u128)).await.unwrap() });
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
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let (ledger, letter) = (ledgers[number % 2].clone(), letter.clone());
        tasks.spawn(async move { ledger.bury(&letter).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(ledgers[0].get(letter.id).await.unwrap().unwrap().count, 60);
}
