//! What the subscriber has seen so far: which orders are paid, which are not. The shop waits here for its orders, and
//! the demo for its end. Judges nothing; [`super::verdict`] reads the event log itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use paybell_core::event::{Event, EventType};
use tokio::sync::oneshot;

/// Shared by the subscriber, who writes, and everybody else.
#[derive(Default)]
pub struct Board(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    paid: HashSet<String>,
    unpaid: HashSet<String>,
    refunded: HashSet<String>,
    waiting: HashMap<String, oneshot::Sender<()>>,
}

/// How many orders were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub paid: u64,
    pub unpaid: u64,
}

impl Board {
    /// Notes an event.
    pub fn note(&self, event: &Event) {
        let order = event.subject.as_str();
        let mut seen = self.lock();
        match event.kind {
            EventType::Paid => {
                seen.paid.insert(order.to_owned());
                if let Some(waiting) = seen.waiting.remove(order) {
                    // Whoever waited may have given up.
                    let _ = waiting.send(());
                }
            }
            EventType::Unpaid => {
                seen.unpaid.insert(order.to_owned());
            }
            EventType::RefundSucceeded => {
                seen.refunded.insert(event.id.to_string());
            }
            _ => {}
        }
    }

    /// Whether the order's `order.paid` was seen.
    pub fn is_paid(&self, out_trade_no: &str) -> bool {
        self.lock().paid.contains(out_trade_no)
    }

    /// How many refunds were seen to have succeeded.
    pub fn refunds(&self) -> usize {
        self.lock().refunded.len()
    }

    /// Completes when the order's `order.paid` is seen. Ask before it can come.
    pub fn expect(&self, out_trade_no: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.lock().waiting.insert(out_trade_no.to_owned(), sender);
        receiver
    }

    /// The numbers so far.
    pub fn count(&self) -> Count {
        let seen = self.lock();
        let number = |orders: &HashSet<String>| u64::try_from(orders.len()).unwrap_or(u64::MAX);
        Count { paid: number(&seen.paid), unpaid: number(&seen.unpaid) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
