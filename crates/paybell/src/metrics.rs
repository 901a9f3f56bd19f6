//! The gauges of this process: what no single role knows, sampled from the engine. The roles' own counters are
//! registered by their crates.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use paybell_core::{MchId, Mode, State, ports::Tally};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{boot::merchants::LiveMerchants, engine::Engine};

/// Between two samples.
const SAMPLE_GAP: Duration = Duration::from_secs(2);

type Labels = Vec<(&'static str, String)>;

/// The mode that this process runs in, and whether its configuration says so.
#[derive(Debug, Clone)]
pub struct ModeGauges {
    shadow: Gauge,
    differs: Gauge,
}

impl ModeGauges {
    /// Registers them; they say nothing before [`ModeGauges::show`].
    pub fn register(registry: &mut Registry) -> Self {
        let gauges = Self { shadow: Gauge::default(), differs: Gauge::default() };
        registry.register(
            "paybell_shadow",
            "1 in shadow mode: everything is decided and nothing is told",
            gauges.shadow.clone(),
        );
        registry.register(
            "paybell_mode_differs",
            "1 while the configuration names another mode than the installation is in, which is the one that holds",
            gauges.differs.clone(),
        );
        gauges
    }

    /// Shows what holds now, beside what was configured.
    pub fn show(&self, current: Mode, configured: Mode) {
        self.shadow.set(i64::from(current == Mode::Shadow));
        self.differs.set(i64::from(current != configured));
    }
}

/// Sampled gauges.
pub struct Gauges {
    orders: Family<Labels, Gauge>,
    unconfirmed_fen: Family<Labels, Gauge>,
    due_lag_seconds: Gauge<f64, AtomicU64>,
    dead_letters: Gauge,
    engine_up: Family<Labels, Gauge>,
    fanout_refused: Counter,
    log_unread: Counter,
    queue_unconsumed: Family<Labels, Gauge>,
    merchants: LiveMerchants,
    /// Merchants that [`Gauges::unconfirmed_fen`] shows.
    shown: Mutex<HashSet<MchId>>,
}

impl Gauges {
    /// Registers them; orders of merchants that are not configured are counted as `unknown`.
    pub fn register(registry: &mut Registry, merchants: LiveMerchants) -> Self {
        let gauges = Self {
            orders: Family::default(),
            unconfirmed_fen: Family::default(),
            due_lag_seconds: Gauge::default(),
            dead_letters: Gauge::default(),
            engine_up: Family::default(),
            fanout_refused: Counter::default(),
            log_unread: Counter::default(),
            queue_unconsumed: Family::default(),
            merchants,
            shown: Mutex::default(),
        };
        registry.register("paybell_orders", "Orders by state", gauges.orders.clone());
        registry.register(
            "paybell_unconfirmed_fen",
            "Fen of registered orders that have been pending for over two minutes",
            gauges.unconfirmed_fen.clone(),
        );
        registry.register(
            "paybell_due_lag_seconds",
            "How long the earliest due order has been due",
            gauges.due_lag_seconds.clone(),
        );
        registry.register(
            "paybell_dead_letters",
            "Dead letters that wait for a person",
            gauges.dead_letters.clone(),
        );
        registry.register(
            "paybell_engine_up",
            "1 if the part of the engine answers",
            gauges.engine_up.clone(),
        );
        registry.register(
            "paybell_event_fanout_refused",
            "Events that a subscriber's queue refused; the subscriber finds them in the log",
            gauges.fanout_refused.clone(),
        );
        registry.register(
            "paybell_event_log_unread",
            "Messages of the event log that this process cannot read as events",
            gauges.log_unread.clone(),
        );
        registry.register(
            "paybell_queue_unconsumed",
            "1 while this process cannot consume the queue and goes on with the others",
            gauges.queue_unconsumed.clone(),
        );
        gauges
    }

    /// Samples until `end` is cancelled.
    pub async fn keep_current(self, engine: std::sync::Arc<Engine>, end: CancellationToken) {
        while !end.is_cancelled() {
            self.sample(&engine).await;
            tokio::select! {
                () = end.cancelled() => {}
                () = sleep(SAMPLE_GAP) => {}
            }
        }
    }

    async fn sample(&self, engine: &Engine) {
        for (part, answer) in engine.parts().await {
            self.engine_up.get_or_create(&vec![("part", part.to_owned())]).set(i64::from(answer.is_ok()));
        }
        let refused = engine.fanout_refused().unwrap_or(0);
        self.fanout_refused.inc_by(refused.saturating_sub(self.fanout_refused.get()));
        let unread = engine.log_unread().unwrap_or(0);
        self.log_unread.inc_by(unread.saturating_sub(self.log_unread.get()));
        self.show_unconsumed(engine.unconsumed().into_iter().map(|(queue, _)| queue));
        // An engine that is away leaves the last known numbers; `paybell_engine_up` says so.
        let Some(ledger) = engine.ledger_if_needed() else { return };
        if let Ok(lag_ms) = ledger.due.lag_ms().await {
            let lag = Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0));
            self.due_lag_seconds.set(lag.as_secs_f64());
        }
        if let Ok(tally) = ledger.records.tally().await {
            self.show(&tally);
        }
    }

    /// A queue that is consumed again is not shown any more.
    fn show_unconsumed(&self, queues: impl Iterator<Item = String>) {
        self.queue_unconsumed.clear();
        for queue in queues {
            self.queue_unconsumed.get_or_create(&vec![("queue", queue)]).set(1);
        }
    }

    fn show(&self, tally: &Tally) {
        for state in State::ALL {
            let counted = tally.orders.iter().find(|(counted, _)| *counted == state);
            let count = counted.map_or(0, |(_, count)| i64::try_from(*count).unwrap_or(i64::MAX));
            self.orders.get_or_create(&vec![("state", state.as_str().to_owned())]).set(count);
        }
        let fen_of = |mch_id: &MchId| {
            tally.unconfirmed_fen.iter().filter(|(of, _)| of == mch_id).map(|(_, fen)| *fen).sum::<i64>()
        };
        let merchants = self.merchants.load();
        let mch_ids: HashSet<&MchId> = merchants.iter().map(|merchant| &merchant.mch_id).collect();
        let label = |mch_id: &MchId| vec![("mch_id", mch_id.to_string())];
        for mch_id in &mch_ids {
            self.unconfirmed_fen.get_or_create(&label(mch_id)).set(fen_of(mch_id));
        }
        // A merchant that is configured no more is not shown with its last amount.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = shown.iter().filter(|mch_id| !mch_ids.contains(mch_id));
        for mch_id in gone {
            self.unconfirmed_fen.remove(&label(mch_id));
        }
        *shown = mch_ids.iter().map(|mch_id| (*mch_id).clone()).collect();
        let unknown = tally.unconfirmed_fen.iter().filter(|(mch_id, _)| !mch_ids.contains(mch_id));
        let unknown = unknown.map(|(_, fen)| *fen).sum();
        self.unconfirmed_fen.get_or_create(&vec![("mch_id", "unknown".to_owned())]).set(unknown);
        self.dead_letters.set(i64::try_from(tally.dead_letters).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn every_state_is_shown_and_foreign_merchants_are_unknown() {
        let mut registry = Registry::default();
        let ours = MchId::new("1900000109").unwrap();
        let merchants = LiveMerchants::default();
        merchants.store(Arc::new(vec![crate::config::Merchant::sample(&ours)]));
        let gauges = Gauges::register(&mut registry, merchants.clone());
        let foreign = MchId::new("7").unwrap();
        let tally = Tally {
            orders: vec![(State::Paid, 3)],
            unconfirmed_fen: vec![(ours, 1999), (foreign, 1)],
            dead_letters: 2,
        };
        gauges.show(&tally);
        let text = |registry: &Registry| {
            let mut text = String::new();
            encode(&mut text, registry).unwrap();
            text
        };
        let shown = text(&registry);
        for line in [
            "paybell_orders{state=\"paid\"} 3",
            "paybell_orders{state=\"pending\"} 0",
            "paybell_unconfirmed_fen{mch_id=\"1900000109\"} 1999",
            "paybell_unconfirmed_fen{mch_id=\"unknown\"} 1",
            "paybell_dead_letters 2",
        ] {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
        gauges.show(&Tally::default());
        let shown = text(&registry);
        assert!(
            shown.contains("paybell_unconfirmed_fen{mch_id=\"1900000109\"} 0"),
            "what is gone is 0:\n{shown}"
        );
        assert!(shown.contains("paybell_orders{state=\"paid\"} 0"), "{shown}");
        gauges.show_unconsumed(["paybell.checks.0".to_owned()].into_iter());
        assert!(text(&registry).contains("paybell_queue_unconsumed{queue=\"paybell.checks.0\"} 1"));
        gauges.show_unconsumed(std::iter::empty());
        assert!(!text(&registry).contains("paybell.checks.0"), "it is consumed again");
        merchants.store(Arc::default());
        gauges.show(&Tally::default());
        let shown = text(&registry);
        assert!(!shown.contains("1900000109"), "a merchant that is gone is not shown:\n{shown}");
    }
}
