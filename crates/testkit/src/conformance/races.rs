//! What many do at once: a lease, a registration, a claim and a wake-up have one winner and no loser's loss.

use std::collections::HashMap;

use paybell_core::check::{Check, Lane};
use paybell_core::ids::LeaseToken;
use paybell_core::lease::{Commit, Committed, Taken};
use paybell_core::record::State;
use paybell_core::register::Registered;
use paybell_core::time::Millis;
use tokio::task::JoinSet;

use super::Case;
use super::desk::*;

const TASKS: u8 = 64;

pub const CASES: &[Case] = &[
    Case { name: "one of many takes the lease", run: |desk| Box::pin(one_lease(desk)) },
    Case { name: "no wake-up is lost to a commit", run: |desk| Box::pin(wake_up_and_commit(desk)) },
    Case { name: "no wake-up is lost to a clear", run: |desk| Box::pin(wake_up_and_clear(desk)) },
    Case {
        name: "one of many different registrations is added",
        run: |desk| Box::pin(one_registration(desk)),
    },
    Case { name: "a registration is lost to no lease", run: |desk| Box::pin(registration_and_lease(desk)) },
    Case { name: "one of two commits ends the lease", run: |desk| Box::pin(one_commit(desk)) },
    Case { name: "each due order is claimed once", run: |desk| Box::pin(one_claim(desk)) },
    Case { name: "each burial counts", run: |desk| Box::pin(burials_count(desk)) },
];

async fn one_lease(desk: Desk) {
    let mut tasks = JoinSet::new();
    for token in 0..TASKS {
        let ledger = desk.on.ledger.clone();
        tasks.spawn(async move { ledger.take(&request(notified(&key(1), TX), u128::from(token))).await });
    }
    let taken: Vec<Taken> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    let holders: Vec<_> = taken
        .iter()
        .filter_map(|taken| match taken {
            Taken::Leased(record) => record.lease,
            _ => None,
        })
        .collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(taken.iter().filter(|taken| **taken == Taken::Busy).count(), usize::from(TASKS) - 1);
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored.lease, Some(holders[0]));
    assert!(stored.look_again.is_some());
}

/// Whoever comes while the holder ends either gets the lease or leaves the order due at once.
async fn wake_up_and_commit(desk: Desk) {
    for round in 0..40 {
        let key = key(round);
        let leased = desk.leased(manual(&key), 1).await;
        let change = {
            let mut change = nothing(&leased, desk.now().await);
            stays_due(desk.now().await + Millis::seconds(600))(&mut change);
            change
        };
        let commit = Commit { key: key.clone(), token: LeaseToken(1), facts: leased.facts, change };
        let (ledger, other) = (desk.on.ledger.clone(), desk.on.ledger.clone());
        let wake_up = request(notified(&key, TX), 2);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { ledger.commit(&commit).await.unwrap() });
        let came = other.take(&wake_up);
        let came = came.await.unwrap();
        tasks.join_all().await;
        let stored = desk.record(&key).await;
        match came {
            Taken::Leased(_) => assert_eq!(stored.lease.unwrap().token, LeaseToken(2)),
            Taken::Busy => {
                assert!(stored.lease.is_none() && stored.due.unwrap().at <= desk.now().await, "{stored:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn wake_up_and_clear(desk: Desk) {
    for round in 0..40 {
        let key = key(round);
        desk.commit_payment(&key, 1, State::Paid).await;
        let ledger = desk.on.ledger.clone();
        let clear_key = key.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { ledger.clear(&clear_key, LeaseToken(1)).await.unwrap() });
        let came = desk.take(notified(&key, "42"), 2).await;
        tasks.join_all().await;
        let stored = desk.record(&key).await;
        match came {
            Taken::Leased(_) => assert_eq!(stored.lease.unwrap().token, LeaseToken(2)),
            Taken::Busy => {
                assert!(stored.lease.is_none() && stored.due.unwrap().at <= desk.now().await, "{stored:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn one_registration(desk: Desk) {
    let mut tasks = JoinSet::new();
    for fee in 1..=i64::from(TASKS) {
        let registry = desk.on.registry.clone();
        tasks.spawn(async move { (fee, registry.register(&key(1), &asks(fee)).await.unwrap()) });
    }
    let outcomes = tasks.join_all().await;
    let added: Vec<i64> =
        outcomes.iter().filter(|(_, outcome)| *outcome == Registered::Added).map(|(fee, _)| *fee).collect();
    assert_eq!(added.len(), 1);
    assert_eq!(desk.record(&key(1)).await.registration.unwrap().total_fee.get(), added[0]);
    let refused = outcomes.iter().filter(|(_, outcome)| *outcome == Registered::Different(vec!["total_fee"]));
    assert_eq!(refused.count(), usize::from(TASKS) - 1);
}

async fn registration_and_lease(desk: Desk) {
    for round in 0..40 {
        let key = key(round);
        let (registry, register_key) = (desk.on.registry.clone(), key.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { registry.register(&register_key, &asks(5)).await.unwrap() });
        desk.leased(notified(&key, TX), 1).await;
        assert_eq!(tasks.join_all().await, [Registered::Added]);
        let stored = desk.record(&key).await;
        assert!(
            stored.registration.is_some() && stored.lease.is_some() && stored.due.is_some(),
            "{stored:?}"
        );
    }
}

async fn one_commit(desk: Desk) {
    for round in 0..20 {
        let leased = desk.leased(manual(&key(round)), 1).await;
        let change = nothing(&leased, desk.now().await);
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let mut change = change.clone();
            change.state = State::Closed;
            let commit =
                Commit { key: leased.key.clone(), token: LeaseToken(1), facts: leased.facts, change };
            let ledger = desk.on.ledger.clone();
            tasks.spawn(async move { ledger.commit(&commit).await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|one| **one == Committed::Ended).count(), 1);
        assert_eq!(outcomes.iter().filter(|one| **one == Committed::Lost).count(), 7);
    }
}

async fn one_claim(desk: Desk) {
    for number in 0..300 {
        desk.register(&key(number), 1).await;
    }
    desk.advance(Millis::seconds(20)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let due = desk.on.due.clone();
        tasks.spawn(async move {
            let mut claimed: Vec<Check> = Vec::new();
            loop {
                let more = due.claim(Lane::Cadence, 17).await.unwrap();
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
    assert_eq!(times.len(), 300);
    assert!(times.values().all(|count| *count == 1), "{times:?}");
}

async fn burials_count(desk: Desk) {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let dead = desk.on.dead.clone();
        tasks.spawn(async move { dead.bury(&letter(1, "again")).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(desk.on.dead.get(letter(1, "").id).await.unwrap().unwrap().count, u64::from(TASKS));
}
