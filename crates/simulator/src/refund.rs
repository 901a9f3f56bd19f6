//! One refund as WeChat holds it, what it takes to make one by control, and the truth about it for an oracle. Plain data:
//! the rules of refunding are in `refunding`, the wire names in the endpoints.

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

use crate::{
    clock,
    order::{Coupon, Order},
};

/// A refund's name: unique per merchant number, whatever order it is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefundKey {
    pub mch_id: String,
    pub out_refund_no: String,
}

/// `refund_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefundState {
    Processing,
    /// The money went back.
    Success,
    /// The bank refused: a person must handle it in the merchant platform.
    Change,
    /// Given up; the money is the merchant's again.
    RefundClose,
}

impl RefundState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RefundState::Processing => "PROCESSING",
            RefundState::Success => "SUCCESS",
            RefundState::Change => "CHANGE",
            RefundState::RefundClose => "REFUNDCLOSE",
        }
    }
}

impl fmt::Display for RefundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A refund made without a signed request, as by a person in the merchant platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    pub refund_fee: u64,
    /// Absent: one made up from the order's number and the count of its refunds.
    #[serde(default)]
    pub out_refund_no: Option<String>,
    /// Where to tell of its end; absent: the merchant's setting (`refund_notify_urls`), if there is one.
    #[serde(default)]
    pub notify_url: Option<String>,
    /// `PROCESSING` ends by the clock like any other; absent: `SUCCESS` at once.
    #[serde(default = "success")]
    pub state: RefundState,
}

impl NewRefund {
    /// One that has succeeded at once.
    #[must_use]
    pub fn new(refund_fee: u64) -> NewRefund {
        NewRefund { refund_fee, out_refund_no: None, notify_url: None, state: success() }
    }
}

fn success() -> RefundState {
    RefundState::Success
}

/// What the simulator holds as true about a refund.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefundTruth {
    pub mch_id: String,
    pub out_trade_no: String,
    pub sub_mch_id: Option<String>,
    pub transaction_id: String,
    pub out_refund_no: String,
    pub refund_id: String,
    pub refund_fee: u64,
    pub refund_status: RefundState,
    /// `REFUND_SOURCE_UNSETTLED_FUNDS` or `REFUND_SOURCE_RECHARGE_FUNDS`.
    pub refund_account: &'static str,
    /// `API` or `VENDOR_PLATFORM`.
    pub refund_request_source: &'static str,
    /// RFC 3339.
    pub requested_at: String,
    pub ended_at: Option<String>,
    /// How often it was asked for, repeats included.
    pub requests: u64,
    pub queries: u64,
    pub notifications_sent: u64,
    pub notification_acknowledged: bool,
}

/// Which of the merchant's funds pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Unsettled,
    Recharge,
}

impl Account {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Account::Unsettled => "REFUND_SOURCE_UNSETTLED_FUNDS",
            Account::Recharge => "REFUND_SOURCE_RECHARGE_FUNDS",
        }
    }

    /// WeChat's default without a word.
    pub(crate) fn read(word: Option<&str>) -> Option<Account> {
        match word {
            None | Some("REFUND_SOURCE_UNSETTLED_FUNDS") => Some(Account::Unsettled),
            Some("REFUND_SOURCE_RECHARGE_FUNDS") => Some(Account::Recharge),
            Some(_) => None,
        }
    }
}

/// A refund of an order in the book. Shared by `Arc`, changed by replacement, together with its order.
#[derive(Clone)]
pub(crate) struct Refund {
    pub(crate) out_refund_no: String,
    pub(crate) refund_id: String,
    pub(crate) refund_fee: u64,
    pub(crate) account: Account,
    /// `API` or `VENDOR_PLATFORM`.
    pub(crate) source: &'static str,
    pub(crate) notify_url: Option<String>,
    pub(crate) state: RefundState,
    /// What goes back of the coupons: each with its share.
    pub(crate) coupons: Vec<Coupon>,
    pub(crate) requested_ms: i64,
    pub(crate) requested: Duration,
    pub(crate) ended_ms: Option<i64>,
    /// By the real clock, when it came to its state: how long queries lag.
    pub(crate) since: Instant,
    pub(crate) traffic: Arc<RefundTraffic>,
}

/// Counts about one refund that change without a new version of it.
#[derive(Default)]
pub(crate) struct RefundTraffic {
    pub(crate) requests: AtomicU64,
    pub(crate) queries: AtomicU64,
    pub(crate) notifications_sent: AtomicU64,
    pub(crate) notifications_acknowledged: AtomicU64,
}

impl Refund {
    pub(crate) fn key(&self, mch_id: &str) -> RefundKey {
        RefundKey { mch_id: mch_id.to_owned(), out_refund_no: self.out_refund_no.clone() }
    }

    /// Whether its money is on its way or gone.
    pub(crate) fn holds_money(&self) -> bool {
        self.state != RefundState::RefundClose
    }

    pub(crate) fn coupon_fee(&self) -> u64 {
        self.coupons.iter().map(|coupon| coupon.fee).sum()
    }

    /// Less coupons that nobody paid for.
    pub(crate) fn settlement_fee(&self) -> u64 {
        let not_prepaid = self.coupons.iter().filter(|coupon| coupon.is_not_prepaid());
        self.refund_fee.saturating_sub(not_prepaid.map(|coupon| coupon.fee).sum())
    }

    /// The payer's account, as far as it is told.
    pub(crate) fn receiver(&self, bank_type: &str) -> String {
        match bank_type {
            "CFT" | "OTHERS" => "支付用户零钱".to_owned(),
            bank => format!("{bank}0403"),
        }
    }

    pub(crate) fn truth(&self, order: &Order) -> RefundTruth {
        RefundTruth {
            mch_id: order.key.mch_id.clone(),
            out_trade_no: order.key.out_trade_no.clone(),
            sub_mch_id: order.sub_mch_id.clone(),
            transaction_id: order.paid.as_ref().map(|paid| paid.transaction_id.clone()).unwrap_or_default(),
            out_refund_no: self.out_refund_no.clone(),
            refund_id: self.refund_id.clone(),
            refund_fee: self.refund_fee,
            refund_status: self.state,
            refund_account: self.account.as_str(),
            refund_request_source: self.source,
            requested_at: clock::rfc3339(self.requested_ms),
            ended_at: self.ended_ms.map(clock::rfc3339),
            requests: self.traffic.requests.load(Relaxed),
            queries: self.traffic.queries.load(Relaxed),
            notifications_sent: self.traffic.notifications_sent.load(Relaxed),
            notification_acknowledged: self.traffic.notifications_acknowledged.load(Relaxed) > 0,
        }
    }
}
