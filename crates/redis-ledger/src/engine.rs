//! Opening and closing, and how the ledger is: up, skewed. The ports are in the files named after them.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use paybell_core::cadence::Cadence;
use paybell_core::ports::{PortError, Reading};
use redis::{Pipeline, Value};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::LedgerClock;
use crate::config::{RedisConfig, Retention};
use crate::error::{OpenError, unavailable};
use crate::keys::Keys;
use crate::pulse::Pulse;
use crate::recent::Recent;
use crate::session::{ANSWER_MAX, Session};
use crate::step::Planner;
use crate::supervisor::{Link, Server, State, Supervisor};
use crate::tally::Seen;
use crate::writer::Writer;

/// How long opening waits for the first attempt; a Redis that is away then is no error.
const FIRST_ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// The ledger on Redis; a handle that is cheap to clone. Implements the ports of records, due sets, dead letters and
/// notes.
#[derive(Clone)]
pub struct RedisLedger {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub link: Link,
    pub writer: Writer,
    pub clock: Arc<LedgerClock>,
    pub keys: Arc<Keys>,
    /// Says that this process lives, and knows of the others.
    pub pulse: Arc<Pulse>,
    pub cadence: Cadence,
    pub retention: Retention,
    /// What this process stored last for orders that it works on.
    pub recent: Recent,
    pub tally: tokio::sync::Mutex<Seen>,
    writing: CancellationToken,
    connecting: CancellationToken,
    tasks: TaskTracker,
    /// Without a close, dropping the last handle ends the tasks.
    _guard: DropGuard,
}

impl RedisLedger {
    /// Tries to connect once, and goes on trying for ever. Fails only where an operator must change something.
    pub async fn open(config: RedisConfig) -> Result<Self, OpenError> {
        Self::open_shifted(config, Arc::new(AtomicI64::new(0))).await
    }

    /// The same with a ledger's clock that goes before Redis' by so many milliseconds: for tests.
    pub async fn open_shifted(config: RedisConfig, shift_ms: Arc<AtomicI64>) -> Result<Self, OpenError> {
        let keys = Arc::new(Keys::new(&config.prefix));
        let clock = Arc::new(LedgerClock::new(shift_ms));
        let seed = getrandom::u64().unwrap_or_default();
        let pulse = Arc::new(Pulse::new(keys.clone(), clock.clone()));
        let server = Server { address: config.address, keys: keys.clone(), clock: clock.clone() };
        let (supervisor, link) = Supervisor::new(server, pulse.clone(), seed);
        let (writer, writer_task) = Writer::new(link.clone(), keys.clone(), clock.clone());
        let (writing, connecting) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        tasks.spawn(supervisor.run(connecting.clone()));
        tasks.spawn(writer_task.run(writing.clone()));
        tasks.close();
        let guard = connecting.clone().drop_guard();
        let (cadence, retention) = (config.cadence, config.retention);
        let (recent, tally) = (Recent::default(), tokio::sync::Mutex::new(None));
        let ledger = Self {
            inner: Arc::new(Inner {
                link,
                writer,
                clock,
                keys,
                pulse,
                cadence,
                retention,
                recent,
                tally,
                writing,
                connecting,
                tasks,
                _guard: guard,
            }),
        };
        ledger.first_attempt().await?;
        Ok(ledger)
    }

    /// Whether the ledger could be used now, by what the last look at it said.
    pub fn is_up(&self) -> Result<(), PortError> {
        match self.inner.link.session()?.write_refusal() {
            Some(cause) => Err(unavailable(cause)),
            None => Ok(()),
        }
    }

    /// Writes for real and changes nothing: an error means that nothing could be stored now.
    pub async fn probe(&self) -> Result<(), PortError> {
        self.inner.link.session()?;
        within(self.inner.writer.fence()).await
    }

    /// This machine's clock minus Redis'; `None` before the first connection.
    pub fn skew_ms(&self) -> Option<i64> {
        self.inner.clock.skew_ms()
    }

