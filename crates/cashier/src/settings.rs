//! For whom the cashier works: the merchants, their apps, and where WeChat reaches us. Replaced as a whole while the
//! process runs; a call ends with the settings it began with.

use paybell_core::place::RefusalKind;
use paybell_core::time::Millis;
use paybell_core::{AppId, MchId};
use wechat_pay::openid::AppSecret;
use wechat_pay::unified_order::{MWEB_LIFE_MS, PREPAY_LIFE_MS};

/// What the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub shops: Vec<Shop>,
    pub apps: Vec<AppAccount>,
}

/// A merchant, as orders are placed for it.
#[derive(Debug, Clone)]
pub struct Shop {
    pub mch_id: MchId,
    /// The first is for orders that name none.
    pub app_ids: Vec<AppId>,
    /// Restricts only when it is not empty.
    pub sub_mch_ids: Vec<MchId>,
    /// Where WeChat sends the notifications of this merchant's payments.
    pub notify_url: Option<String>,
}

/// An app whose payers we may ask for. Its secret shows in no debug output.
#[derive(Debug, Clone)]
pub struct AppAccount {
    pub appid: AppId,
    pub secret: AppSecret,
}

/// How long what WeChat offers is good.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    pub prepay: Millis,
    pub mweb: Millis,
}

impl Default for Lives {
    fn default() -> Self {
        Self { prepay: Millis(PREPAY_LIFE_MS), mweb: Millis(MWEB_LIFE_MS) }
    }
}

impl Settings {
    pub(crate) fn shop(&self, mch_id: &MchId) -> Result<&Shop, RefusalKind> {
        self.shops.iter().find(|shop| shop.mch_id == *mch_id).ok_or(RefusalKind::UnknownMerchant)
    }

    pub(crate) fn secret(&self, appid: &AppId) -> Result<&AppSecret, RefusalKind> {
        let account = self.apps.iter().find(|account| account.appid == *appid);
        account.map(|account| &account.secret).ok_or(RefusalKind::NoAppSecret)
    }

    /// Whether any merchant, or any secret, is of this app.
    pub(crate) fn knows(&self, appid: &AppId) -> bool {
        self.shops.iter().any(|shop| shop.app_ids.contains(appid))
            || self.apps.iter().any(|account| account.appid == *appid)
    }
}
