//! The notes port: a text under a name, replaced by compare-and-set.

use async_trait::async_trait;
use paybell_core::ports::{NOTE_BYTES_MAX, Note, Notes, PAGE_ROWS_MAX, PortError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::engine::Engine;
use crate::error::{StoreError, unavailable};
use crate::store::Store;

#[async_trait]
impl Notes for Engine {
    async fn read(&self, name: &str) -> Result<Option<Note>, PortError> {
        let name = name.to_owned();
        self.inner.readers.call(move |connection| read(connection, &name)).await
    }

    async fn write(&self, name: &str, expected: Option<u64>, text: &str) -> Result<bool, PortError> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(unavailable(format!(
                "a note has at most {NOTE_BYTES_MAX} bytes, not {}",
                text.len()
            )));
        }
        let (name, text) = (name.to_owned(), text.to_owned());
        self.inner.writer.call(move |store| write(store, &name, expected, &text)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let prefix = prefix.to_owned();
        self.inner.readers.call(move |connection| list(connection, &prefix)).await
    }
}

fn read(connection: &Connection, name: &str) -> Result<Option<Note>, StoreError> {
    let sql = "SELECT version, text FROM notes WHERE name = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        let version: i64 = row.get(0)?;
        Ok(Note { version: version.cast_unsigned(), text: row.get(1)? })
    };
    Ok(connection.prepare_cached(sql)?.query_row([name], row).optional()?)
}

fn write(store: &Store<'_>, name: &str, expected: Option<u64>, text: &str) -> Result<bool, StoreError> {
    let written = match expected {
        None => {
            let sql =
                "INSERT INTO notes (name, version, text) VALUES (?1, 1, ?2) ON CONFLICT (name) DO NOTHING";
            store.connection.prepare_cached(sql)?.execute(params![name, text])?
        }
        Some(version) => {
            let sql = "UPDATE notes SET version = version + 1, text = ?3 WHERE name = ?1 AND version = ?2";
            store.connection.prepare_cached(sql)?.execute(params![name, version.cast_signed(), text])?
        }
    };
    Ok(written > 0)
}

/// Texts compare by their bytes, so the names with a prefix lie side by side from the prefix itself on.
fn list(connection: &Connection, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT name FROM notes WHERE name >= ?1 ORDER BY name")?;
    let mut rows = statement.query([prefix])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !name.starts_with(prefix) || names.len() >= PAGE_ROWS_MAX {
            break;
        }
        names.push(name);
    }
    Ok(names)
}
