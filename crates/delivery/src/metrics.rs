//! The metrics of deliveries; labels are configured names.

use paybell_core::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::book::Book;
use crate::config::EndpointName;
use crate::machine::settle::Settled;
use crate::outcome::Report;

type Labels = Vec<(&'static str, String)>;

/// What is counted of all endpoints. Gauges are told by the process that holds the endpoint.
#[derive(Clone)]
pub struct DeliveryMetrics {
    attempts: Family<Labels, Counter>,
    given_up: Family<Labels, Counter>,
    lag: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    disabled: Family<Labels, Gauge>,
    stranded: Family<Labels, Gauge>,
    held_up: Family<Labels, Gauge>,
    began_anew: Family<Labels, Gauge>,
    cursor_gone: Family<Labels, Counter>,
}

impl DeliveryMetrics {
    /// Registers the metrics; counters begin at 0, so that a rate is seen from the first count on.
    pub fn register<'n>(registry: &mut Registry, names: impl IntoIterator<Item = &'n EndpointName>) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            given_up: Family::default(),
            lag: Family::default(),
            waiting: Family::default(),
            disabled: Family::default(),
            stranded: Family::default(),
            held_up: Family::default(),
            began_anew: Family::default(),
            cursor_gone: Family::default(),
        };
        registry.register(
            "paybell_webhook_attempts",
            "Attempts to bring events to endpoints, by result",
            metrics.attempts.clone(),
        );
        registry.register(
            "paybell_webhook_given_up",
            "Events that no attempt brought to an endpoint",
            metrics.given_up.clone(),
        );
        registry.register(
            "paybell_webhook_lag_seconds",
            "Age of the oldest event that waits for an endpoint",
            metrics.lag.clone(),
        );
        registry.register(
            "paybell_webhook_waiting",
            "Events that were read for an endpoint and wait",
            metrics.waiting.clone(),
        );
        registry.register(
            "paybell_webhook_disabled",
            "1 after an endpoint answered 410",
            metrics.disabled.clone(),
        );
        registry.register(
            "paybell_webhook_stranded",
            "1 while the event log does not know an endpoint's place, and begins before it",
            metrics.stranded.clone(),
        );
        registry.register(
            "paybell_webhook_held_up",
            "1 while what comes next for an endpoint, or is to be sent again, is an event that this process cannot read",
            metrics.held_up.clone(),
        );
        registry.register(
            "paybell_webhook_began_anew",
            "1 after an endpoint began at the log's end beside a ledger that was emptied, until somebody saw to it",
            metrics.began_anew.clone(),
        );
        registry.register(
            "paybell_webhook_cursor_gone",
            "How often an endpoint's place had left the event log",
            metrics.cursor_gone.clone(),
        );
        for name in names {
            let with = |result: &str| vec![endpoint(name), ("result", result.to_owned())];
            metrics.attempts.get_or_create(&with("delivered")).inc_by(0);
            metrics.attempts.get_or_create(&with("silent")).inc_by(0);
            metrics.given_up.get_or_create(&vec![endpoint(name)]).inc_by(0);
            metrics.cursor_gone.get_or_create(&vec![endpoint(name)]).inc_by(0);
        }
        metrics
    }

    pub(crate) fn tried(&self, name: &EndpointName, report: &Report, settled: Settled) {
        let result = report.outcome.word().to_owned();
        self.attempts.get_or_create(&vec![endpoint(name), ("result", result)]).inc();
        if settled == Settled::GivenUp {
            self.given_up.get_or_create(&vec![endpoint(name)]).inc();
        }
    }

    pub(crate) fn cursor_gone(&self, name: &EndpointName) {
        self.cursor_gone.get_or_create(&vec![endpoint(name)]).inc();
    }

    /// Tells where the endpoint stands.
    pub(crate) fn stands(&self, name: &EndpointName, book: &Book, now: Timestamp) {
        let labels = vec![endpoint(name)];
        self.lag.get_or_create(&labels).set(book.lag_ms(now) / 1000);
        self.waiting.get_or_create(&labels).set(i64::try_from(book.entries.len()).unwrap_or(i64::MAX));
        self.disabled.get_or_create(&labels).set(i64::from(book.disabled_at.is_some()));
        self.stranded.get_or_create(&labels).set(i64::from(book.stranded_at.is_some()));
        let is_held_up = book.held_up_at.is_some() || book.resend_held_up_at.is_some();
        self.held_up.get_or_create(&labels).set(i64::from(is_held_up));
        self.began_anew.get_or_create(&labels).set(i64::from(book.began_anew_at.is_some()));
    }

    /// Another process tells from now on.
    pub(crate) fn left(&self, name: &EndpointName) {
        let labels = vec![endpoint(name)];
        self.lag.remove(&labels);
        self.waiting.remove(&labels);
        self.disabled.remove(&labels);
        self.stranded.remove(&labels);
        self.held_up.remove(&labels);
        self.began_anew.remove(&labels);
    }
}

fn endpoint(name: &EndpointName) -> (&'static str, String) {
    ("endpoint", name.as_str().to_owned())
}
