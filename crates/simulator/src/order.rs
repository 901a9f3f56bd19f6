//! One order as WeChat holds it, what it takes to make one, and the truth about it for an oracle. Plain data: the rules of
//! paying and closing are in `world`, the wire names in `wire`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wechat_pay::sign::Algorithm;

use crate::{clock, error::Error, placing::Prepay, refund::Refund};

/// An order's name: unique per merchant number, also for service providers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderKey {
    pub mch_id: String,
    pub out_trade_no: String,
}

/// `trade_state`. [`TradeState::Other`] plays a state that is not in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum TradeState {
    Success,
    Refund,
    NotPay,
    Closed,
    Revoked,
    UserPaying,
    PayError,
    Accept,
    Other(String),
}

impl TradeState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            TradeState::Success => "SUCCESS",
            TradeState::Refund => "REFUND",
            TradeState::NotPay => "NOTPAY",
            TradeState::Closed => "CLOSED",
            TradeState::Revoked => "REVOKED",
            TradeState::UserPaying => "USERPAYING",
            TradeState::PayError => "PAYERROR",
            TradeState::Accept => "ACCEPT",
            TradeState::Other(word) => word,
        }
    }

    /// Whether the payer's money was taken.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self, TradeState::Success | TradeState::Refund)
    }

    pub(crate) fn description(&self) -> &'static str {
        match self {
            TradeState::Success => "支付成功",
            TradeState::Refund => "订单发生过退款，退款详情请查询退款单",
            TradeState::NotPay => "订单未支付",
            TradeState::Closed => "订单已关闭",
            TradeState::Revoked => "订单已撤销",
            TradeState::UserPaying => "用户支付中，需要输入密码",
            TradeState::PayError => "支付失败",
            TradeState::Accept => "已接收，等待扣款",
            TradeState::Other(_) => "",
        }
    }
}

impl From<String> for TradeState {
    fn from(word: String) -> TradeState {
        match word.as_str() {
            "SUCCESS" => TradeState::Success,
            "REFUND" => TradeState::Refund,
            "NOTPAY" => TradeState::NotPay,
            "CLOSED" => TradeState::Closed,
            "REVOKED" => TradeState::Revoked,
            "USERPAYING" => TradeState::UserPaying,
            "PAYERROR" => TradeState::PayError,
            "ACCEPT" => TradeState::Accept,
            _ => TradeState::Other(word),
        }
    }
}

impl From<TradeState> for String {
    fn from(state: TradeState) -> String {
        state.as_str().to_owned()
    }
}

impl fmt::Display for TradeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An order to place without a signed request, through the control API.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    pub mch_id: String,
    pub out_trade_no: String,
    /// In the smallest unit of the currency; at least 1.
    pub total_fee: u64,
    pub notify_url: String,
    /// Absent: the merchant's first.
    #[serde(default)]
    pub appid: Option<String>,
    #[serde(default)]
    pub sub_appid: Option<String>,
    #[serde(default)]
    pub sub_mch_id: Option<String>,
    #[serde(default)]
    pub fee_type: Option<String>,
    #[serde(default)]
    pub attach: Option<String>,
    /// What is bought, as the payer and the bill see it.
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub device_info: Option<String>,
    /// Absent: one made up from the order's number.
    #[serde(default)]
    pub openid: Option<String>,
    /// Under `sub_appid`.
    #[serde(default)]
    pub sub_openid: Option<String>,
    /// `yyyyMMddHHmmss` of Beijing: no device pays after it.
    #[serde(default)]
    pub time_expire: Option<String>,
    #[serde(default = "jsapi")]
    pub trade_type: String,
    /// `MD5` or `HMAC-SHA256`: how notifications are signed.
    #[serde(default = "md5")]
    pub sign_type: String,
}

