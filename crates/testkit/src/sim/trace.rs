//! What happened, in lines, for the report of a failing seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

const LINES_MAX: usize = 400;

/// A bounded list of lines, shared by everything in the world.
#[derive(Clone, Default)]
pub struct Trace {
    lines: Arc<Mutex<VecDeque<String>>>,
    start_ms: i64,
}

impl Trace {
    /// Times are shown relative to `start_ms`.
    pub fn starting(start_ms: i64) -> Self {
        Self { lines: Arc::default(), start_ms }
    }

    /// Adds a line.
    pub fn note(&self, now_ms: i64, line: impl FnOnce() -> String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        let after_ms = now_ms - self.start_ms;
        let (seconds, millis) = (after_ms / 1000, after_ms % 1000);
        lines.push_back(format!("{seconds:>6}.{millis:03} {}", line()));
    }

    /// The lines kept, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
