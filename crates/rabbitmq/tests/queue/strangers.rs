//! Messages in our queues that are no checks, or not yet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use paybell_core::check::Lane;
use paybell_core::dead::{DeadLetter, DeadReason, Removed};
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::ports::{DeadLetters, Ledger, PortError, Reading};
use paybell_core::time::Timestamp;
use rabbitmq::{Letters, Needs, RabbitConfig};
use uuid::Uuid;

use super::common::{Outsider, Process, deliveries, end, fresh, manual, until};

/// A ledger that keeps letters, and can be away.
pub struct Desk {
    buried: Mutex<Vec<DeadLetter>>,
    is_away: AtomicBool,
    attempts: Mutex<usize>,
}

fn away<T>() -> Result<T, PortError> {
    Err(PortError::Unavailable { part: "ledger", cause: "away".to_owned() })
}

impl Desk {
    pub fn new() -> Arc<Self> {
        let (buried, is_away) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { buried, is_away, attempts: Mutex::default() })
    }

    pub fn letters(self: &Arc<Self>) -> Letters {
        Letters { dead: self.clone(), ledger: self.clone() }
    }

    pub fn buried(&self) -> Vec<DeadLetter> {
        self.buried.lock().unwrap().clone()
    }
}

#[async_trait]
impl DeadLetters for Desk {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        self.buried.lock().unwrap().push(letter.clone());
        Ok(())
    }
    async fn list(&self, _: Option<Uuid>, _: usize) -> Result<Vec<DeadLetter>, PortError> {
        away()
    }
    async fn get(&self, _: Uuid) -> Result<Option<DeadLetter>, PortError> {
        away()
    }
    async fn remove(&self, _: &DeadLetter) -> Result<Removed, PortError> {
        away()
    }
}

#[async_trait]
impl Ledger for Desk {
    async fn clock(&self) -> Result<Reading, PortError> {
        *self.attempts.lock().unwrap() += 1;
        if self.is_away.load(Ordering::Relaxed) {
            return away();
        }
        Ok(Reading { now: Timestamp::from_millis(77), is_steady: true })
    }
    async fn take(&self, _: &LeaseRequest) -> Result<Taken, PortError> {
        away()
    }
    async fn commit(&self, _: &Commit) -> Result<Committed, PortError> {
        away()
    }
    async fn clear(&self, _: &OrderKey, _: LeaseToken) -> Result<Cleared, PortError> {
        away()
    }
    async fn put_off(&self, _: &OrderKey, _: LeaseToken, _: Timestamp) -> Result<Cleared, PortError> {
        away()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_check_is_buried_and_only_then_leaves_its_queue() {
    let config = RabbitConfig { partitions: 1, ..fresh().await };
    let (desk, outsider) = (Desk::new(), Outsider::at(&config.url).await);
    desk.is_away.store(true, Ordering::Relaxed);
    let needs = Needs { letters: Some(desk.letters()), ..deliveries() };
    let worker = Process::start(&config, needs).await;
    let queue = format!("{}.checks.0", config.prefix);
    outsider.put(&queue, b"no check at all").await;
    until("burying was tried", || async { *desk.attempts.lock().unwrap() > 0 }).await;
    outsider.put(&queue, &manual(1).to_json()).await;
    worker.receive(Lane::Urgent, 1).await.remove(0).done().await.unwrap();
    worker.backlog_becomes(Lane::Urgent, 1).await;
    assert_eq!(desk.buried(), [], "it waits, and nothing else waits for it");
    desk.is_away.store(false, Ordering::Relaxed);
    worker.backlog_becomes(Lane::Urgent, 0).await;
    let letter = desk.buried().remove(0);
    assert_eq!((&letter.reason, letter.first_at), (&DeadReason::Malformed, Timestamp::from_millis(77)));
    assert!(
        letter.detail.contains("no check at all") && letter.detail.starts_with(&queue),
        "{}",
        letter.detail
    );
    worker.rabbit.close().await;
    assert_eq!(outsider.waiting(&queue).await, 0);
    end(&config, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_document_is_left_to_a_newer_process() {
    let pause = Duration::from_millis(300);
    let config = RabbitConfig { partitions: 1, newer_pause: pause, delivery_limit: 3, ..fresh().await };
    let (desk, outsider) = (Desk::new(), Outsider::at(&config.url).await);
    let needs = Needs { letters: Some(desk.letters()), ..deliveries() };
    let worker = Process::start(&config, needs).await;
    let queue = format!("{}.checks.0", config.prefix);
    let newer = br#"{"v":9,"mch_id":"1","out_trade_no":"T","reason":"manual"}"#;
    outsider.put(&queue, newer).await;
    worker.backlog_becomes(Lane::Urgent, 1).await;
    for number in 0..20 {
        outsider.put(&queue, &manual(number).to_json()).await;
        let delivery = worker.receive(Lane::Urgent, 1).await.remove(0);
        assert_eq!(delivery.check, manual(number), "others pass by");
        delivery.done().await.unwrap();
        tokio::time::sleep(pause / 3).await;
    }
    worker.rabbit.close().await;
    assert_eq!(desk.buried(), [], "it is no dead letter");
    assert_eq!(
        outsider.waiting(&format!("{}.dead", config.prefix)).await,
        0,
        "nor did it use its deliveries up"
    );
    let left = outsider.get(&queue).await.expect("it is still there");
    assert_eq!(left.data, newer);
    end(&config, [worker]).await;
}
