//! The book of one merchant: which days are done, which wait until when, and who works on one. A small document in a
//! note; every change of it is a compare-and-set (`shelf`). Pure: the ledger's clock is brought by the caller.

use std::collections::BTreeMap;

use paybell_core::event::Event;
use paybell_core::time::{Millis, Timestamp};
use paybell_core::{Day, LeaseToken};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many days back bills are asked for, and results kept.
pub const DAYS_KEPT: i64 = 40;
/// Days that a person may ask for beyond those.
const ASKED_MAX: usize = 16;
/// A process that keeps its own request waiting for so long is dead.
const OWN_REQUEST_MAX: Millis = Millis::seconds(600);
/// Between two tries, if nothing says otherwise; doubles with each up to [`RETRY_LONGEST`].
const RETRY_FIRST: Millis = Millis::seconds(15 * 60);
const RETRY_LONGEST: Millis = Millis::seconds(6 * 3600);
/// After a try that an engine's absence broke off; doubles with each.
const BREAK_FIRST: Millis = Millis::seconds(5);
/// So many of them in a row, and the next one is a try that failed: after some 20 minutes.
const BREAKS_MAX: u32 = 8;

/// What is kept of a merchant's days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// When this installation first met the merchant: what was paid before is none of its business.
    pub since: Timestamp,
    #[serde(default)]
    pub days: BTreeMap<Day, Entry>,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub state: State,
    /// When it is tried next by itself; nothing while it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Tries since it was last done.
    #[serde(default)]
    pub tries: u32,
    /// Tries that an engine's absence broke off since then: the day is at nobody's door for it.
    #[serde(default)]
    pub broken_off: u32,
    /// Nothing that we know of happened on that day, so that there may be no bill at all.
    #[serde(default)]
    pub may_be_empty: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Said>,
    /// The result that was last stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Reconciled>,
}

/// How far a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is no result yet.
    Waiting,
    /// The result is stored; its checks and its event are not all out yet.
    Telling,
    Done,
}

impl State {
    /// The word in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Telling => "telling",
            State::Done => "done",
        }
    }
}

/// A person wants the day reconciled now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: Uuid,
    pub at: Timestamp,
    /// A bill that lies in the folder already; else WeChat is asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Only this process may serve it: the file lies on its machine, and its person waits there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
}

/// Who works on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub token: u128,
    pub until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Downloading,
    Reading,
    Gathering,
    Comparing,
    Missing,
    /// Checks go into the queue.
    Publishing,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub at: Timestamp,
    /// A fixed word, such as `reconciled` or `no_bill`.
    pub outcome: String,
    /// For a person.
    pub detail: String,
    /// Whose request it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Uuid>,
}

/// A stored result, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    pub at: Timestamp,
    /// As it is, or was, told.
    pub event: Event,
    /// The event that was told last; the same is not told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Uuid>,
    /// A person had asked: what is told of it is told for them, also after their request was answered or forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_asked: bool,
    /// Where the bill lies in the folder of who compared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// When bills are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// After the midnight that ends the day.
    pub after: Millis,
    /// Whether days are opened without anybody asking.
    pub by_itself: bool,
}

impl Entry {
    fn waiting(next_at: Option<Timestamp>) -> Self {
        Self {
            state: State::Waiting,
            next_at,
            tries: 0,
            broken_off: 0,
            may_be_empty: false,
            asked: None,
            lease: None,
            last: None,
            reconciled: None,
        }
    }

    /// When somebody should work on it; `None` if nobody should.
    #[must_use]
    pub fn wanted_at(&self) -> Option<Timestamp> {
        match (&self.asked, self.state) {
            (Some(_), _) | (None, State::Telling) => Some(self.next_at.unwrap_or(Timestamp::from_millis(0))),
            (None, State::Waiting) => self.next_at,
            (None, State::Done) => None,
        }
    }

