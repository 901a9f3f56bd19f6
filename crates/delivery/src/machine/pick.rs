//! Which entry is tried next.
//!
//! Repeats take at most half of the places, so that events which fail again and again never keep new ones waiting. What is
//! sent again takes its turn among the new ones, of which few are read ahead, and comes last among the repeats. While
//! the breaker probes there is one place, new events come first, and they take turns: if one event alone is what the
//! endpoint fails on, the next one finds that out.

use paybell_core::Timestamp;
use uuid::Uuid;

use super::{Head, IN_FLIGHT_MAX, REPEATS_IN_FLIGHT_MAX};
use crate::book::{Book, Entry};

pub(super) enum Next {
    Entry(Uuid),
    /// Nothing is due, or no place is free: when the next entry is due.
    Later(Option<Timestamp>),
}

/// Entries that were read in this way.
pub(super) fn of(book: &Book, head: Head) -> impl Iterator<Item = &Entry> {
    book.entries.iter().filter(move |entry| entry.again == (head == Head::Resend))
}

/// Of which were never tried.
pub(super) fn untried(book: &Book, head: Head) -> usize {
    of(book, head).filter(|entry| entry.step == 0 && !entry.in_flight).count()
}

pub(super) fn next(book: &Book, now: Timestamp) -> Next {
    let places = if book.breaker.is_probing() { 1 } else { IN_FLIGHT_MAX };
    let in_flight = || book.entries.iter().filter(|entry| entry.in_flight);
    if in_flight().count() >= places {
        return Next::Later(None);
    }
    let repeats = in_flight().filter(|entry| entry.step > 0).count();
    let waiting = || book.entries.iter().filter(|entry| !entry.in_flight);
    let is_due = |entry: &&Entry| entry.due <= now;
    let new = waiting().filter(is_due).filter(|entry| entry.step == 0).min_by_key(|entry| entry.due);
    let repeat = waiting().filter(is_due).filter(|entry| entry.step > 0);
    let repeat = repeat.min_by_key(|entry| (entry.again, entry.due));
    let repeat = repeat.filter(|_| repeats < REPEATS_IN_FLIGHT_MAX);
    let chosen = if book.breaker.is_probing() { new.or(repeat) } else { repeat.or(new) };
    match chosen {
        Some(entry) => Next::Entry(entry.id),
        // Due entries that found no place wait for an end, not for a time.
        None => Next::Later(waiting().map(|entry| entry.due).filter(|due| *due > now).min()),
    }
}
