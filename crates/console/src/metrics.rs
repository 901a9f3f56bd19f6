//! The console's metrics. Names are contract; the labels are route templates and statuses, never what a caller sent.

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Counts answers by route and status.
#[derive(Debug, Clone, Default)]
pub struct ConsoleMetrics {
    requests: Family<Labels, Counter>,
    limited: Family<LimitedLabels, Counter>,
    streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    /// The configured name of a token, `anonymous` where none is configured, or `unknown`.
    caller: String,
    limit: &'static str,
}

/// Counts as an open stream until it is dropped.
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ConsoleMetrics {
    /// Registers `paybell_console_requests_total`, `paybell_console_limited_total` and `paybell_console_streams`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "paybell_console_requests",
            "Answers of the private API by route template and status",
            metrics.requests.clone(),
        );
        registry.register(
            "paybell_console_limited",
            "Requests of the private API that a limit refused, by caller and limit",
            metrics.limited.clone(),
        );
        registry.register("paybell_console_streams", "Open event streams", metrics.streams.clone());
        metrics
    }

    /// One request that a limit refused.
    pub(crate) fn limited(&self, caller: &str, limit: &'static str) {
        self.limited.get_or_create_owned(&LimitedLabels { caller: caller.to_owned(), limit }).inc();
    }

    /// One more stream.
    pub(crate) fn stream_opens(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// One answer, counted when its head is ready.
    pub(crate) fn answered(&self, route: &'static str, status: StatusCode) {
        self.requests.get_or_create_owned(&Labels { route, status: status.as_u16() }).inc();
    }
}
