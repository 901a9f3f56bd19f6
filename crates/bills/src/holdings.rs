//! The ledger as a comparison sees it: pages of payments, and how orders stand. Blocks its thread while it waits for
//! the engine, so it belongs on a thread of its own.

use std::sync::Arc;

use paybell_core::paid::{PaidFilter, PaidOrder};
use paybell_core::ports::{PAGE_ROWS_MAX, PortError, Records};
use paybell_core::{MchId, OrderKey, OutTradeNo, Timestamp};
use reconcile::{Held, HeldPage, Ledger, LedgerError, Standing};
use tokio::runtime::Handle;

/// What the ledger holds of one merchant.
pub struct Holdings {
    pub records: Arc<dyn Records>,
    pub mch_id: MchId,
    pub handle: Handle,
}

impl Ledger for Holdings {
    fn held(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<HeldPage, LedgerError> {
        let filter = PaidFilter { mch_id: self.mch_id.clone(), from, until };
        let page = self.handle.block_on(self.records.paid(&filter, after, PAGE_ROWS_MAX))?;
        let page =
            page.ok_or_else(|| LedgerError::Other("the walk over the ledger lost its place".to_owned()))?;
        let held = page.orders.into_iter().map(held).collect();
        Ok(HeldPage { held, next: page.has_more.then_some(page.next) })
    }

    fn standings(&mut self, numbers: &[OutTradeNo]) -> Result<Vec<Option<Standing>>, LedgerError> {
        let key =
            |number: &OutTradeNo| OrderKey { mch_id: self.mch_id.clone(), out_trade_no: number.clone() };
        let keys: Vec<OrderKey> = numbers.iter().map(key).collect();
        let records = self.handle.block_on(self.records.get_many(&keys))?;
        Ok(records.into_iter().map(|record| record.map(Standing::of)).collect())
    }
}

fn held(order: PaidOrder) -> Held {
    Held {
        out_trade_no: order.out_trade_no.into(),
        transaction_id: order.transaction_id.map(String::from),
        fee: order.total_fee,
        fee_type: order.fee_type,
        state: order.state,
        paid_at: order.paid_at,
    }
}

/// Whether the ledger holds any payment made then: if so, there must be a bill.
pub(crate) async fn holds_any(records: &dyn Records, filter: &PaidFilter) -> Result<bool, PortError> {
    let mut after: Option<String> = None;
    loop {
        let Some(page) = records.paid(filter, after.as_deref(), PAGE_ROWS_MAX).await? else {
            return Ok(true);
        };
        if !page.orders.is_empty() {
            return Ok(true);
        }
        if !page.has_more {
            return Ok(false);
        }
        after = Some(page.next);
    }
}
