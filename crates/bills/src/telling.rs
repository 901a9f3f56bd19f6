//! What a stored result leads to: checks into the queue, and the event into the log. Both may be repeated; the ledger
//! and the event's id keep repeats out.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::event::{BillData, BillSums};
use paybell_core::money::{Balance, FEN_MAX};
use paybell_core::ports::CheckQueue;
use paybell_core::{Check, Day, Lane, MchId};
use reconcile::{Reconciliation, Stopped, Sums};
use tokio::runtime::Handle;

use crate::book::Stage;
use crate::error::Error;
use crate::work::{Hand, Outlet};

/// Checks that go into the queue at once.
const BATCH: usize = 100;
/// Notifications travel in the same lane: while so many checks wait there, a bill's do not join them.
const BACKLOG_MAX: u64 = 200;
const BACKLOG_PAUSE: Duration = Duration::from_millis(200);

/// What the event says of a result.
pub(crate) fn data(result: &Reconciliation, mch_id: &MchId, date: Day, is_shadow: bool) -> BillData {
    BillData {
        mch_id: mch_id.clone(),
        date,
        rows: result.rows,
        sums: result.sums.iter().map(sums).collect(),
        totals_agree: result.totals_off.is_empty(),
        billed: result.checks,
        differences: result.counts.iter().map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
        shadow: is_shadow,
    }
}

fn sums(sums: &Sums) -> BillSums {
    let fen =
        |fen: i64| Balance::new(fen.clamp(-FEN_MAX, FEN_MAX)).expect("clamped to what a balance can be");
    let (sign, units) = (if sums.fee_units < 0 { "-" } else { "" }, sums.fee_units.unsigned_abs());
    BillSums {
        fee_type: sums.fee_type.clone(),
        payments: sums.payments,
        refunds_made: sums.refunds_made,
        gross: fen(sums.gross),
        settled: fen(sums.settled),
        refunds: fen(sums.refunds),
        fees: fen(sums.fees),
        fees_exact: format!("{sign}{}.{:05}", units / 100_000, units % 100_000),
        net: fen(sums.net),
    }
}

/// Publishes checks as fast as the queue's lane has room.
#[derive(Clone)]
pub(crate) struct Publisher {
    pub queue: Arc<dyn CheckQueue>,
    pub hand: Hand,
    /// How long a batch waits for room; nothing where nobody makes any while we work.
    pub patience: Option<Duration>,
}

impl Publisher {
    pub async fn publish(&self, checks: &[Check], before: u64, total: u64) -> Result<(), Error> {
        let mut done = before;
        for batch in checks.chunks(BATCH) {
            if let Some(patience) = self.patience {
                let room = tokio::time::timeout(patience, self.room());
                room.await.map_err(|_| Error::NoRoom)??;
            }
            self.go_on()?;
            self.queue.publish(batch).await?;
            done += u64::try_from(batch.len()).unwrap_or(0);
            self.hand.note(Stage::Publishing, done, Some(total));
        }
        Ok(())
    }

    async fn room(&self) -> Result<(), Error> {
        while self.queue.backlog(Lane::Urgent).await? > BACKLOG_MAX {
            self.go_on()?;
            tokio::time::sleep(BACKLOG_PAUSE).await;
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.hand.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// Publishes while the bill is compared once more.
pub(crate) struct Outflow {
    pub publisher: Publisher,
    pub handle: Handle,
    pub batch: Vec<Check>,
    pub done: u64,
    pub total: u64,
    /// Why it ended the comparison.
    pub failed: Option<Error>,
}

impl Outflow {
    fn flush(&mut self) -> Result<(), Stopped> {
        let batch = std::mem::take(&mut self.batch);
        let published = self.handle.block_on(self.publisher.publish(&batch, self.done, self.total));
        self.done += u64::try_from(batch.len()).unwrap_or(0);
        published.map_err(|error| {
            let stopped = Stopped(error.to_string());
            self.failed = Some(error);
            stopped
        })
    }
}

impl Outlet for Outflow {
    fn put(&mut self, check: &Check) -> Result<(), Stopped> {
        self.batch.push(check.clone());
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paybell_core::Currency;

    #[test]
    fn fees_are_written_as_the_bill_writes_them() {
        let of = |fee_units| Sums {
            fee_type: Currency::CNY,
            payments: 0,
            refunds_made: 0,
            gross: 0,
            settled: 0,
            refunds: 0,
            fees: 0,
            fee_units,
            net: 0,
        };
        for (units, text) in
            [(0, "0.00000"), (1_200, "0.01200"), (-3_000, "-0.03000"), (1_234_567, "12.34567")]
        {
            assert_eq!(sums(&of(units)).fees_exact, text);
        }
    }
}
