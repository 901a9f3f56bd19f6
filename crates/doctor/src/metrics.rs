//! What the periodic canary counts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::canary::Outcome;

type Labels = Vec<(&'static str, String)>;

/// Upper bounds in seconds: WeChat waits 5.
const SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0];

/// Counters of the periodic canary.
#[derive(Clone)]
pub struct CanaryMetrics {
    sent: Family<Labels, Counter>,
    seconds: Histogram,
    last_success: Family<Labels, Gauge<f64, AtomicU64>>,
}

impl CanaryMetrics {
    /// Registers them; every word of every merchant is there from the beginning, so that a first failure is a rise.
    pub fn register<'m>(registry: &mut Registry, mch_ids: impl IntoIterator<Item = &'m str>) -> Self {
        let metrics = Self {
            sent: Family::default(),
            seconds: Histogram::new(SECONDS),
            last_success: Family::default(),
        };
        mch_ids.into_iter().for_each(|mch_id| metrics.know(mch_id));
        registry.register(
            "paybell_canary",
            "Canary notifications by merchant and result",
            metrics.sent.clone(),
        );
        registry.register(
            "paybell_canary_seconds",
            "From a canary's first byte to the end of its answer, over the public URL",
            metrics.seconds.clone(),
        );
        registry.register(
            "paybell_canary_last_success_timestamp_seconds",
            "When a merchant's canary was last answered SUCCESS in time",
            metrics.last_success.clone(),
        );
        metrics
    }

    /// Shows every word of a merchant, which may come while the service runs.
    pub(crate) fn know(&self, mch_id: &str) {
        for word in Outcome::WORDS {
            drop(self.sent.get_or_create(&labels(mch_id, word)));
        }
    }

    /// A merchant that is gone sends no canary: its last success would grow old for ever.
    pub(crate) fn forget(&self, mch_id: &str) {
        self.last_success.remove(&vec![("mch_id", mch_id.to_owned())]);
    }

    pub(crate) fn came_back(&self, mch_id: &str, outcome: &Outcome, wall: Duration) {
        self.sent.get_or_create(&labels(mch_id, outcome.word())).inc();
        if let Outcome::Accepted { took } | Outcome::Late { took } = outcome {
            self.seconds.observe(took.as_secs_f64());
        }
        if let Outcome::Accepted { .. } = outcome {
            let labels = vec![("mch_id", mch_id.to_owned())];
            self.last_success.get_or_create(&labels).set(wall.as_secs_f64());
        }
    }
}

fn labels(mch_id: &str, result: &str) -> Labels {
    vec![("mch_id", mch_id.to_owned()), ("result", result.to_owned())]
}
