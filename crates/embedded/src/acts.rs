//! The acts port: what operators did. A row is written before an act's effect; its outcome is the only column that ever
//! changes, once.

use async_trait::async_trait;
use paybell_core::act::{ACT_AGE_MAX, Act, ActEntry};
use paybell_core::ids::MchId;
use paybell_core::ports::{ActFilter, ActOrder, ActPage, Acts, PAGE_ROWS_MAX, PortError};
use paybell_core::time::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::store::Store;

/// Old rows that go with a new one.
const STEP_ROWS: i64 = 100;

#[async_trait]
impl Acts for Engine {
    async fn begin(&self, act: &Act) -> Result<u64, PortError> {
        let act = act.clone();
        self.inner.writer.call(move |store| begin(store, &act)).await
    }

    async fn conclude(&self, number: u64, outcome: &str) -> Result<(), PortError> {
        let outcome = outcome.to_owned();
        let end = move |store: &mut Store<'_>| {
            let sql = "UPDATE acts SET outcome = ?2 WHERE number = ?1 AND outcome IS NULL";
            store.connection.prepare_cached(sql)?.execute(params![number.cast_signed(), outcome])?;
            Ok(())
        };
        self.inner.writer.call(end).await
    }

    async fn list(&self, filter: &ActFilter, after: Option<u64>, limit: usize) -> Result<ActPage, PortError> {
        let (filter, limit) = (filter.clone(), limit.clamp(1, PAGE_ROWS_MAX));
        self.inner.readers.call(move |connection| list(connection, &filter, after, limit)).await
    }
}

fn begin(store: &Store<'_>, act: &Act) -> Result<u64, StoreError> {
    let connection = store.connection;
    let sql =
        "DELETE FROM acts WHERE number IN (SELECT number FROM acts ORDER BY number LIMIT ?1) AND at < ?2";
    let oldest_kept = (act.at - ACT_AGE_MAX).millis();
    connection.prepare_cached(sql)?.execute(params![STEP_ROWS, oldest_kept])?;
    let sql =
        "INSERT INTO acts (at, who, peer, action, object, mch_id, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mch_id = act.mch_id.as_ref().map(MchId::as_str);
    let values = params![act.at.millis(), act.who, act.peer, act.action, act.object, mch_id, act.why];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(connection.last_insert_rowid().cast_unsigned())
}

fn list(
    connection: &Connection,
    filter: &ActFilter,
    after: Option<u64>,
    limit: usize,
) -> Result<ActPage, StoreError> {
    let (comparison, direction, from) = match filter.order {
        ActOrder::NewestFirst => ("<", "DESC", i64::MAX),
        ActOrder::OldestFirst => (">", "ASC", 0),
    };
    let sql = format!(
        "SELECT number, at, who, peer, action, object, mch_id, why, outcome FROM acts WHERE number {comparison} ?1 \
         AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR mch_id = ?3) ORDER BY number {direction} LIMIT ?4"
    );
    let from = after.map_or(from, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let action = filter.action.map(|action| action.as_str());
    let mch_id = filter.mch_id.as_ref().map(MchId::as_str);
    let rows = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![from, action, mch_id, rows])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().map_or(after.unwrap_or(0), |entry| entry.number);
    Ok(ActPage { entries, next, has_more })
}

fn entry(row: &Row<'_>) -> Result<ActEntry, StoreError> {
    let number: i64 = row.get(0)?;
    let mch_id: Option<String> = row.get(6)?;
    let mch_id = mch_id.map(MchId::new).transpose();
    let act = Act {
        at: Timestamp::from_millis(row.get(1)?),
        who: row.get(2)?,
        peer: row.get(3)?,
        action: row.get(4)?,
        object: row.get(5)?,
        mch_id: mch_id.map_err(|error| StoreError::Corrupt(format!("act {number}: {error}")))?,
        why: row.get(7)?,
    };
    Ok(ActEntry { number: number.cast_unsigned(), act, outcome: row.get(8)? })
}
