//! The due set port: which orders' time has come.

use async_trait::async_trait;
use paybell_core::check::{Check, Lane};
use paybell_core::claim;
use paybell_core::dead::{DeadLetter, DeadReason};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DueSet, PAGE_ROWS_MAX, PortError};
use paybell_core::record::Record;
use paybell_core::time::Timestamp;
use rusqlite::{Row, params};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::row;
use crate::store::Store;

/// The conditions are those of the partial indexes, word for word.
const DUE_URGENT: &str = "SELECT mch_id, out_trade_no, due_at, due_cause, claim FROM orders \
     WHERE due_at IS NOT NULL AND due_cause <> 'cadence' AND due_at <= ?1 ORDER BY due_at LIMIT ?2";
const DUE_CADENCE: &str = "SELECT mch_id, out_trade_no, due_at, due_cause, claim FROM orders \
     WHERE due_at IS NOT NULL AND due_cause = 'cadence' AND due_at <= ?1 ORDER BY due_at LIMIT ?2";
const EARLIEST: &str = "SELECT \
     (SELECT min(due_at) FROM orders WHERE due_at IS NOT NULL AND due_cause <> 'cadence'), \
     (SELECT min(due_at) FROM orders WHERE due_at IS NOT NULL AND due_cause = 'cadence')";

#[async_trait]
impl DueSet for Engine {
    async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        self.inner.writer.call(move |store| claim_due(store, lane, limit)).await
    }

    async fn lag_ms(&self) -> Result<i64, PortError> {
        let earliest = self.inner.readers.call(|connection| {
            let both: (Option<i64>, Option<i64>) =
                connection.prepare_cached(EARLIEST)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok([both.0, both.1].into_iter().flatten().min())
        });
        let Some(earliest) = earliest.await? else { return Ok(0) };
        Ok(self.inner.clock.now().since(Timestamp::from_millis(earliest)).0.max(0))
    }
}

fn claim_due(store: &mut Store<'_>, lane: Lane, limit: usize) -> Result<Vec<Check>, StoreError> {
    let due = due_records(store, lane, limit)?;
    due.unreadable.iter().try_for_each(|passed| pass_over(store, passed))?;
    let sql = "UPDATE orders SET claim = ?3, due_at = ?4 WHERE mch_id = ?1 AND out_trade_no = ?2";
    let mut update = store.connection.prepare_cached(sql)?;
    let mut checks = Vec::with_capacity(due.records.len());
    for mut record in due.records {
        let Some(check) = claim::claim(&mut record, store.now) else { continue };
        update.execute(params![
            record.key.mch_id.as_str(),
            record.key.out_trade_no.as_str(),
            record.claim.cast_signed(),
            record.due.map(|due| due.at.millis()),
        ])?;
        checks.push(check);
    }
    Ok(checks)
}

/// What is due.
#[derive(Default)]
struct DueRecords {
    /// With what a claim reads and writes, and nothing else.
    records: Vec<Record>,
    unreadable: Vec<PassedOver>,
}

/// A row that is due and cannot be read.
struct PassedOver {
    mch_id: String,
    out_trade_no: String,
    cause: String,
}

/// Every other order's time has come too: this one must not stand in their way. It comes again after as long as a claim
/// lasts, and a letter says so.
fn pass_over(store: &Store<'_>, passed: &PassedOver) -> Result<(), StoreError> {
    let PassedOver { mch_id, out_trade_no, cause } = passed;
    let sql = "UPDATE orders SET due_at = ?3 WHERE mch_id = ?1 AND out_trade_no = ?2";
    let until = store.now + claim::CLAIM_LENGTH;
    store.connection.prepare_cached(sql)?.execute(params![mch_id, out_trade_no, until.millis()])?;
    tracing::error!(mch_id, out_trade_no, "order {out_trade_no} is due and passed over: {cause}");
    match OrderKey::new(mch_id.as_str(), out_trade_no.as_str()) {
        Ok(key) => store.bury(&DeadLetter::about(&key, DeadReason::Unreadable, cause, store.now)),
        Err(_) => Ok(()),
    }
}

fn due_records(store: &Store<'_>, lane: Lane, limit: usize) -> Result<DueRecords, StoreError> {
    let sql = match lane {
        Lane::Urgent => DUE_URGENT,
        Lane::Cadence => DUE_CADENCE,
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = store.connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![store.now.millis(), limit])?;
    let mut due = DueRecords::default();
    while let Some(row) = rows.next()? {
        match due_record(row, store.now) {
            Ok(record) => due.records.push(record),
            Err(error) if error.is_unreadable() => {
                let cause = PortError::from(&error).to_string();
                due.unreadable.push(PassedOver { mch_id: row.get(0)?, out_trade_no: row.get(1)?, cause });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(due)
}

fn due_record(row: &Row<'_>, now: Timestamp) -> Result<Record, StoreError> {
    let mut record = Record::new(row::key(row)?, now, now);
    record.due = row::due(row, (2, 3), &record.key)?;
    record.claim = row.get::<_, i64>(4)?.cast_unsigned();
    Ok(record)
}
