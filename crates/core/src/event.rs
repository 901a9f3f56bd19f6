//! What business services receive: CloudEvents 1.0 with one stable id per fact.

mod bill;
mod kind;
mod read;
mod refund;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

pub use self::bill::{BillData, BillSums};
pub use self::kind::EventType;
use self::read::Document;
pub use self::refund::RefundData;
use crate::ids::{AppId, BusinessNo, MchId, OrderKey, OutTradeNo, TransactionId};
use crate::money::{Currency, Fen};
use crate::observation::{Coupon, Openid};
use crate::time::{Timestamp, rfc3339, rfc3339_option};

/// The namespace of every event id; part of the outside contract.
pub const NAMESPACE: Uuid = uuid!("b1f4c6a2-8d0e-4c57-9a3b-5e2d7f1049c8");

/// How we came to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnedBy {
    Notification,
    Poll,
    Bill,
    Manual,
}

impl LearnedBy {
    /// The word used in documents and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LearnedBy::Notification => "notification",
            LearnedBy::Poll => "poll",
            LearnedBy::Bill => "bill",
            LearnedBy::Manual => "manual",
        }
    }
}

/// In what a payment disagrees with what we expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    Amount,
    Currency,
    /// Nobody registered the order, and the merchant's policy is to hold such payments.
    Unregistered,
    /// A second payment under the same order number.
    SecondTransaction,
}

/// A CloudEvents 1.0 document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document")]
pub struct Event {
    pub specversion: SpecVersion,
    pub id: Uuid,
    pub source: String,
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The order's `out_trade_no`, or the day of a bill.
    pub subject: String,
    /// When we learned it.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    pub datacontenttype: ContentType,
    pub data: EventData,
}

/// Always `1.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecVersion {
    #[serde(rename = "1.0")]
    V1,
}

/// Always `application/json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentType {
    #[serde(rename = "application/json")]
    Json,
}

/// The event's data: which it is, the event's type says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventData {
    Order(Box<OrderData>),
    Bill(Box<BillData>),
}

/// What an event about an order or one of its refunds says. A field is only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderData {
    /// Rises with every event of the order.
    pub version: u64,
    pub mch_id: MchId,
    pub sub_mch_id: Option<MchId>,
    pub appid: Option<AppId>,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: Option<TransactionId>,
    /// Fen.
    pub total_fee: Option<Fen>,
    pub fee_type: Option<Currency>,
    pub cash_fee: Option<Fen>,
    pub settlement_total_fee: Option<Fen>,
    pub coupon_fee: Option<Fen>,
    pub coupons: Vec<Coupon>,
    /// WeChat's own word; null for an order that WeChat does not know.
    pub trade_state: Option<String>,
    pub trade_type: Option<String>,
    pub bank_type: Option<String>,
    pub attach: Option<String>,
    /// WeChat's `time_end`.
    #[serde(with = "rfc3339_option")]
    pub paid_at: Option<Timestamp>,
    pub learned_by: LearnedBy,
    /// Paid after we had already called the order unpaid, closed or failed.
    pub late: bool,
    pub registered: bool,
    /// Decided in shadow mode: what would have been told, under an id of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<Openid>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<RefundData>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
}

/// What `order.duplicate_payment` adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// The shop's own order, which was paid before.
    pub business_no: BusinessNo,
    /// Under this number.
    pub first_out_trade_no: OutTradeNo,
}

/// What `order.mismatch` adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    pub mismatch: Mismatch,
    pub registered_fee: Option<Fen>,
    pub registered_fee_type: Option<Currency>,
}

impl From<OrderData> for EventData {
    fn from(data: OrderData) -> Self {
        Self::Order(Box::new(data))
    }
}

impl From<BillData> for EventData {
    fn from(data: BillData) -> Self {
        Self::Bill(Box::new(data))
    }
}

impl Event {
    /// What it says about an order; `None` if it is about a bill.
    pub fn order(&self) -> Option<&OrderData> {
        match &self.data {
            EventData::Order(data) => Some(data),
            EventData::Bill(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn order_mut(&mut self) -> Option<&mut OrderData> {
        match &mut self.data {
            EventData::Order(data) => Some(data),
            EventData::Bill(_) => None,
        }
    }

    /// What it says about a day's bill.
    pub fn bill(&self) -> Option<&BillData> {
        match &self.data {
            EventData::Bill(data) => Some(data),
            EventData::Order(_) => None,
        }
    }

    /// The order it is about.
    pub fn key(&self) -> Option<OrderKey> {
        let data = self.order()?;
        Some(OrderKey { mch_id: data.mch_id.clone(), out_trade_no: data.out_trade_no.clone() })
    }

    /// Whose order or bill it is.
    pub fn mch_id(&self) -> &MchId {
        match &self.data {
            EventData::Order(data) => &data.mch_id,
            EventData::Bill(data) => &data.mch_id,
        }
    }

    /// How we came to know.
    pub fn learned_by(&self) -> LearnedBy {
        self.order().map_or(LearnedBy::Bill, |data| data.learned_by)
    }

    /// Decided in shadow mode, and told to nobody.
    pub fn is_shadow(&self) -> bool {
        match &self.data {
            EventData::Order(data) => data.shadow,
            EventData::Bill(data) => data.shadow,
        }
    }

    /// WeChat's number of the payment, where the event tells one.
    pub fn transaction_id(&self) -> Option<&TransactionId> {
        self.order()?.transaction_id.as_ref()
    }

    /// The JSON document, exactly as published.
    pub fn to_json(&self) -> String {
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The id of an event: the same fact has the same id, whoever finds it and however often.
///
/// `reference` is the transaction_id for paid, mismatch and refunded, the refund_id for refunds, empty for closed, failed
/// and unpaid.
pub fn event_id(key: &OrderKey, kind: EventType, reference: &str) -> Uuid {
    let name = format!("{}\n{}\n{}\n{}", key.mch_id, key.out_trade_no, kind.as_str(), reference);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The CloudEvents `source` of a merchant.
pub fn source_of(mch_id: &MchId) -> String {
    format!("/paybell/{mch_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_ids_are_the_published_examples() {
        let key = OrderKey::new("1900000109", "T2026112000000001").unwrap();
        assert_eq!(
            event_id(&key, EventType::Paid, "4200001234202611200123456789").to_string(),
            "8803801d-9ff3-598c-bbfa-290c72a9eb8c"
        );
        assert_eq!(event_id(&key, EventType::Unpaid, "").to_string(), "50d4c9ca-b173-57c1-bd61-49086e049084");
    }
}
