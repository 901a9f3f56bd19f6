//! What the cashier counts: each demand of a shop, by what came of it.

use paybell_core::place::{CashierError, CodeOf, Placed, RefusalKind, WhoPays};
use paybell_core::ports::Closed;
use paybell_core::{AppId, MchId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::settings::Settings;

/// What keeps every payer of a shop from paying, as the alert `PaybellPlacingFails` has it.
const NOT_PLACED: [RefusalKind; 6] = [
    RefusalKind::OutcomeUnknown,
    RefusalKind::WechatAway,
    RefusalKind::KeysRefused,
    RefusalKind::RefusedByWechat,
    RefusalKind::RefusedUnsigned,
    RefusalKind::NoNotifyUrl,
];

/// The same of an app's payers, as the alert `PaybellOpenidsFail` has it.
const NOT_EXCHANGED: [RefusalKind; 3] =
    [RefusalKind::CodeRefused, RefusalKind::WechatBusy, RefusalKind::WechatAway];

type Labels = [(&'static str, String); 3];

/// `paybell_cashier_calls_total{mch_id,call,outcome}` and `paybell_openid_calls_total{appid,call,outcome}`.
#[derive(Debug, Clone, Default)]
pub struct CashierMetrics {
    calls: Family<Labels, Counter>,
    openids: Family<Labels, Counter>,
}

impl CashierMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Demands of shops to place and close orders, by what came of them";
        registry.register("paybell_cashier_calls", help, metrics.calls.clone());
        let help = "Demands of shops for openids, by what came of them";
        registry.register("paybell_openid_calls", help, metrics.openids.clone());
        metrics
    }

    /// What alerts count of these shops and apps begins at 0, so that a first failure is a rise.
    pub(crate) fn begin(&self, settings: &Settings) {
        for shop in &settings.shops {
            for kind in NOT_PLACED {
                self.count(shop.mch_id.as_str(), "place", kind.slug(), 0);
            }
            self.count(shop.mch_id.as_str(), "place", "placed", 0);
        }
        for app in &settings.apps {
            for call in ["code", "jscode"] {
                for kind in NOT_EXCHANGED {
                    self.exchange(app.appid.as_str(), call, kind.slug(), 0);
                }
                self.exchange(app.appid.as_str(), call, "given", 0);
            }
        }
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
        self.exchange(appid, call, word, 1);
    }

    fn exchange(&self, appid: &str, call: &str, outcome: &str, by: u64) {
        let labels =
            [("appid", appid.to_owned()), ("call", call.to_owned()), ("outcome", outcome.to_owned())];
        self.openids.get_or_create(&labels).inc_by(by);
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
