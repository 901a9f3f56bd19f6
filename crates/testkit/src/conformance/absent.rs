//! Ports that are not there: what a part of an engine is tested beside.

use std::sync::Arc;

use async_trait::async_trait;
use paybell_core::act::Act;
use paybell_core::check::{Check, Lane};
use paybell_core::dead::{DeadLetter, Removed};
use paybell_core::event::Event;
use paybell_core::ids::{BusinessNo, LeaseToken, MchId, OrderKey, OutTradeNo};
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::place::{Step, Stepped};
use paybell_core::ports::{
    ActFilter, ActPage, Acts, Businesses, CheckQueue, CheckSource, Cursor, DeadLetters, Delivery, DueSet,
    EventFilter, EventLog, Ledger, LogRead, Note, Notes, OrderFilter, OrderPage, PortError, Reading, Records,
    Registry, Tally,
};
use paybell_core::record::Record;
use paybell_core::refund::{RefundApplication, RefundAsked};
use paybell_core::register::{Application, Registered};
use paybell_core::time::Timestamp;
use paybell_core::verdict::{Judged, Judgement};
use uuid::Uuid;

use super::Engines;

/// Every call fails.
struct Absent;

/// An engine of which nothing is there; replace the ports that are.
pub fn absent() -> Engines {
    let absent = Arc::new(Absent);
    Engines {
        queue: absent.clone(),
        source: absent.clone(),
        ledger: absent.clone(),
        due: absent.clone(),
        registry: absent.clone(),
        businesses: absent.clone(),
        records: absent.clone(),
        dead: absent.clone(),
        log: absent.clone(),
        notes: absent.clone(),
        acts: absent,
    }
}

fn nothing<T>() -> Result<T, PortError> {
    Err(PortError::Unavailable { part: "absent", cause: "not under test".to_owned() })
}

#[async_trait]
impl CheckQueue for Absent {
    async fn publish(&self, _: &[Check]) -> Result<(), PortError> {
        nothing()
    }
    async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
        nothing()
    }
}

#[async_trait]
impl CheckSource for Absent {
    async fn receive(&self, _: Lane, _: usize) -> Result<Vec<Delivery>, PortError> {
        nothing()
    }
}

#[async_trait]
impl Ledger for Absent {
    async fn clock(&self) -> Result<Reading, PortError> {
        nothing()
    }
    async fn take(&self, _: &LeaseRequest) -> Result<Taken, PortError> {
        nothing()
    }
    async fn commit(&self, _: &Commit) -> Result<Committed, PortError> {
        nothing()
    }
    async fn clear(&self, _: &OrderKey, _: LeaseToken) -> Result<Cleared, PortError> {
        nothing()
    }
    async fn put_off(&self, _: &OrderKey, _: LeaseToken, _: Timestamp) -> Result<Cleared, PortError> {
        nothing()
    }
}

#[async_trait]
impl DueSet for Absent {
    async fn claim(&self, _: Lane, _: usize) -> Result<Vec<Check>, PortError> {
        nothing()
    }
    async fn lag_ms(&self) -> Result<i64, PortError> {
        nothing()
    }
}

#[async_trait]
impl Registry for Absent {
    async fn register(&self, _: &OrderKey, _: &Application) -> Result<Registered, PortError> {
        nothing()
    }
    async fn judge(&self, _: &OrderKey, _: &Judgement) -> Result<Judged, PortError> {
        nothing()
    }
    async fn place(&self, _: &OrderKey, _: &Step) -> Result<Stepped, PortError> {
        nothing()
    }
    async fn refund(&self, _: &OrderKey, _: &RefundApplication) -> Result<RefundAsked, PortError> {
        nothing()
    }
}

#[async_trait]
impl Businesses for Absent {
    async fn numbers(&self, _: &MchId, _: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        nothing()
    }
    async fn claim(&self, _: &MchId, _: &BusinessNo, _: &OutTradeNo) -> Result<OutTradeNo, PortError> {
        nothing()
    }
}

#[async_trait]
impl Records for Absent {
    async fn read(&self, _: &OrderKey) -> Result<Option<Record>, PortError> {
        nothing()
    }
    async fn list(&self, _: &OrderFilter, _: Option<&str>, _: usize) -> Result<Option<OrderPage>, PortError> {
        nothing()
    }
    async fn tally(&self) -> Result<Tally, PortError> {
        nothing()
    }
}

#[async_trait]
impl DeadLetters for Absent {
    async fn bury(&self, _: &DeadLetter) -> Result<(), PortError> {
        nothing()
    }
    async fn list(&self, _: Option<Uuid>, _: usize) -> Result<Vec<DeadLetter>, PortError> {
        nothing()
    }
    async fn get(&self, _: Uuid) -> Result<Option<DeadLetter>, PortError> {
        nothing()
    }
    async fn remove(&self, _: &DeadLetter) -> Result<Removed, PortError> {
        nothing()
    }
}

#[async_trait]
impl EventLog for Absent {
    async fn append(&self, _: &[Event]) -> Result<(), PortError> {
        nothing()
    }
    async fn read(&self, _: Option<Cursor>, _: &EventFilter, _: usize) -> Result<LogRead, PortError> {
        nothing()
    }
    async fn end(&self) -> Result<Cursor, PortError> {
        nothing()
    }
    async fn grown(&self, _: Cursor) -> Result<(), PortError> {
        nothing()
    }
}

#[async_trait]
impl Notes for Absent {
    async fn read(&self, _: &str) -> Result<Option<Note>, PortError> {
        nothing()
    }
    async fn write(&self, _: &str, _: Option<u64>, _: &str) -> Result<bool, PortError> {
        nothing()
    }
    async fn list(&self, _: &str) -> Result<Vec<String>, PortError> {
        nothing()
    }
}

#[async_trait]
impl Acts for Absent {
    async fn begin(&self, _: &Act) -> Result<u64, PortError> {
        nothing()
    }
    async fn conclude(&self, _: u64, _: &str) -> Result<(), PortError> {
        nothing()
    }
    async fn list(&self, _: &ActFilter, _: Option<u64>, _: usize) -> Result<ActPage, PortError> {
        nothing()
    }
}
