//! The queue ports: checks are rows; a delivery is a row kept in hand in memory.
//!
//! After a restart nothing is in hand, so everything that was not settled is delivered again.

use std::sync::Arc;

use async_trait::async_trait;
use paybell_core::check::{Check, Lane};
use paybell_core::dead::DeadLetter;
use paybell_core::ports::{CheckQueue, CheckSource, Delivery, PAGE_ROWS_MAX, PortError, Settle};
use rusqlite::{Connection, params};

use crate::engine::{Engine, lane_word};
use crate::error::{StoreError, closed};
use crate::lane::{LaneState, Malformed, Offer};
use crate::store::Store;
use crate::writer::Writer;

/// Rows that one fetch brings into memory.
const FETCH_ROWS: usize = 512;

/// So much of an unreadable document goes into its dead letter.
const SAMPLE_CHARS_MAX: usize = 200;

/// The cadence lane has an index of its own; the urgent one passes over the few cadence rows.
const FETCH_URGENT: &str = "SELECT id, CAST(document AS BLOB) FROM checks NOT INDEXED \
     WHERE lane = 'urgent' AND id > ?1 ORDER BY id LIMIT ?2";
const FETCH_CADENCE: &str = "SELECT id, CAST(document AS BLOB) FROM checks INDEXED BY checks_cadence \
     WHERE lane = 'cadence' AND id > ?1 ORDER BY id LIMIT ?2";

#[async_trait]
impl CheckQueue for Engine {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        let rows: Vec<(Lane, Vec<u8>)> = checks.iter().map(|check| (check.lane(), check.to_json())).collect();
        self.inner.writer.call(move |store| insert(store, &rows)).await
    }

    async fn backlog(&self, lane: Lane) -> Result<u64, PortError> {
        Ok(self.inner.shared.lane(lane).backlog())
    }

    /// One process has the file.
    fn counts_all_hands(&self) -> bool {
        true
    }
}

#[async_trait]
impl CheckSource for Engine {
    async fn receive(&self, lane: Lane, max: usize) -> Result<Vec<Delivery>, PortError> {
        let state = self.inner.shared.lane(lane).clone();
        loop {
            let arrived = state.arrived();
            self.bury_malformed(lane, &state).await?;
            match state.take(max.min(PAGE_ROWS_MAX)) {
                Offer::Checks(checks) => {
                    return Ok(checks.into_iter().map(|row| self.delivery(row, lane, &state)).collect());
                }
                Offer::FetchAfter(id) => self.fetch(lane, &state, id).await?,
                Offer::Nothing => arrived.await,
                Offer::Closed => return Err(closed()),
            }
        }
    }
}

impl Engine {
    fn delivery(&self, (id, check): (i64, Check), lane: Lane, state: &Arc<LaneState>) -> Delivery {
        let in_hand = InHand {
            id,
            check: Some(check.clone()),
            lane,
            state: state.clone(),
            writer: self.inner.writer.clone(),
        };
        Delivery::new(check, Box::new(in_hand))
    }

    /// Brings rows into the lane's memory; that happens on the reader's thread, so whoever asked may go.
    async fn fetch(&self, lane: Lane, state: &Arc<LaneState>, after: i64) -> Result<(), PortError> {
        let state = state.clone();
        self.inner.readers.call(move |connection| fetch(connection, lane, &state, after)).await
    }

    async fn bury_malformed(&self, lane: Lane, state: &Arc<LaneState>) -> Result<(), PortError> {
        let rows = state.take_malformed();
        if rows.is_empty() {
            return Ok(());
        }
        let burial = Burial { rows, state: state.clone(), is_done: false };
        burial.run(lane, &self.inner.writer).await
    }
}

/// Malformed rows on their way to the dead letters; given back to the lane if that does not end well.
struct Burial {
    rows: Vec<Malformed>,
    state: Arc<LaneState>,
    is_done: bool,
}

impl Burial {
    async fn run(mut self, lane: Lane, writer: &Writer) -> Result<(), PortError> {
        let rows = self.rows.clone();
        let bury = move |store: &mut Store<'_>| {
            for row in &rows {
                // A row that is gone was buried before.
                if delete(store, row.id, lane)? {
                    store.bury(&DeadLetter::malformed(row.cause.as_str(), store.now))?;
                }
            }
            Ok(())
        };
        writer.call(bury).await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Burial {
    fn drop(&mut self) {
        if !self.is_done {
            self.state.give_back_malformed(std::mem::take(&mut self.rows));
        }
    }
}

/// A check in somebody's hand.
struct InHand {
    id: i64,
    /// Absent once it is settled.
    check: Option<Check>,
    lane: Lane,
    state: Arc<LaneState>,
    writer: Writer,
}

#[async_trait]
impl Settle for InHand {
    async fn done(mut self: Box<Self>) -> Result<(), PortError> {
        let (id, lane) = (self.id, self.lane);
        self.writer.call(move |store| delete(store, id, lane).map(drop)).await?;
        self.check = None;
        Ok(())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(check) = self.check.take() {
            self.state.give_back(self.id, check);
        }
    }
}

fn insert(store: &mut Store<'_>, rows: &[(Lane, Vec<u8>)]) -> Result<(), StoreError> {
    let mut statement = store
        .connection
        .prepare_cached("INSERT INTO checks (lane, document) VALUES (?1, CAST(?2 AS TEXT))")?;
    for (lane, document) in rows {
        let id = statement.insert(params![lane_word(*lane), document])?;
        let effects = store.effects.lane(*lane);
        effects.published += 1;
        effects.newest_id = Some(id);
    }
    Ok(())
}

fn delete(store: &mut Store<'_>, id: i64, lane: Lane) -> Result<bool, StoreError> {
    let deleted = store.connection.prepare_cached("DELETE FROM checks WHERE id = ?1")?.execute([id])?;
    if deleted > 0 {
        store.effects.lane(lane).done += 1;
    }
    Ok(deleted > 0)
}

fn fetch(connection: &Connection, lane: Lane, state: &LaneState, after: i64) -> Result<(), StoreError> {
    let sql = match lane {
        Lane::Urgent => FETCH_URGENT,
        Lane::Cadence => FETCH_CADENCE,
    };
    let newest_id = state.newest_id();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![after, i64::try_from(FETCH_ROWS).unwrap_or(i64::MAX)])?;
    let mut fetched = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let document = row.get_ref(1)?.as_blob().unwrap_or_default();
        let check = Check::from_json(document).map_err(|error| {
            let sample: String = String::from_utf8_lossy(document).chars().take(SAMPLE_CHARS_MAX).collect();
            Malformed { id, cause: format!("{error}: {sample}") }
        });
        fetched.push((id, check));
    }
    // A short page reached every row that was committed before the query.
    let is_full = fetched.len() >= FETCH_ROWS;
    let last_id = fetched.last().map_or(after, |(id, _)| *id);
    let reached_id = if is_full { last_id } else { last_id.max(newest_id) };
    state.fetched(fetched, reached_id);
    Ok(())
}
