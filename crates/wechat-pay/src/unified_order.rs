//! Place an order (统一下单, `/pay/unifiedorder`) for JSAPI, mini program, NATIVE, APP or MWEB.
//!
//! Looks at every field before anything is sent. The same order may be placed again unchanged while it is unpaid, and
//! brings a fresh `prepay_id` or link; with other data WeChat refuses it. What the payer's device needs is made of the
//! answer by [`crate::pay_parameters`]. Keeps no orders and knows no clock.

mod answer;
mod scene;

use std::net::IpAddr;

use crate::beijing;
use crate::check::{Fault, Findings, InvalidRequest};
use crate::query::OpenId;
use crate::request::{self, OrderRef, Signer};

pub use answer::{MWEB_LIFE_MS, PREPAY_LIFE_MS, PlacedOrder, UnifiedOrderAnswer, UnifiedOrderResult};
pub use scene::{H5Scene, Store};

/// The path under a base URL.
pub const PATH: &str = "/pay/unifiedorder";

const BODY_BYTES_MAX: usize = 128;
const DETAIL_BYTES_MAX: usize = 6144;
const ATTACH_BYTES_MAX: usize = 127;
const SHORT_TEXT_BYTES_MAX: usize = 32;
const OPENID_BYTES_MAX: usize = 128;
const SCENE_INFO_BYTES_MAX: usize = 256;
const LIFE_MS_MIN: i64 = 60_000;

/// An order to place. Texts that are empty are not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnifiedOrder {
    pub order: OrderRef,
    pub trade: Trade,
    /// Shown to the payer.
    pub body: String,
    /// At least 1, in the smallest unit of `fee_type`.
    pub total_fee: i64,
    /// ISO 4217; `CNY` if empty.
    pub fee_type: String,
    /// The payer's address for MWEB (a wrong one makes the payment fail) and APP; the server's for NATIVE.
    pub spbill_create_ip: IpAddr,
    /// Absolute, public, without a query string.
    pub notify_url: String,
    /// JSON of the goods.
    pub detail: String,
    /// Comes back in queries and notifications. `&` and `=` in it weaken the signature.
    pub attach: String,
    pub device_info: String,
    pub goods_tag: String,
    /// Unix milliseconds, sent as Beijing time. May not be changed on a repeated order.
    pub time_start_ms: Option<i64>,
    pub time_expire_ms: Option<i64>,
    pub limit_pay: Option<LimitPay>,
    /// An entry for an invoice in the payer's message.
    pub receipt: Option<Receipt>,
    pub profit_sharing: Option<ProfitSharing>,
    /// The shop, for all but MWEB, which has a scene of its own.
    pub store: Option<Store>,
}

/// How the payer pays, with what that way needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trade {
    /// In an official account's page or in a mini program.
    Jsapi {
        payer: Payer,
    },
    /// A QR code made of `code_url`.
    Native {
        product_id: String,
    },
    App,
    /// In a browser outside WeChat.
    Mweb {
        scene: H5Scene,
    },
}

/// Who pays, under which app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payer {
    OpenId(OpenId),
    /// Provider mode: under the sub merchant's app, which the order must name.
    SubOpenId(OpenId),
}

/// Ways of paying that are shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitPay {
    NoCredit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receipt {
    Offered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfitSharing {
    Yes,
    No,
}

impl Trade {
    /// `trade_type` on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Jsapi { .. } => "JSAPI",
            Self::Native { .. } => "NATIVE",
            Self::App => "APP",
            Self::Mweb { .. } => "MWEB",
        }
    }
}

impl UnifiedOrder {
    /// An order with what every order needs, in CNY.
    pub fn new(order: OrderRef, trade: Trade, body: impl Into<String>, total_fee: i64) -> Self {
        Self {
            order,
            trade,
            body: body.into(),
            total_fee,
            fee_type: String::new(),
            spbill_create_ip: IpAddr::from([127, 0, 0, 1]),
            notify_url: String::new(),
            detail: String::new(),
            attach: String::new(),
            device_info: String::new(),
            goods_tag: String::new(),
            time_start_ms: None,
            time_expire_ms: None,
            limit_pay: None,
            receipt: None,
            profit_sharing: None,
            store: None,
        }
    }

    /// The app whose name the payer's device signs with: the sub merchant's if the payer is known under it, or if an
    /// app of the sub merchant pays.
    #[must_use]
    pub fn device_appid(&self) -> &str {
        match (&self.trade, &self.order.sub_appid) {
            (Trade::Jsapi { payer: Payer::SubOpenId(_) } | Trade::App, Some(sub_appid)) => sub_appid,
            _ => &self.order.appid,
        }
    }

    /// The merchant number that an app names as `partnerid`: the sub merchant's in provider mode.
    #[must_use]
    pub fn device_partner<'o>(&'o self, mch_id: &'o str) -> &'o str {
        self.order.sub_mch_id.as_deref().unwrap_or(mch_id)
    }

