//! Keeps a fault that every call repeats from filling the log: one line per cause and minute, with the number of those
//! in between. Counters count each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const LINE_GAP: Duration = Duration::from_secs(60);

/// When each cause was last logged, and how often it came since. Causes are words of ours, so the map is bounded.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<HashMap<&'static str, (Instant, u64)>>);

impl Seldom {
    /// If it is time for a line about `cause`: how many were left out before it.
    pub(crate) fn is_due(&self, cause: &'static str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, left_out)) = lines.get_mut(cause) else {
            lines.insert(cause, (now, 0));
            return Some(0);
        };
        if now.duration_since(*last) < LINE_GAP {
            *left_out += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_line_a_minute_with_the_rest_counted() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.is_due("a", start), Some(0));
        assert_eq!(seldom.is_due("b", start), Some(0));
        assert_eq!(seldom.is_due("a", start + LINE_GAP / 2), None);
        assert_eq!(seldom.is_due("a", start + LINE_GAP / 2), None);
        assert_eq!(seldom.is_due("a", start + LINE_GAP), Some(2));
        assert_eq!(seldom.is_due("a", start + LINE_GAP * 3), Some(0));
    }
}
