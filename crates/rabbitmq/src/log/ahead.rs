//! Cursors beyond the end that this process sees.
//!
//! Each node reads its own replica, and a cursor may come from a node that is further: it is waited for. Only a place
//! that stays beyond the end, for as long as no replica of a working cluster lags, on one connection, is taken for one
//! of a log that is no more. Whether another event lies at a place is not decided here: `page.rs` and `recent.rs` look.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paybell_core::ports::Cursor;
use tokio::time::{Instant, timeout};

use super::tail::Tail;

/// How long one read waits for its place; less than a read may take.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a place stays beyond the end until it is one of another log.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Places that are remembered. One that is pushed out begins anew: it is waited for a little longer.
const PLACES_MAX: usize = 256;

/// What became of a place beyond the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The end has come up to it: this is the end now.
    Reached(Cursor),
    /// Nobody knows yet.
    Short,
    /// The log does not reach it.
    Gone,
}

/// A place, on which connection it was first beyond the end, and since when.
struct Place {
    cursor: Cursor,
    generation: u64,
    since: Instant,
}

/// The places beyond the end that were asked for.
#[derive(Default)]
pub(super) struct Places(Mutex<VecDeque<Place>>);

impl Places {
    /// Waits a little for the end to come up to the place.
    pub async fn wait(&self, tail: &Tail, after: Cursor, generation: u64) -> Ahead {
        if self.short_for(after, generation) >= SETTLED_AFTER {
            return Ahead::Gone;
        }
        match timeout(CATCH_UP_TIMEOUT, reached(tail, after)).await {
            Ok(Some(end)) => Ahead::Reached(end),
            Ok(None) | Err(_) => Ahead::Short,
        }
    }

    /// How long it has been known to lie beyond the end of this connection.
    fn short_for(&self, cursor: Cursor, generation: u64) -> Duration {
        // Nothing is left half done by a panic in between.
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another connection may lead to another node.
        places.retain(|place| place.generation == generation);
        if let Some(place) = places.iter().find(|place| place.cursor == cursor) {
            return place.since.elapsed();
        }
        places.push_back(Place { cursor, generation, since: Instant::now() });
        while places.len() > PLACES_MAX {
            places.pop_front();
        }
        Duration::ZERO
    }
}

/// The end, once it is not before the place; `None` if nobody follows it any more.
async fn reached(tail: &Tail, after: Cursor) -> Option<Cursor> {
    let mut end = tail.watch();
    let is_there = |end: &Option<Cursor>| end.is_some_and(|end| end.position >= after.position);
    end.wait_for(is_there).await.ok().and_then(|end| *end)
}

#[cfg(test)]
mod tests {
    use super::super::entry::samples::entry;
    use super::*;

    /// A replica that knows the events up to that offset.
    fn lagging(newest: u64) -> Tail {
        let tail = Tail::new();
        for offset in 0..=newest {
            tail.push(entry(offset, "order.paid"));
        }
        tail.publish();
        tail
    }

    fn cursor(offset: u64) -> Cursor {
        entry(offset, "order.paid").cursor()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_lags_is_waited_for() {
        let (tail, places) = (lagging(3), Places::default());
        let growing = async {
            for offset in 4..9 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                tail.push(entry(offset, "order.paid"));
                tail.publish();
            }
        };
        let (ahead, ()) = tokio::join!(places.wait(&tail, cursor(7), 1), growing);
        assert_eq!(ahead, Ahead::Reached(cursor(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_place_that_stays_beyond_the_end_of_one_connection_is_gone() {
        let (tail, places) = (lagging(3), Places::default());
        let looks = |generation| {
            let (tail, places) = (&tail, &places);
            async move {
                let begun = Instant::now();
                while places.wait(tail, cursor(7), generation).await == Ahead::Short {}
                begun.elapsed()
            }
        };
        let first = looks(1).await;
        assert!((SETTLED_AFTER..SETTLED_AFTER + CATCH_UP_TIMEOUT).contains(&first), "{first:?}");
        assert!(looks(2).await >= SETTLED_AFTER, "another node begins anew");
        assert_eq!(places.wait(&tail, cursor(8), 2).await, Ahead::Short, "each place has its own time");
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_nobody_can_reach_are_bounded_and_settle_no_other() {
        let (tail, places) = (lagging(3), Places::default());
        for position in 0..PLACES_MAX as u64 + 10 {
            places.short_for(Cursor { position: u64::MAX - position, ..cursor(7) }, 1);
        }
        tokio::time::advance(SETTLED_AFTER).await;
        assert_eq!(places.0.lock().unwrap().len(), PLACES_MAX);
        assert_eq!(places.wait(&tail, cursor(7), 1).await, Ahead::Short);
    }
}