    /// Whether a process may work on it: `me` is one that serves its own requests only.
    fn is_for(&self, me: Option<u64>) -> bool {
        let by = self.asked.as_ref().and_then(|request| request.by);
        match me {
            None => by.is_none(),
            Some(_) => by == me,
        }
    }

    fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until > now)
    }

    /// Its process does not come back; the day goes on by itself. True if there was one.
    fn forget_the_dead(&mut self, now: Timestamp) -> bool {
        let is_dead = |request: &Request| request.by.is_some() && now.since(request.at) > OWN_REQUEST_MAX;
        if self.is_leased(now) || !self.asked.as_ref().is_some_and(is_dead) {
            return false;
        }
        self.asked = None;
        if self.state == State::Done {
            self.next_at = None;
        }
        true
    }

    fn is_held_by(&self, token: LeaseToken) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.token == token.0)
    }
}

impl Book {
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self { since, days: BTreeMap::new() }
    }

    /// Opens the days whose bills may be there by now, from the day of `active_since` on or, without one, from that of
    /// the installation; lets the old ones go. True if anything changed.
    pub fn turn(&mut self, opening: Opening, active_since: Option<Timestamp>, now: Timestamp) -> bool {
        let today = Day::of(now);
        let before = self.days.len();
        let oldest = today.plus(-DAYS_KEPT);
        let is_over = |day: Day, entry: &Entry| {
            let is_idle = entry.asked.is_none() && !entry.is_leased(now) && entry.state != State::Telling;
            let was_read =
                entry.last.as_ref().is_none_or(|last| now.since(last.at) > Millis::seconds(86_400));
            day < oldest && is_idle && was_read
        };
        let has_forgotten = self.forget_the_dead(now);
        self.days.retain(|day, entry| !is_over(*day, entry));
        let mut is_changed = has_forgotten || self.days.len() != before;
        if !opening.by_itself {
            return is_changed;
        }
        let mut day = Day::of(active_since.unwrap_or(self.since)).max(oldest);
        while day < today {
            let ready_at = day.end() + opening.after;
            if ready_at <= now && !self.days.contains_key(&day) {
                self.days.insert(day, Entry::waiting(Some(ready_at)));
                is_changed = true;
            }
            day = day.plus(1);
        }
        is_changed
    }

    fn forget_the_dead(&mut self, now: Timestamp) -> bool {
        self.days.values_mut().filter_map(|entry| entry.forget_the_dead(now).then_some(())).count() > 0
    }

    /// The day to work on now: what a person asks for first, then the oldest.
    #[must_use]
    pub fn next(&self, now: Timestamp, is_alone: bool, me: Option<u64>) -> Option<Day> {
        let is_free = |entry: &Entry| entry.is_for(me) && (is_alone || !entry.is_leased(now));
        let due = self
            .days
            .iter()
            .filter(|(_, entry)| is_free(entry) && entry.wanted_at().is_some_and(|at| at <= now));
        due.min_by_key(|(day, entry)| (entry.asked.is_none(), **day)).map(|(day, _)| *day)
    }

    /// Makes a day ours for a while.
    pub fn lease(&mut self, day: Day, lease: Lease) -> Option<&Entry> {
        let entry = self.days.get_mut(&day)?;
        entry.lease = Some(lease);
        Some(entry)
    }

    /// The day, if the lease is still ours.
    pub fn held(&mut self, day: Day, token: LeaseToken) -> Option<&mut Entry> {
        self.days.get_mut(&day).filter(|entry| entry.is_held_by(token))
    }

    /// A person asks. A day that is being worked on is worked on once more afterwards.
    pub fn ask(&mut self, day: Day, request: Request, now: Timestamp) -> Result<&Entry, TooMany> {
        self.forget_the_dead(now);
        let waits = self.days.values().filter(|entry| entry.asked.is_some()).count();
        if waits >= ASKED_MAX && self.days.get(&day).is_none_or(|entry| entry.asked.is_none()) {
            return Err(TooMany);
        }
        let entry = self.days.entry(day).or_insert_with(|| Entry::waiting(None));
        entry.asked = Some(request);
        entry.next_at = Some(now);
        Ok(entry)
    }

    /// Days whose bill should be reconciled by now and is not.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> usize {
        let is_late = |entry: &&Entry| {
            entry.state != State::Done && !entry.may_be_empty && entry.tries > 0
                || entry.state == State::Telling
                || entry.state == State::Waiting
                    && entry.next_at.is_some_and(|at| now.since(at) > RETRY_FIRST)
        };
        self.days.values().filter(is_late).count()
    }
}

