//! The event log port. A cursor is a position and the id of the event there.

use async_trait::async_trait;
use paybell_core::event::{Event, EventType};
use paybell_core::ports::{Cursor, EventFilter, EventLog, EventPage, LogRead, PAGE_ROWS_MAX, PortError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::{StoreError, closed};
use crate::store::Store;

/// Rows that one read looks at, so that a filter that matches nothing still ends.
const SCAN_ROWS_MAX: usize = 10_000;

#[async_trait]
impl EventLog for Engine {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let rows: Vec<EventRow> = events.iter().map(EventRow::of).collect();
        self.inner.writer.call(move |store| append(store, &rows)).await
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        let scan = Scan { filter: filter.clone(), limit: limit.clamp(1, PAGE_ROWS_MAX) };
        self.inner.readers.call(move |connection| read(connection, after, &scan)).await
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        self.inner.readers.call(end).await
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        let mut log_end = self.inner.shared.log_end();
        // A cursor of another log is answered at once too: reading it will tell.
        let is_at = |end: &Option<i64>| end.map(i64::cast_unsigned) != Some(past.position);
        let end = *log_end.wait_for(is_at).await.map_err(|_| closed())?;
        end.map(drop).ok_or_else(closed)
    }
}

/// An event as its row.
struct EventRow {
    id: String,
    kind: EventType,
    mch_id: String,
    document: String,
}

impl EventRow {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            kind: event.kind,
            mch_id: event.mch_id().as_str().to_owned(),
            document: event.to_json(),
        }
    }
}

fn append(store: &mut Store<'_>, rows: &[EventRow]) -> Result<(), StoreError> {
    let sql = "INSERT INTO events (id, type, mch_id, appended_at, document) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (id) DO NOTHING";
    let mut statement = store.connection.prepare_cached(sql)?;
    for row in rows {
        let now = store.now.millis();
        let added = statement.execute(params![row.id, row.kind.as_str(), row.mch_id, now, row.document])?;
        if added > 0 {
            store.effects.log_end = Some(store.connection.last_insert_rowid());
        }
    }
    Ok(())
}

struct Scan {
    filter: EventFilter,
    limit: usize,
}

fn read(connection: &Connection, after: Option<Cursor>, scan: &Scan) -> Result<LogRead, StoreError> {
    // One snapshot, so that pruning cannot come between the cursor's check and the page.
    let snapshot = connection.unchecked_transaction()?;
    let oldest = oldest(&snapshot)?;
    let from = match after {
        Some(cursor) if cursor != oldest && !stands(&snapshot, cursor)? => {
            return Ok(LogRead::Gone { oldest });
        }
        Some(cursor) => cursor,
        None => oldest,
    };
    page(&snapshot, from, scan).map(LogRead::Page)
}

/// The place before the oldest event that is kept.
fn oldest(connection: &Connection) -> Result<Cursor, StoreError> {
    let sql = "SELECT position, id FROM events_pruned";
    let pruned = connection.prepare_cached(sql)?.query_row([], |row| Ok(cursor_of(row))).optional()?;
    pruned.unwrap_or(Ok(Cursor::START))
}

/// Whether the cursor's event is at its position.
fn stands(connection: &Connection, cursor: Cursor) -> Result<bool, StoreError> {
    let Ok(position) = i64::try_from(cursor.position) else { return Ok(false) };
    let sql = "SELECT position, id FROM events WHERE position = ?1";
    let found = connection.prepare_cached(sql)?.query_row([position], |row| Ok(cursor_of(row))).optional()?;
    Ok(found.transpose()? == Some(cursor))
}

fn page(connection: &Connection, from: Cursor, scan: &Scan) -> Result<EventPage, StoreError> {
    let sql = "SELECT position, id, type, mch_id, document FROM events WHERE position > ?1 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([from.position.cast_signed()])?;
    let mut page = EventPage { events: Vec::new(), next: from, has_more: false };
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let is_wanted = matches(row, &scan.filter)?;
        looked_at += 1;
        if looked_at > SCAN_ROWS_MAX || (is_wanted && page.events.len() >= scan.limit) {
            page.has_more = true;
            break;
        }
        let cursor = cursor_of(row)?;
        if is_wanted {
            page.events.push((cursor, event_of(row)?));
        }
        page.next = cursor;
    }
    Ok(page)
}

fn matches(row: &Row<'_>, filter: &EventFilter) -> Result<bool, StoreError> {
    let (kind, mch_id) = (row.get_ref(2)?.as_bytes().ok(), row.get_ref(3)?.as_bytes().ok());
    let kind_fits = filter.kind.is_none_or(|wanted| kind == Some(wanted.as_str().as_bytes()));
    let mch_id_fits = filter.mch_id.as_ref().is_none_or(|wanted| mch_id == Some(wanted.as_str().as_bytes()));
    Ok(kind_fits && mch_id_fits)
}

fn event_of(row: &Row<'_>) -> Result<Event, StoreError> {
    let document: String = row.get(4)?;
    serde_json::from_str(&document).map_err(|error| StoreError::Corrupt(format!("event: {error}")))
}

fn cursor_of(row: &Row<'_>) -> Result<Cursor, StoreError> {
    let (position, id): (i64, String) = (row.get(0)?, row.get(1)?);
    let id =
        Uuid::parse_str(&id).map_err(|error| StoreError::Corrupt(format!("event {position}: {error}")))?;
    Ok(Cursor { position: position.cast_unsigned(), id })
}

fn end(connection: &Connection) -> Result<Cursor, StoreError> {
    let sql = "SELECT position, id FROM events ORDER BY position DESC LIMIT 1";
    let newest = connection.prepare_cached(sql)?.query_row([], |row| Ok(cursor_of(row))).optional()?;
    newest.unwrap_or_else(|| oldest(connection))
}
