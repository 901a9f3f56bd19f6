//! The canary as a periodic check of the running service: every merchant's, over the public URL, for ever. Counts and
//! warns; who is woken is up to the alert rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::canary::{self, Outcome};
use crate::clock::wall;
use crate::metrics::CanaryMetrics;
use crate::net::Roots;
use crate::wechat::Merchant;

/// What the watch is told.
#[derive(Clone)]
pub struct Watch {
    pub public_url: String,
    /// Asked every round: keys change while the service runs.
    pub merchants: Arc<dyn Fn() -> Vec<Merchant> + Send + Sync>,
    pub interval: Duration,
    pub roots: Roots,
}

/// A service that has just started may still connect to its servers: its first canary waits so long.
const FIRST_AFTER_MAX: Duration = Duration::from_secs(10);

/// Sends until `end` is cancelled; in a round one merchant follows the other.
pub async fn run(watch: Watch, metrics: CanaryMetrics, end: CancellationToken) {
    let first = Instant::now() + watch.interval.min(FIRST_AFTER_MAX);
    let mut rounds = interval_at(first, watch.interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: HashMap<String, &'static str> = HashMap::new();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let merchants = (watch.merchants)();
        last.retain(|mch_id, _| {
            let is_there = merchants.iter().any(|merchant| merchant.mch_id == *mch_id);
            if !is_there {
                metrics.forget(mch_id);
            }
            is_there
        });
        for merchant in merchants {
            if !last.contains_key(&merchant.mch_id) {
                metrics.know(&merchant.mch_id);
            }
            let sent = canary::send(&watch.public_url, &merchant, &watch.roots);
            let outcome = tokio::select! {
                () = end.cancelled() => return,
                outcome = sent => outcome,
            };
            metrics.came_back(&merchant.mch_id, &outcome, wall());
            let before = last.insert(merchant.mch_id.clone(), outcome.word());
            tell(&merchant.mch_id, &outcome, before);
        }
    }
}

/// Once when it changes, not every round.
fn tell(mch_id: &str, outcome: &Outcome, before: Option<&str>) {
    if before == Some(outcome.word()) {
        return;
    }
    match outcome {
        Outcome::Accepted { .. } if before.is_none() => {}
        Outcome::Accepted { .. } => {
            tracing::info!(merchant.mch_id = mch_id, "the canary of merchant {mch_id} comes through again");
        }
        outcome => {
            let result = outcome.word();
            tracing::warn!(
                merchant.mch_id = mch_id,
                canary.result = result,
                "the canary of merchant {mch_id} does not come through ({result}): notifications may not either; \
                 `paybell doctor` says why"
            );
        }
    }
}