    /// Finishes the writes that wait and ends the connections. Everything asked later is `Unavailable`.
    pub async fn close(&self) {
        self.inner.writing.cancel();
        self.inner.writer.closed().await;
        self.inner.connecting.cancel();
        self.inner.tasks.wait().await;
    }

    async fn first_attempt(&self) -> Result<(), OpenError> {
        let mut seen = self.inner.link.0.clone();
        let decided = seen.wait_for(|state| !matches!(state, State::Connecting));
        match tokio::time::timeout(FIRST_ATTEMPT_MAX, decided).await {
            Ok(Ok(state)) => match &*state {
                State::Refused(error) => Err(error.clone()),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// The ledger's time, while there is a connection.
    pub fn reading(&self) -> Result<Reading, PortError> {
        self.link.session()?;
        self.clock.reading().ok_or_else(|| unavailable("Redis has not said its time yet"))
    }

    /// What steps are planned with.
    pub fn planner(&self) -> Planner<'_> {
        Planner { keys: &self.keys, retention: &self.retention, shift_ms: self.clock.shift_ms() }
    }

    /// Reads, within the deadline of every call.
    pub async fn read(&self, pipeline: &Pipeline) -> Result<Vec<Value>, PortError> {
        Ok(self.link.session()?.read(pipeline).await?)
    }

    /// Reads, or runs scripts, for an answer that others will rest on: it is given when a replica that is there has what
    /// was read too.
    pub async fn settle(&self, pipeline: Pipeline) -> Result<Vec<Value>, PortError> {
        let session = self.link.session()?;
        let answers = session.read_for_answer(pipeline).await?;
        self.confirm(&session).await?;
        Ok(answers)
    }

    /// What was read may be known to one server only: before anything is answered on its strength, a replica that is
    /// there must have it too. Another session's word is none: its server may never have heard of it.
    pub async fn confirm(&self, session: &Arc<Session>) -> Result<(), PortError> {
        if session.has_replicas() { self.writer.fence_on(session).await } else { Ok(()) }
    }
}

/// The deadline of every call that writes. Its outcome is then unknown.
pub(crate) async fn within<T>(call: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    within_max(ANSWER_MAX, call).await
}

/// The same with a deadline of its own.
pub(crate) async fn within_max<T>(
    longest: Duration,
    call: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    let answered = tokio::time::timeout(longest, call).await;
    answered.unwrap_or_else(|_| Err(unavailable(format!("no answer within {} s", longest.as_secs()))))
}

impl std::fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLedger").field("retention", &self.inner.retention).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use testkit::servers::Redis;

    use super::*;

    /// The session that is used after `last`.
    async fn session_after(ledger: &RedisLedger, last: Option<&Arc<Session>>) -> Arc<Session> {
        let mut seen = ledger.inner.link.0.clone();
        let is_new = |state: &State| match state {
            State::Up(session) => last.is_none_or(|last| !Arc::ptr_eq(session, last)),
            _ => false,
        };
        let found = tokio::time::timeout(Duration::from_secs(20), seen.wait_for(is_new)).await;
        match &*found.unwrap().unwrap() {
            State::Up(session) => session.clone(),
            _ => unreachable!(),
        }
    }

    #[tokio::test]
    async fn what_one_session_read_is_confirmed_by_no_other() {
        let server = Redis::start().await;
        let ledger = RedisLedger::open(RedisConfig::new(&server.url(), "test").unwrap()).await.unwrap();
        let first = session_after(&ledger, None).await;
        ledger.inner.writer.fence_on(&first).await.unwrap();
        first.report("as in a failover");
        let second = session_after(&ledger, Some(&first)).await;
        let refused = ledger.inner.writer.fence_on(&first).await.unwrap_err();
        assert!(refused.to_string().contains("changed"), "{refused}");
        ledger.inner.writer.fence_on(&second).await.unwrap();
    }
}
