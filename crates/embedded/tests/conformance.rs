//! The conformance suite on the embedded engine.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use embedded::{Engine, EngineConfig};
use paybell_core::time::Millis;
use testkit::conformance::{Engines, Factory, Subject, run_all};

use common::Hands;

struct Embedded {
    data_dir: PathBuf,
    hands: Arc<Hands>,
    engine: Mutex<Engine>,
    _dir: tempfile::TempDir,
}

#[async_trait]
impl Subject for Embedded {
    async fn engines(&self) -> Engines {
        let engine = Arc::new(self.engine());
        Engines {
            queue: engine.clone(),
            source: engine.clone(),
            ledger: engine.clone(),
            due: engine.clone(),
            registry: engine.clone(),
            businesses: engine.clone(),
            records: engine.clone(),
            dead: engine.clone(),
            log: engine.clone(),
            notes: engine.clone(),
            acts: engine,
        }
    }

    async fn advance(&self, by: Millis) {
        self.hands.pass(by);
    }

    async fn reopen(&self) {
        self.engine().close().await;
        let engine = Engine::open(EngineConfig::in_dir(&self.data_dir), self.hands.clone()).unwrap();
        *self.engine.lock().unwrap() = engine;
    }
}

impl Embedded {
    fn engine(&self) -> Engine {
        self.engine.lock().unwrap().clone()
    }
}

struct InTempDirs;

#[async_trait]
impl Factory for InTempDirs {
    async fn fresh(&self) -> Arc<dyn Subject> {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let hands = Arc::new(Hands::new());
        let engine = Engine::open(EngineConfig::in_dir(&data_dir), hands.clone()).unwrap();
        Arc::new(Embedded { data_dir, hands, engine: Mutex::new(engine), _dir: dir })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_port_rule_holds() {
    run_all(Arc::new(InTempDirs)).await;
}
