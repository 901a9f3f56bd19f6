//! The queue's rules, the same as for every engine.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::time::Millis;
use rabbitmq::{Needs, RabbitConfig};
use testkit::conformance::{Engines, Factory, Group, Subject, absent, run_groups};

use super::common::{Outsider, Process, deliveries, fresh};

/// The suite's word about publishing nothing covers events too.
fn needs() -> Needs {
    Needs { appends: true, ..deliveries() }
}

struct Cluster {
    config: RabbitConfig,
    process: Mutex<Arc<Process>>,
}

impl Cluster {
    fn process(&self) -> Arc<Process> {
        self.process.lock().unwrap().clone()
    }
}

#[async_trait]
impl Subject for Cluster {
    async fn engines(&self) -> Engines {
        let process = self.process();
        let log = process.rabbit.log().unwrap();
        Engines { queue: process.queue.clone(), source: process.source(), log, ..absent() }
    }

    async fn advance(&self, _: Millis) {}

    async fn reopen(&self) {
        self.process().rabbit.close().await;
        *self.process.lock().unwrap() = Arc::new(Process::start(&self.config, needs()).await);
    }
}

/// Gives each case a prefix of its own.
#[derive(Default)]
struct Prefixes {
    given: Mutex<Vec<RabbitConfig>>,
}

#[async_trait]
impl Factory for Prefixes {
    async fn fresh(&self) -> Arc<dyn Subject> {
        let config = fresh().await;
        self.given.lock().unwrap().push(config.clone());
        let process = Process::start(&config, needs()).await;
        Arc::new(Cluster { config, process: Mutex::new(Arc::new(process)) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_rule_of_the_queue_holds() {
    let prefixes = Arc::new(Prefixes::default());
    run_groups(prefixes.clone(), &[Group::Queue]).await;
    let given = std::mem::take(&mut *prefixes.given.lock().unwrap());
    let outsider = Outsider::at(&given[0].url).await;
    for config in given {
        outsider.clean(&config).await;
    }
}
