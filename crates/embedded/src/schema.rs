//! The tables, their versions, and how a connection is set up.
//!
//! A stranger who opens the file with `sqlite3` starts at the table `readme`, then at the views `orders_readable` and
//! `events_readable`. A released step of [`MIGRATIONS`] is never edited; a change is a new step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{OpenError, StoreError};

pub(crate) const FILE_NAME: &str = "paybell.db";

/// Step `n` leads from schema version `n` to `n + 1`; `PRAGMA user_version` holds the version.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1_tables.sql"),
    include_str!("schema/2_readable.sql"),
    include_str!("schema/3_documents.sql"),
    include_str!("schema/4_notes.sql"),
    include_str!("schema/5_acts.sql"),
    include_str!("schema/6_businesses.sql"),
    include_str!("schema/7_payments.sql"),
    include_str!("schema/8_refund_letters.sql"),
];

/// How long a connection waits for a lock; only a foreign program can hold one against us for long.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

const STATEMENTS_CACHED_MAX: usize = 64;

/// Opens the connection that writes, without touching the schema.
pub(crate) fn open_writer(data_dir: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        data_dir.join(FILE_NAME),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Corrupt(format!("journal mode is {mode}: this file system allows no WAL")));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -32000; \
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(data_dir: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        data_dir.join(FILE_NAME),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection)?;
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    Ok(())
}

/// Brings the file to this version's schema.
pub(crate) fn migrate(connection: &mut Connection, data_dir: &Path) -> Result<(), OpenError> {
    let path = data_dir.join(FILE_NAME);
    let failed =
        |error: rusqlite::Error| OpenError::Database { path: path.clone(), cause: error.to_string() };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= MIGRATIONS.len()) else {
        return Err(OpenError::Newer { path: PathBuf::from(&path), found, known });
    };
    for (version, sql) in (1_i64..).zip(MIGRATIONS).skip(done) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

/// Writes the schema's version again: a page of the file, with everything that storing one needs.
pub(crate) fn rewrite_version(connection: &Connection) -> Result<(), StoreError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    connection.pragma_update(None, "user_version", version)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: i64 = 8;

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_file_is_brought_up_to_date_with_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = open_writer(dir.path()).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.execute_batch("PRAGMA user_version = 1").unwrap();
        connection
            .execute_batch(
                r#"INSERT INTO orders (mch_id, out_trade_no, state, version, created_at, updated_at, claim, detail)
                   VALUES ('1900000109', 'T1', 'paid', 1, 1795147200000, 1795147200000, 0,
                           '{"payment":{"transaction_id":"42","total_fee":1999,"paid_at":"2026-11-20T12:00:03+08:00"}}'),
                          ('1900000109', 'T2', 'pending', 1, 1795147200000, 1795147200000, 0, NULL)"#,
            )
            .unwrap();
        migrate(&mut connection, dir.path()).unwrap();
        let paid = |number: &str| -> (Option<i64>, Option<i64>, Option<String>, Option<String>) {
            let sql =
                "SELECT paid_at, paid_fee, paid_fee_type, transaction_id FROM orders WHERE out_trade_no = ?1";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            connection.query_row(sql, [number], read).unwrap()
        };
        let cny = Some("CNY".to_owned());
        assert_eq!(paid("T1"), (Some(1_795_147_203_000), Some(1999), cny, Some("42".to_owned())));
        assert_eq!(paid("T2"), (None, None, None, None));
        assert_eq!(version(&connection), LATEST);
        let created: String =
            connection.query_row("SELECT created_at FROM orders_readable", [], |row| row.get(0)).unwrap();
        assert_eq!(created, "2026-11-20 12:00:00 +08:00");
        migrate(&mut connection, dir.path()).unwrap();
        assert_eq!(version(&connection), LATEST, "a second run changes nothing");
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = open_writer(dir.path()).unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
        let error = migrate(&mut connection, dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
        assert_eq!(version(&connection), 99);
    }

    #[test]
    fn a_commit_is_fsynced_and_the_file_is_in_wal_mode() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open_writer(dir.path()).unwrap();
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "2 is FULL");
    }
}
