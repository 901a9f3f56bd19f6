//! What to do next at one endpoint. Pure: events, reports, time and randomness are brought; nothing is awaited.
//!
//! The log is read ahead into a bounded set of entries, and the cursor moves on past them: an event that fails holds up
//! no other. What a person wants again is read beside it, from places of its own and into a part of the set, so that it
//! holds up nothing either. What the book says at any moment is true after a crash: an entry stays until its end is known,
//! so that an event is repeated, never lost. Knows no HTTP, no ports and no notes; [`crate::driver`] does what it says.

mod pick;
pub mod settle;

use std::collections::HashMap;

use paybell_core::Timestamp;
use paybell_core::event::Event;
use paybell_core::ports::{Cursor, EventFilter, EventPage, LogRead};
use paybell_core::time::Millis;
use uuid::Uuid;

use crate::book::{Book, ENTRIES_MAX, Entry, RESENDS_MAX, RESENT_MAX, Resend};
use crate::config::Wanted;
use crate::schedule::Schedule;

/// Attempts at once.
pub const IN_FLIGHT_MAX: usize = 8;
/// Of which repeats: the others are kept free for events that were not tried yet.
pub const REPEATS_IN_FLIGHT_MAX: usize = 4;
/// Events that are read ahead of their first attempt.
const AHEAD_MAX: usize = 64;
/// The same of what is sent again: so many are at most tried before an event that is new.
pub const RESENT_AHEAD_MAX: usize = 16;

/// Between two looks whether the log knows the place of a stranded endpoint again, or whether what could not be read can be.
const STRANDED_GAP: Millis = Millis::seconds(10);

/// Which way of reading a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The endpoint's own place.
    Main,
    /// The oldest part that is to be sent again.
    Resend,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read after the place, and bring what was read to [`Machine::took`].
    Read(Reading),
    /// Try the event, and bring the end to [`Machine::settled`].
    Post(Box<Parcel>),
    /// Nothing before this time, unless an attempt ends or the log grows.
    Wait { until: Option<Timestamp>, for_log: bool },
}

/// What is to be read of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub head: Head,
    pub after: Cursor,
    pub filter: EventFilter,
    pub limit: usize,
}

/// An event to be tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    pub entry: Entry,
    /// Where it is still at hand; otherwise it is read again.
    pub event: Option<Event>,
    /// It lies no further on than here: who has not read so far cannot say that it is not there.
    pub position_max: u64,
}

/// The state machine of one endpoint.
#[derive(Debug)]
pub struct Machine {
    book: Book,
    wanted: Wanted,
    schedule: Schedule,
    /// Bodies of entries that were not tried yet.
    at_hand: HashMap<Uuid, Event>,
    /// Everything in the log was read.
    has_read_all: bool,
    /// When a stranded endpoint's place is looked for again.
    look_at: Option<Timestamp>,
    /// Where reading ended before an event that this version cannot read, and when it is tried again; one per way.
    unread: Vec<(Reading, Timestamp)>,
    is_dirty: bool,
}

impl Machine {
    /// Goes on where the book stands.
    pub fn new(book: Book, wanted: Wanted, schedule: Schedule) -> Self {
        let (at_hand, has_read_all, look_at, unread) = (HashMap::new(), false, None, Vec::new());
        Self { book, wanted, schedule, at_hand, has_read_all, look_at, unread, is_dirty: false }
    }

    /// What is to be kept.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// For the lease and for wishes, which are not the machine's.
    pub fn book_mut(&mut self) -> &mut Book {
        self.is_dirty = true;
        &mut self.book
    }

    /// Whether the book changed since it was last kept.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The book was kept.
    pub fn kept(&mut self) {
        self.is_dirty = false;
    }

    /// The log may have grown.
    pub fn log_grew(&mut self) {
        self.has_read_all = false;
    }

    /// Attempts that have not ended.
    pub fn in_flight(&self) -> usize {
        self.book.entries.iter().filter(|entry| entry.in_flight).count()
    }

    /// What to do now. Each step is done before the next one is asked for, but the end of a post.
    pub fn step(&mut self, now: Timestamp) -> Step {
        if self.book.disabled_at.is_some() {
            return Step::Wait { until: None, for_log: false };
        }
        if let Some(until) = self.book.breaker.closed_at(now) {
            return Step::Wait { until: Some(until), for_log: false };
        }
        if let Some(reading) = self.reading(Head::Main, now) {
            return Step::Read(reading);
        }
        let until = match pick::next(&self.book, now) {
            pick::Next::Entry(id) => return self.begin(id),
            pick::Next::Later(until) => until,
        };
        // A long part may hold nothing that the endpoint wants: what is there goes out before it is read on.
        if let Some(reading) = self.reading(Head::Resend, now) {
            return Step::Read(reading);
        }
        let [main, resend] = [Head::Main, Head::Resend].map(|head| self.held_until(head, now));
        let is_open = self.room(Head::Main) > 0 && main.is_none();
        Step::Wait {
            until: until.into_iter().chain(main).chain(resend).min(),
            for_log: is_open && self.book.stranded_at.is_none(),
        }
    }

