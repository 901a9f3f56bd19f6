//! The ledger port: each method is one transition of `paybell-core` within one compare-and-set.

use async_trait::async_trait;
use paybell_core::dead::DeadLetter;
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::{self, Cleared, Commit, Committed, Holder, LeaseRequest, Taken};
use paybell_core::ports::{Ledger, PortError, Reading};
use paybell_core::record::Record;
use paybell_core::time::Timestamp;
use redis::Pipeline;

use crate::change::{Begin, Decided};
use crate::engine::RedisLedger;
use crate::error::Fault;

#[async_trait]
impl Ledger for RedisLedger {
    async fn clock(&self) -> Result<Reading, PortError> {
        self.inner.reading()
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        self.inner.pulse.speak_for(request.token.holder(), &self.inner.link).await;
        let run = |stored: Option<&Record>, now| {
            let lease = stored.and_then(|record| record.lease);
            let holder = lease.map_or(Holder::Unknown, |lease| self.inner.pulse.judge(lease.token.holder()));
            let taking = lease::take_from(stored, request, now, holder);
            Decided { write: taking.write, letter: taking.dead, answer: taking.taken }
        };
        self.inner.change(&request.check.key, Begin::Read, run).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        let run = |stored: Option<&_>, now| {
            let (write, committed) = lease::commit(stored, commit, now);
            Decided { letter: letter_of(commit, &committed), write, answer: committed }
        };
        self.inner.change(&commit.key, Begin::Recent, run).await
    }

    async fn clear(&self, key: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        let run = |stored: Option<&_>, now| {
            let (write, cleared) = lease::clear(stored, token, now);
            Decided { write, letter: None, answer: cleared }
        };
        self.inner.change(key, Begin::Recent, run).await
    }

    async fn put_off(&self, key: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        let run = |stored: Option<&_>, now| {
            let (write, cleared) = lease::put_off(stored, token, at, now);
            Decided { write, letter: None, answer: cleared }
        };
        self.inner.change(key, Begin::Recent, run).await
    }

    /// A beginning that nobody wrote yet is of this moment: the keys were lost just now.
    async fn began(&self) -> Result<Option<Timestamp>, PortError> {
        let inner = &self.inner;
        let mut question = Pipeline::new();
        question.cmd("GET").arg(&inner.keys.began);
        let answer = inner.read(&question).await?.pop().unwrap_or_default();
        let began: Result<Option<i64>, _> = redis::from_redis_value(answer);
        match began.map_err(|_| Fault::Corrupt(format!("{} is no time", inner.keys.began)))? {
            None => Ok(Some(inner.reading()?.now)),
            Some(0) => Ok(None),
            Some(at) => Ok(Some(Timestamp::from_millis(at.saturating_add(inner.clock.shift_ms())))),
        }
    }
}

/// A commit that is refused buries nothing.
fn letter_of(commit: &Commit, committed: &Committed) -> Option<DeadLetter> {
    let is_stored = matches!(committed, Committed::Ended | Committed::Outgoing);
    commit.change.dead.clone().filter(|_| is_stored)
}
