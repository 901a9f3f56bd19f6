//! The kinds of event, and their names outside. What each says stands in the event's data.

use serde::{Deserialize, Serialize};

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventType {
    #[serde(rename = "order.paid")]
    Paid,
    #[serde(rename = "order.refunded")]
    Refunded,
    #[serde(rename = "order.closed")]
    Closed,
    #[serde(rename = "order.failed")]
    Failed,
    #[serde(rename = "order.unpaid")]
    Unpaid,
    #[serde(rename = "order.mismatch")]
    Mismatch,
    /// A second payment of one business, under another order number.
    #[serde(rename = "order.duplicate_payment")]
    DuplicatePayment,
    #[serde(rename = "refund.succeeded")]
    RefundSucceeded,
    #[serde(rename = "refund.abnormal")]
    RefundAbnormal,
    #[serde(rename = "refund.closed")]
    RefundClosed,
    /// A day's bill was compared with what we know; the only kind that is about no order.
    #[serde(rename = "bill.reconciled")]
    BillReconciled,
}

impl EventType {
    /// Every kind, for listings and filters.
    pub const ALL: [EventType; 11] = [
        EventType::Paid,
        EventType::Refunded,
        EventType::Closed,
        EventType::Failed,
        EventType::Unpaid,
        EventType::Mismatch,
        EventType::DuplicatePayment,
        EventType::RefundSucceeded,
        EventType::RefundAbnormal,
        EventType::RefundClosed,
        EventType::BillReconciled,
    ];

    /// The CloudEvents `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Paid => "order.paid",
            EventType::Refunded => "order.refunded",
            EventType::Closed => "order.closed",
            EventType::Failed => "order.failed",
            EventType::Unpaid => "order.unpaid",
            EventType::Mismatch => "order.mismatch",
            EventType::DuplicatePayment => "order.duplicate_payment",
            EventType::RefundSucceeded => "refund.succeeded",
            EventType::RefundAbnormal => "refund.abnormal",
            EventType::RefundClosed => "refund.closed",
            EventType::BillReconciled => "bill.reconciled",
        }
    }

    /// The type of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_name() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