    /// What was read after a place.
    pub fn took(&mut self, reading: &Reading, read: LogRead, now: Timestamp) {
        self.is_dirty = true;
        self.reads_on(reading.head);
        let after = reading.after;
        match (reading.head, read) {
            (Head::Main, LogRead::Page(page)) => {
                self.book.cursor = page.next;
                self.book.stranded_at = None;
                self.has_read_all = !page.has_more;
                for placed in in_place(after, page) {
                    self.add(placed, now);
                }
            }
            (Head::Main, LogRead::Gone { oldest }) if is_pruned(after, oldest) => {
                self.book.cursor = oldest;
                self.book.stranded_at = None;
                // Who begins with the oldest has missed nothing.
                let missed = u64::from(after != Cursor::START);
                self.book.totals.cursor_gone = self.book.totals.cursor_gone.saturating_add(missed);
            }
            (Head::Main, LogRead::Gone { .. }) => {
                self.book.stranded_at.get_or_insert(now);
                self.look_at = Some(now + STRANDED_GAP);
            }
            (Head::Resend, read) => self.take_again(after, read, now),
        }
    }

    /// What comes next in the log is an event that this version cannot read: it is waited for, while the entries are tried
    /// and the other way of reading goes on.
    pub fn cannot_read(&mut self, reading: Reading, now: Timestamp) {
        let since = match reading.head {
            Head::Main => &mut self.book.held_up_at,
            Head::Resend => &mut self.book.resend_held_up_at,
        };
        self.is_dirty |= since.is_none();
        since.get_or_insert(now);
        self.unread.retain(|(unread, _)| unread.head != reading.head);
        self.unread.push((reading, now + STRANDED_GAP));
    }

    /// What came next was read, or is passed over.
    fn reads_on(&mut self, head: Head) {
        match head {
            Head::Main => self.book.held_up_at = None,
            Head::Resend => self.book.resend_held_up_at = None,
        }
        self.unread.retain(|(unread, _)| unread.head != head);
    }

    /// The readings that ended before such an event.
    pub fn unread(&self) -> impl Iterator<Item = &Reading> {
        self.unread.iter().map(|(reading, _)| reading)
    }

    /// A person has such an event passed over: reading goes on at the place after it.
    pub fn pass_over(&mut self, head: Head, past: Cursor) {
        self.is_dirty = true;
        self.reads_on(head);
        match (head, self.book.resends.front_mut()) {
            (Head::Main, _) => self.book.cursor = past,
            (Head::Resend, Some(resend)) if past.position < resend.to => resend.after = past,
            (Head::Resend, _) => drop(self.book.resends.pop_front()),
        }
    }

    /// Asks for a part of the log again; `false` if too many wait.
    pub fn resend(&mut self, resend: Resend) -> bool {
        let has_room = self.book.resends.len() < RESENDS_MAX;
        if has_room {
            self.is_dirty = true;
            self.book.resends.push_back(resend);
        }
        has_room
    }

    /// Ends a 410 and closes the breaker; what waits is tried at once.
    pub fn enable(&mut self, now: Timestamp) {
        self.is_dirty = true;
        self.book.disabled_at = None;
        self.book.breaker = crate::breaker::Breaker::default();
        for entry in &mut self.book.entries {
            entry.due = entry.due.min(now);
        }
    }

    /// A person has an endpoint that is stranded go on at the log's end. What waits is looked for in the whole log.
    pub fn float(&mut self, end: Cursor) {
        self.is_dirty = true;
        self.book.stranded_at = None;
        self.book.cursor = end;
        self.has_read_all = false;
        for entry in &mut self.book.entries {
            (entry.after, entry.position) = (Cursor::START, None);
        }
    }

    fn reading(&self, head: Head, now: Timestamp) -> Option<Reading> {
        let after = match head {
            Head::Main => (!self.has_read_all).then_some(self.book.cursor),
            Head::Resend => self.book.resends.front().map(|resend| resend.after),
        }?;
        let limit = self.room(head);
        let can_read = limit > 0 && self.held_until(head, now).is_none();
        can_read.then(|| Reading { head, after, filter: self.wanted.filter(), limit })
    }

