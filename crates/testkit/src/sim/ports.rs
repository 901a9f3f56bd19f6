//! The ports of a simulated process: each call takes time, may fail before or after its effect, and may be cut short
//! by a crash at either side.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use paybell_core::lease::{Cleared, Commit, Committed, Holder, LeaseRequest, Taken};
use paybell_core::ports::{
    CheckQueue, CheckSource, Cursor, Delivery, DueSet, EventFilter, EventLog, Ledger, LogRead, PortError,
    Reading, Settle,
};
use paybell_core::{Check, Event, Lane, LeaseToken, OrderKey, Timestamp};

use super::executor::Sim;
use super::mutation::Mutation;
use super::store::{CheckId, Store};
use super::trace::Trace;

/// How bad the world is at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub fail_before: f64,
    pub fail_after: f64,
    /// A call that takes so long that its caller's lease ends meanwhile.
    pub stall: f64,
    pub query_fails: f64,
    /// The ledger takes a holder that is at work for dead.
    pub misjudged: f64,
}

/// Everything that a port call touches.
#[derive(Clone)]
pub struct World {
    pub sim: Sim,
    pub store: Arc<Mutex<Store>>,
    pub weather: Arc<Mutex<Weather>>,
    pub trace: Trace,
    pub mutation: Option<Mutation>,
    /// Tasks that wait for checks.
    pub hungry: Arc<Mutex<Vec<u64>>>,
    /// Tasks that wait for a change of a due time.
    pub sleepy: Arc<Mutex<Vec<u64>>>,
    pub port_failures: Arc<Mutex<u32>>,
}

impl World {
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        self.trace.note(self.sim.now_ms(), line);
    }

    /// One effect on the durable state, with everything that can happen around it.
    pub(super) async fn effect<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut Store, i64) -> T + Send,
    ) -> Result<T, PortError> {
        let weather = self.weather();
        self.sim.pause(self.sim.pick(0..=8)).await;
        if self.sim.chance(weather.stall) {
            let stall = self.sim.pick(20_000..=130_000);
            self.note(|| format!("{name} stalls for {} s", stall / 1000));
            self.sim.pause(stall).await;
        }
        if self.sim.chance(weather.fail_before) {
            return Err(self.failed(name, "before"));
        }
        let outcome = {
            let now_ms = self.sim.now_ms();
            effect(&mut self.store(), now_ms)
        };
        self.sim.wake(&self.sleepy);
        self.sim.pause(self.sim.pick(0..=8)).await;
        if self.sim.chance(weather.fail_after) {
            return Err(self.failed(name, "after"));
        }
        Ok(outcome)
    }

    pub(super) fn failed(&self, name: &'static str, side: &'static str) -> PortError {
        self.note(|| format!("{name} fails {side} its effect"));
        *self.port_failures.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        PortError::Unavailable { part: name, cause: format!("simulated, {side} the effect") }
    }
}

#[async_trait]
impl CheckQueue for World {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        if self.breaks(Mutation::AnswerBeforeDurable) {
            // Stored a moment later by the caller's process, unless that dies first.
            let (world, checks) = (self.clone(), checks.to_vec());
            self.sim.spawn(super::executor::Process::Ingress, async move {
                world.sim.pause(world.sim.pick(10..=30_000)).await;
                world.store().publish(&checks);
                world.sim.wake(&world.hungry);
            });
            return Ok(());
        }
        let checks = checks.to_vec();
        self.effect("queue.publish", |store, _| store.publish(&checks)).await?;
        self.sim.wake(&self.hungry);
        Ok(())
    }

    async fn backlog(&self, lane: Lane) -> Result<u64, PortError> {
        Ok(self.store().backlog(lane))
    }
}

struct InHand {
    world: World,
    id: CheckId,
    is_done: bool,
}

#[async_trait]
impl Settle for InHand {
    async fn done(mut self: Box<Self>) -> Result<(), PortError> {
        let id = self.id;
        self.world.effect("queue.done", |store, _| store.done(id)).await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if !self.is_done {
            self.world.store().give_back(self.id);
            self.world.sim.wake(&self.world.hungry);
        }
    }
}