    /// What WeChat would refuse.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let mut findings = Findings::default();
        findings.party(&self.order);
        findings.required("body", &self.body, BODY_BYTES_MAX);
        findings.expect("total_fee", self.total_fee > 0, Fault::NotPositive);
        findings.currency("fee_type", &self.fee_type);
        findings.expect("notify_url", !self.notify_url.is_empty(), Fault::Missing);
        findings.notify_url(&self.notify_url);
        findings.optional("detail", &self.detail, DETAIL_BYTES_MAX);
        findings.optional("attach", &self.attach, ATTACH_BYTES_MAX);
        findings.optional("device_info", &self.device_info, SHORT_TEXT_BYTES_MAX);
        findings.optional("goods_tag", &self.goods_tag, SHORT_TEXT_BYTES_MAX);
        findings.expect("spbill_create_ip", !self.spbill_create_ip.is_unspecified(), Fault::Missing);
        self.check_trade(&mut findings);
        self.check_times(&mut findings);
        findings.into_result()
    }

    fn check_trade(&self, findings: &mut Findings) {
        match &self.trade {
            Trade::Jsapi { payer: Payer::OpenId(openid) } => {
                findings.identifier("openid", openid.as_str(), OPENID_BYTES_MAX);
            }
            Trade::Jsapi { payer: Payer::SubOpenId(openid) } => {
                findings.identifier("sub_openid", openid.as_str(), OPENID_BYTES_MAX);
                findings.expect("sub_appid", self.order.sub_appid.is_some(), Fault::Missing);
            }
            Trade::Native { product_id } => {
                findings.required("product_id", product_id, SHORT_TEXT_BYTES_MAX);
            }
            Trade::Mweb { scene } => findings.expect("scene_info", scene.is_whole(), Fault::Missing),
            Trade::App => {}
        }
        findings.optional("scene_info", &self.scene_info(), SCENE_INFO_BYTES_MAX);
    }

    fn check_times(&self, findings: &mut Findings) {
        for (field, time) in [("time_start", self.time_start_ms), ("time_expire", self.time_expire_ms)] {
            let writes = time.is_none_or(|ms| beijing::format_compact(ms).is_some());
            findings.expect(field, writes, Fault::Time);
        }
        if let (Some(start), Some(expire)) = (self.time_start_ms, self.time_expire_ms) {
            let lives = expire.saturating_sub(start) > LIFE_MS_MIN;
            findings.expect("time_expire", lives, Fault::LifeTooShort);
        }
    }

    fn scene_info(&self) -> String {
        match (&self.trade, &self.store) {
            (Trade::Mweb { scene }, _) => scene.to_json(),
            (_, Some(store)) => store.to_json(),
            (_, None) => String::new(),
        }
    }

    /// The signed request, if WeChat would take it. `nonce` is at most 32 letters and digits, new for every request.
    pub fn request_body(&self, signer: Signer<'_>, nonce: &str) -> Result<String, InvalidRequest> {
        self.check()?;
        Ok(self.write(signer, nonce))
    }

    pub(crate) fn write(&self, signer: Signer<'_>, nonce: &str) -> String {
        let time = |time: Option<i64>| time.and_then(beijing::format_compact).unwrap_or_default();
        let (time_start, time_expire) = (time(self.time_start_ms), time(self.time_expire_ms));
        let (total_fee, ip) = (self.total_fee.to_string(), self.spbill_create_ip.to_string());
        let scene_info = self.scene_info();
        let (openid, sub_openid, product_id) = match &self.trade {
            Trade::Jsapi { payer: Payer::OpenId(openid) } => (openid.as_str(), "", ""),
            Trade::Jsapi { payer: Payer::SubOpenId(openid) } => ("", openid.as_str(), ""),
            Trade::Native { product_id } => ("", "", product_id.as_str()),
            Trade::App | Trade::Mweb { .. } => ("", "", ""),
        };
        let fields = [
            ("device_info", self.device_info.as_str()),
            ("body", &self.body),
            ("detail", &self.detail),
            ("attach", &self.attach),
            ("out_trade_no", &self.order.out_trade_no),
            ("fee_type", &self.fee_type),
            ("total_fee", &total_fee),
            ("spbill_create_ip", &ip),
            ("time_start", &time_start),
            ("time_expire", &time_expire),
            ("goods_tag", &self.goods_tag),
            ("notify_url", &self.notify_url),
            ("trade_type", self.trade.as_str()),
            ("product_id", product_id),
            ("limit_pay", self.limit_pay.map_or("", |LimitPay::NoCredit| "no_credit")),
            ("openid", openid),
            ("sub_openid", sub_openid),
            ("receipt", self.receipt.map_or("", |Receipt::Offered| "Y")),
            (
                "profit_sharing",
                match self.profit_sharing {
                    None => "",
                    Some(ProfitSharing::Yes) => "Y",
                    Some(ProfitSharing::No) => "N",
                },
            ),
            ("scene_info", &scene_info),
        ];
        request::write_with(&self.order, &fields, signer, nonce)
    }
}
