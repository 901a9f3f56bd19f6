//! Retention: forgets what is old, in small steps, so that no write waits long behind one.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use paybell_core::ids::OrderKey;
use paybell_core::ports::PortError;
use paybell_core::record::State;
use paybell_core::time::Millis;
use rusqlite::params;

use crate::businesses;
use crate::config::Retention;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;

/// How often retention looks.
const EVERY: Duration = Duration::from_secs(60);

/// Rows of each kind that one step removes.
const STEP_ROWS: i64 = 500;

/// How many rows were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub orders: u64,
    pub events: u64,
    /// Business orders: what links several numbers at WeChat.
    pub businesses: u64,
}

impl Engine {
    /// Forgets everything that is old by now; it happens by itself once a minute.
    pub async fn prune(&self) -> Result<Pruned, PortError> {
        let retention = self.inner.retention;
        let mut all = Pruned::default();
        loop {
            let step = self.inner.writer.call(move |store| prune_step(store, &retention)).await?;
            all.add(step);
            if step == Pruned::default() {
                return Ok(all);
            }
        }
    }
}

/// The engine's hold on the retention thread: dropping it ends the thread.
pub(crate) struct Keeper {
    _stop: SyncSender<()>,
}

pub(crate) struct RetentionThread {
    stopped: Receiver<()>,
    writer: Writer,
    retention: Retention,
}

impl Keeper {
    pub fn new(writer: Writer, retention: Retention) -> (Self, RetentionThread) {
        let (stop, stopped) = sync_channel(1);
        (Self { _stop: stop }, RetentionThread { stopped, writer, retention })
    }
}

impl RetentionThread {
    /// Until the keeper is dropped.
    pub fn run(self) {
        while let Err(RecvTimeoutError::Timeout) = self.stopped.recv_timeout(EVERY) {
            let retention = self.retention;
            // A failure is the writer's to report; the next round tries again.
            while self
                .writer
                .call_blocking(move |store| prune_step(store, &retention))
                .is_ok_and(|step| step != Pruned::default())
            {}
        }
    }
}

impl Pruned {
    fn add(&mut self, step: Pruned) {
        self.orders += step.orders;
        self.events += step.events;
        self.businesses += step.businesses;
    }
}

fn prune_step(store: &mut Store<'_>, retention: &Retention) -> Result<Pruned, StoreError> {
    let disputed = [State::Mismatch, State::Rejected];
    let is_disputed = |state: &State| disputed.contains(state);
    let mut orders = prune_orders(store, retention.orders, |state| !is_disputed(state))?;
    orders += prune_orders(store, retention.disputed, is_disputed)?;
    let businesses = businesses::prune(store, STEP_ROWS)?;
    Ok(Pruned { orders, events: prune_events(store, retention.events)?, businesses })
}

/// A record with a due time is not at rest, and a leased one always has a due time.
fn prune_orders(
    store: &mut Store<'_>,
    age: Millis,
    is_meant: impl Fn(&State) -> bool,
) -> Result<u64, StoreError> {
    let states: Vec<String> = State::ALL
        .iter()
        .filter(|state| is_meant(state))
        .map(|state| format!("'{}'", state.as_str()))
        .collect();
    let sql = format!(
        "SELECT mch_id, out_trade_no, state FROM orders INDEXED BY orders_at_rest \
         WHERE due_at IS NULL AND lease_token IS NULL AND updated_at < ?1 AND state IN ({}) \
         ORDER BY updated_at LIMIT ?2",
        states.join(", ")
    );
    let before = (store.now - age).millis();
    let old: Vec<(String, String, String)> = store
        .connection
        .prepare_cached(&sql)?
        .query_map(params![before, STEP_ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut pruned = 0;
    for (mch_id, out_trade_no, state) in old {
        let key = OrderKey::new(mch_id, out_trade_no);
        let (Ok(key), Some(state)) = (key, State::parse(&state)) else { continue };
        store.delete(&key, state)?;
        pruned += 1;
    }
    Ok(pruned)
}

/// Remembers the newest that goes: its cursor is where the log now begins.
fn prune_events(store: &mut Store<'_>, age: Millis) -> Result<u64, StoreError> {
    let before = (store.now - age).millis();
    let sql = "SELECT position, id, appended_at FROM events ORDER BY position LIMIT ?1";
    let rows: Vec<(i64, String, i64)> = store
        .connection
        .prepare_cached(sql)?
        .query_map([STEP_ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let Some((position, id, _)) = rows.into_iter().take_while(|row| row.2 < before).last() else {
        return Ok(0);
    };
    let sql = "INSERT OR REPLACE INTO events_pruned (only_row, position, id) VALUES (1, ?1, ?2)";
    store.connection.prepare_cached(sql)?.execute(params![position, id])?;
    let deleted =
        store.connection.prepare_cached("DELETE FROM events WHERE position <= ?1")?.execute([position])?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}