/// Too many days wait that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// What a try that brought no result leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub outcome: &'static str,
    pub detail: String,
    pub may_be_empty: bool,
}

impl Entry {
    /// Ends a try without a result. What a person asked for with a file of their own is not tried again.
    pub fn fail(&mut self, failed: Failed, served: Option<&Request>, now: Timestamp) {
        self.lease = None;
        (self.tries, self.broken_off) = (self.tries.saturating_add(1), 0);
        self.may_be_empty = failed.may_be_empty;
        let is_served = |request: &Request| served.is_some_and(|served| served.id == request.id);
        let is_later = self.asked.as_ref().is_some_and(|request| !is_served(request));
        if !is_later {
            self.asked = None;
        }
        let was_given = served.is_some_and(|request| request.file.is_some());
        self.next_at = match (is_later, self.state) {
            (true, _) => Some(now),
            (false, State::Done) => None,
            (false, _) if was_given => self.next_at.map(|at| at.max(now + RETRY_FIRST)),
            (false, _) => Some(now + backoff(self.tries)),
        };
        self.last = Some(Said {
            at: now,
            outcome: failed.outcome.to_owned(),
            detail: failed.detail,
            request: served.map(|request| request.id),
        });
    }

    /// Stores a result: from now on it has to be told.
    pub fn reconcile(&mut self, reconciled: Reconciled) {
        let told = self.reconciled.take().and_then(|earlier| earlier.told);
        self.reconciled = Some(Reconciled { told, ..reconciled });
        (self.state, self.may_be_empty) = (State::Telling, false);
    }

    /// Everything is told.
    pub fn done(&mut self, served: Option<&Request>, now: Timestamp) {
        if let Some(reconciled) = &mut self.reconciled {
            reconciled.told = Some(reconciled.event.id);
        }
        (self.state, self.lease) = (State::Done, None);
        (self.tries, self.broken_off) = (0, 0);
        let is_served = |request: &Request| served.is_some_and(|served| served.id == request.id);
        if self.asked.as_ref().is_some_and(is_served) {
            self.asked = None;
        }
        self.next_at = self.asked.as_ref().map(|_| now);
        self.last = Some(Said {
            at: now,
            outcome: "reconciled".to_owned(),
            detail: String::new(),
            request: served.map(|request| request.id),
        });
    }

    /// Ends a try that an engine's absence broke off: whoever asked waits on, for a while.
    pub fn break_off(&mut self, failed: Failed, served: Option<&Request>, now: Timestamp) {
        if self.broken_off >= BREAKS_MAX {
            return self.fail(failed, served, now);
        }
        self.lease = None;
        self.next_at = Some(now + Millis(BREAK_FIRST.0 << self.broken_off));
        self.broken_off += 1;
        let outcome = failed.outcome.to_owned();
        self.last = Some(Said { at: now, outcome, detail: failed.detail, request: None });
    }

    /// Gives the day back as it is: the process ends.
    pub fn let_go(&mut self, now: Timestamp) {
        self.lease = None;
        self.next_at = Some(self.next_at.map_or(now, |at| at.min(now)));
    }
}

fn backoff(tries: u32) -> Millis {
    let doubled = RETRY_FIRST.0.saturating_mul(1 << tries.saturating_sub(1).min(10));
    Millis(doubled.min(RETRY_LONGEST.0))
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
