//! Which partition of a lane a check goes to: the one of its order, or the next one while that one does not store.
//!
//! A queue may have no leader while the broker is well otherwise. Workers consume every partition, so a check may lie in
//! any; and whoever repeats a check of that order finds another queue. This knows only what became of publishes; it
//! asks the broker nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paybell_core::ids::OrderKey;
use tokio::time::Instant;

use crate::link::LinkError;

/// How long a partition that did not store is passed over, at first and at most. Then one check is given to it; it has
/// longer than the deadline of a publish, so that what became of it is known before the next one.
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

    /// Where a check of this order goes now.
    pub fn of(&self, key: &OrderKey) -> usize {
        let home = partition(key, self.names.len());
        let mut others = (home..self.names.len()).chain(0..home);
        others.find(|partition| self.takes(*partition)).unwrap_or(home)
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

    /// Whether it is given a check: one only, if it was passed over.
    fn takes(&self, partition: usize) -> bool {
        let Some(mut standing) = self.standing(partition) else { return false };
        let Some(aside) = standing.as_mut() else { return true };
        let (now, [_, most]) = (Instant::now(), PAUSE);
        if now < aside.until {
            return false;
        }
        aside.pause = (aside.pause * 2).min(most);
        aside.until = now + aside.pause;
        true
    }

    fn standing(&self, partition: usize) -> Option<MutexGuard<'_, Option<Aside>>> {
        let standing = self.standings.get(partition)?;
        Some(standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A refusal, or no confirm on a connection that stands.
fn is_its_fault(error: &LinkError) -> bool {
    matches!(error, LinkError::Refused(_) | LinkError::Timeout { what: "confirm", .. })
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

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_does_not_store_is_passed_over_and_tried_with_one_check() {
        let partitions = Partitions::new(vec!["q.0".to_owned(), "q.1".to_owned()]);
        let key = OrderKey::new("1900000109", "T2026112000000001").unwrap();
        let home = partitions.of(&key);
        let silent = || Err(LinkError::Timeout { what: "confirm", limit: Duration::from_millis(2_500) });
        partitions.tell(home, &Err(LinkError::Closed));
        assert_eq!(partitions.of(&key), home, "it was the connection");
        for pause in [4, 8, 16, 32, 32] {
            partitions.tell(home, &silent());
            partitions.tell(home, &silent());
            advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert_eq!(partitions.of(&key), 1 - home, "for {pause} s");
            advance(Duration::from_millis(1)).await;
            assert_eq!(partitions.of(&key), home, "one check is given to it");
            assert_eq!(partitions.of(&key), 1 - home, "and no other one");
        }
        partitions.tell(home, &Ok(()));
        assert_eq!([partitions.of(&key), partitions.of(&key)], [home; 2]);
        partitions.tell(home, &Err(LinkError::Refused("q".to_owned())));
        partitions.tell(1 - home, &silent());
        assert_eq!(partitions.of(&key), home, "where none stores, it is where it belongs");
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
