//! Who may go on: a process runs freely, or as many steps as it is given and then stands still, as one that was killed
//! there does for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The steps of one process.
#[derive(Clone)]
pub struct Driver(Arc<Inner>);

struct Inner {
    taken: AtomicUsize,
    allowed: AtomicUsize,
    stands: Notify,
    goes_on: Notify,
}

impl Driver {
    pub fn free() -> Self {
        Self::allowing(usize::MAX)
    }

    /// Goes `steps` steps.
    pub fn allowing(steps: usize) -> Self {
        Self(Arc::new(Inner {
            taken: AtomicUsize::new(0),
            allowed: AtomicUsize::new(steps),
            stands: Notify::new(),
            goes_on: Notify::new(),
        }))
    }

    pub fn free_now(&self) {
        self.0.allowed.store(usize::MAX, Ordering::SeqCst);
        self.0.goes_on.notify_one();
    }

    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::SeqCst)
    }

    pub async fn step(&self) {
        while self.taken() >= self.0.allowed.load(Ordering::SeqCst) {
            self.0.stands.notify_one();
            self.0.goes_on.notified().await;
        }
        self.0.taken.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs the work until it ends, or until it stands still: then the work is given back.
    pub async fn run<F: Future + Unpin>(&self, mut work: F) -> Result<F::Output, F> {
        tokio::select! {
            biased;
            outcome = &mut work => Ok(outcome),
            () = self.0.stands.notified() => Err(work),
        }
    }
}
