//! Cursors beyond the end that this process sees.
//!
//! Each node reads its own replica, and a cursor may come from a node that is further: it is waited for. A replica may
//! be behind for any length of time and look well, so a place is taken for one of a log that is no more only on proof:
//! a mark (`mark.rs`) that was written after the place was asked for, came to us, and lies before it. Whether another
//! event lies at a place is not decided here: `page.rs` and `recent.rs` look.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paybell_core::ports::Cursor;
use tokio::time::{Instant, timeout};

use super::mark::{Marks, Met};
use super::tail::Tail;

/// How long one read waits for its place; less than a read may take.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a place stays beyond the end until it is asked by a mark: longer than replicas of a working cluster lag.
const MARKED_AFTER: Duration = Duration::from_secs(3);

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

/// A place, and since when it is known to be asked for.
struct Place {
    cursor: Cursor,
    since: Instant,
}

/// The places beyond the end that were asked for.
pub(super) struct Places {
    asked_for: Mutex<VecDeque<Place>>,
    marks: Marks,
}

impl Places {
    pub fn new(marks: Marks) -> Self {
        Self { asked_for: Mutex::default(), marks }
    }

    /// Waits a little for the end to come up to the place, or for the proof that it does not.
    pub async fn wait(&self, tail: &Tail, after: Cursor) -> Ahead {
        let since = self.since(after);
        let mut met = self.marks.met();
        let proves =
            |met: &Option<Met>| met.is_some_and(|met| met.begun >= since && met.position < after.position);
        if !proves(&met.borrow_and_update()) && since.elapsed() >= MARKED_AFTER {
            self.marks.ask();
        }
        let known = async {
            tokio::select! {
                biased;
                Ok(_) = met.wait_for(proves) => Ahead::Gone,
                Some(end) = reached(tail, after) => Ahead::Reached(end),
                else => Ahead::Short,
            }
        };
        timeout(CATCH_UP_TIMEOUT, known).await.unwrap_or(Ahead::Short)
    }

    /// Since when it is known to be asked for.
    fn since(&self, cursor: Cursor) -> Instant {
        // Nothing is left half done by a panic in between.
        let mut places = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.iter().find(|place| place.cursor == cursor) {
            return place.since;
        }
        let since = Instant::now();
        places.push_back(Place { cursor, since });
        while places.len() > PLACES_MAX {
            places.pop_front();
        }
        since
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
    use tokio::sync::{mpsc, watch};

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

    /// Places, who writes their marks, and what tells of them.
    fn places() -> (Places, mpsc::Receiver<()>, watch::Sender<Option<Met>>) {
        let (marks, asked, told) = Marks::new();
        (Places::new(marks), asked, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_lags_is_waited_for() {
        let (tail, (places, mut asked, _told)) = (lagging(3), places());
        let growing = async {
            for offset in 4..9 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                tail.push(entry(offset, "order.paid"));
                tail.publish();
            }
        };
        let (ahead, ()) = tokio::join!(places.wait(&tail, cursor(7)), growing);
        assert_eq!(ahead, Ahead::Reached(cursor(7)));
        assert_eq!(asked.try_recv().ok(), None, "nobody writes for that");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_gone_only_if_a_mark_of_later_lies_before_it() {
        let (tail, (places, mut asked, told)) = (lagging(3), places());
        let early = Met { begun: Instant::now(), position: 5 };
        tokio::time::advance(Duration::from_millis(1)).await;
        let first = Instant::now();
        told.send_replace(Some(early));
        while first.elapsed() < Duration::from_secs(600) {
            assert_eq!(
                places.wait(&tail, cursor(7)).await,
                Ahead::Short,
                "what is behind may be so for long"
            );
            let is_asked = asked.try_recv().is_ok();
            assert_eq!(is_asked, first.elapsed() >= MARKED_AFTER + CATCH_UP_TIMEOUT, "{:?}", first.elapsed());
        }
        told.send_replace(Some(Met { begun: first, position: 8 }));
        assert_eq!(
            places.wait(&tail, cursor(7)).await,
            Ahead::Short,
            "it lies before the mark: it will come"
        );
        told.send_replace(Some(Met { begun: first, position: 7 }));
        assert_eq!(places.wait(&tail, cursor(7)).await, Ahead::Gone);
        assert_eq!(
            places.wait(&tail, cursor(9)).await,
            Ahead::Short,
            "this one was asked for after the mark"
        );
        let waiting = places.wait(&tail, cursor(9));
        let marking = async { told.send_replace(Some(Met { begun: Instant::now(), position: 5 })) };
        let begun = Instant::now();
        assert_eq!(tokio::join!(waiting, marking).0, Ahead::Gone);
        assert_eq!(begun.elapsed(), Duration::ZERO, "who waits is told at once");
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_nobody_can_reach_are_bounded_and_settle_no_other() {
        let (tail, (places, _asked, told)) = (lagging(3), places());
        for position in 0..PLACES_MAX as u64 + 10 {
            places.since(Cursor { position: u64::MAX - position, ..cursor(7) });
        }
        told.send_replace(Some(Met { begun: Instant::now(), position: 5 }));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(places.asked_for.lock().unwrap().len(), PLACES_MAX);
        assert_eq!(places.wait(&tail, cursor(7)).await, Ahead::Short);
    }
}