impl NewOrder {
    /// A JSAPI order in CNY of the merchant's first app, signed by MD5.
    #[must_use]
    pub fn new(mch_id: &str, out_trade_no: &str, total_fee: u64, notify_url: &str) -> NewOrder {
        NewOrder {
            mch_id: mch_id.to_owned(),
            out_trade_no: out_trade_no.to_owned(),
            total_fee,
            notify_url: notify_url.to_owned(),
            appid: None,
            sub_appid: None,
            sub_mch_id: None,
            fee_type: None,
            attach: None,
            body: None,
            device_info: None,
            openid: None,
            sub_openid: None,
            time_expire: None,
            trade_type: jsapi(),
            sign_type: md5(),
        }
    }

    /// What unifiedorder demands of the fields, by the newest page, but numbers shorter than 6 characters pass.
    pub(crate) fn check(&self) -> Result<Algorithm, Error> {
        let number = self.out_trade_no.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-|*@".contains(byte);
        if !(1..=32).contains(&number.len()) || !number.iter().all(allowed) {
            return Err(Error::invalid("out_trade_no", "1 to 32 digits, letters and _-|*@"));
        }
        if self.total_fee == 0 {
            return Err(Error::invalid("total_fee", "at least 1"));
        }
        let at_till = self.trade_type == "MICROPAY" && self.notify_url.is_empty();
        let absolute = self.notify_url.starts_with("http://") || self.notify_url.starts_with("https://");
        if !at_till && (!absolute || self.notify_url.contains(['?', '#']) || self.notify_url.len() > 256) {
            return Err(Error::invalid(
                "notify_url",
                "an absolute http(s) address without a query string, at most 256 bytes",
            ));
        }
        if self.attach.as_ref().is_some_and(|attach| attach.len() > 128) {
            return Err(Error::invalid("attach", "at most 128 bytes"));
        }
        if !matches!(self.trade_type.as_str(), "JSAPI" | "NATIVE" | "APP" | "MWEB" | "MICROPAY") {
            return Err(Error::invalid("trade_type", "JSAPI, NATIVE, APP, MWEB or MICROPAY"));
        }
        self.sign_type.parse().map_err(|_| Error::invalid("sign_type", "MD5 or HMAC-SHA256"))
    }
}

fn jsapi() -> String {
    "JSAPI".to_owned()
}

fn md5() -> String {
    "MD5".to_owned()
}

/// How an order is paid; everything has a default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payment {
    pub coupons: Vec<Coupon>,
    /// Absent: `OTHERS`.
    pub bank_type: Option<String>,
    /// Absent: made from the order's number and the day.
    pub transaction_id: Option<String>,
    /// When it was paid, `yyyyMMddHHmmss` of Beijing; absent: now.
    pub time_end: Option<String>,
    /// Sends no notification, whatever the faults say.
    pub silent: bool,
}

/// A coupon used in a payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coupon {
    pub id: String,
    pub fee: u64,
    /// `CASH` or `NO_CASH`; real documents leave it out at times, and so does `null`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

impl Coupon {
    /// Whether nobody paid for it, so that it is not settled.
    pub(crate) fn is_not_prepaid(&self) -> bool {
        self.kind.as_deref() == Some("NO_CASH")
    }
}

/// What the simulator holds as true about an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    pub mch_id: String,
    pub out_trade_no: String,
    pub sub_mch_id: Option<String>,
    pub appid: String,
    pub trade_state: TradeState,
    /// Whether money was taken (SUCCESS or REFUND).
    pub paid: bool,
    pub transaction_id: Option<String>,
    pub total_fee: u64,
    pub fee_type: String,
    /// What went back or is on its way.
    pub refunded_fee: u64,
    /// RFC 3339.
    pub created_at: String,
    pub paid_at: Option<String>,
    /// Milliseconds since 1970 of the payment, for latencies.
    pub paid_at_ms: Option<i64>,
    pub queries: u64,
    /// Genuine notifications posted, copies included.
    pub notifications_sent: u64,
    pub notification_acknowledged: bool,
}

