//! The driver: turns at a steady pace, faster while there is more, slower while an engine is away.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::tick::Scheduler;

/// Between two turns that found everything claimed. Due times are in seconds, so this is their precision.
const PACE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Ticks until `drain` is cancelled.
pub async fn run(scheduler: Arc<Scheduler>, drain: CancellationToken) {
    let mut failures = 0u32;
    while !drain.is_cancelled() {
        let pause = match scheduler.tick().await {
            Ok(ticked) => {
                failures = 0;
                if ticked.has_more { Duration::ZERO } else { PACE }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(error = %error, "due orders wait: {error}");
                (PACE * (1u32 << failures.min(6))).min(PAUSE_MAX)
            }
        };
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
