//! The ingress's metrics. The hot path holds its handles and looks up no label; handles of merchants that come later
//! are made when they come.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;

/// `paybell_key_used_total{mch_id,key}`: owned by the process, counted here and by the worker.
pub type KeyUsed = Family<Labels, Counter>;

/// Upper bounds of `paybell_ack_seconds`, in microseconds. WeChat gives up after 5 s.
const ACK_BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// What a notification is about. Counted apart: a shop may have the one set up and not the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Payment,
    Refund,
}

/// What the ingress counts.
#[derive(Clone)]
pub struct IngressMetrics {
    notifications: Family<Labels, Counter>,
    refund_notifications: Family<Labels, Counter>,
    key_used: KeyUsed,
    known: Arc<ArcSwap<HashMap<String, OfMerchant>>>,
    ack: AckHistogram,
}

/// One merchant's counters.
#[derive(Clone)]
struct OfMerchant {
    accepted: Counter,
    /// In the order of its keys.
    keys: [Counter; 2],
}

impl IngressMetrics {
    /// Registers the metrics; `mch_ids` are the configured merchants, everything else is counted as `unknown`.
    pub fn register<'m>(
        registry: &mut Registry,
        mch_ids: impl IntoIterator<Item = &'m str>,
        key_used: &KeyUsed,
    ) -> Self {
        let notifications = Family::<Labels, Counter>::default();
        registry.register(
            "paybell_notifications",
            "Notifications by merchant and result",
            notifications.clone(),
        );
        let refund_notifications = Family::<Labels, Counter>::default();
        registry.register(
            "paybell_refund_notifications",
            "Refund notifications by merchant and result",
            refund_notifications.clone(),
        );
        let ack = AckHistogram::default();
        let help = "From an authentic notification's head to our answer";
        registry.register("paybell_ack_seconds", help, ack.clone());
        let (key_used, known) = (key_used.clone(), Arc::default());
        let metrics = Self { notifications, refund_notifications, key_used, known, ack };
        for result in ["not_durable", "overloaded"] {
            metrics.begin("unknown", result);
        }
        metrics.know(mch_ids);
        metrics
    }

    /// Counts these merchants by their numbers from now on. What was counted for others stays.
    pub(crate) fn know<'m>(&self, mch_ids: impl IntoIterator<Item = &'m str>) {
        let known = mch_ids.into_iter().map(|mch_id| (mch_id.to_owned(), self.of_merchant(mch_id))).collect();
        self.known.store(Arc::new(known));
    }

    fn of_merchant(&self, mch_id: &str) -> OfMerchant {
        let of_key = |key: &str| {
            let labels = vec![("mch_id", mch_id.to_owned()), ("key", key.to_owned())];
            self.key_used.get_or_create_owned(&labels)
        };
        for result in ["bad_signature", "not_durable"] {
            self.begin(mch_id, result);
        }
        OfMerchant {
            accepted: self.notifications.get_or_create_owned(&labels(mch_id, "accepted")),
            keys: [of_key("current"), of_key("previous")],
        }
    }

    /// What an alert counts begins at 0, so that its first count is a rise.
    fn begin(&self, mch_id: &str, result: &str) {
        self.notifications.get_or_create(&labels(mch_id, result)).inc_by(0);
    }

    pub(crate) fn accepted(&self, kind: Kind, mch_id: &str) {
        match self.known.load().get(mch_id) {
            Some(merchant) if kind == Kind::Payment => merchant.accepted.inc(),
            // A refund's, or one of a merchant that was removed while it was being stored.
            _ => self.count(kind, mch_id, "accepted"),
        };
    }

    pub(crate) fn refused(&self, kind: Kind, mch_id: Option<&str>, result: &'static str) {
        self.count(kind, mch_id.unwrap_or("unknown"), result);
    }

    fn count(&self, kind: Kind, mch_id: &str, result: &'static str) -> u64 {
        let of_kind = match kind {
            Kind::Payment => &self.notifications,
            Kind::Refund => &self.refund_notifications,
        };
        of_kind.get_or_create(&labels(mch_id, result)).inc()
    }

    pub(crate) fn key_used(&self, mch_id: &str, key_index: usize) {
        if let Some(counter) = self.known.load().get(mch_id).and_then(|known| known.keys.get(key_index)) {
            counter.inc();
        }
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.ack.observe(after);
    }
}

fn labels(mch_id: &str, result: &str) -> Labels {
    vec![("mch_id", mch_id.to_owned()), ("result", result.to_owned())]
}

/// A histogram of atomics: the client library's own takes a mutex per observation.
#[derive(Clone, Default)]
struct AckHistogram(Arc<AckCounts>);

#[derive(Default)]
struct AckCounts {
    /// One per bound, and one above the last.
    buckets: [AtomicU64; ACK_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl AckHistogram {
    fn observe(&self, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let place = ACK_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.0.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl fmt::Debug for AckHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckHistogram")
    }
}

impl EncodeMetric for AckHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = ACK_BOUNDS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.0.sum_us.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}
