//! The dead letters port.

use async_trait::async_trait;
use paybell_core::dead::{DeadLetter, Removed, removal};
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

    async fn remove(&self, read: &DeadLetter) -> Result<Removed, PortError> {
        let read = read.clone();
        let remove = move |store: &mut store::Store<'_>| {
            let stored = store::dead_letter(store.connection, read.id)?;
            let removed = removal(stored.as_ref(), &read);
            if removed == Removed::Gone {
                let sql = "DELETE FROM dead_letters WHERE id = ?1";
                store.connection.prepare_cached(sql)?.execute([read.id.to_string()])?;
            }
            Ok(removed)
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
        match store::letter_of(row) {
            Err(error) if error.is_unreadable() => {
                tracing::warn!(
                    "a dead letter without an id of ours is left out: {}",
                    PortError::from(&error)
                );
            }
            letter => letters.push(letter?),
        }
    }
    Ok(letters)
}
