//! The one thread that writes: group commit.
//!
//! It takes what is queued, runs it in one transaction, and answers all after the commit. There is no timer: while one
//! fsync runs, the next group collects. A job that fails sinks only itself; a disk that fails answers everybody
//! `Unavailable`, and the next group tries again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::PortError;
use rusqlite::Connection;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::sync::{mpsc, oneshot};

use crate::clock::LedgerClock;
use crate::error::{StoreError, closed, unavailable};
use crate::schema;
use crate::shared::Shared;
use crate::store::{Effects, Store};
use crate::wal::WalKeeper;

/// Jobs in one transaction.
const GROUP_JOBS_MAX: usize = 4096;

/// Jobs that wait for the writer.
pub(crate) const QUEUE_JOBS_MAX: usize = 8192;

/// How long a caller waits for room in a full queue.
const QUEUE_WAIT: Duration = Duration::from_millis(500);

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Message>,
}

pub(crate) enum Message {
    Job(Box<dyn Job>),
    Close,
}

/// Something to do within a transaction.
pub(crate) trait Job: Send {
    /// May run more than once; only the last run counts.
    fn run(&mut self, store: &mut Store<'_>) -> Result<(), StoreError>;
    /// After the commit, or the failure.
    fn answer(self: Box<Self>, outcome: Result<(), PortError>);
}

struct Asked<T, F> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<T, F> Job for Asked<T, F>
where
    T: Send,
    F: FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, store: &mut Store<'_>) -> Result<(), StoreError> {
        self.result = Some((self.work)(store)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), PortError>) {
        let Self { result, reply, .. } = *self;
        let result = outcome.and_then(|()| result.ok_or_else(|| unavailable("the job did not run")));
        // Whoever asked may have gone; the write stands all the same.
        let _ = reply.send(result);
    }
}

impl Writer {
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS_MAX);
        (Self { sender }, receiver)
    }

    /// Runs the work in the next group; an `Ok` means that it is committed.
    pub async fn call<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (message, answer) = asked(work);
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(closed()),
            Err(TrySendError::Full(message)) => {
                self.sender.send_timeout(message, QUEUE_WAIT).await.map_err(|error| match error {
                    SendTimeoutError::Timeout(_) => unavailable("too many writes wait"),
                    SendTimeoutError::Closed(_) => closed(),
                })?;
            }
        }
        answer.await.map_err(|_| closed())?
    }

    /// The same from a thread without a runtime.
    pub fn call_blocking<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (message, answer) = asked(work);
        self.sender.blocking_send(message).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// No more jobs; those that wait are still done.
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.sender.send(Message::Close).await;
    }

    /// The same where nothing can be awaited.
    pub fn close_now(&self) {
        // A full queue is not closed by this, but by the end of its last sender.
        let _ = self.sender.try_send(Message::Close);
    }
}

fn asked<T, F>(work: F) -> (Message, oneshot::Receiver<Result<T, PortError>>)
where
    T: Send + 'static,
    F: FnMut(&mut Store<'_>) -> Result<T, StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Message::Job(Box::new(Asked { work, result: None, reply })), answer)
}

/// The writer thread's side.
pub(crate) struct WriterThread {
    pub receiver: mpsc::Receiver<Message>,
    pub data_dir: PathBuf,
    /// Absent after a failure that spoiled it, until the next group.
    pub connection: Option<Connection>,
    pub clock: Arc<LedgerClock>,
    pub shared: Arc<Shared>,
    pub wal: WalKeeper,
    pub is_failing: bool,
}

impl WriterThread {
    /// Until it is closed.
    pub fn run(mut self) {
        while let Some(group) = self.next_group() {
            self.write(group);
            if let Some(connection) = &self.connection {
                self.wal.tend(connection);
            }
        }
        if let Some(connection) = &self.connection {
            self.wal.finish(connection);
        }
    }

    /// Everything that waits, at least one job; `None` at the end.
    fn next_group(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut group = Vec::new();
        let mut message = self.receiver.blocking_recv();
        // Where processors are short, the callers just answered get a turn, and come into this group with their next
        // jobs: fewer and larger fsyncs. Where they are not, this returns at once.
        std::thread::yield_now();
        while let Some(one) = message {
            match one {
                Message::Job(job) => group.push(job),
                Message::Close => self.receiver.close(),
            }
            if group.len() >= GROUP_JOBS_MAX {
                break;
            }
            message = match self.receiver.try_recv() {
                Ok(next) => Some(next),
                Err(mpsc::error::TryRecvError::Empty) if group.is_empty() => self.receiver.blocking_recv(),
                Err(_) => None,
            };
        }
        Some(group).filter(|group| !group.is_empty())
    }

