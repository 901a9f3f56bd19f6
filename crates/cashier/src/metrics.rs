//! What the cashier counts: each demand of a shop, by what came of it.

use paybell_core::place::{CashierError, CodeOf, Placed, RefusalKind, WhoPays};
use paybell_core::ports::Closed;
use paybell_core::{AppId, MchId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 3];

/// `paybell_cashier_calls_total{mch_id,call,outcome}` and `paybell_openid_calls_total{appid,call,outcome}`.
#[derive(Debug, Clone, Default)]
pub struct CashierMetrics {
    calls: Family<Labels, Counter>,
    openids: Family<Labels, Counter>,
}

impl CashierMetrics {
    /// Registers the metrics. What is sure to be counted one day begins at 0.
    pub fn register<'m>(registry: &mut Registry, mch_ids: impl IntoIterator<Item = &'m str>) -> Self {
        let metrics = Self::default();
        let help = "Demands of shops to place and close orders, by what came of them";
        registry.register("paybell_cashier_calls", help, metrics.calls.clone());
        let help = "Demands of shops for openids, by what came of them";
        registry.register("paybell_openid_calls", help, metrics.openids.clone());
        for mch_id in mch_ids {
            metrics.count(mch_id, "place", "placed", 0);
        }
        metrics
    }

    pub(crate) fn placed(&self, mch_id: &MchId, outcome: &Result<Placed, CashierError>) {
        let word = match outcome {
            Ok(placed) if placed.is_repeat => "repeated",
            Ok(_) => "placed",
            Err(error) => word_of(error),
        };
        self.count(label_of(mch_id, word), "place", word, 1);
    }

    pub(crate) fn closed(&self, mch_id: &MchId, outcome: &Result<Closed, CashierError>) {
        let word = match outcome {
            Ok(Closed::Now) => "closed",
            Ok(Closed::Before) => "closed-before",
            Ok(Closed::NeverPlaced) => "never-placed",
            Err(error) => word_of(error),
        };
        self.count(label_of(mch_id, word), "close", word, 1);
    }

    pub(crate) fn exchanged(&self, appid: &AppId, of: CodeOf, outcome: &Result<WhoPays, CashierError>) {
        let word = outcome.as_ref().map_or_else(word_of, |_| "given");
        let is_ours = word != RefusalKind::NoAppSecret.slug();
        let appid = if is_ours { appid.as_str() } else { "unknown" };
        let call = match of {
            CodeOf::Page => "code",
            CodeOf::MiniProgram => "jscode",
        };
        let labels = [("appid", appid.to_owned()), ("call", call.to_owned()), ("outcome", word.to_owned())];
        self.openids.get_or_create(&labels).inc();
    }

    fn count(&self, mch_id: &str, call: &str, outcome: &str, by: u64) {
        let labels =
            [("mch_id", mch_id.to_owned()), ("call", call.to_owned()), ("outcome", outcome.to_owned())];
        self.calls.get_or_create(&labels).inc_by(by);
    }
}

fn word_of(error: &CashierError) -> &'static str {
    match error {
        CashierError::Refused(refusal) => refusal.kind.slug(),
        CashierError::Engine(_) => "engine-away",
    }
}

/// Nobody may make labels of numbers that he invents.
fn label_of<'m>(mch_id: &'m MchId, word: &str) -> &'m str {
    if word == RefusalKind::UnknownMerchant.slug() { "unknown" } else { mch_id.as_str() }
}
