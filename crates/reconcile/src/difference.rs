//! A difference between the bill and the ledger: its kind, both sides, and what may heal it.
//!
//! The words of the kinds are contract: they stand in JSON, CSV, events and metrics. Decides nothing.

use paybell_core::check::Check;
use paybell_core::money::{Currency, Fen};
use paybell_core::time::{Timestamp, rfc3339_option};
use serde::{Deserialize, Serialize, Serializer};

use crate::scope::OutOfScope;

/// In what the bill and the ledger differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The bill has a payment of an order that the ledger does not know.
    PaymentUnknownHere,
    /// The ledger knows the order, and not that it is paid.
    PaymentBehindHere,
    /// The ledger holds the payment back: a person has to accept it, or rejected it.
    PaymentHeldHere,
    /// The ledger holds the order as paid under another transaction_id: a second payment.
    SecondPayment,
    /// The ledger holds a payment of the day, and neither this bill nor a neighbour's has it.
    PaymentOnlyHere,
    /// Paid is another amount here than in the bill.
    Amount,
    /// Paid is in another currency here than in the bill.
    Currency,
    /// The bill has the same payment or refund in more than one row.
    DuplicateRow,
    /// The bill has a refund that the ledger does not know.
    RefundUnknownHere,
    /// The bill has it as done, and the ledger does not yet.
    RefundBehindHere,
    /// The amounts of a refund differ.
    RefundAmount,
    /// One side has the refund as done, and the other as not made.
    RefundState,
    /// The bill says that the payment was reversed; the ledger holds it as paid.
    Reversed,
    /// A row that can be no order of this merchant: another merchant number, or an impossible order number.
    ForeignRow,
    /// A row of another day, further than the edge from midnight.
    OtherDay,
    /// A row in a state that this version does not know.
    UnknownState,
    /// The bill's own totals are not the sums of its rows.
    Totals,
}

impl Kind {
    /// Every kind, in the order of reports.
    pub const ALL: [Kind; 17] = [
        Kind::PaymentUnknownHere,
        Kind::PaymentBehindHere,
        Kind::PaymentHeldHere,
        Kind::SecondPayment,
        Kind::PaymentOnlyHere,
        Kind::Amount,
        Kind::Currency,
        Kind::DuplicateRow,
        Kind::RefundUnknownHere,
        Kind::RefundBehindHere,
        Kind::RefundAmount,
        Kind::RefundState,
        Kind::Reversed,
        Kind::ForeignRow,
        Kind::OtherDay,
        Kind::UnknownState,
        Kind::Totals,
    ];

    /// The word used in documents, events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::PaymentUnknownHere => "payment_unknown_here",
            Kind::PaymentBehindHere => "payment_behind_here",
            Kind::PaymentHeldHere => "payment_held_here",
            Kind::SecondPayment => "second_payment",
            Kind::PaymentOnlyHere => "payment_only_here",
            Kind::Amount => "amount",
            Kind::Currency => "currency",
            Kind::DuplicateRow => "duplicate_row",
            Kind::RefundUnknownHere => "refund_unknown_here",
            Kind::RefundBehindHere => "refund_behind_here",
            Kind::RefundAmount => "refund_amount",
            Kind::RefundState => "refund_state",
            Kind::Reversed => "reversed",
            Kind::ForeignRow => "foreign_row",
            Kind::OtherDay => "other_day",
            Kind::UnknownState => "unknown_state",
            Kind::Totals => "totals",
        }
    }
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Side {
    /// Fen: of the order, or of the refund where the difference is about one.
    pub fee: Option<Fen>,
    pub fee_type: Option<Currency>,
    pub transaction_id: Option<String>,
    /// The bill's own word, or the ledger's.
    pub state: Option<String>,
}

/// Which refund a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundNumbers {
    pub refund_id: Option<String>,
    pub out_refund_no: String,
}

/// Whether a check may heal the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healing {
    /// Publish this check: WeChat is asked, and only its signed answer leads to an event.
    Check(Box<Check>),
    /// Outside the merchant's scope: reported only.
    ReportedOnly(OutOfScope),
}

/// A difference between the bill and the ledger. Read back from a document it has no check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub kind: Kind,
    pub out_trade_no: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_mch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// When it was paid or refunded, as the bill says, else as we do.
    #[serde(with = "rfc3339_option")]
    pub at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<RefundNumbers>,
    /// `None` where the bill does not have it.
    pub bill: Option<Side>,
    /// `None` where the ledger does not have it.
    pub here: Option<Side>,
    /// `checked`, or the word of the reason why it is reported only; `null` where no check could heal it.
    #[serde(serialize_with = "healing_word", skip_deserializing)]
    pub healing: Option<Healing>,
}

impl Difference {
    /// The check to publish, if one may heal it.
    #[must_use]
    pub fn check(&self) -> Option<&Check> {
        match &self.healing {
            Some(Healing::Check(check)) => Some(check),
            _ => None,
        }
    }

    /// `checked`, or why it is reported only.
    #[must_use]
    pub fn healing_word(&self) -> Option<&'static str> {
        match self.healing.as_ref()? {
            Healing::Check(_) => Some("checked"),
            Healing::ReportedOnly(why) => Some(why.as_str()),
        }
    }
}

fn healing_word<S: Serializer>(healing: &Option<Healing>, serializer: S) -> Result<S::Ok, S::Error> {
    match healing {
        None => serializer.serialize_none(),
        Some(Healing::Check(_)) => serializer.serialize_str("checked"),
        Some(Healing::ReportedOnly(why)) => serializer.serialize_str(why.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_word_everywhere() {
        let mut words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
