//! The ledger port: each method is one transition of `paybell-core` within one transaction of the writer.

use async_trait::async_trait;
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::{self, Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::ports::{Ledger, PortError, Reading};
use paybell_core::time::Timestamp;

use crate::engine::Engine;
use crate::store::Store;

#[async_trait]
impl Ledger for Engine {
    async fn clock(&self) -> Result<Reading, PortError> {
        Ok(self.inner.clock.reading())
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        let request = request.clone();
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&request.check.key)?;
            let taking = lease::take(stored.as_ref(), &request, store.now);
            store.write(stored.as_ref(), &taking.write)?;
            taking.dead.iter().try_for_each(|letter| store.bury(letter))?;
            Ok(taking.taken)
        };
        self.inner.writer.call(step).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        let commit = commit.clone();
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&commit.key)?;
            let (write, committed) = lease::commit(stored.as_ref(), &commit, store.now);
            store.write(stored.as_ref(), &write)?;
            if matches!(committed, Committed::Ended | Committed::Outgoing) {
                commit.change.dead.iter().try_for_each(|letter| store.bury(letter))?;
            }
            Ok(committed)
        };
        self.inner.writer.call(step).await
    }

    async fn clear(&self, key: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        let key = key.clone();
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (write, cleared) = lease::clear(stored.as_ref(), token, store.now);
            store.write(stored.as_ref(), &write)?;
            Ok(cleared)
        };
        self.inner.writer.call(step).await
    }

    async fn put_off(&self, key: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        let key = key.clone();
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (write, cleared) = lease::put_off(stored.as_ref(), token, at, store.now);
            store.write(stored.as_ref(), &write)?;
            Ok(cleared)
        };
        self.inner.writer.call(step).await
    }
}
