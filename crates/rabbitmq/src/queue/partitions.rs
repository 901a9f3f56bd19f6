//! Which partition of a lane a check goes to: the one of its order, or the next one while that one does not store.
//!
//! A queue may have no leader while the broker is well otherwise. Workers consume every partition, so a check may lie in
//! any, and in two at once. So a partition that did not store is tried with a copy of a check that another one stores,
//! and the trial costs nobody anything. This knows only what became of publishes; it asks the broker nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paybell_core::ids::OrderKey;
use tokio::time::Instant;

use crate::link::LinkError;

/// How long a partition that did not store is passed over, at first and at most. Then it is tried; the next trial comes
/// later than a publish may take, so that what became of this one is known by then.
const PAUSE: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(32)];

/// The queues of a lane.
pub(super) struct Partitions {
    names: Vec<String>,
    standings: Vec<Mutex<Option<Aside>>>,
}

/// How a partition stands that did not store.
struct Aside {
    until: Instant,
    pause: Duration,
}

/// Where a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Whoever publishes waits for this one.
    pub to: usize,
    /// This one is tried with a copy, and nobody waits for it.
    pub trial: Option<usize>,
}

/// What a partition is good for now.
enum Use {
    Fit,
    /// It was passed over long enough.
    Trial,
    No,
}

impl Partitions {
    pub fn new(names: Vec<String>) -> Self {
        let standings = names.iter().map(|_| Mutex::default()).collect();
        Self { names, standings }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn name(&self, partition: usize) -> &str {
        self.names.get(partition).map_or("", String::as_str)
    }

    /// Where a check of this order goes now. Where none stores, it is tried where a trial is due, or where it belongs.
    pub fn route(&self, key: &OrderKey) -> Route {
        let home = partition(key, self.names.len());
        let mut trial = None;
        for partition in (home..self.names.len()).chain(0..home) {
            match self.use_now(partition, trial.is_none()) {
                Use::Fit => return Route { to: partition, trial },
                Use::Trial => trial = Some(partition),
                Use::No => {}
            }
        }
        Route { to: trial.unwrap_or(home), trial: None }
    }

    /// What became of a publish to it.
    pub fn tell(&self, partition: usize, stored: &Result<(), LinkError>) {
        let Some(mut standing) = self.standing(partition) else { return };
        let queue = self.name(partition);
        match stored {
            Ok(()) if standing.is_some() => {
                *standing = None;
                tracing::info!(queue, "{queue} stores checks again");
            }
            Err(error) if standing.is_none() && is_its_fault(error) => {
                let [pause, _] = PAUSE;
                *standing = Some(Aside { pause, until: Instant::now() + pause });
                tracing::warn!(queue, "{queue} does not store checks, so others take them: {error}");
            }
            // Known, or it says something about the connection and nothing about the queue.
            _ => {}
        }
    }

    /// What it is good for; of those that were passed over, one check tries one.
    fn use_now(&self, partition: usize, may_try: bool) -> Use {
        let Some(mut standing) = self.standing(partition) else { return Use::No };
        let Some(aside) = standing.as_mut() else { return Use::Fit };
        let (now, [_, most]) = (Instant::now(), PAUSE);
        if !may_try || now < aside.until {
            return Use::No;
        }
        aside.pause = (aside.pause * 2).min(most);
        aside.until = now + aside.pause;
        Use::Trial
    }

    fn standing(&self, partition: usize) -> Option<MutexGuard<'_, Option<Aside>>> {
        let standing = self.standings.get(partition)?;
        Some(standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A refusal, no such queue, or no confirm on a connection that stands.
fn is_its_fault(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Refused(_) | LinkError::Unroutable(_) | LinkError::Timeout { what: "confirm", .. }
    )
}

/// The same in every process and for ever: FNV-1a over the order's two numbers.
fn partition(key: &OrderKey, partitions: usize) -> usize {
    let bytes = key.mch_id.as_str().bytes().chain([b'\n']).chain(key.out_trade_no.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The low bits of FNV are weak where texts differ in their last characters only.
    let mixed = hash ^ (hash >> 32);
    let partitions = u64::try_from(partitions).unwrap_or(1).max(1);
    usize::try_from(mixed % partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn to(partition: usize) -> Route {
        Route { to: partition, trial: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_does_not_store_is_passed_over_and_tried_with_a_copy() {
        let partitions = Partitions::new(vec!["q.0".to_owned(), "q.1".to_owned()]);
        let key = OrderKey::new("1900000109", "T2026112000000001").unwrap();
        let home = partitions.route(&key).to;
        let silent = || Err(LinkError::Timeout { what: "confirm", limit: Duration::from_millis(2_500) });
        partitions.tell(home, &Err(LinkError::Closed));
        assert_eq!(partitions.route(&key), to(home), "it was the connection");
        for pause in [4, 8, 16, 32, 32] {
            partitions.tell(home, &silent());
            partitions.tell(home, &silent());
            advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert_eq!(partitions.route(&key), to(1 - home), "for {pause} s");
            advance(Duration::from_millis(1)).await;
            assert_eq!(partitions.route(&key), Route { to: 1 - home, trial: Some(home) }, "a copy tries it");
            assert_eq!(partitions.route(&key), to(1 - home), "and no other one");
        }
        partitions.tell(home, &Ok(()));
        assert_eq!([partitions.route(&key), partitions.route(&key)], [to(home); 2]);
        partitions.tell(home, &Err(LinkError::Refused("q".to_owned())));
        assert_eq!(partitions.route(&key), to(1 - home), "a refusal is enough");
        partitions.tell(1 - home, &Err(LinkError::Unroutable("q".to_owned())));
        assert_eq!(partitions.route(&key), to(home), "where none stores, it is where it belongs");
        advance(Duration::from_secs(4)).await;
        partitions.tell(home, &Ok(()));
        assert_eq!(partitions.route(&key), to(home), "a partition that stores tries no other");
    }

    #[tokio::test(start_paused = true)]
    async fn one_check_tries_one_partition_and_where_none_stores_it_is_the_trial() {
        let partitions = Partitions::new((0..3).map(|number| format!("q.{number}")).collect());
        let key = OrderKey::new("1900000109", "T2026112000000001").unwrap();
        let home = partitions.route(&key).to;
        let [second, third] = [1, 2].map(|on| (home + on) % 3);
        for sick in [home, second] {
            partitions.tell(sick, &Err(LinkError::Refused("q".to_owned())));
        }
        advance(Duration::from_secs(4)).await;
        assert_eq!(partitions.route(&key), Route { to: third, trial: Some(home) });
        assert_eq!(partitions.route(&key), Route { to: third, trial: Some(second) });
        assert_eq!(partitions.route(&key), to(third));
        partitions.tell(third, &Err(LinkError::Refused("q".to_owned())));
        advance(Duration::from_secs(4)).await;
        assert_eq!(partitions.route(&key), to(third), "the one whose trial is due");
        assert_eq!(partitions.route(&key), to(home), "then where it belongs");
    }

    #[test]
    fn a_partition_never_moves_and_partitions_are_even() {
        let key = |number: usize| OrderKey::new("1900000109", format!("T20261120{number:08}")).unwrap();
        assert_eq!([1, 2, 3, 4].map(|number| partition(&key(number), 4)), [3, 2, 1, 0], "written down");
        for partitions in [2, 4, 7] {
            let mut counts = vec![0_usize; partitions];
            (0..10_000).for_each(|number| counts[partition(&key(number), partitions)] += 1);
            let fair = 10_000 / partitions;
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 10), "{counts:?}");
        }
    }
}
