//! The proxy's metrics. Names are contract. Handles are held; labels are words of ours, never what a caller sent.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::endpoint::{Endpoint, LABELS};

type Labels = Vec<(&'static str, String)>;

/// `paybell_key_used_total{mch_id,key}`: owned by the process, counted here too, because an SDK that still signs with
/// the previous key is why a rotation is not over.
pub type KeyUsed = Family<Labels, Counter>;

/// In the order of a merchant's keys.
const KEYS: [&str; 2] = ["current", "previous"];

/// Upper bounds of `paybell_proxy_seconds`. SDKs give up after 6 to 10 s, we after 30.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallResult {
    /// With WeChat's answer, whatever it says.
    Answered,
    /// By us: too long, too slow, not allowed.
    Refused,
    NoCertificate,
    /// No host could be connected to; nothing was sent.
    Unreachable,
    /// Broken off after something was sent.
    Broken,
    Timeout,
}

const CALL_RESULTS: [(CallResult, &str); 6] = [
    (CallResult::Answered, "answered"),
    (CallResult::Refused, "refused"),
    (CallResult::NoCertificate, "no_certificate"),
    (CallResult::Unreachable, "unreachable"),
    (CallResult::Broken, "broken"),
    (CallResult::Timeout, "timeout"),
];

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registration {
    Registered,
    /// The same again.
    Same,
    /// Another amount, currency, app or sub merchant is registered.
    Different,
    /// Nothing to register: the request is not the merchant's.
    Unverified,
    /// The call went through without it. Ends as `retried`, `different` or `dropped`.
    Missed,
    /// A later attempt registered it.
    Retried,
    /// Given up.
    Dropped,
}

const REGISTRATIONS: [(Registration, &str); 7] = [
    (Registration::Registered, "registered"),
    (Registration::Same, "same"),
    (Registration::Different, "different"),
    (Registration::Unverified, "unverified"),
    (Registration::Missed, "missed"),
    (Registration::Retried, "retried"),
    (Registration::Dropped, "dropped"),
];

/// What the proxy counts. Cloning shares it.
#[derive(Debug, Clone)]
pub struct ProxyMetrics {
    /// By the place of the path's label, then in the order of [`CALL_RESULTS`].
    calls: Arc<Vec<Vec<Counter>>>,
    registrations: Arc<Vec<Counter>>,
    unverified: Family<Labels, Counter>,
    waiting: Gauge,
    cut: Counter,
    seconds: Histogram,
    key_used: KeyUsed,
}

impl ProxyMetrics {
    /// Registers the metrics; `mch_ids` are the configured merchants.
    pub fn register<'m>(
        registry: &mut Registry,
        mch_ids: impl IntoIterator<Item = &'m str>,
        key_used: &KeyUsed,
    ) -> Self {
        let calls = Family::<Labels, Counter>::default();
        registry.register("paybell_proxy_calls", "Calls of the shop by path and result", calls.clone());
        let registrations = Family::<Labels, Counter>::default();
        let help = "What became of the orders that calls placed";
        registry.register("paybell_proxy_registrations", help, registrations.clone());
        let unverified = Family::<Labels, Counter>::default();
        for reason in ["bad_signature", "unknown_merchant"] {
            unverified.get_or_create(&labels([("reason", reason)])).inc_by(0);
        }
        let help = "Orders that were forwarded but not registered, by reason";
        registry.register("paybell_proxy_unverified", help, unverified.clone());
        let waiting = Gauge::default();
        let help = "Registrations that wait in memory to be tried again";
        registry.register("paybell_proxy_waiting", help, waiting.clone());
        let cut = Counter::default();
        registry.register("paybell_proxy_answers_cut", "Answers that ended in their middle", cut.clone());
        let seconds = Histogram::new(SECONDS);
        let help = "From a call's head to the head of its answer";
        registry.register("paybell_proxy_seconds", help, seconds.clone());
        let of_path = |path: &&str| {
            let results = CALL_RESULTS.iter();
            results
                .map(|(_, result)| calls.get_or_create_owned(&labels([("path", path), ("result", result)])))
                .collect()
        };
        for (mch_id, key) in mch_ids.into_iter().flat_map(|mch_id| KEYS.map(|key| (mch_id, key))) {
            key_used.get_or_create(&labels([("mch_id", mch_id), ("key", key)])).inc_by(0);
        }
        let of_registration =
            |(_, result): &(_, &str)| registrations.get_or_create_owned(&labels([("result", result)]));
        Self {
            calls: Arc::new(LABELS.iter().map(of_path).collect()),
            registrations: Arc::new(REGISTRATIONS.iter().map(of_registration).collect()),
            unverified,
            waiting,
            cut,
            seconds,
            key_used: key_used.clone(),
        }
    }

    pub(crate) fn call(&self, endpoint: Endpoint, result: CallResult, after: Duration) {
        let place = CALL_RESULTS.iter().position(|(known, _)| *known == result);
        let results = self.calls.get(endpoint.label);
        if let Some(counter) = results.zip(place).and_then(|(results, place)| results.get(place)) {
            counter.inc();
        }
        self.seconds.observe(after.as_secs_f64());
    }

    pub(crate) fn registration(&self, became: Registration) {
        let place = REGISTRATIONS.iter().position(|(known, _)| *known == became);
        if let Some(counter) = place.and_then(|place| self.registrations.get(place)) {
            counter.inc();
        }
    }

    pub(crate) fn unverified(&self, reason: &'static str) {
        self.registration(Registration::Unverified);
        self.unverified.get_or_create(&labels([("reason", reason)])).inc();
    }

    pub(crate) fn waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// `mch_id` is a configured one.
    pub(crate) fn key_used(&self, mch_id: &str, key_index: usize) {
        if let Some(key) = KEYS.get(key_index) {
            self.key_used.get_or_create(&labels([("mch_id", mch_id), ("key", key)])).inc();
        }
    }

    /// Counted by the answer's body, which lives on its own.
    pub(crate) fn cut(&self) -> Counter {
        self.cut.clone()
    }
}

fn labels<const N: usize>(of: [(&'static str, &str); N]) -> Labels {
    of.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}
