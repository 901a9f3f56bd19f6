//! What an ended attempt means for its entry, for the breaker, and for what people see.

use paybell_core::Timestamp;
use paybell_core::time::Millis;
use rand::Rng;
use uuid::Uuid;

use super::Machine;
use crate::book::{ATTEMPTS_MAX, Attempt, Entry, GIVEN_UP_MAX, GivenUp, RECENT_MAX, push_bounded};
use crate::outcome::{Outcome, Report};
use crate::schedule::Tried;

/// After our own store failed.
const STORE_PAUSE: Millis = Millis::seconds(5);

/// What became of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Delivered,
    /// It is tried again.
    Kept,
    /// It left the entries undelivered.
    GivenUp,
}

impl Machine {
    /// Takes the end of an attempt that [`super::Step::Post`] began.
    pub fn settled(&mut self, id: Uuid, report: &Report, now: Timestamp, random: &mut impl Rng) -> Settled {
        let Some(at) = self.book.entries.iter().position(|entry| entry.id == id) else {
            return Settled::Kept;
        };
        self.is_dirty = true;
        let mut entry = self.book.entries.remove(at);
        entry.in_flight = false;
        if report.outcome == Outcome::NotTried {
            entry.due = now + STORE_PAUSE;
            self.book.entries.insert(at, entry);
            return Settled::Kept;
        }
        self.show(&entry, report, now);
        self.tell_breaker(&report.outcome, now, random);
        match &report.outcome {
            Outcome::Delivered => {
                self.book.totals.delivered = self.book.totals.delivered.saturating_add(1);
                push_bounded(&mut self.book.recent, id, RECENT_MAX);
                Settled::Delivered
            }
            Outcome::HeldBack | Outcome::Lost => self.give_up(&entry, report, now),
            Outcome::Disabled => {
                self.book.disabled_at = Some(now);
                entry.due = now;
                self.keep(at, entry)
            }
            _ => self.again(at, entry, report, (now, random)),
        }
    }

    /// The schedule's next time, or the end.
    fn again(
        &mut self,
        at: usize,
        mut entry: Entry,
        report: &Report,
        (now, random): (Timestamp, &mut impl Rng),
    ) -> Settled {
        entry.attempts = entry.attempts.saturating_add(1);
        let first_at = *entry.first_at.get_or_insert(now);
        match self.due_again(&mut entry.step, report, first_at, (now, random)) {
            Some(due) => {
                entry.due = due;
                self.keep(at, entry)
            }
            None => self.give_up(&entry, report, now),
        }
    }

    fn due_again(
        &self,
        step: &mut u32,
        report: &Report,
        first_at: Timestamp,
        (now, random): (Timestamp, &mut impl Rng),
    ) -> Option<Timestamp> {
        if report.outcome == Outcome::Silent && self.book.breaker.is_probing() {
            // The endpoint is down: that is not the event's fault, and its schedule stands still.
            let due = self.book.breaker.closed_at(now).unwrap_or(now);
            return Some(due).filter(|_| now < self.schedule.end(first_at));
        }
        *step = step.saturating_add(1);
        let due = self.schedule.next(Tried { step: *step, first_at }, now, random)?;
        match report.outcome {
            Outcome::Throttled { until } => Some(due.max(until)),
            _ => Some(due),
        }
    }

    fn keep(&mut self, at: usize, entry: Entry) -> Settled {
        self.book.totals.failed = self.book.totals.failed.saturating_add(1);
        self.book.entries.insert(at, entry);
        Settled::Kept
    }

    fn give_up(&mut self, entry: &Entry, report: &Report, now: Timestamp) -> Settled {
        self.book.totals.given_up = self.book.totals.given_up.saturating_add(1);
        let given_up = GivenUp {
            event: entry.id,
            kind: entry.kind,
            after: entry.after,
            at: now,
            attempts: entry.attempts,
            why: format!("{}: {}", report.outcome.word(), report.words),
        };
        push_bounded(&mut self.book.given_up, given_up, GIVEN_UP_MAX);
        Settled::GivenUp
    }

    fn show(&mut self, entry: &Entry, report: &Report, now: Timestamp) {
        let attempt = Attempt {
            event: entry.id,
            kind: entry.kind,
            at: now,
            status: report.status,
            ms: report.ms,
            result: report.outcome.word().to_owned(),
            words: report.words.clone(),
        };
        push_bounded(&mut self.book.attempts, attempt, ATTEMPTS_MAX);
    }

    fn tell_breaker(&mut self, outcome: &Outcome, now: Timestamp, random: &mut impl Rng) {
        match outcome {
            Outcome::Delivered | Outcome::Refused | Outcome::Disabled => self.book.breaker.answered(),
            Outcome::Silent => self.book.breaker.silent(now, random),
            Outcome::Throttled { until } => {
                self.book.breaker.answered();
                self.book.breaker.pause(*until);
            }
            Outcome::HeldBack | Outcome::Unbuildable | Outcome::Lost | Outcome::NotTried => {}
        }
    }
}
