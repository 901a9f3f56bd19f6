//! Payments that the ledger holds, by the day they were made: what a bill is compared with.
//!
//! An order counts from when its state stands on a payment, told or held back, and lies at WeChat's own moment of
//! success (`time_end`). Judges nothing.

use crate::ids::{MchId, OutTradeNo, TransactionId};
use crate::money::{Currency, Fen};
use crate::ports::{OrderFilter, PortError, Records};
use crate::record::{Record, State};
use crate::time::Timestamp;

/// Which payments a walk shows: those of one merchant with a moment of success from `from` to before `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidFilter {
    pub mch_id: MchId,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// An order with its payment, as short as a bill shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidOrder {
    pub out_trade_no: OutTradeNo,
    pub state: State,
    pub transaction_id: Option<TransactionId>,
    pub total_fee: Option<Fen>,
    pub fee_type: Currency,
    pub paid_at: Timestamp,
}

/// A page of a walk over payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidPage {
    pub orders: Vec<PaidOrder>,
    /// Where to continue, also when the page is empty.
    pub next: String,
    pub has_more: bool,
}

impl PaidOrder {
    /// `None` while the record's state stands on no payment, or WeChat did not say when it was made.
    pub fn of(record: &Record) -> Option<Self> {
        use State::{Mismatch, Paid, Refunded, Rejected};
        let payment = record.payment.as_ref()?;
        matches!(record.state, Paid | Refunded | Mismatch | Rejected).then_some(())?;
        Some(Self {
            out_trade_no: record.key.out_trade_no.clone(),
            state: record.state,
            transaction_id: payment.transaction_id.clone(),
            total_fee: payment.total_fee,
            fee_type: payment.fee_type.clone(),
            paid_at: payment.paid_at?,
        })
    }
}

impl PaidFilter {
    /// The payment of a record that the filter lets through.
    pub fn admits(&self, record: &Record) -> Option<PaidOrder> {
        let paid = PaidOrder::of(record).filter(|_| record.key.mch_id == self.mch_id)?;
        (self.from..self.until).contains(&paid.paid_at).then_some(paid)
    }

    /// The walk for a ledger without a shorter way: over all orders of the merchant.
    pub(crate) async fn walk<R: Records + ?Sized>(
        &self,
        records: &R,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<PaidPage>, PortError> {
        let filter = OrderFilter { state: None, mch_id: Some(self.mch_id.clone()) };
        let Some(page) = records.list(&filter, after, limit).await? else { return Ok(None) };
        let orders = page.records.iter().filter_map(|record| self.admits(record)).collect();
        Ok(Some(PaidPage { orders, next: page.next, has_more: page.has_more }))
    }
}
