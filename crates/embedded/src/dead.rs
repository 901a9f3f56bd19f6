//! The dead letters port.

use async_trait::async_trait;
use paybell_core::dead::DeadLetter;
use paybell_core::ports::{DeadLetters, PAGE_ROWS_MAX, PortError};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::StoreError;
use crate::store::{self, LETTER_COLUMNS};

#[async_trait]
impl DeadLetters for Engine {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        let letter = letter.clone();
        self.inner.writer.call(move |store| store.bury(&letter)).await
    }

    async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError> {
        let limit = i64::try_from(limit.min(PAGE_ROWS_MAX)).unwrap_or(i64::MAX);
        self.inner.readers.call(move |connection| list(connection, after, limit)).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError> {
        self.inner.readers.call(move |connection| store::dead_letter(connection, id)).await
    }

    async fn remove(&self, id: Uuid) -> Result<bool, PortError> {
        let remove = move |store: &mut store::Store<'_>| {
            let sql = "DELETE FROM dead_letters WHERE id = ?1";
            Ok(store.connection.prepare_cached(sql)?.execute([id.to_string()])? > 0)
        };
        self.inner.writer.call(remove).await
    }
}

/// The texts of ids sort as the ids do.
fn list(connection: &Connection, after: Option<Uuid>, limit: i64) -> Result<Vec<DeadLetter>, StoreError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let sql = format!("SELECT {LETTER_COLUMNS} FROM dead_letters WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after, limit])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(store::letter_of(row)?);
    }
    Ok(letters)
}
