//! Keeps a fault that every notification repeats from filling the log: one line a minute, with the number of those in
//! between. Counters count each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const LINE_GAP: Duration = Duration::from_secs(60);

/// When the fault was last logged, and how often it came since.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u64)>>);

impl Seldom {
    /// If it is time for a line: how many were left out before it.
    pub(crate) fn is_due(&self, now: Instant) -> Option<u64> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match line.as_mut() {
            Some((last, left_out)) if now.duration_since(*last) < LINE_GAP => {
                *left_out += 1;
                None
            }
            before => {
                let left_out = before.map_or(0, |(_, left_out)| *left_out);
                *line = Some((now, 0));
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_a_minute_with_the_rest_counted() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.is_due(start), Some(0));
        for _ in 0..388 {
            assert_eq!(seldom.is_due(start + LINE_GAP / 2), None);
        }
        assert_eq!(seldom.is_due(start + LINE_GAP), Some(388));
        assert_eq!(seldom.is_due(start + LINE_GAP * 3), Some(0));
    }
}
