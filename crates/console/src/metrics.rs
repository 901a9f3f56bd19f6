//! The console's metrics. Names are contract; the labels are route templates and statuses, never what a caller sent.

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

/// Counts answers by route and status.
#[derive(Debug, Clone, Default)]
pub struct ConsoleMetrics {
    requests: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    status: u16,
}

impl ConsoleMetrics {
    /// Registers `paybell_console_requests_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "paybell_console_requests",
            "Answers of the private API by route template and status",
            metrics.requests.clone(),
        );
        metrics
    }

    /// One answer, counted when its head is ready.
    pub(crate) fn answered(&self, route: &'static str, status: StatusCode) {
        self.requests.get_or_create_owned(&Labels { route, status: status.as_u16() }).inc();
    }
}
