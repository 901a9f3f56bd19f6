//! One turn: claim what is due, urgent first, and publish its checks.

use std::sync::Arc;

use paybell_core::Lane;
use paybell_core::ports::{CheckQueue, DueSet, PortError};

use crate::metrics::SchedulerMetrics;

/// Due checks that may wait or be in hand; beyond it polls stay due instead of piling up in the queue.
pub const BACKLOG_MAX: u64 = 1_000;

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

    /// One turn over both lanes.
    ///
    /// A crash between claim and publish loses nothing: the claim moved the due time past one lease, and it comes
    /// again. Urgent due times are outside the backlog's bound.
    pub async fn tick(&self) -> Result<Ticked, PortError> {
        // A queue that is away would take the claims with it, for a minute each.
        self.queue.backlog(Lane::Urgent).await?;
        let urgent = self.pass_on(Lane::Urgent, CLAIM_MAX).await?;
        let backlog = self.queue.backlog(Lane::Cadence).await?;
        let room = usize::try_from(BACKLOG_MAX.saturating_sub(backlog)).unwrap_or(CLAIM_MAX);
        let polls = self.pass_on(Lane::Cadence, room.min(CLAIM_MAX)).await?;
        Ok(Ticked { claimed: urgent + polls, has_more: urgent == CLAIM_MAX || polls == CLAIM_MAX })
    }

    async fn pass_on(&self, lane: Lane, limit: usize) -> Result<usize, PortError> {
        if limit == 0 {
            return Ok(0);
        }
        let checks = self.due.claim(lane, limit).await?;
        if !checks.is_empty() {
            self.queue.publish(&checks).await?;
            self.metrics.claimed(lane, checks.len());
        }
        Ok(checks.len())
    }
}