/// An order in the book. Shared by `Arc`, changed by replacement.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) key: OrderKey,
    pub(crate) appid: String,
    pub(crate) sub_appid: Option<String>,
    pub(crate) sub_mch_id: Option<String>,
    pub(crate) total_fee: u64,
    pub(crate) fee_type: String,
    pub(crate) attach: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) device_info: Option<String>,
    pub(crate) openid: String,
    pub(crate) sub_openid: Option<String>,
    pub(crate) expire_ms: Option<i64>,
    pub(crate) notify_url: String,
    pub(crate) trade_type: String,
    pub(crate) algorithm: Algorithm,
    /// None if placed by control.
    pub(crate) prepay: Option<Prepay>,
    /// The signed parameters that must not change on a repeat; empty if placed by control.
    pub(crate) parameters: String,
    pub(crate) created_ms: i64,
    /// By the simulator's time.
    pub(crate) created: Duration,
    pub(crate) state: TradeState,
    pub(crate) paid: Option<Paid>,
    /// When a payment was reversed.
    pub(crate) revoked_ms: Option<i64>,
    /// In the order of acceptance.
    pub(crate) refunds: Vec<Arc<Refund>>,
    pub(crate) traffic: Arc<Traffic>,
}

/// A payment that happened.
#[derive(Clone)]
pub(crate) struct Paid {
    pub(crate) transaction_id: String,
    pub(crate) bank_type: String,
    pub(crate) coupons: Vec<Coupon>,
    pub(crate) wall_ms: i64,
    /// By the real clock: how long queries lag.
    pub(crate) at: Instant,
}

impl Paid {
    pub(crate) fn coupon_fee(&self) -> u64 {
        self.coupons.iter().map(|coupon| coupon.fee).sum()
    }

    /// The sum of coupons that are not settled.
    pub(crate) fn not_prepaid_fee(&self) -> u64 {
        self.coupons.iter().filter(|coupon| coupon.is_not_prepaid()).map(|coupon| coupon.fee).sum()
    }
}

/// Counts about one order that change without a new version of it.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) queries: AtomicU64,
    pub(crate) notifications_sent: AtomicU64,
    pub(crate) notifications_acknowledged: AtomicU64,
}

impl Order {
    pub(crate) fn refund(&self, out_refund_no: &str) -> Option<&Arc<Refund>> {
        self.refunds.iter().find(|refund| refund.out_refund_no == out_refund_no)
    }

    /// What went back or is on its way.
    pub(crate) fn refunded_fee(&self) -> u64 {
        self.refunds.iter().filter(|refund| refund.holds_money()).map(|refund| refund.refund_fee).sum()
    }

    /// What is left to refund.
    pub(crate) fn refundable_fee(&self) -> u64 {
        self.total_fee.saturating_sub(self.refunded_fee())
    }

    pub(crate) fn truth(&self) -> Truth {
        let paid = self.paid.as_ref().filter(|_| self.state.is_paid());
        Truth {
            mch_id: self.key.mch_id.clone(),
            out_trade_no: self.key.out_trade_no.clone(),
            sub_mch_id: self.sub_mch_id.clone(),
            appid: self.appid.clone(),
            trade_state: self.state.clone(),
            paid: paid.is_some(),
            transaction_id: paid.map(|paid| paid.transaction_id.clone()),
            total_fee: self.total_fee,
            fee_type: self.fee_type.clone(),
            refunded_fee: self.refunded_fee(),
            created_at: clock::rfc3339(self.created_ms),
            paid_at: paid.map(|paid| clock::rfc3339(paid.wall_ms)),
            paid_at_ms: paid.map(|paid| paid.wall_ms),
            queries: self.traffic.queries.load(Relaxed),
            notifications_sent: self.traffic.notifications_sent.load(Relaxed),
            notification_acknowledged: self.traffic.notifications_acknowledged.load(Relaxed) > 0,
        }
    }
}
