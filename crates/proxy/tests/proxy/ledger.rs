//! A registry and a clock in memory: core's own transition, and faults on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::place::{Step, Stepped};
use paybell_core::ports::{Ledger, PortError, Reading, Registry};
use paybell_core::refund::{RefundApplication, RefundAsked};
use paybell_core::register::{self, Application, Registered};
use paybell_core::time::Millis;
use paybell_core::verdict::{Judged, Judgement};
use paybell_core::{Cadence, LeaseToken, OrderKey, Record, Timestamp};
use tokio::time::Instant;

/// What happened, in order, at the ledger and at WeChat.
pub type Journal = Arc<Mutex<Vec<String>>>;

/// 2026-11-18 22:37:32 in Beijing.
pub const T0: Timestamp = Timestamp::from_millis(1_795_012_652_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Says at once that it cannot.
    Away,
    /// Never answers, stores nothing.
    Hangs,
    /// Stores, but nobody hears of it.
    Mute,
}

pub struct Memory {
    records: Mutex<HashMap<OrderKey, Record>>,
    mood: Mutex<Mood>,
    began: Instant,
    skew_ms: AtomicI64,
    /// Readings of the clock.
    asked: AtomicUsize,
    journal: Journal,
}

impl Memory {
    pub fn new(journal: Journal) -> Self {
        Self {
            records: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            began: Instant::now(),
            skew_ms: AtomicI64::new(0),
            asked: AtomicUsize::new(0),
            journal,
        }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn record(&self, mch_id: &str, out_trade_no: &str) -> Option<Record> {
        self.records.lock().unwrap().get(&OrderKey::new(mch_id, out_trade_no).unwrap()).cloned()
    }

    pub fn count(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        T0 + Millis(elapsed + self.skew_ms.load(Ordering::SeqCst))
    }

    /// Another server with another clock took over.
    pub fn skew(&self, by: Millis) {
        self.skew_ms.store(by.0, Ordering::SeqCst);
    }

    /// How often somebody wanted to know the time, as every later attempt does.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn store(&self, key: &OrderKey, application: &Application) -> Registered {
        let mut records = self.records.lock().unwrap();
        let (record, registered) =
            register::register(records.get(key), key, application, &Cadence::wechat(), self.now());
        if let Some(record) = record {
            self.journal.lock().unwrap().push(format!("registered {}", key.out_trade_no));
            records.insert(key.clone(), record);
        }
        registered
    }
}

fn away() -> PortError {
    PortError::Unavailable { part: "ledger", cause: "away".to_owned() }
}

#[async_trait]
impl Registry for Memory {
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError> {
        match self.mood() {
            Mood::Well => Ok(self.store(key, application)),
            Mood::Away => Err(away()),
            Mood::Hangs => std::future::pending().await,
            Mood::Mute => {
                self.store(key, application);
                std::future::pending().await
            }
        }
    }

    async fn judge(&self, _: &OrderKey, _: &Judgement) -> Result<Judged, PortError> {
        Err(away())
    }

    async fn place(&self, _: &OrderKey, _: &Step) -> Result<Stepped, PortError> {
        Err(away())
    }

    async fn refund(&self, _: &OrderKey, _: &RefundApplication) -> Result<RefundAsked, PortError> {
        Err(away())
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn clock(&self) -> Result<Reading, PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.mood() {
            Mood::Well | Mood::Mute => Ok(Reading { now: self.now(), is_steady: true }),
            Mood::Away => Err(away()),
            Mood::Hangs => std::future::pending().await,
        }
    }

    async fn take(&self, _: &LeaseRequest) -> Result<Taken, PortError> {
        Err(away())
    }

    async fn commit(&self, _: &Commit) -> Result<Committed, PortError> {
        Err(away())
    }

    async fn clear(&self, _: &OrderKey, _: LeaseToken) -> Result<Cleared, PortError> {
        Err(away())
    }

    async fn put_off(&self, _: &OrderKey, _: LeaseToken, _: Timestamp) -> Result<Cleared, PortError> {
        Err(away())
    }
}
