//! What is shown of reloads: how often, with which result, since when the present configuration runs, and whether the
//! files say something else by now.

use std::sync::{Arc, atomic::AtomicU64};

use arc_swap::ArcSwap;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::clock::seconds_since_1970;

type Label = [(&'static str, &'static str); 1];

/// What came of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In effect; perhaps but for what needs a restart.
    Applied,
    /// Nothing was different.
    Unchanged,
    /// Something is wrong with it: nothing was changed.
    Refused,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Applied, Outcome::Unchanged, Outcome::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => "refused",
        }
    }
}

/// Counts of reloads, and the present standing in words. Clones share everything.
#[derive(Clone)]
pub struct Standing {
    reloads: Family<Label, Counter>,
    loaded_at: Gauge<f64, AtomicU64>,
    differs: Family<Label, Gauge>,
    words: Arc<ArcSwap<Vec<String>>>,
}

impl Standing {
    /// From the start of the process, with the configuration that it read then.
    pub fn register(registry: &mut Registry) -> Self {
        let standing = Self {
            reloads: Family::default(),
            loaded_at: Gauge::default(),
            differs: Family::default(),
            words: Arc::default(),
        };
        registry.register(
            "paybell_reloads",
            "Readings of the configuration by result",
            standing.reloads.clone(),
        );
        registry.register(
            "paybell_config_loaded_timestamp_seconds",
            "When the configuration that runs was taken",
            standing.loaded_at.clone(),
        );
        registry.register(
            "paybell_config_differs",
            "1 while the files say something that does not run: refused, or in effect after a restart",
            standing.differs.clone(),
        );
        for outcome in Outcome::ALL {
            standing.reloads.get_or_create(&[("result", outcome.as_str())]).inc_by(0);
        }
        standing.loaded_at.set(seconds_since_1970());
        standing.set_differs(false, &[]);
        standing
    }

    /// After a reading. `needs_restart` names the keys whose change is not in effect.
    pub(super) fn tell(&self, outcome: Outcome, needs_restart: &[String]) {
        self.reloads.get_or_create(&[("result", outcome.as_str())]).inc();
        if outcome == Outcome::Applied {
            self.loaded_at.set(seconds_since_1970());
        }
        self.set_differs(outcome == Outcome::Refused, needs_restart);
    }

    fn set_differs(&self, is_refused: bool, needs_restart: &[String]) {
        self.differs.get_or_create(&[("cause", "refused")]).set(i64::from(is_refused));
        self.differs.get_or_create(&[("cause", "restart")]).set(i64::from(!needs_restart.is_empty()));
        let mut words = Vec::new();
        if is_refused {
            words.push(
                "the configuration was changed and refused, the one before runs: see the log".to_owned(),
            );
        }
        if !needs_restart.is_empty() {
            words.push(format!(
                "changed in the configuration, but in effect after a restart only: {}",
                needs_restart.join(", ")
            ));
        }
        self.words.store(Arc::new(words));
    }

    /// What whoever asks for readiness should know besides.
    pub fn words(&self) -> Arc<Vec<String>> {
        self.words.load_full()
    }
}
