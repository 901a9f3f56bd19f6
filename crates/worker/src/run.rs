//! The driver: takes deliveries of both lanes and has them handled, a bounded number at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use paybell_core::Lane;
use paybell_core::ports::{CheckSource, Delivery, PortError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handle::{Settled, Worker};

/// Bounds of the driver.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Urgent checks in hand at once: notifications and what people ask for.
    pub urgent_in_hand_max: usize,
    /// Cadence polls in hand at once; bounded apart, so that they never keep a notification waiting.
    pub cadence_in_hand_max: usize,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { urgent_in_hand_max: 256, cadence_in_hand_max: 64 }
    }
}

/// The longest pause while an engine is away.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Handles deliveries until `drain` is cancelled, then finishes what is in hand.
pub async fn run(
    worker: Arc<Worker>,
    source: Arc<dyn CheckSource>,
    limits: WorkerLimits,
    drain: CancellationToken,
) {
    let lane = |lane, in_hand_max| {
        let server = LaneServer {
            worker: worker.clone(),
            source: source.clone(),
            lane,
            in_hand_max,
            failures: Arc::default(),
        };
        server.serve(drain.clone())
    };
    tokio::join!(
        lane(Lane::Urgent, limits.urgent_in_hand_max),
        lane(Lane::Cadence, limits.cadence_in_hand_max)
    );
}

/// Gives checks that the queue gave up on a due time, one at a time, until `drain` is cancelled.
///
/// Such a check was handed out again and again without an end, so it is not handled here: its order gets a due time,
/// and the ledger's own count of lost leases decides how often it is looked at.
pub async fn rescue(worker: Arc<Worker>, given_up: Arc<dyn CheckSource>, drain: CancellationToken) {
    let mut failures = 0_u32;
    while !drain.is_cancelled() {
        let rescued = async {
            if failures > 0 {
                tokio::time::sleep(pause(failures)).await;
            }
            for delivery in given_up.receive(Lane::Urgent, 1).await? {
                worker.rescue(delivery).await?;
            }
            Ok::<(), PortError>(())
        };
        let rescued = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            rescued = rescued => rescued,
        };
        match rescued {
            Ok(()) => failures = 0,
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(error = %error, "a check that was given up on waits: {error}");
            }
        }
    }
}

struct LaneServer {
    worker: Arc<Worker>,
    source: Arc<dyn CheckSource>,
    lane: Lane,
    in_hand_max: usize,
    /// Failures in a row: while an engine is away we stop consuming instead of spinning.
    failures: Arc<AtomicU32>,
}

impl LaneServer {
    async fn serve(self, drain: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.in_hand_max));
        let in_hand = TaskTracker::new();
        while !drain.is_cancelled() {
            let batch = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                batch = self.next(&places) => batch,
            };
            match batch {
                Ok(deliveries) => {
                    for delivery in deliveries {
                        self.begin(delivery, &places, &in_hand);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "no checks to be had: {error}");
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        in_hand.close();
        in_hand.wait().await;
    }

    /// Waits for a free place, for the engines, and for a check.
    async fn next(&self, places: &Arc<Semaphore>) -> Result<Vec<Delivery>, PortError> {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            tokio::time::sleep(pause(failures)).await;
        }
        // The semaphore is never closed, so a permit always comes; it is given back at once and only counted.
        drop(places.acquire().await);
        self.source.receive(self.lane, places.available_permits().max(1)).await
    }

    fn begin(&self, delivery: Delivery, places: &Arc<Semaphore>, in_hand: &TaskTracker) {
        // This task alone takes permits, and it received no more deliveries than there are.
        let place = places.clone().try_acquire_owned().ok();
        let (worker, failures) = (self.worker.clone(), self.failures.clone());
        in_hand.spawn(async move {
            match worker.handle(delivery).await {
                Settled::Done(_) => failures.store(0, Ordering::Relaxed),
                Settled::GivenBack => {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
            }
            drop(place);
        });
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(5);
    Duration::from_millis(200u64 << doublings).min(PAUSE_MAX)
}
