//! Opening and closing: the lock, the schema, the threads. The ports are in the files named after them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use paybell_core::cadence::Cadence;
use paybell_core::check::Lane;
use paybell_core::ports::{PortError, Tally};
use rusqlite::Connection;

use crate::clock::{LedgerClock, WallClock};
use crate::config::{EngineConfig, Retention};
use crate::error::{OpenError, StoreError};
use crate::lane::LaneState;
use crate::lock::FolderLock;
use crate::readers::Readers;
use crate::restart::free_leases;
use crate::retention::Keeper;
use crate::schema;
use crate::shared::Shared;
use crate::store::Store;
use crate::wal;
use crate::writer::{Writer, WriterThread};

/// The embedded engine; a handle that is cheap to clone. Implements every port of `paybell_core::ports`.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub writer: Writer,
    pub readers: Readers,
    pub shared: Arc<Shared>,
    pub clock: Arc<LedgerClock>,
    pub cadence: Arc<Cadence>,
    pub retention: Retention,
    /// The last tally, and until when it is good.
    pub tally: tokio::sync::Mutex<Option<(Duration, Tally)>>,
    threads: Mutex<Option<Threads>>,
}

/// Held by the engine, so that the folder is free only when no thread works on it.
struct Threads {
    handles: Vec<JoinHandle<()>>,
    keeper: Keeper,
    lock: Arc<FolderLock>,
}

impl Engine {
    /// Locks the folder, brings the file up to date, and starts the threads.
    pub fn open(config: EngineConfig, clock: Arc<dyn WallClock>) -> Result<Self, OpenError> {
        let data_dir = config.data_dir.as_path();
        let clock = Arc::new(LedgerClock::new(clock));
        let lock = Arc::new(FolderLock::take(data_dir, config.errand, clock.now())?);
        let unreadable = |error: StoreError| database_error(data_dir, &error);
        let mut connection = schema::open_writer(data_dir).map_err(unreadable)?;
        schema::migrate(&mut connection, data_dir)?;
        let shared = Arc::new(count(&connection).map_err(unreadable)?);
        let (writer, receiver) = Writer::channel();
        let (readers, reader_thread) = Readers::channel(config.data_dir.clone());
        let (wal, checkpointer) = wal::keeper(data_dir, config.wal_bytes_max);
        let writer_thread = WriterThread {
            receiver,
            data_dir: config.data_dir.clone(),
            connection: Some(connection),
            clock: clock.clone(),
            shared: shared.clone(),
            wal,
            is_failing: false,
        };
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| start(name, work, lock.clone());
        let mut handles = vec![
            start("paybell-writer", Box::new(move || writer_thread.run()))?,
            start("paybell-checkpoint", Box::new(move || checkpointer.run()))?,
        ];
        for _ in 0..config.reader_threads.max(1) {
            let reader = reader_thread.clone();
            handles.push(start("paybell-reader", Box::new(move || reader.run()))?);
        }
        let (keeper, retention_thread) = Keeper::new(writer.clone(), config.retention);
        handles.push(start("paybell-retention", Box::new(move || retention_thread.run()))?);
        let threads = Mutex::new(Some(Threads { handles, keeper, lock }));
        let (cadence, retention) = (Arc::new(config.cadence), config.retention);
        let tally = tokio::sync::Mutex::new(None);
        let inner = Inner { writer, readers, shared, clock, cadence, retention, tally, threads };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the leases that an earlier process held, and makes their orders due now. For the start of a process: the
    /// folder's lock proves that the holders are dead.
    pub async fn free_leases(&self) -> Result<usize, PortError> {
        let write = |store: &mut Store<'_>| free_leases(store.connection, store.now);
        self.inner.writer.call(write).await
    }

    /// Writes for real and changes nothing: an error means that nothing could be stored now.
    pub async fn probe(&self) -> Result<(), PortError> {
        let write = |store: &mut Store<'_>| schema::rewrite_version(store.connection);
        self.inner.writer.call(write).await
    }

    /// Finishes the writes that wait, ends the threads and frees the folder. Everything asked later is `Unavailable`.
    pub async fn close(&self) {
        let inner = &self.inner;
        inner.writer.close().await;
        inner.readers.close().await;
        inner.shared.close();
        let threads = inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { handles, keeper, lock }) = threads else { return };
        drop(keeper);
        let joined = tokio::task::spawn_blocking(move || {
            for handle in handles {
                let name = handle.thread().name().unwrap_or("?").to_owned();
                if handle.join().is_err() {
                    tracing::error!(thread.name = name, "the thread {name} ended by a panic");
                }
            }
            drop(lock);
        });
        if joined.await.is_err() {
            tracing::error!("the threads of the embedded store could not be joined");
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("retention", &self.inner.retention).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Without a close the threads end by themselves, and the folder is free when the last one has.
    fn drop(&mut self) {
        self.writer.close_now();
        self.readers.close_now();
        self.shared.close();
    }
}

fn start(
    name: &str,
    work: Box<dyn FnOnce() + Send>,
    lock: Arc<FolderLock>,
) -> Result<JoinHandle<()>, OpenError> {
    let run = move || {
        work();
        drop(lock);
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)
}

fn database_error(data_dir: &Path, error: &StoreError) -> OpenError {
    let cause = match error {
        StoreError::Sql(error) => error.to_string(),
        StoreError::Corrupt(cause) => cause.clone(),
    };
    OpenError::Database { path: data_dir.join(schema::FILE_NAME), cause }
}

/// What is kept in memory beside the file.
fn count(connection: &Connection) -> Result<Shared, StoreError> {
    let newest: i64 =
        connection.query_row("SELECT coalesce(max(id), 0) FROM checks", [], |row| row.get(0))?;
    let all: i64 = connection.query_row("SELECT count(*) FROM checks", [], |row| row.get(0))?;
    let cadence: i64 =
        connection.query_row("SELECT count(*) FROM checks WHERE lane = 'cadence'", [], |row| row.get(0))?;
    let log_end: i64 =
        connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    let lane = |backlog: i64| LaneState::new(u64::try_from(backlog).unwrap_or(0), newest);
    Ok(Shared::new(lane(all.saturating_sub(cadence)), lane(cadence), log_end))
}

/// The word of a lane in the file.
pub(crate) fn lane_word(lane: Lane) -> &'static str {
    match lane {
        Lane::Urgent => "urgent",
        Lane::Cadence => "cadence",
    }
}
