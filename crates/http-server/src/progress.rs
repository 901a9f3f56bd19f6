//! How far a connection is with its request, and when patience with it ends. It only keeps times: the socket
//! wrapper and the answer's body report to it, the watch in `connection` reads it and cuts.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::limits::Limits;

/// Shared by the parts of one connection, all of which live in one task: relaxed atomics only make it `Sync`.
pub(crate) struct Progress {
    opened: Instant,
    /// `Phase` in the low two bits, milliseconds from `opened` above.
    phase: AtomicU64,
    /// Milliseconds from `opened` plus one at which a write first found no room; 0 when none waits.
    write_blocked: AtomicU64,
    input_ended: AtomicBool,
    in_haste: AtomicBool,
}

/// What is awaited, and since when (in milliseconds from `opened`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The rest of a head.
    Head(u64),
    /// The service; the request began at that time.
    Service(u64),
    /// The next request.
    Idle(u64),
    /// The peer's end of the connection.
    Closing(u64),
}

impl Progress {
    /// A connection just accepted: the first request counts from here.
    pub(crate) fn opened_now() -> Self {
        Progress {
            opened: Instant::now(),
            phase: AtomicU64::new(Phase::Head(0).encode()),
            write_blocked: AtomicU64::new(0),
            input_ended: AtomicBool::new(false),
            in_haste: AtomicBool::new(false),
        }
    }

    pub(crate) fn bytes_came(&self) {
        if let Phase::Idle(_) = self.phase() {
            self.enter(Phase::Head(self.now_ms()));
        }
    }

    /// The head is whole. Returns when the whole request must be here.
    pub(crate) fn request_began(&self, limits: &Limits) -> Instant {
        let since = match self.phase() {
            Phase::Head(since) => since,
            // Its bytes came together with the request before.
            _ => self.now_ms(),
        };
        self.enter(Phase::Service(since));
        self.at(since, limits.request_timeout_ms)
    }

    pub(crate) fn answered(&self) {
        self.enter(Phase::Idle(self.now_ms()));
    }

    pub(crate) fn closing(&self) {
        self.enter(Phase::Closing(self.now_ms()));
    }

    pub(crate) fn write_blocked(&self) {
        if self.write_blocked.load(Relaxed) == 0 {
            self.write_blocked.store(self.now_ms() + 1, Relaxed);
        }
    }

    pub(crate) fn write_went(&self) {
        if self.write_blocked.load(Relaxed) != 0 {
            self.write_blocked.store(0, Relaxed);
        }
    }

    pub(crate) fn input_ended(&self) {
        self.input_ended.store(true, Relaxed);
    }

    /// The listener drains: a connection with nothing in hand need not linger.
    pub(crate) fn drain(&self) {
        self.in_haste.store(matches!(self.phase(), Phase::Idle(_)), Relaxed);
    }

    /// Whether there is anything to wait for after our end is closed.
    pub(crate) fn must_linger(&self) -> bool {
        !self.input_ended.load(Relaxed) && !self.in_haste.load(Relaxed)
    }

    /// When the connection is to be cut if nothing changes; none while the service works.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let reading = match self.phase() {
            Phase::Head(since) => Some(self.at(since, limits.head_timeout_ms)),
            Phase::Service(_) => None,
            Phase::Idle(since) => Some(self.at(since, limits.idle_timeout_ms)),
            Phase::Closing(since) => Some(self.at(since, limits.linger_timeout_ms)),
        };
        let writing = match self.write_blocked.load(Relaxed) {
            0 => None,
            since => Some(self.at(since, limits.write_timeout_ms)),
        };
        [reading, writing].into_iter().flatten().min()
    }

    /// For the log line about a cut.
    pub(crate) fn describe(&self) -> &'static str {
        match self.phase() {
            _ if self.write_blocked.load(Relaxed) != 0 => "the peer does not take its answer",
            Phase::Head(_) => "the head of a request did not arrive in time",
            Phase::Service(_) => "a request was still in hand when the drain ended",
            Phase::Idle(_) => "idle",
            Phase::Closing(_) => "the peer did not close",
        }
    }

    fn phase(&self) -> Phase {
        Phase::decode(self.phase.load(Relaxed))
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase.encode(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn at(&self, since_ms: u64, patience_ms: u64) -> Instant {
        self.opened + Duration::from_millis(since_ms) + Duration::from_millis(patience_ms)
    }
}

impl Phase {
    fn encode(self) -> u64 {
        match self {
            Phase::Head(since) => since << 2,
            Phase::Service(since) => since << 2 | 1,
            Phase::Idle(since) => since << 2 | 2,
            Phase::Closing(since) => since << 2 | 3,
        }
    }

    fn decode(bits: u64) -> Phase {
        let since = bits >> 2;
        match bits & 3 {
            0 => Phase::Head(since),
            1 => Phase::Service(since),
            2 => Phase::Idle(since),
            _ => Phase::Closing(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_phase_survives_its_encoding() {
        for phase in [Phase::Head(0), Phase::Service(7), Phase::Idle(123_456_789), Phase::Closing(1)] {
            assert_eq!(Phase::decode(phase.encode()), phase);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_patience() {
        let limits = Limits::default();
        let progress = Progress::opened_now();
        let opened = Instant::now();
        let after = |ms| opened + Duration::from_millis(ms);
        progress.bytes_came();
        assert_eq!(progress.deadline(&limits), Some(after(10_000)), "the first head counts from accept");
        advance(Duration::from_secs(2)).await;
        assert_eq!(progress.request_began(&limits), after(15_000));
        assert_eq!(progress.deadline(&limits), None, "the service takes what it needs");
        progress.answered();
        assert_eq!(progress.deadline(&limits), Some(after(62_000)));
        advance(Duration::from_secs(5)).await;
        progress.bytes_came();
        assert_eq!(
            progress.deadline(&limits),
            Some(after(17_000)),
            "a later head counts from its first byte"
        );
        advance(Duration::from_secs(1)).await;
        progress.bytes_came();
        assert_eq!(progress.request_began(&limits), after(22_000), "and so does the whole request");
        progress.write_blocked();
        advance(Duration::from_secs(1)).await;
        progress.write_blocked();
        assert_eq!(
            progress.deadline(&limits),
            Some(after(38_001)),
            "only progress renews a write's patience"
        );
        progress.write_went();
        progress.closing();
        assert_eq!(progress.deadline(&limits), Some(after(10_000)));
    }
}
