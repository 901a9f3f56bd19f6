//! The conformance suite's rules of records, leases, due sets, dead letters and notes, on a real Redis.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::time::Millis;
use redis_ledger::{RedisConfig, RedisLedger};
use testkit::conformance::{Engines, Factory, Group, Subject, absent, run_groups};
use testkit::servers::{shared_redis, unique_prefix};

struct OnRedis {
    config: RedisConfig,
    shift_ms: Arc<AtomicI64>,
    ledger: Mutex<RedisLedger>,
}

#[async_trait]
impl Subject for OnRedis {
    async fn engines(&self) -> Engines {
        let ledger = Arc::new(self.ledger());
        Engines {
            ledger: ledger.clone(),
            due: ledger.clone(),
            registry: ledger.clone(),
            businesses: ledger.clone(),
            records: ledger.clone(),
            dead: ledger.clone(),
            notes: ledger.clone(),
            acts: ledger,
            ..absent()
        }
    }

    async fn advance(&self, by: Millis) {
        self.shift_ms.fetch_add(by.0, Ordering::SeqCst);
    }

    async fn reopen(&self) {
        self.ledger().close().await;
        let ledger = RedisLedger::open_shifted(self.config.clone(), self.shift_ms.clone()).await.unwrap();
        *self.ledger.lock().unwrap() = ledger;
    }
}

impl OnRedis {
    fn ledger(&self) -> RedisLedger {
        self.ledger.lock().unwrap().clone()
    }
}

/// One server; each subject has a prefix of its own.
struct UnderPrefixes;

#[async_trait]
impl Factory for UnderPrefixes {
    async fn fresh(&self) -> Arc<dyn Subject> {
        let config = RedisConfig::new(&shared_redis().await, &unique_prefix()).unwrap();
        let shift_ms = Arc::new(AtomicI64::new(0));
        let ledger = RedisLedger::open_shifted(config.clone(), shift_ms.clone()).await.unwrap();
        Arc::new(OnRedis { config, shift_ms, ledger: Mutex::new(ledger) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_port_rule_holds() {
    run_groups(Arc::new(UnderPrefixes), &[Group::Ledger, Group::Notes, Group::Acts]).await;
}
