//! The question to WeChat, as the worker asks it. Two implementations: the real client, and the simulation's.

use async_trait::async_trait;
use paybell_core::decide::CloseSaid;
use paybell_core::refund::{Refund, RefundAnswer, RefundRequest};
use paybell_core::{Answer, AppId, MchId, OrderKey, OutRefundNo, Record};

/// Which order is asked about, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub key: OrderKey,
    /// The registered appid, else the one a notification named, else the merchant's first.
    pub appid: Option<AppId>,
    pub sub_mch_id: Option<MchId>,
    /// The order's registration names this appid and no other will do.
    pub must_be_appid: bool,
    /// The order's registration names this sub merchant and no other will do.
    pub must_be_sub_mch_id: bool,
    /// Gets its merchant's query slots before all cadence polls.
    pub is_urgent: bool,
}

impl Ask {
    /// The question about a record's order. Always by `out_trade_no`: a notification's transaction_id proves nothing.
    pub fn about(record: &Record) -> Self {
        let registration = record.registration.as_ref();
        let appid = registration.and_then(|registration| registration.appid.clone());
        let sub_mch_id = registration.and_then(|registration| registration.sub_mch_id.clone());
        let seen_as = record.progress.seen_as.as_ref();
        Self {
            key: record.key.clone(),
            must_be_appid: appid.is_some(),
            must_be_sub_mch_id: sub_mch_id.is_some(),
            appid: appid.or_else(|| seen_as.map(|seen| seen.appid.clone())),
            sub_mch_id: sub_mch_id.or_else(|| seen_as.and_then(|seen| seen.sub_mch_id.clone())),
            is_urgent: record.due.is_some_and(|due| due.cause.is_urgent()),
        }
    }

    /// Whether both ask as the same one, so that an answer to the one is an answer to the other.
    pub(crate) fn is_as_whom(&self, other: &Self) -> bool {
        Self { is_urgent: other.is_urgent, ..self.clone() } == *other
    }
}

/// What became of an orderquery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Answered(Answer),
    /// The merchant's rate left no place within a second: put the check off, do not hold it.
    NoSlot,
}

/// What became of a closeorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseAsked {
    /// One last query says the rest.
    Answered(CloseSaid),
    /// It could not be asked, or refused: judge this answer instead.
    Undecided(Answer),
    NoSlot,
}

/// Which refund is meant, of which order, and as whom it is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    pub order: Ask,
    pub out_refund_no: OutRefundNo,
    /// What is sent, the same on every try; absent where it was asked for elsewhere.
    pub request: Option<RefundRequest>,
}

impl RefundAsk {
    /// The question about a refund of the record's order.
    pub fn about(record: &Record, refund: &Refund) -> Self {
        let order = Ask::about(record);
        let payment = record.payment.as_ref();
        let order = Ask {
            // Who was paid is known better than whom a notification named.
            appid: match order.must_be_appid {
                true => order.appid,
                false => payment.and_then(|payment| payment.appid.clone()).or(order.appid),
            },
            sub_mch_id: match order.must_be_sub_mch_id {
                true => order.sub_mch_id,
                false => payment.and_then(|payment| payment.sub_mch_id.clone()).or(order.sub_mch_id),
            },
            ..order
        };
        Self { order, out_refund_no: refund.out_refund_no.clone(), request: refund.request.clone() }
    }
}

/// What became of a call about a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundAsked {
    Answered(RefundAnswer),
    /// Nothing was sent: put the check off.
    NoSlot,
}

/// WeChat, to a worker.
#[async_trait]
pub trait Wechat: Send + Sync {
    /// orderquery.
    async fn query(&self, ask: &Ask) -> Asked;
    /// closeorder.
    async fn close(&self, ask: &Ask) -> CloseAsked;
    /// refund. The same number moves money once, however often it is sent.
    async fn refund(&self, ask: &RefundAsk) -> RefundAsked;
    /// refundquery, by our number.
    async fn refund_query(&self, ask: &RefundAsk) -> RefundAsked;
}
