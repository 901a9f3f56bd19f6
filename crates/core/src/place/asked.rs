//! What a shop asks to have placed, and what the payer's device is given.
//!
//! In our words and not yet judged: whoever calls WeChat says what it would not take.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, BusinessNo, MchId, OrderKey, OutTradeNo};
use crate::money::{Currency, Fen};
use crate::observation::Openid;
use crate::time::Timestamp;

/// The five ways to pay. A mini program's is WeChat's `JSAPI` with other parameters for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeType {
    Jsapi,
    MiniProgram,
    Native,
    App,
    Mweb,
}

impl TradeType {
    /// Every way.
    pub const ALL: [TradeType; 5] =
        [TradeType::Jsapi, TradeType::MiniProgram, TradeType::Native, TradeType::App, TradeType::Mweb];

    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            TradeType::Jsapi => "JSAPI",
            TradeType::MiniProgram => "MINIPROGRAM",
            TradeType::Native => "NATIVE",
            TradeType::App => "APP",
            TradeType::Mweb => "MWEB",
        }
    }

    /// The way of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// An order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub key: OrderKey,
    pub total_fee: Fen,
    /// CNY if absent.
    pub fee_type: Option<Currency>,
    pub trade: Trade,
    /// Shown to the payer; at most 128 bytes.
    pub body: String,
    /// The merchant's first if absent.
    pub appid: Option<AppId>,
    pub sub_mch_id: Option<MchId>,
    pub sub_appid: Option<AppId>,
    /// Which of the shop's own orders is paid by it: several numbers may be.
    pub business_no: Option<BusinessNo>,
    /// WeChat takes no payment after it; whole seconds.
    pub expires_at: Option<Timestamp>,
    /// The payer's public address; needed for `APP` and `MWEB`.
    pub payer_ip: Option<IpAddr>,
    pub attach: Option<String>,
    /// JSON of the goods.
    pub detail: Option<String>,
    pub device_info: Option<String>,
    pub goods_tag: Option<String>,
    /// Shut out credit cards.
    pub no_credit: bool,
    /// Offer an invoice.
    pub receipt: bool,
    pub profit_sharing: Option<bool>,
    pub store: Option<Store>,
}

/// How the payer pays, with what that way needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trade {
    Jsapi {
        payer: Payer,
    },
    MiniProgram {
        payer: Payer,
    },
    Native {
        /// The order's number if absent.
        product_id: Option<String>,
    },
    App,
    Mweb {
        scene: Scene,
        /// Where the payer goes afterwards. No part of the order: it is added to the link.
        redirect_url: Option<String>,
    },
}

/// Who pays, under which app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    OpenId(Openid),
    /// Under the sub merchant's app, which the order must name.
    SubOpenId(Openid),
}

/// Where an `MWEB` order is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scene {
    Wap { wap_url: String, wap_name: String },
    Ios { app_name: String, bundle_id: String },
    Android { app_name: String, package_name: String },
}

/// The shop where an order is placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    pub id: String,
    pub name: String,
    pub area_code: String,
    pub address: String,
}

/// An order that WeChat knows, and what the payer's device needs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub trade_type: TradeType,
    pub prepay_id: String,
    pub pay: Pay,
    /// Until when `pay` is good; the same request brings a fresh one.
    pub good_until: Timestamp,
    /// It was offered before and is given again.
    pub is_repeat: bool,
    /// Older numbers of the same business order that were closed for this one.
    pub closed: Vec<OutTradeNo>,
}

/// Names and values, in the order of WeChat's documents.
pub type Fields = Vec<(&'static str, String)>;

/// What the payer's device needs, signed.
#[derive(Clone, PartialEq, Eq)]
pub enum Pay {
    Jsapi {
        /// For `WeixinJSBridge.invoke("getBrandWCPayRequest", …)`.
        bridge: Fields,
        /// For `wx.chooseWXPay`.
        jssdk: Fields,
    },
    /// For `wx.requestPayment`.
    MiniProgram(Fields),
    /// For the `PayReq` of the app's SDK.
    App(Fields),
    /// To be shown as a QR code, as it is.
    Native { code_url: String },
    /// To be opened from a page under the registered domain; with the way back in it.
    Mweb { mweb_url: String },
}

impl Trade {
    /// Which of the five it is.
    pub fn kind(&self) -> TradeType {
        match self {
            Trade::Jsapi { .. } => TradeType::Jsapi,
            Trade::MiniProgram { .. } => TradeType::MiniProgram,
            Trade::Native { .. } => TradeType::Native,
            Trade::App => TradeType::App,
            Trade::Mweb { .. } => TradeType::Mweb,
        }
    }
}

/// Who stands behind a code of WeChat's. Whatever else WeChat told stays with us.
#[derive(Clone, PartialEq, Eq)]
pub struct WhoPays {
    pub openid: Openid,
    /// The same person over all apps of one open platform account.
    pub unionid: Option<Openid>,
}

/// Where a code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOf {
    /// A page in WeChat (网页授权).
    Page,
    /// `wx.login` of a mini program.
    MiniProgram,
}

impl std::fmt::Debug for WhoPays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhoPays(***)")
    }
}

impl std::fmt::Debug for Pay {
    /// Whoever has it can only pay, but a log is no place for signatures.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Pay::Jsapi { .. } => "Jsapi(…)",
            Pay::MiniProgram(_) => "MiniProgram(…)",
            Pay::App(_) => "App(…)",
            Pay::Native { .. } => "Native(…)",
            Pay::Mweb { .. } => "Mweb(…)",
        })
    }
}
