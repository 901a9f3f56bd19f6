//! Seeded simulation: the real ingress, worker and scheduler over in-memory ports, virtual time, one thread, one seed.
//!
//! [`run`] plays one awkward day: processes crash between any two effects, port calls fail before or after their
//! effect, notifications are lost, repeated, reordered and forged, leases expire while their owner still works, the
//! clock jumps, queries lag and err. At the end [`oracle`] compares what was emitted with what WeChat knows to be true.
//! The same seed plays the same day.

mod businesses;
mod executor;
mod mutation;
mod oracle;
mod ports;
mod refund_oracle;
mod refunds;
mod scenario;
mod shop;
mod store;
mod trace;
mod wechat;
mod wishes;

pub use mutation::Mutation;

use std::fmt;

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    pub broken: Vec<String>,
    /// The last steps before the end, oldest first.
    pub trace: Vec<String>,
}

/// Lines of a printed failure, at most.
const REPORT_LINES_MAX: usize = 40;

/// What a day held, for a feeling of what the seeds reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Day {
    pub orders: usize,
    pub events: usize,
    pub crashes: u32,
    pub port_failures: u32,
    pub queries: u32,
    /// Refunds that WeChat took.
    pub refunds: usize,
    pub steps: u64,
}

/// Plays the day of one seed; with a mutation, over deliberately broken ports.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Day, Box<Failure>> {
    let mut day = scenario::Scenario::of(seed, mutation).play();
    let broken = oracle::judge(&day);
    if broken.is_empty() {
        return Ok(day.summary());
    }
    Err(Box::new(Failure { seed, broken, trace: day.take_trace() }))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.broken.iter().take(REPORT_LINES_MAX / 4);
        let room = REPORT_LINES_MAX - 1 - broken.len();
        writeln!(f, "seed {} (replay: PAYBELL_SIM_SEED={} tests/run sim)", self.seed, self.seed)?;
        let skipped = self.trace.len().saturating_sub(room);
        for line in self.trace.iter().skip(skipped) {
            writeln!(f, "  {line}")?;
        }
        for line in broken {
            writeln!(f, "BROKEN {line}")?;
        }
        Ok(())
    }
}
