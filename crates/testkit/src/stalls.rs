//! How much time a machine keeps back from a test: a ticker in the test's own runtime, and how late it is, summed up.
//! A deadline is judged by what is left. Knows of nobody else's slowness: a server may stall while we do not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

const TICK: Duration = Duration::from_millis(20);

/// The ticker of one runtime, until it is dropped.
pub struct Stalls {
    kept_back: Arc<Mutex<KeptBack>>,
    _ticking: JoinSet<()>,
}

struct KeptBack {
    sum: Duration,
    /// When the next tick is due.
    next: Instant,
}

/// A measurement that leaves out what the machine kept back.
pub struct Watch {
    begun: Instant,
    before: Duration,
    kept_back: Arc<Mutex<KeptBack>>,
}

impl Stalls {
    /// Ticks from now on, in the runtime that this is called in.
    pub fn watch() -> Self {
        let kept_back = Arc::new(Mutex::new(KeptBack { sum: Duration::ZERO, next: Instant::now() + TICK }));
        let ticked = kept_back.clone();
        let mut ticking = JoinSet::new();
        ticking.spawn(async move {
            loop {
                let next = locked(&ticked).next;
                tokio::time::sleep_until(next).await;
                let mut kept_back = locked(&ticked);
                *kept_back = KeptBack { sum: kept_back.until_now(), next: Instant::now() + TICK };
            }
        });
        Self { kept_back, _ticking: ticking }
    }

    /// Begins to measure.
    pub fn begin(&self) -> Watch {
        let before = locked(&self.kept_back).until_now();
        Watch { begun: Instant::now(), before, kept_back: self.kept_back.clone() }
    }
}

impl Watch {
    /// Measures from now on.
    pub fn begin(&mut self) {
        self.before = locked(&self.kept_back).until_now();
        self.begun = Instant::now();
    }

    /// What passed since the beginning beside what was kept back.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.lost())
    }

    /// What the machine kept back since the beginning.
    pub fn lost(&self) -> Duration {
        locked(&self.kept_back).until_now().saturating_sub(self.before)
    }
}

impl KeptBack {
    /// A tick that is late and has not come yet counts too.
    fn until_now(&self) -> Duration {
        self.sum + self.next.elapsed()
    }
}

fn locked(kept_back: &Mutex<KeptBack>) -> MutexGuard<'_, KeptBack> {
    kept_back.lock().unwrap_or_else(PoisonError::into_inner)
}
