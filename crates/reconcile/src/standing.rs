//! How an order stands in the ledger: of a record, what a bill can agree or disagree with.

use paybell_core::money::{Currency, Fen};
use paybell_core::record::{Record, State};
use paybell_core::refund::{Refund, RefundState as Known};
use paybell_core::time::Timestamp;

/// How an order stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub out_trade_no: String,
    pub state: State,
    /// The payment that the state stands on.
    pub payment: Option<PaymentHere>,
    /// Transactions that were told as second payments.
    pub second_transactions: Vec<String>,
    /// `None` where single refunds are not known.
    pub refunds: Option<Vec<RefundStanding>>,
    /// The order was never met but by one of its refunds: nothing was told of its payment.
    pub by_refund_only: bool,
    pub updated_at: Timestamp,
}

/// A payment as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHere {
    pub transaction_id: Option<String>,
    pub fee: Option<Fen>,
    pub fee_type: Currency,
    pub paid_at: Option<Timestamp>,
}

/// A refund as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundStanding {
    pub out_refund_no: String,
    pub refund_id: Option<String>,
    pub fee: Option<Fen>,
    pub state: RefundState,
    /// The ledger's own word for the state.
    pub word: &'static str,
}

/// What has become of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundState {
    /// Asked for, under way, or stuck: it may still become either.
    Open,
    Done,
    /// Closed or refused: nothing went back.
    NotMade,
}

impl Standing {
    /// How the order of a record stands.
    #[must_use]
    pub fn of(record: Record) -> Self {
        let own = record.transaction_id().cloned();
        let second_transactions = record
            .events()
            .filter_map(|event| event.order()?.transaction_id.as_ref())
            .filter(|id| Some(*id) != own.as_ref())
            .map(|id| id.as_str().to_owned())
            .collect();
        let payment = record.payment.map(|payment| PaymentHere {
            transaction_id: payment.transaction_id.map(String::from),
            fee: payment.total_fee,
            fee_type: payment.fee_type,
            paid_at: payment.paid_at,
        });
        let refunds: Vec<RefundStanding> = record.refunds.iter().map(RefundStanding::of).collect();
        Self {
            out_trade_no: record.key.out_trade_no.into(),
            state: record.state,
            payment,
            second_transactions,
            // That some money went back may be known from the order alone.
            refunds: Some(refunds).filter(|all| !all.is_empty()),
            by_refund_only: record.progress.refund_only,
            updated_at: record.updated_at,
        }
    }

    /// Whether it stands on a payment, told or held back.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        use State::{Mismatch, Paid, Refunded, Rejected};
        matches!(self.state, Paid | Refunded | Mismatch | Rejected)
            && self.payment.is_some()
            && !self.by_refund_only
    }
}

impl RefundStanding {
    fn of(refund: &Refund) -> Self {
        let told = refund.facts.as_ref().map(|facts| facts.refund_fee);
        Self {
            out_refund_no: refund.out_refund_no.as_str().to_owned(),
            refund_id: refund.facts.as_ref().map(|facts| facts.refund_id.as_str().to_owned()),
            fee: told.or_else(|| refund.request.as_ref().map(|request| request.refund_fee)),
            state: match refund.state {
                Known::Succeeded => RefundState::Done,
                Known::Closed | Known::Refused => RefundState::NotMade,
                Known::Asked | Known::Notified | Known::Processing | Known::Abnormal => RefundState::Open,
            },
            word: refund.state.as_str(),
        }
    }
}