    /// Until when nothing is read in this way.
    fn held_until(&self, head: Head, now: Timestamp) -> Option<Timestamp> {
        let is_stranded = head == Head::Main && self.book.stranded_at.is_some();
        let look_at = self.look_at.filter(|_| is_stranded);
        let unread = self.unread.iter().find(|(unread, _)| unread.head == head).map(|(_, until)| *until);
        look_at.max(unread).filter(|until| *until > now)
    }

    /// How much more of the log may be read: a page at a time.
    fn room(&self, head: Head) -> usize {
        let (ahead_max, entries_max) = match head {
            Head::Main => (AHEAD_MAX, ENTRIES_MAX),
            Head::Resend => (RESENT_AHEAD_MAX, RESENT_MAX),
        };
        let (untried, entries) = (pick::untried(&self.book, head), pick::of(&self.book, head).count());
        if untried > ahead_max / 2 {
            return 0;
        }
        let free = ENTRIES_MAX.saturating_sub(self.book.entries.len());
        ahead_max.saturating_sub(untried).min(entries_max.saturating_sub(entries)).min(free)
    }

    fn begin(&mut self, id: Uuid) -> Step {
        let (event, place) = (self.at_hand.remove(&id), self.book.cursor.position);
        let entry = self.book.entries.iter_mut().find(|entry| entry.id == id);
        let entry = entry.expect("it was picked from the entries");
        entry.in_flight = true;
        let position_max = entry.position.unwrap_or(place);
        Step::Post(Box::new(Parcel { entry: entry.clone(), event, position_max }))
    }

    /// A repeat of the log is known by its id; what a person had sent before its turn is owed from now on.
    fn add(&mut self, placed: Placed, now: Timestamp) {
        let id = placed.event.id;
        if let Some(entry) = self.entry(id) {
            entry.again = false;
        } else if !self.book.recent.contains(&id) && self.wanted.fits(&placed.event) {
            self.push(placed, now, Asked::ByNobody);
        }
    }

    fn take_again(&mut self, after: Cursor, read: LogRead, now: Timestamp) {
        let Some(resend) = self.book.resends.pop_front() else { return };
        let (rest, page) = match read {
            LogRead::Gone { oldest } if is_pruned(after, oldest) => (Some(oldest), None),
            // Of another log: what was asked for is not there, and nobody asked for the rest.
            LogRead::Gone { .. } => (None, None),
            LogRead::Page(page) => (page.has_more.then_some(page.next), Some(page)),
        };
        for placed in page.into_iter().flat_map(|page| in_place_to(after, page, resend.to)) {
            if let Some(entry) = self.entry(placed.event.id) {
                entry.asked = true;
                entry.due = entry.due.min(now);
            } else if self.wanted.fits(&placed.event) {
                self.push(placed, now, Asked::ByAPerson);
            }
        }
        if let Some(rest) = rest.filter(|rest| rest.position < resend.to) {
            self.book.resends.push_front(Resend { after: rest, to: resend.to });
        }
    }

    fn push(&mut self, Placed { after, position, event }: Placed, now: Timestamp, asked: Asked) {
        self.book.entries.push(Entry {
            id: event.id,
            after,
            position: Some(position),
            kind: event.kind,
            mch_id: event.mch_id().clone(),
            time: event.time,
            attempts: 0,
            step: 0,
            first_at: None,
            due: now,
            asked: asked == Asked::ByAPerson,
            again: asked == Asked::ByAPerson,
            in_flight: false,
        });
        self.at_hand.insert(event.id, event);
    }

    fn entry(&mut self, id: Uuid) -> Option<&mut Entry> {
        self.book.entries.iter_mut().find(|entry| entry.id == id)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    ByNobody,
    ByAPerson,
}

/// Whether the log begins after the place: going on there sends nothing again.
fn is_pruned(after: Cursor, oldest: Cursor) -> bool {
    oldest.position >= after.position
}

/// An event of the log.
struct Placed {
    /// The place before it.
    after: Cursor,
    position: u64,
    event: Event,
}

fn in_place(after: Cursor, page: EventPage) -> impl Iterator<Item = Placed> {
    in_place_to(after, page, u64::MAX)
}

fn in_place_to(after: Cursor, page: EventPage, to: u64) -> impl Iterator<Item = Placed> {
    let within = page.events.into_iter().take_while(move |(cursor, _)| cursor.position <= to);
    within.scan(after, |before, (cursor, event)| {
        let after = std::mem::replace(before, cursor);
        Some(Placed { after, position: cursor.position, event })
    })
}
