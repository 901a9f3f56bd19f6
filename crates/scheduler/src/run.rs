//! The driver: turns at a steady pace, faster while there is more, slower while an engine is away. Each lane goes by
//! itself, so that one that fails, or waits for its queue, keeps nothing back in the other.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::Lane;
use tokio_util::sync::CancellationToken;

use crate::tick::Scheduler;

/// Between two turns that found everything claimed. Due times are in seconds, so this is their precision.
const PACE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Claims and publishes until `drain` is cancelled.
pub async fn run(scheduler: Arc<Scheduler>, drain: CancellationToken) {
    tokio::join!(serve(&scheduler, Lane::Urgent, &drain), serve(&scheduler, Lane::Cadence, &drain));
}

async fn serve(scheduler: &Scheduler, lane: Lane, drain: &CancellationToken) {
    let mut failures = 0u32;
    while !drain.is_cancelled() {
        let pause = match scheduler.turn(lane).await {
            Ok(ticked) => {
                failures = 0;
                if ticked.has_more { Duration::ZERO } else { PACE }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(error = %error, lane = lane_word(lane), "due orders wait ({}): {error}", lane_word(lane));
                (PACE * (1u32 << failures.min(6))).min(PAUSE_MAX)
            }
        };
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The lane's word in logs and metrics.
pub(crate) fn lane_word(lane: Lane) -> &'static str {
    match lane {
        Lane::Urgent => "urgent",
        Lane::Cadence => "cadence",
    }
}
