//! The records port: what anybody reads of orders.

use std::time::Duration;

use async_trait::async_trait;
use paybell_core::ids::{MchId, OrderKey};
use paybell_core::ports::{OrderFilter, PAGE_ROWS_MAX, PortError, Records, Tally};
use paybell_core::record::{Record, State};
use paybell_core::time::{Millis, Timestamp};
use rusqlite::{Connection, named_params};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::{row, store};

/// A registered order that is pending for longer counts as unconfirmed.
const UNCONFIRMED: Millis = Millis::seconds(120);

/// How long a tally is good, at least; a slow one is good for longer, so that counting never fills the disk's time.
const TALLY_GOOD: Duration = Duration::from_secs(2);
const TALLY_GOOD_PER_COST: u32 = 20;

#[async_trait]
impl Records for Engine {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        let key = key.clone();
        self.inner.readers.call(move |connection| store::load(connection, &key)).await
    }

    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&OrderKey>,
        limit: usize,
    ) -> Result<Vec<Record>, PortError> {
        let (filter, after) = (filter.clone(), after.cloned());
        let limit = i64::try_from(limit.min(PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
        self.inner.readers.call(move |connection| list(connection, &filter, after.as_ref(), limit)).await
    }

    async fn tally(&self) -> Result<Tally, PortError> {
        let inner = &self.inner;
        let mut last = inner.tally.lock().await;
        let started = inner.clock.monotonic();
        if let Some((good_until, tally)) = last.as_ref()
            && started < *good_until
        {
            return Ok(tally.clone());
        }
        let now = inner.clock.now();
        let tally = inner.readers.call(move |connection| tally(connection, now)).await?;
        let ended = inner.clock.monotonic();
        let good = TALLY_GOOD.max(ended.saturating_sub(started).saturating_mul(TALLY_GOOD_PER_COST));
        *last = Some((ended.saturating_add(good), tally.clone()));
        Ok(tally)
    }
}

fn list(
    connection: &Connection,
    filter: &OrderFilter,
    after: Option<&OrderKey>,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    // A literal state lets SQLite use the index of that condition; paid orders are most of the table itself.
    let state = match filter.state {
        None => String::new(),
        Some(State::Paid) => " AND state = 'paid'".to_owned(),
        Some(state) => format!(" AND state = '{}' AND state <> 'paid'", state.as_str()),
    };
    let merchant = if filter.mch_id.is_some() { " AND mch_id = :mch_id" } else { " AND :mch_id IS NULL" };
    let sql = format!(
        "SELECT {} FROM orders WHERE (mch_id, out_trade_no) > (:after_mch_id, :after_out_trade_no){state}{merchant} \
         ORDER BY mch_id, out_trade_no LIMIT :limit",
        row::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(named_params! {
        ":after_mch_id": after.map_or("", |key| key.mch_id.as_str()),
        ":after_out_trade_no": after.map_or("", |key| key.out_trade_no.as_str()),
        ":mch_id": filter.mch_id.as_ref().map(MchId::as_str),
        ":limit": limit,
    })?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(row::read(row)?);
    }
    Ok(records)
}

fn tally(connection: &Connection, now: Timestamp) -> Result<Tally, StoreError> {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let mut tally = Tally::default();
    let mut statement = connection.prepare_cached("SELECT state, orders FROM order_counts")?;
    let counted: Vec<(String, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    tally.orders = State::ALL
        .into_iter()
        .map(|state| {
            let orders = counted.iter().find(|(word, _)| word == state.as_str());
            (state, orders.map_or(0, |(_, orders)| count(*orders)))
        })
        .collect();
    let sql = "SELECT mch_id, sum(total_fee) FROM orders \
               WHERE state = 'pending' AND state <> 'paid' AND total_fee IS NOT NULL AND created_at < ?1 \
               GROUP BY mch_id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([(now - UNCONFIRMED).millis()])?;
    while let Some(row) = rows.next()? {
        let mch_id = MchId::new(row.get::<_, String>(0)?);
        let mch_id = mch_id.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        tally.unconfirmed_fen.push((mch_id, row.get(1)?));
    }
    let sql = "SELECT count(*) FROM dead_letters";
    tally.dead_letters = count(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?);
    Ok(tally)
}
