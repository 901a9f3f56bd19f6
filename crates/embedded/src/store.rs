//! What a job of the writer may do with the rows. Every change goes through here, so that the counters cannot drift.
//!
//! Refuses to commit and to answer: the writer does, for the whole group.

use paybell_core::check::Lane;
use paybell_core::dead::DeadLetter;
use paybell_core::ids::{OrderKey, OutRefundNo};
use paybell_core::lease::Write;
use paybell_core::ports::PortError;
use paybell_core::record::{Record, State};
use paybell_core::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::error::StoreError;
use crate::row;

/// The writer's connection within one transaction.
pub(crate) struct Store<'a> {
    pub connection: &'a Connection,
    /// The ledger's clock, read after the last job of the group was submitted.
    pub now: Timestamp,
    pub effects: Effects,
}

/// What a group changes in memory once it is committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    /// Per lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneEffects; 2],
    /// Per state, in the order of [`State::ALL`].
    states: [i64; 8],
    /// The position of the newest event, if any was appended.
    pub log_end: Option<i64>,
}

/// What a group changes in one lane.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneEffects {
    pub published: u64,
    pub done: u64,
    pub newest_id: Option<i64>,
}

impl Effects {
    pub fn lane(&mut self, lane: Lane) -> &mut LaneEffects {
        let [urgent, cadence] = &mut self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Cadence => cadence,
        }
    }

    fn count(&mut self, state: State, change: i64) {
        for (one, count) in State::ALL.into_iter().zip(&mut self.states) {
            if one == state {
                *count += change;
            }
        }
    }
}

impl Store<'_> {
    /// The record of an order.
    pub fn load(&self, key: &OrderKey) -> Result<Option<Record>, StoreError> {
        load(self.connection, key)
    }

    /// Stores what a transition said, over `stored`.
    pub fn write(&mut self, stored: Option<&Record>, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Keep => Ok(()),
            Write::Put(record) => self.put(stored, record),
            Write::Delete => stored.map_or(Ok(()), |record| self.delete(&record.key, record.state)),
        }
    }

    /// Stores a record over `stored`.
    pub fn put(&mut self, stored: Option<&Record>, record: &Record) -> Result<(), StoreError> {
        let sql = if stored.is_some() { row::UPDATE } else { row::INSERT };
        row::write(&mut self.connection.prepare_cached(sql)?, record)?;
        let before = stored.map(|stored| stored.state);
        if before != Some(record.state) {
            before.into_iter().for_each(|state| self.effects.count(state, -1));
            self.effects.count(record.state, 1);
        }
        Ok(())
    }

    /// Forgets an order.
    pub fn delete(&mut self, key: &OrderKey, state: State) -> Result<(), StoreError> {
        let sql = "DELETE FROM orders WHERE mch_id = ?1 AND out_trade_no = ?2";
        let deleted = self
            .connection
            .prepare_cached(sql)?
            .execute(params![key.mch_id.as_str(), key.out_trade_no.as_str()])?;
        if deleted > 0 {
            self.effects.count(state, -1);
        }
        Ok(())
    }

    /// Stores a letter, or raises the count of the one with its id.
    pub fn bury(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        let known = dead_letter(self.connection, letter.id)?;
        let letter = match known {
            Some(known) => known.repeated(letter.clone()),
            None => letter.clone(),
        };
        let sql = "INSERT OR REPLACE INTO dead_letters \
                   (id, mch_id, out_trade_no, reason, detail, count, first_at, last_at, document, out_refund_no) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.connection.prepare_cached(sql)?.execute(params![
            letter.id.to_string(),
            letter.mch_id,
            letter.out_trade_no,
            letter.reason.as_str(),
            letter.detail,
            letter.count.cast_signed(),
            letter.first_at.millis(),
            letter.last_at.millis(),
            letter.document,
            letter.refund.as_ref().map(OutRefundNo::as_str),
        ])?;
        Ok(())
    }

    /// Writes the group's changes of the counts per state.
    pub fn flush_counts(&self) -> Result<(), StoreError> {
        let sql = "INSERT INTO order_counts (state, orders) VALUES (?1, ?2) \
                   ON CONFLICT (state) DO UPDATE SET orders = orders + excluded.orders";
        for (state, change) in State::ALL.into_iter().zip(self.effects.states) {
            if change != 0 {
                self.connection.prepare_cached(sql)?.execute(params![state.as_str(), change])?;
            }
        }
        Ok(())
    }
}

/// The record of an order.
pub(crate) fn load(connection: &Connection, key: &OrderKey) -> Result<Option<Record>, StoreError> {
    let sql = format!("SELECT {} FROM orders WHERE mch_id = ?1 AND out_trade_no = ?2", row::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![key.mch_id.as_str(), key.out_trade_no.as_str()])?;
    rows.next()?.map(row::read).transpose()
}

/// The columns that [`letter_of`] reads.
pub(crate) const LETTER_COLUMNS: &str =
    "id, mch_id, out_trade_no, reason, detail, count, first_at, last_at, document, out_refund_no";

/// One dead letter.
pub(crate) fn dead_letter(connection: &Connection, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    let sql = format!("SELECT {LETTER_COLUMNS} FROM dead_letters WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(letter_of).transpose()
}

/// The letter of a row of [`LETTER_COLUMNS`], or what is shown in the place of one that cannot be read: it must not hide
/// the others.
pub(crate) fn letter_of(row: &Row<'_>) -> Result<DeadLetter, StoreError> {
    let id: String = row.get(0)?;
    let id = Uuid::parse_str(&id).map_err(|error| StoreError::Corrupt(format!("dead letter: {error}")))?;
    match whole_letter_of(row, id) {
        Err(error) if error.is_unreadable() => {
            Ok(DeadLetter::unreadable(id, &text_of(row)?, PortError::from(&error)))
        }
        letter => letter,
    }
}

fn whole_letter_of(row: &Row<'_>, id: Uuid) -> Result<DeadLetter, StoreError> {
    let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("dead letter: {error}"));
    let reason: String = row.get(3)?;
    let refund: Option<String> = row.get(9)?;
    Ok(DeadLetter {
        id,
        mch_id: row.get(1)?,
        out_trade_no: row.get(2)?,
        reason: serde_json::from_value(reason.into()).map_err(|error| corrupt(&error))?,
        detail: row.get(4)?,
        count: row.get::<_, i64>(5)?.cast_unsigned(),
        first_at: Timestamp::from_millis(row.get(6)?),
        last_at: Timestamp::from_millis(row.get(7)?),
        document: row.get(8)?,
        refund: refund.map(OutRefundNo::new).transpose().map_err(|error| corrupt(&error))?,
    })
}

/// A row as it stands, as a JSON text.
fn text_of(row: &Row<'_>) -> Result<String, StoreError> {
    let mut fields = serde_json::Map::new();
    for (place, name) in LETTER_COLUMNS.split(", ").enumerate() {
        let value = match row.get_ref(place)? {
            ValueRef::Null => continue,
            ValueRef::Integer(number) if name.ends_with("_at") => {
                Timestamp::from_millis(number).rfc3339().into()
            }
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
        };
        fields.insert(name.to_owned(), value);
    }
    Ok(serde_json::Value::Object(fields).to_string())
}
