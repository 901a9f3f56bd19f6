//! How long a busy machine kept a service and its test back, so that no answer of a right service is called late. A
//! thread asks the same service again and again for its `/healthz`, which needs nobody else: what that takes beyond a
//! moment, the machine took. It excuses no wait of the service's own: `/healthz` is answered meanwhile.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Request;

/// Between two questions.
const GAP: Duration = Duration::from_millis(100);
/// So long an answer takes on an idle machine at the most.
const MOMENT: Duration = Duration::from_millis(20);

/// Asks until it is stopped.
pub struct Stalls {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, Instant)>>,
}

/// When the machine kept a service back: from when an answer was due until it came.
pub struct Stalled(Vec<(Instant, Instant)>);

impl Stalls {
    pub fn watch(address: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            let mut stalled = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let due = Instant::now() + GAP;
                thread::sleep(GAP);
                // A service that is gone keeps nobody waiting.
                let is_answered = Request::new("GET", "/healthz").try_send(address).is_ok();
                let answered = Instant::now();
                if is_answered && answered > due + MOMENT {
                    stalled.push((due + MOMENT, answered));
                }
            }
            stalled
        });
        Self { is_over, thread }
    }

    /// After the last answer that is to be judged.
    pub fn end(self) -> Stalled {
        self.is_over.store(true, Ordering::SeqCst);
        Stalled(self.thread.join().unwrap())
    }
}

impl Stalled {
    /// How much of this time the service had for itself.
    pub fn own_time(&self, begun: Instant, ended: Instant) -> Duration {
        let common =
            |(from, to): &(Instant, Instant)| (*to).min(ended).saturating_duration_since((*from).max(begun));
        ended.duration_since(begun).saturating_sub(self.0.iter().map(common).sum())
    }
}
