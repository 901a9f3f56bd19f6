//! The records port: what anybody reads of orders.

use std::time::Duration;

use async_trait::async_trait;
use paybell_core::ids::{MchId, OrderKey};
use paybell_core::paid::{PaidFilter, PaidPage};
use paybell_core::ports::{OrderFilter, OrderPage, PAGE_ROWS_MAX, PortError, Records, Tally};
use paybell_core::record::{Record, State};
use paybell_core::time::{Millis, Timestamp};
use rusqlite::{Connection, named_params};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::{paid, row, store};

/// A registered order that is pending for longer counts as unconfirmed.
const UNCONFIRMED: Millis = Millis::seconds(120);

/// How long a tally is good, at least; a slow one is good for longer, so that counting never fills the disk's time.
const TALLY_GOOD: Duration = Duration::from_secs(2);
const TALLY_GOOD_PER_COST: u32 = 20;

/// The cursor before the first record.
const START: &str = "start";

#[async_trait]
impl Records for Engine {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        let key = key.clone();
        self.inner.readers.call(move |connection| store::load(connection, &key)).await
    }

    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<OrderPage>, PortError> {
        let Some(after) = after.map_or(Some(None), place) else { return Ok(None) };
        let (filter, limit) = (filter.clone(), limit.min(PAGE_ROWS_MAX));
        let page = self.inner.readers.call(move |connection| page(connection, &filter, after, limit)).await?;
        Ok(Some(page))
    }

    async fn get_many(&self, keys: &[OrderKey]) -> Result<Vec<Option<Record>>, PortError> {
        let keys: Vec<OrderKey> = keys.iter().take(PAGE_ROWS_MAX).cloned().collect();
        let load = move |connection: &Connection| {
            let load = |key| Ok(row::or_left_out(key, store::load(connection, key))?.flatten());
            keys.iter().map(load).collect::<Result<Vec<_>, _>>()
        };
        self.inner.readers.call(load).await
    }

    async fn paid(
        &self,
        filter: &PaidFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<PaidPage>, PortError> {
        let Some(after) = after.map_or(Some(None), paid::place) else { return Ok(None) };
        let (filter, limit) = (filter.clone(), limit.min(PAGE_ROWS_MAX));
        let walk = move |connection: &Connection| paid::page(connection, &filter, after, limit);
        self.inner.readers.call(walk).await.map(Some)
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

/// One row more than asked for tells whether there is more.
fn page(
    connection: &Connection,
    filter: &OrderFilter,
    after: Option<OrderKey>,
    limit: usize,
) -> Result<OrderPage, StoreError> {
    let asked = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut rows = list(connection, filter, after.as_ref(), asked)?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().map(|(key, _)| key).or(after.as_ref());
    let next = last.map_or_else(|| START.to_owned(), cursor_of);
    let (mut records, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for (key, record) in rows {
        match record {
            Some(record) => records.push(record),
            None => unreadable.push(key),
        }
    }
    Ok(OrderPage { records, unreadable, next, has_more })
}

fn list(
    connection: &Connection,
    filter: &OrderFilter,
    after: Option<&OrderKey>,
    limit: i64,
) -> Result<Vec<(OrderKey, Option<Record>)>, StoreError> {
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
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = row::key(row)?;
        let record = row::or_left_out(&key, row::read(row))?;
        found.push((key, record));
    }
    Ok(found)
}

/// The key in hexadecimal: safe in a URL whatever a shop puts into its numbers.
fn cursor_of(key: &OrderKey) -> String {
    let text = format!("{}/{}", key.mch_id, key.out_trade_no);
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The key that a cursor names, none at the start; `None` if it is no cursor.
fn place(cursor: &str) -> Option<Option<OrderKey>> {
    if cursor == START {
        return Some(None);
    }
    let digits = cursor.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (mch_id, out_trade_no) = text.split_once('/')?;
    OrderKey::new(mch_id, out_trade_no).ok().map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let key = OrderKey::new("1900000109", "T|*@-1").unwrap();
        assert_eq!(place(&cursor_of(&key)), Some(Some(key)));
        assert_eq!(place(START), Some(None));
        for bad in ["", "zz", "31", "3", "\u{5546}", "2f2f"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
