//! The book of one endpoint: where it stands, kept as one note. Written only by the holder of its lease.
//!
//! Data and bounds; the rules are in [`crate::machine`]. Holds no body of an event and no secret.

use std::collections::VecDeque;

use paybell_core::event::EventType;
use paybell_core::ids::LeaseToken;
use paybell_core::ports::Cursor;
use paybell_core::{MchId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::breaker::Breaker;

/// The version of the document.
pub const FORMAT: u32 = 1;

/// Events that wait for an attempt or are in flight, at most.
pub const ENTRIES_MAX: usize = 1000;
/// Of which so many were read for a person: the others are kept free for what the endpoint did not get.
pub const RESENT_MAX: usize = ENTRIES_MAX / 2;
/// Newest attempts that are shown.
pub const ATTEMPTS_MAX: usize = 50;
/// Newest events that were given up and are shown.
pub const GIVEN_UP_MAX: usize = 100;
/// Ids of newest deliveries: a repeat of the log within these is not delivered again.
pub const RECENT_MAX: usize = 128;
/// Ranges that wait to be sent again.
pub const RESENDS_MAX: usize = 32;

/// Everything that is kept of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub format: u32,
    /// A print of the configured address: a change closes the breaker and enables the endpoint.
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Everything up to here is delivered, given up, unwanted, or in `entries`.
    pub cursor: Cursor,
    /// Since when the log has not known that place and begins before it: to go on at its beginning would send everything
    /// again, so that a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranded_at: Option<Timestamp>,
    /// Since when what comes next has been an event that the process which serves it cannot read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up_at: Option<Timestamp>,
    /// The same of what is to be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend_held_up_at: Option<Timestamp>,
    /// Since when it has been served from the log's end on though the ledger knew no place of it and the log is older: a
    /// person says whether something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_anew_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub resends: VecDeque<Resend>,
    #[serde(default)]
    pub breaker: Breaker,
    /// Since when nothing is sent: the endpoint answered 410.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub recent: VecDeque<Uuid>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub attempts: VecDeque<Attempt>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub given_up: VecDeque<GivenUp>,
    #[serde(default)]
    pub totals: Totals,
    /// The number of the last wish that was fulfilled.
    #[serde(default)]
    pub wishes_done: u64,
    /// The number of the last wish to enable it that was fulfilled; wishes before it may still wait for room.
    #[serde(default)]
    pub enables_done: u64,
}

/// Which process works on the endpoint, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub token: LeaseToken,
    pub until: Timestamp,
}

/// One event on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: Uuid,
    /// A place before it in the log, with none of its merchant and type in between.
    pub after: Cursor,
    /// Its own place. `None` where an older version wrote the entry, or the log is another one by now: no further on than
    /// the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    pub kind: EventType,
    pub mch_id: MchId,
    /// The event's own time.
    pub time: Timestamp,
    /// All attempts.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts that moved the schedule on: those made while the breaker probes do not. 0 is a new event.
    #[serde(default)]
    pub step: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    pub due: Timestamp,
    /// A person asked for it: sent whatever became of the order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// It was read again for a person, and the endpoint's own place has long passed it or will come to it: nothing that
    /// the endpoint is behind with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// In flight: after a crash it is simply tried again.
    #[serde(skip)]
    pub in_flight: bool,
}

/// A part of the log that is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resend {
    /// The place before the first event; moves on.
    pub after: Cursor,
    /// The position of the last event.
    pub to: u64,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub event: Uuid,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub ms: u64,
    /// The word of [`crate::outcome::Outcome::word`].
    pub result: String,
    /// Why it failed, and the beginning of what the endpoint said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// An event that was not delivered and will not be unless a person asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    pub event: Uuid,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub after: Cursor,
    pub at: Timestamp,
    pub attempts: u32,
    pub why: String,
}

/// Counts since the endpoint was first served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub delivered: u64,
    pub failed: u64,
    pub given_up: u64,
    /// How often the cursor had left the log, and reading went on at the oldest event.
    pub cursor_gone: u64,
}

impl Book {
    /// A book that begins at a place.
    pub fn new(target: String, cursor: Cursor) -> Self {
        Self {
            format: FORMAT,
            target,
            lease: None,
            cursor,
            stranded_at: None,
            held_up_at: None,
            resend_held_up_at: None,
            began_anew_at: None,
            entries: Vec::new(),
            resends: VecDeque::new(),
            breaker: Breaker::default(),
            disabled_at: None,
            recent: VecDeque::new(),
            attempts: VecDeque::new(),
            given_up: VecDeque::new(),
            totals: Totals::default(),
            wishes_done: 0,
            enables_done: 0,
        }
    }

    /// How old the oldest event is that waits, by the event's own time; but for what is sent again.
    pub fn lag_ms(&self, now: Timestamp) -> i64 {
        let owed = self.entries.iter().filter(|entry| !entry.again);
        owed.map(|entry| now.since(entry.time).0).max().unwrap_or(0).max(0)
    }
}

/// Adds to the newest within a bound.
pub(crate) fn push_bounded<T>(newest: &mut VecDeque<T>, one: T, max: usize) {
    newest.push_back(one);
    while newest.len() > max {
        newest.pop_front();
    }
}
