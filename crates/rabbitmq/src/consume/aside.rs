//! Queues that cannot be consumed while others can: a quorum queue without a leader, one that this user may not read.
//!
//! Such a queue costs everybody the connection, once. From then on it is left out, and tried on connections of its own
//! until it can be consumed; then the shared connection takes it again. This knows which queues they are and since
//! when, and says so once; `trial.rs` tries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turns, MutexGuard as Turn, Semaphore};
use tokio::time::Instant;

/// Before the first trial, and between the first ones.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Between trials of a queue that stays as it is.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Before the first trial of a queue that was taken again and failed again and again: each time costs everybody the
/// connection.
const RELAPSE_PAUSE_MAX: Duration = Duration::from_secs(64);

/// A queue that was consumed for so long is well.
const STEADY: Duration = Duration::from_secs(60);

/// Trials at once, each with a connection.
const TRIALS_MAX: usize = 16;

/// What is set aside, for all taps of one connection.
pub(crate) struct Aside {
    queues: Mutex<BTreeMap<String, Standing>>,
    beginning: Turns<()>,
    pub(super) trials: Semaphore,
}

/// How a queue stands that was set aside once.
struct Standing {
    since: Instant,
    cause: Arc<str>,
    /// When it was taken again; `None` while it is aside.
    back_at: Option<Instant>,
    /// How often it failed again soon after it was taken.
    relapses: u32,
}

impl Aside {
    pub fn new() -> Self {
        let queues = Mutex::default();
        Self { queues, beginning: Turns::new(()), trials: Semaphore::new(TRIALS_MAX) }
    }

    /// Whoever begins to consume holds it meanwhile, so that a connection that ends for it ends for one known queue.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.beginning.lock().await
    }

    /// Sets a queue aside, and says so.
    pub(super) fn put(&self, queue: &str, cause: &str) {
        let mut queues = self.queues();
        let was_taken_at = queues.get(queue).map(|known| (known.back_at, known.relapses));
        let relapses = match was_taken_at {
            Some((Some(back_at), relapses)) if back_at.elapsed() < STEADY => relapses.saturating_add(1),
            Some((None, relapses)) => relapses,
            _ => 0,
        };
        let standing = Standing { since: Instant::now(), cause: cause.into(), back_at: None, relapses };
        queues.insert(queue.to_owned(), standing);
        drop(queues);
        tracing::error!(
            queue,
            cause,
            "{queue} cannot be consumed: {cause}. It is left out and tried again on connections of its own; the other \
             queues go on. Look with `rabbitmq-queues quorum_status {queue}`"
        );
    }

    /// It is consumed again.
    pub(super) fn take(&self, queue: &str) {
        let mut queues = self.queues();
        let Some(standing) = queues.get_mut(queue) else { return };
        standing.back_at = Some(Instant::now());
        let after_ms = standing.since.elapsed().as_millis();
        drop(queues);
        tracing::info!(queue, after_ms, "{queue} is consumed again after {after_ms} ms");
    }

    /// It is not there any more.
    pub(super) fn forget(&self, queue: &str) {
        self.queues().remove(queue);
    }

    /// A trial failed, perhaps for another reason than before.
    pub(super) fn still(&self, queue: &str, cause: &str) {
        if let Some(standing) = self.queues().get_mut(queue) {
            standing.cause = cause.into();
        }
    }

    pub(super) fn has(&self, queue: &str) -> bool {
        self.queues().get(queue).is_some_and(|standing| standing.back_at.is_none())
    }

    /// How long to wait before a trial when so many failed.
    pub(super) fn pause(&self, queue: &str, failures: u32) -> Duration {
        let relapses = self.queues().get(queue).map_or(0, |standing| standing.relapses);
        match failures {
            0 => doubled(relapses).min(RELAPSE_PAUSE_MAX),
            _ => doubled(failures).min(PAUSE_MAX),
        }
    }

    /// The queues that are not consumed, each with the reason.
    pub fn list(&self) -> Vec<(String, Arc<str>)> {
        let queues = self.queues();
        let aside = queues.iter().filter(|(_, standing)| standing.back_at.is_none());
        aside.map(|(queue, standing)| (queue.clone(), standing.cause.clone())).collect()
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn doubled(times: u32) -> Duration {
    PAUSE_MIN * (1 << times.min(6))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_relapses_is_tried_later_each_time() {
        let aside = Aside::new();
        aside.put("q", "no leader");
        assert_eq!((aside.has("q"), aside.has("other")), (true, false));
        assert_eq!(aside.pause("q", 0), Duration::from_secs(1));
        assert_eq!(aside.pause("q", 1), Duration::from_secs(2));
        assert_eq!(aside.pause("q", 40), Duration::from_secs(8), "bounded");
        aside.still("q", "no leader yet");
        assert_eq!(aside.list(), [("q".to_owned(), Arc::from("no leader yet"))]);
        for relapses in 1..10 {
            aside.take("q");
            assert!(!aside.has("q") && aside.list().is_empty());
            aside.put("q", "no leader");
            let expected = Duration::from_secs(1 << relapses.min(6));
            assert_eq!(aside.pause("q", 0), expected, "after {relapses} relapses");
        }
        aside.take("q");
        advance(STEADY).await;
        aside.put("q", "no leader");
        assert_eq!(aside.pause("q", 0), Duration::from_secs(1), "it had been well");
        aside.forget("q");
        assert!(!aside.has("q"));
    }
}
