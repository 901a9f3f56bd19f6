//! Where bills come from: WeChat, over the protocol crate's client. Writes what comes into a file and looks at nothing
//! of it; whether it is whole, the first reading says.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use paybell_core::{Day, MchId};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use wechat_pay::bill::{BillDate, BillRefusal, BillRequest, RefusalKind};
use wechat_pay::client::{BillDownload, Client, DownloadError, MerchantAccount};

/// What asking for a bill came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It lies in the file.
    Written,
    /// WeChat has none, or not yet.
    Refused(BillRefusal),
    /// It did not come, or not whole.
    Failed { outcome: &'static str, detail: String },
}

/// Whom to ask for a bill.
#[async_trait]
pub trait BillSource: Send + Sync {
    /// Writes the day's bill to a new file at `path`.
    async fn fetch(&self, mch_id: &MchId, day: Day, path: &Path) -> Fetched;
}

/// In whose name bills are asked for at this moment.
pub type AccountOf = Arc<dyn Fn(&MchId) -> Option<MerchantAccount> + Send + Sync>;

/// Bills from WeChat.
pub struct WechatBills {
    pub client: Client,
    pub account_of: AccountOf,
}

#[async_trait]
impl BillSource for WechatBills {
    async fn fetch(&self, mch_id: &MchId, day: Day, path: &Path) -> Fetched {
        let failed = |outcome: &'static str, detail: String| Fetched::Failed { outcome, detail };
        let Some(account) = (self.account_of)(mch_id) else {
            return failed("unknown_merchant", format!("merchant {mch_id} is not in the configuration"));
        };
        let Some(date) = BillDate::parse(&day.to_string()) else {
            return failed("bad_date", format!("{day} is no day of a bill"));
        };
        let appid = account.app_ids().first().map_or("", String::as_str).to_owned();
        let mut file = match File::create(path).await {
            Ok(file) => file,
            Err(cause) => return failed("folder", format!("{} cannot be written: {cause}", path.display())),
        };
        match self.client.download_bill(&account, &BillRequest::new(appid, date), &mut file).await {
            Ok(BillDownload::Written { .. }) => match file.flush().await {
                Ok(()) => Fetched::Written,
                Err(cause) => failed("folder", format!("{} cannot be written: {cause}", path.display())),
            },
            Ok(BillDownload::Refused(refusal)) => Fetched::Refused(refusal),
            Err(error @ DownloadError::NoSlot) => failed("no_slot", error.to_string()),
            Err(error @ DownloadError::Call(_)) => failed("not_reached", error.to_string()),
            Err(error @ DownloadError::Write(_)) => failed("folder", error.to_string()),
        }
    }
}

/// The word for a refusal.
pub(crate) fn word(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::NoBill => "no_bill",
        RefusalKind::Creating => "not_ready",
        RefusalKind::Busy => "busy",
        RefusalKind::TooOften => "too_often",
        RefusalKind::Sign => "sign",
        RefusalKind::BadRequest => "bad_request",
        RefusalKind::NotAllowed => "not_allowed",
        RefusalKind::Unknown => "refused",
    }
}