#[async_trait]
impl CheckSource for World {
    async fn receive(&self, lane: Lane, _max: usize) -> Result<Vec<Delivery>, PortError> {
        loop {
            let nth = usize::try_from(self.sim.pick(0..=3)).unwrap_or(0);
            let received = self.store().receive(lane, nth);
            if let Some((id, check)) = received {
                let settle = InHand { world: self.clone(), id, is_done: false };
                return Ok(vec![Delivery::new(check, Box::new(settle))]);
            }
            self.sim.wait(&self.hungry, i64::from(i32::MAX)).await;
        }
    }
}

#[async_trait]
impl Ledger for World {
    async fn clock(&self) -> Result<Reading, PortError> {
        let now_ms = self.sim.now_ms();
        let store = self.store();
        let is_steady = now_ms >= store.unsteady_until_ms || self.breaks(Mutation::JumpOverlooked);
        Ok(Reading { now: store.clock(now_ms), is_steady })
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        // What an engine thinks of a lease's holder may be wrong: fencing alone must keep the promise.
        let holder = match self.sim.chance(self.weather().misjudged) {
            true => Holder::Dead,
            false if self.sim.chance(0.5) => Holder::Alive,
            false => Holder::Unknown,
        };
        let taken = self.effect("ledger.take", |store, now_ms| store.take(request, holder, now_ms)).await?;
        self.note(|| {
            format!("take {} {:?} → {}", request.check.key.out_trade_no, request.check.reason, word(&taken))
        });
        Ok(taken)
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        let mut committed =
            self.effect("ledger.commit", |store, now_ms| store.commit(commit, now_ms)).await?;
        if let (true, Committed::Changed(record)) =
            (self.breaks(Mutation::OldAnswerToANewQuestion), &mut committed)
        {
            record.registration.iter_mut().for_each(|registration| registration.appid = None);
        }
        self.note(|| {
            format!("commit {} {} → {committed:.9?}", commit.key.out_trade_no, commit.change.outcome)
        });
        Ok(committed)
    }

    async fn clear(&self, key: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        self.effect("ledger.clear", |store, now_ms| store.clear(key, token, now_ms)).await
    }

    async fn put_off(&self, key: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        self.effect("ledger.put_off", |store, now_ms| store.put_off(key, token, at, now_ms)).await
    }
}

fn word(taken: &Taken) -> &'static str {
    match taken {
        Taken::Leased(_) => "leased",
        Taken::Duplicate => "duplicate",
        Taken::Busy => "busy",
        Taken::Stale => "stale",
        Taken::Fresh => "fresh",
    }
}

#[async_trait]
impl DueSet for World {
    async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError> {
        self.effect("due.claim", |store, now_ms| store.claim(lane, limit, now_ms)).await
    }

    async fn lag_ms(&self) -> Result<i64, PortError> {
        Ok(0)
    }
}

#[async_trait]
impl EventLog for World {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let events = events.to_vec();
        self.note(|| {
            let told: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
            format!("publish {} {told:?}", events.first().map_or("", |event| event.subject.as_str()))
        });
        if self.breaks(Mutation::ClearBeforePublish) {
            let world = self.clone();
            self.sim.spawn(super::executor::Process::Worker(0), async move {
                world.sim.pause(world.sim.pick(20..=30_000)).await;
                let now_ms = world.sim.now_ms();
                world.store().append(&events, now_ms);
            });
            return Ok(());
        }
        self.effect("log.append", |store, now_ms| store.append(&events, now_ms)).await
    }

    async fn read(&self, _: Option<Cursor>, _: &EventFilter, _: usize) -> Result<LogRead, PortError> {
        Err(self.failed("log.read", "before"))
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        Err(self.failed("log.end", "before"))
    }

    async fn grown(&self, _: Cursor) -> Result<(), PortError> {
        Err(self.failed("log.grown", "before"))
    }
}
