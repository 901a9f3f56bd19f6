//! The scheduler's metrics.

use paybell_core::Lane;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::run::lane_word;

/// What the scheduler counts.
#[derive(Clone, Default)]
pub struct SchedulerMetrics {
    claimed: Family<Vec<(&'static str, &'static str)>, Counter>,
}

impl SchedulerMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "paybell_due_claimed",
            "Due orders turned into checks, by lane",
            metrics.claimed.clone(),
        );
        // From 0 on, so that the first claim is a rise.
        Lane::ALL.into_iter().for_each(|lane| metrics.claimed(lane, 0));
        metrics
    }

    pub(crate) fn claimed(&self, lane: Lane, count: usize) {
        let lane = lane_word(lane);
        self.claimed.get_or_create(&vec![("lane", lane)]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_counted_from_zero_on() {
        let mut registry = Registry::default();
        SchedulerMetrics::register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for lane in ["urgent", "cadence"] {
            let line = format!("paybell_due_claimed_total{{lane=\"{lane}\"}} 0\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
