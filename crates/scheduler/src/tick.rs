//! One turn of a lane: claim what is due and publish its checks.

use std::sync::Arc;

use paybell_core::Lane;
use paybell_core::ports::{CheckQueue, DueSet, PortError};

use crate::metrics::SchedulerMetrics;

/// Due checks that may wait or be in hand; beyond it polls stay due instead of piling up in the queue.
pub const BACKLOG_MAX: u64 = 1_000;

/// The same of the urgent queue, where notifications wait too: so many that no backlog of theirs keeps an urgent due time
/// waiting for longer than the queue would, and few enough that workers who stand still find no due time there a hundred
/// times, once for each minute.
pub const URGENT_BACKLOG_MAX: u64 = 20_000;

/// Due orders claimed in one atomic step.
pub const CLAIM_MAX: usize = 250;

/// Claims and publishes; any number of them may run at once, without a leader.
pub struct Scheduler {
    due: Arc<dyn DueSet>,
    queue: Arc<dyn CheckQueue>,
    metrics: SchedulerMetrics,
}

/// What one turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticked {
    pub claimed: usize,
    /// More may be due: tick again at once.
    pub has_more: bool,
}

impl Scheduler {
    /// A scheduler over these ports.
    pub fn new(due: Arc<dyn DueSet>, queue: Arc<dyn CheckQueue>, metrics: SchedulerMetrics) -> Self {
        Self { due, queue, metrics }
    }

    /// One turn of each lane, urgent first. What fails in one keeps nothing back in the other.
    pub async fn tick(&self) -> Result<Ticked, PortError> {
        let urgent = self.turn(Lane::Urgent).await;
        let polls = self.turn(Lane::Cadence).await;
        let (urgent, polls) = (urgent?, polls?);
        Ok(Ticked { claimed: urgent.claimed + polls.claimed, has_more: urgent.has_more || polls.has_more })
    }

    /// One turn of a lane.
    ///
    /// A crash between claim and publish loses nothing: the claim moved the due time past one lease, and it comes
    /// again. A queue that is away is asked first: it would take the claims with it, for a minute each.
    pub async fn turn(&self, lane: Lane) -> Result<Ticked, PortError> {
        let backlog = self.queue.backlog(lane).await?;
        let room = usize::try_from(backlog_max(lane).saturating_sub(backlog)).unwrap_or(CLAIM_MAX);
        let limit = room.min(CLAIM_MAX);
        if limit == 0 {
            return Ok(Ticked { claimed: 0, has_more: false });
        }
        let checks = self.due.claim(lane, limit).await?;
        if !checks.is_empty() {
            self.queue.publish(&checks).await?;
            self.metrics.claimed(lane, checks.len());
        }
        Ok(Ticked { claimed: checks.len(), has_more: checks.len() == CLAIM_MAX })
    }
}

fn backlog_max(lane: Lane) -> u64 {
    match lane {
        Lane::Urgent => URGENT_BACKLOG_MAX,
        Lane::Cadence => BACKLOG_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use paybell_core::{Check, OrderKey};

    use super::*;

    /// Endless due orders of both lanes, and a queue; either may fail.
    #[derive(Default)]
    struct Desk {
        claim_fails: Option<Lane>,
        publish_fails: Option<Lane>,
        backlog: u64,
        published: Mutex<Vec<Lane>>,
        asked: Mutex<Vec<(Lane, usize)>>,
    }

    fn away() -> PortError {
        PortError::Unavailable { part: "test", cause: "away".to_owned() }
    }

    fn number_of(lane: Lane) -> &'static str {
        if lane == Lane::Urgent { "U" } else { "C" }
    }

    #[async_trait]
    impl DueSet for Desk {
        async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError> {
            self.asked.lock().unwrap().push((lane, limit));
            if self.claim_fails == Some(lane) {
                return Err(PortError::Corrupt { part: "test", cause: "unreadable".to_owned() });
            }
            Ok(vec![Check::manual(OrderKey::new("1", number_of(lane)).unwrap()); limit])
        }

        async fn lag_ms(&self) -> Result<i64, PortError> {
            Ok(0)
        }
    }

    #[async_trait]
    impl CheckQueue for Desk {
        async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
            for check in checks {
                let is_urgent = check.key.out_trade_no.as_str() == number_of(Lane::Urgent);
                let lane = if is_urgent { Lane::Urgent } else { Lane::Cadence };
                if self.publish_fails == Some(lane) {
                    return Err(away());
                }
                self.published.lock().unwrap().push(lane);
            }
            Ok(())
        }

        async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
            Ok(self.backlog)
        }
    }

    fn scheduler(desk: Desk) -> (Arc<Desk>, Scheduler) {
        let desk = Arc::new(desk);
        (desk.clone(), Scheduler::new(desk.clone(), desk, SchedulerMetrics::default()))
    }

    #[tokio::test]
    async fn a_lane_that_fails_keeps_nothing_back_in_the_other() {
        for (broken, sound) in [(Lane::Urgent, Lane::Cadence), (Lane::Cadence, Lane::Urgent)] {
            for desk in [
                Desk { claim_fails: Some(broken), ..Desk::default() },
                Desk { publish_fails: Some(broken), ..Desk::default() },
            ] {
                let (desk, scheduler) = scheduler(desk);
                scheduler.tick().await.unwrap_err();
                assert_eq!(*desk.published.lock().unwrap(), vec![sound; CLAIM_MAX], "{broken:?} fails");
            }
        }
    }

    #[tokio::test]
    async fn each_lane_leaves_due_what_its_queue_has_no_room_for() {
        for (backlog, urgent, cadence) in [
            (0, CLAIM_MAX, CLAIM_MAX),
            (BACKLOG_MAX - 7, CLAIM_MAX, 7),
            (BACKLOG_MAX, CLAIM_MAX, 0),
            (URGENT_BACKLOG_MAX - 7, 7, 0),
            (URGENT_BACKLOG_MAX, 0, 0),
            (u64::MAX, 0, 0),
        ] {
            let (desk, scheduler) = scheduler(Desk { backlog, ..Desk::default() });
            let ticked = scheduler.tick().await.unwrap();
            let asked: Vec<_> = [(Lane::Urgent, urgent), (Lane::Cadence, cadence)].into();
            let asked: Vec<_> = asked.into_iter().filter(|(_, limit)| *limit > 0).collect();
            assert_eq!(*desk.asked.lock().unwrap(), asked, "with {backlog} in the queue");
            assert_eq!(ticked.claimed, urgent + cadence);
            assert_eq!(ticked.has_more, urgent == CLAIM_MAX || cadence == CLAIM_MAX);
        }
    }
}