    fn write(&mut self, mut group: Vec<Box<dyn Job>>) {
        let outcome = self.commit(&mut group);
        match outcome {
            Ok((effects, failures)) => {
                self.note_recovery();
                self.shared.apply(&effects);
                for (index, job) in group.into_iter().enumerate() {
                    let failure = failures.iter().find(|(failed, _)| *failed == index);
                    job.answer(failure.map_or(Ok(()), |(_, error)| Err(error.into())));
                }
            }
            Err(error) => {
                self.note_failure(&error);
                group.into_iter().for_each(|job| job.answer(Err((&error).into())));
            }
        }
    }

    /// Runs the group; where one job fails, again with a savepoint around each.
    fn commit(
        &mut self,
        group: &mut [Box<dyn Job>],
    ) -> Result<(Effects, Vec<(usize, StoreError)>), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let fresh = schema::open_writer(&self.data_dir)?;
                // The failure may have been a log that cannot grow: make room before the group needs it.
                self.wal.tend(&fresh);
                fresh
            }
        };
        let connection = self.connection.insert(connection);
        let now = self.clock.now();
        let whole = in_transaction(connection, |connection| {
            let mut store = Store { connection, now, effects: Effects::default() };
            group.iter_mut().try_for_each(|job| job.run(&mut store))?;
            store.flush_counts()?;
            Ok((store.effects, Vec::new()))
        });
        match whole {
            Err(error) if !error.is_storage() => {}
            done_or_storage => return done_or_storage,
        }
        in_transaction(connection, |connection| {
            let mut store = Store { connection, now, effects: Effects::default() };
            let mut failures = Vec::new();
            for (index, job) in group.iter_mut().enumerate() {
                if let Err(error) = in_savepoint(&mut store, job.as_mut())? {
                    failures.push((index, error));
                }
            }
            store.flush_counts()?;
            Ok((store.effects, failures))
        })
    }

    fn note_failure(&mut self, error: &StoreError) {
        if error.spoils_the_connection() {
            self.connection = None;
        }
        self.wal.empty_soon();
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(store.error = ?error, "the embedded store cannot write: every write is refused until it can");
        }
    }

    fn note_recovery(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::warn!("the embedded store writes again");
        }
    }
}

/// Commits what `work` did, or leaves no trace of it.
fn in_transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let outcome = connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map_err(StoreError::from);
    let outcome = outcome.and_then(|_| work(connection)).and_then(|value| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(value)
    });
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    outcome
}

/// Runs one job; its failure is a value and leaves no trace, a failure of the store ends the transaction.
fn in_savepoint(store: &mut Store<'_>, job: &mut dyn Job) -> Result<Result<(), StoreError>, StoreError> {
    let before = store.effects.clone();
    store.connection.execute_batch("SAVEPOINT job")?;
    match job.run(store) {
        Ok(()) => {
            store.connection.execute_batch("RELEASE job")?;
            Ok(Ok(()))
        }
        Err(error) if error.is_storage() => Err(error),
        Err(error) => {
            store.connection.execute_batch("ROLLBACK TO job; RELEASE job")?;
            store.effects = before;
            Ok(Err(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use paybell_core::ports::{CheckQueue, Records};
    use paybell_core::record::Record;
    use paybell_core::{Check, Lane, OrderKey};

    use super::*;
    use crate::{Engine, EngineConfig, SystemClock};

    /// Stores an order and a check, and then fails or not.
    async fn ask(engine: &Engine, number: usize) -> Result<(), PortError> {
        let work = move |store: &mut Store<'_>| {
            let key = OrderKey::new("1", format!("T{number}")).unwrap();
            store.put(None, &Record::new(key, store.now, store.now))?;
            store.connection.execute("INSERT INTO checks (lane, document) VALUES ('urgent', '{}')", [])?;
            store.effects.lane(Lane::Urgent).published += 1;
            if number.is_multiple_of(3) { Err(StoreError::Corrupt("on purpose".to_owned())) } else { Ok(()) }
        };
        engine.inner.writer.call(work).await
    }

    #[tokio::test]
    async fn a_failed_job_leaves_no_trace_and_sinks_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let engine = Engine::open(EngineConfig::in_dir(dir.path()), clock).unwrap();
        let outcomes = futures_util::future::join_all((0..30).map(|number| ask(&engine, number))).await;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.is_err(), number % 3 == 0, "{number}");
        }
        let counted: u64 = engine.tally().await.unwrap().orders.iter().map(|(_, orders)| orders).sum();
        assert_eq!((counted, engine.backlog(Lane::Urgent).await.unwrap()), (20, 20));
        engine.publish(&[Check::manual(OrderKey::new("1", "T").unwrap())]).await.unwrap();
        assert_eq!(engine.backlog(Lane::Urgent).await.unwrap(), 21);
        engine.close().await;
    }
}
