//! What is counted of bills.

use std::sync::atomic::AtomicU64;

use paybell_core::MchId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reconcile::{Kind, Reconciliation};

type Labels = Vec<(&'static str, String)>;

/// The metrics of bills.
#[derive(Clone, Default)]
pub struct BillMetrics {
    tries: Family<Labels, Counter>,
    differences: Family<Labels, Counter>,
    billed: Family<Labels, Counter>,
    overdue: Family<Labels, Gauge>,
    reconciled: Family<Labels, Gauge<f64, AtomicU64>>,
}

impl BillMetrics {
    /// Registers them; each merchant's begin at 0.
    pub fn register<'m>(registry: &mut Registry, mch_ids: impl IntoIterator<Item = &'m str>) -> Self {
        let metrics = Self::default();
        registry.register(
            "paybell_bills",
            "Tries to reconcile a bill, by what they came to",
            metrics.tries.clone(),
        );
        registry.register(
            "paybell_bill_differences",
            "Differences between bills and the ledger, by kind",
            metrics.differences.clone(),
        );
        registry.register("paybell_billed", "Payments that a bill made known", metrics.billed.clone());
        registry.register(
            "paybell_bills_overdue",
            "Days whose bill should be reconciled by now and is not",
            metrics.overdue.clone(),
        );
        registry.register(
            "paybell_bill_reconciled_timestamp_seconds",
            "When a bill was reconciled last",
            metrics.reconciled.clone(),
        );
        for mch_id in mch_ids {
            metrics.begin_merchant(mch_id);
        }
        metrics
    }

    pub(crate) fn begin_merchant(&self, mch_id: &str) {
        let of =
            |name: &'static str, value: &str| vec![("mch_id", mch_id.to_owned()), (name, value.to_owned())];
        self.tries.get_or_create(&of("result", "reconciled")).inc_by(0);
        for kind in Kind::ALL {
            self.differences.get_or_create(&of("kind", kind.as_str())).inc_by(0);
        }
        self.billed.get_or_create(&vec![("mch_id", mch_id.to_owned())]).inc_by(0);
        self.overdue.get_or_create(&vec![("mch_id", mch_id.to_owned())]).inc_by(0);
    }

    pub(crate) fn tried(&self, mch_id: &MchId, outcome: &str) {
        let labels = vec![("mch_id", mch_id.to_string()), ("result", outcome.to_owned())];
        self.tries.get_or_create(&labels).inc();
    }

    pub(crate) fn reconciled(&self, result: &Reconciliation, now_seconds: f64) {
        let merchant = ("mch_id", result.mch_id.clone());
        for (kind, count) in &result.counts {
            let labels = vec![merchant.clone(), ("kind", kind.as_str().to_owned())];
            self.differences.get_or_create(&labels).inc_by(*count);
        }
        self.billed.get_or_create(&vec![merchant.clone()]).inc_by(result.checks);
        self.reconciled.get_or_create(&vec![merchant]).set(now_seconds);
    }

    pub(crate) fn overdue(&self, mch_id: &MchId, days: usize) {
        let labels = vec![("mch_id", mch_id.to_string())];
        self.overdue.get_or_create(&labels).set(i64::try_from(days).unwrap_or(i64::MAX));
    }
}
