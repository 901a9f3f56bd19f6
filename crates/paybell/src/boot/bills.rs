//! Bills in the scheduler role: the engine's ports, WeChat's client, and the merchants as they are at any moment. Any
//! number of processes may run them; the lease in a merchant's book decides who works on a day.

use std::sync::Arc;

use ::bills::{
    Asked, BillMetrics, Bills, Company, Desk, Folder, Merchant, Ports, Timing, Wants, WechatBills, Wish,
};
use async_trait::async_trait;
use console::{BillAsked, BillDesk};
use paybell_core::{Day, MchId, ports::PortError};
use prometheus_client::registry::Registry;
use serde_json::Value;
use wechat_pay::client::{Client, ClientConfig, KeyRing, MerchantAccount};

use super::{merchants::LiveMerchants, views};
use crate::{
    config::{self, Config, EngineKind},
    engine::Engine,
    error::Error,
};

/// Everything that works on bills.
pub fn build(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    merchants: &LiveMerchants,
) -> Result<Bills, Error> {
    let client_config = ClientConfig { base_urls: config.base_urls.clone(), ..ClientConfig::default() };
    let client =
        Client::new(client_config).map_err(|error| Error::Usage(format!("wechat.base_urls: {error}")))?;
    for mch_id in begins_anew(config) {
        tracing::warn!(
            merchant.mch_id = %mch_id,
            "merchant {mch_id} has no active_since: should Redis be emptied, bills take payments of before that for \
             somebody else's and only report them; name the day of the installation in active_since"
        );
    }
    let (live, accounts) = (merchants.clone(), merchants.clone());
    let account_of = move |mch_id: &MchId| {
        let merchants = accounts.load();
        merchants.iter().find(|merchant| merchant.mch_id == *mch_id).map(account)
    };
    Ok(Bills {
        ports: ports(engine),
        source: Arc::new(WechatBills { client, account_of: Arc::new(account_of) }),
        folder: folder(config),
        merchants: Arc::new(move || live.load().iter().map(merchant).collect()),
        wants: Wants {
            opening: ::bills::book::Opening {
                after: config.reconcile.after,
                by_itself: config.reconcile.automatic,
            },
            retention: config.retention.orders,
        },
        modes: engine.modes.clone(),
        timing: Timing::default(),
        company: match config.engine {
            EngineKind::Embedded => Company::Alone,
            EngineKind::Cluster => Company::Others,
        },
        me: None,
        metrics: BillMetrics::register(registry, views::mch_ids(config)),
    })
}

/// Merchants whose beginning only Redis knows, which may be emptied: nobody would be told of what was paid before.
pub fn begins_anew(config: &Config) -> Vec<&MchId> {
    let forgets = |merchant: &&config::Merchant| {
        config.engine == EngineKind::Cluster && merchant.bills.active_since.is_none()
    };
    config.merchants.iter().filter(forgets).map(|merchant| &merchant.mch_id).collect()
}

/// What people see of bills and ask of them.
pub fn desk(config: &Config, engine: &Engine) -> Desk {
    let ledger = engine.ledger();
    // On the cluster engine the work may be done on another machine, which cannot see a file of this one.
    let folder = match config.engine {
        EngineKind::Embedded => Some(folder(config)),
        EngineKind::Cluster => None,
    };
    Desk { notes: ledger.notes.clone(), ledger: ledger.ledger.clone(), folder, by: None }
}

/// In whose name bills are asked for: with a rate of its own, because one call a day needs no share of the others'.
fn account(merchant: &config::Merchant) -> MerchantAccount {
    let mut keys = merchant.keys.iter().cloned();
    let current = keys.next().expect("a checked merchant has a current key");
    MerchantAccount::new(
        merchant.mch_id.as_str(),
        merchant.app_ids.iter().map(ToString::to_string).collect(),
        KeyRing::new(current, keys.next()),
        merchant.algorithm,
        merchant.queries_per_second,
    )
}

/// A merchant as bills know it.
pub fn merchant(merchant: &config::Merchant) -> Merchant {
    Merchant {
        mch_id: merchant.mch_id.clone(),
        active_since: merchant.bills.active_since,
        app_ids: merchant.app_ids.iter().map(ToString::to_string).collect(),
        sub_mch_ids: merchant.sub_mch_ids.iter().map(ToString::to_string).collect(),
        pattern: merchant.bills.out_trade_no_pattern.clone(),
    }
}

/// Where bills are kept. A process that cannot write there does everything else all the same, and every bill that it
/// tries says why it fails.
pub fn folder(config: &Config) -> Folder {
    let path = &config.reconcile.folder;
    Folder::open(path).unwrap_or_else(|error| {
        tracing::error!(
            error = %error,
            "no bill can be kept: {error}; name a folder in reconcile.folder that this process may write to"
        );
        Folder::at(path)
    })
}

/// What the private API shows of bills.
pub struct Window(pub Desk);

#[async_trait]
impl BillDesk for Window {
    async fn list(&self, mch_id: Option<&MchId>) -> Result<Vec<Value>, PortError> {
        self.0.list(mch_id).await.map_err(unavailable)
    }

    async fn read(&self, mch_id: &MchId, day: Day) -> Result<Option<Value>, PortError> {
        self.0.read(mch_id, day).await.map_err(unavailable)
    }

    async fn ask(&self, mch_id: &MchId, day: Day, file: Option<&str>) -> Result<BillAsked, PortError> {
        let wish = Wish { mch_id: mch_id.clone(), day, file: file.map(str::to_owned) };
        Ok(match self.0.ask(&wish).await.map_err(unavailable)? {
            Asked::Taken { view, .. } => BillAsked::Taken(view),
            Asked::NotOver => BillAsked::NotOver,
            Asked::NoFile => BillAsked::NoFile,
            Asked::TooMany => BillAsked::TooMany,
        })
    }
}

fn unavailable(error: ::bills::Error) -> PortError {
    const PART: &str = "ledger";
    match error {
        ::bills::Error::Port(error) => error,
        error @ ::bills::Error::Unreadable { .. } => {
            PortError::Corrupt { part: PART, cause: error.to_string() }
        }
        error => PortError::Unavailable { part: PART, cause: error.to_string() },
    }
}

fn ports(engine: &Engine) -> Ports {
    let ledger = engine.ledger();
    Ports {
        notes: ledger.notes.clone(),
        records: ledger.records.clone(),
        ledger: ledger.ledger.clone(),
        queue: engine.queue.clone(),
        log: engine.log().clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn only_redis_forgets_since_when_a_merchant_is_ours() {
        let count = |engine: &str, since: &str| {
            let text = format!(
                "engine = \"{engine}\"\n[[merchant]]\nmch_id = \"1900000109\"\n\
                 app_ids = [\"wx8888888888888888\"]\napi_key = \"192006250b4c09247ec02edce69f6a2d\"\n{since}\n"
            );
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("paybell.toml");
            std::fs::write(&file, text).unwrap();
            let config = load(Some(&file), []).checked().unwrap_or_else(|problems| panic!("{problems}"));
            begins_anew(&config).len()
        };
        let since = "active_since = \"2026-11-20T00:00:00+08:00\"";
        assert_eq!([count("cluster", ""), count("cluster", since), count("embedded", "")], [1, 0, 0]);
    }
}
