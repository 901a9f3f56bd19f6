//! The lease: at most one delivery works on an order, and what it may write is fenced by its token.
//!
//! Each function is one atomic step of a ledger: it takes the stored record and says what to store. The order of the
//! steps (take → query → commit → publish → clear → acknowledge) lives in the worker.

use crate::check::{Check, Reason};
use crate::dead::{DeadLetter, DeadReason};
use crate::decide::Change;
use crate::ids::{LeaseToken, OrderKey};
use crate::record::{Cause, Due, Entry, Hint, Lease, LookAgain, Progress, QuickLooks, Record, State};
use crate::refund;
use crate::time::{Millis, Timestamp};

/// From this many lost leases in a row on, the due time lies one transient backoff after the lease's end.
pub const LOST_BEFORE_BACKOFF: u32 = 3;

/// This many lost leases in a row leave a dead letter `poison`.
pub const LOST_BEFORE_POISON: u32 = 10;

/// The one look that a poisonous order still gets.
pub const POISON_GAP: Millis = Millis::seconds(6 * 3600);

/// A manual check is answered by a look that ended less than this ago.
pub const FRESH: Millis = Millis::seconds(1);

/// A worker's wish to work on the order of a check.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    pub check: Check,
    /// Of this wish alone. Brought again after a lost answer, it opens the lease that it may have got then.
    pub token: LeaseToken,
    pub length: Millis,
    /// A lease that the same caller took earlier and gave up on after an error: nobody works under it any more.
    pub given_up: Option<LeaseToken>,
    /// One transient backoff per lost lease from the third on, brought by the caller because it has the randomness.
    pub lost_delays: [Millis; 7],
}

/// What became of the wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// The order is ours until the lease ends. If events are outgoing, publish and clear them, nothing else.
    Leased(Box<Record>),
    /// I6: already told, nothing outgoing.
    Duplicate,
    /// Somebody else works on it and will look again.
    Busy,
    /// A due check whose claim is not the record's current one.
    Stale,
    /// A manual check of an order that was looked at less than a second ago. It is due again once that second is over.
    Fresh,
}

/// What a ledger stores after a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Keep,
    Put(Box<Record>),
    Delete,
}

/// The result of [`take`].
#[derive(Debug, Clone, PartialEq)]
pub struct Taking {
    pub write: Write,
    pub taken: Taken,
    pub dead: Option<DeadLetter>,
}

impl Taking {
    fn without_write(taken: Taken) -> Self {
        Self { write: Write::Keep, taken, dead: None }
    }
}

/// What an engine knows of the process that holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nothing: the lease's end decides.
    Unknown,
    /// It was heard of lately, and the engine will know when that ends.
    Alive,
    /// It has not been heard of for long: nobody works under the lease.
    Dead,
}

/// A process that dies is known to be dead after so long; then the order is looked at, not only at the lease's end.
pub const HOLDER_LOOK: Millis = Millis::seconds(10);

/// Takes the lease of a check's order, creating the record if there is none.
pub fn take(stored: Option<&Record>, request: &LeaseRequest, now: Timestamp) -> Taking {
    take_from(stored, request, now, Holder::Unknown)
}

/// The same for an engine that may know whether the present holder lives.
pub fn take_from(stored: Option<&Record>, request: &LeaseRequest, now: Timestamp, holder: Holder) -> Taking {
    let check = &request.check;
    if let Some(claim) = check.claim
        && stored.is_none_or(|record| record.claim != claim.number)
    {
        return stale(stored, now, holder);
    }
    let Some(stored) = stored else {
        let mut record = Record::new(check.key.clone(), now, now);
        record.progress.refund_only = check.refund.is_some();
        return lease(record, request, now);
    };
    let releases = check.refund.is_none() && check.is_owed() && stored.withheld().next().is_some();
    if !releases && tells_nothing_new(stored, check) {
        return Taking::without_write(Taken::Duplicate);
    }
    let is_free = holder == Holder::Dead || gave_up(stored, request);
    let is_held = is_held(stored, now) && !is_free;
    if is_held || is_poison_at_rest(stored, check, now) {
        let mut record = stored.clone();
        look_again(&mut record, check, now);
        if is_held && holder == Holder::Alive && record.leases_lost < LOST_BEFORE_BACKOFF {
            // Should the holder die now, nobody has to wait for the lease's end; unless it is the order that kills.
            record.due = record.due.map(|due| Due { at: due.at.min(now + HOLDER_LOOK), ..due });
        }
        return Taking { write: Write::Put(Box::new(record)), taken: Taken::Busy, dead: None };
    }
    if check.reason == Reason::Manual
        && check.refund.is_none()
        && !releases
        && was_just_looked_at(stored, now)
    {
        return fresh(stored, now);
    }
    let mut record = stored.clone();
    if gave_up(stored, request) {
        // It ended in an error of an engine, which says nothing about the order.
        record.lease = None;
    }
    lease(record, request, now)
}

/// Whoever asks may have changed something since that look: the order is due again as soon as it may be looked at, unless
/// there is nothing more to learn. A look at the order says nothing of its refunds: they are due again then, too.
fn fresh(stored: &Record, now: Timestamp) -> Taking {
    let looked_at = stored.progress.looked_at.unwrap_or(stored.updated_at);
    let wanted = Due { at: looked_at + FRESH, cause: Cause::Manual };
    let order = if stored.refunds.is_empty() { stored.due } else { stored.order_due };
    let is_told = matches!(stored.state, State::Paid | State::Refunded);
    let is_at_rest = is_told || order.is_some_and(|due| due.at <= wanted.at);
    let mut record = stored.clone();
    let has_wish = refund::want_all_at(&mut record, wanted.at, now);
    if is_at_rest && !has_wish {
        return Taking::without_write(Taken::Fresh);
    }
    record.rest_until(if is_at_rest { order } else { Some(wanted) });
    Taking { write: Write::Put(Box::new(record)), taken: Taken::Fresh, dead: None }
}

/// I6: what the check names is told already.
fn tells_nothing_new(record: &Record, check: &Check) -> bool {
    match &check.refund {
        Some(number) => !refund::is_news(record, number, check),
        None => {
            let brings_a_hint = matches!(check.reason, Reason::Notified | Reason::Billed);
            brings_a_hint && record.has_seen(check.transaction_id.as_ref())
        }
    }
}

/// A commit makes its own check stale. If its holder died before it published, nobody else would come before the lease's
/// end: so it touches the due time, and nothing else.
fn stale(stored: Option<&Record>, now: Timestamp, holder: Holder) -> Taking {
    let at = now + if holder == Holder::Dead { Millis(0) } else { HOLDER_LOOK };
    if let Some(record) = stored.filter(|record| is_held(record, now) && !record.outgoing.is_empty())
        && holder != Holder::Unknown
        && let Some(due) = record.due.filter(|due| at < due.at)
    {
        let record = Record { due: Some(Due { at, ..due }), ..record.clone() };
        return Taking { write: Write::Put(Box::new(record)), taken: Taken::Stale, dead: None };
    }
    Taking::without_write(Taken::Stale)
}

fn gave_up(record: &Record, request: &LeaseRequest) -> bool {
    record.lease.is_some_and(|lease| lease.token == request.token || Some(lease.token) == request.given_up)
}

fn is_held(record: &Record, now: Timestamp) -> bool {
    record.lease.is_some_and(|lease| lease.until > now)
}

/// An order that killed ten workers gets its one look per six hours, whatever arrives; a person may insist.
fn is_poison_at_rest(record: &Record, check: &Check, now: Timestamp) -> bool {
    record.leases_lost >= LOST_BEFORE_POISON
        && matches!(check.reason, Reason::Notified | Reason::Billed)
        && record.due.is_some_and(|due| due.at > now)
}

fn was_just_looked_at(record: &Record, now: Timestamp) -> bool {
    record.look_again.is_none()
        && record.outgoing.is_empty()
        && record.progress.attempts == 0
        && record.progress.looked_at.is_some_and(|at| at <= now && now.since(at) < FRESH)
}

fn look_again(record: &mut Record, check: &Check, now: Timestamp) {
    see(record, check, now);
    let notified = notifies(check).then(|| Hint::of(check.transaction_id.clone()));
    // A due check says only that something is due, which of order and refunds their own due times say.
    let is_either = check.reason == Reason::Due && !record.refunds.is_empty();
    let cause = if is_either { Cause::Refund } else { check.cause() };
    record.look_again = Some(match record.look_again.take() {
        None => LookAgain { cause, notified },
        Some(earlier) => LookAgain {
            cause: earlier.cause.and(cause),
            notified: match (earlier.notified, notified) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            },
        },
    });
    hurry(record, check.cause());
}

/// Should the lease end without a word of its holder, its due time is all that is left of a wake-up: from now on it is
/// claimed before all polls, as the wake-up would have been. When it is stays as it was.
pub(crate) fn hurry(record: &mut Record, cause: Cause) {
    record.due = record.due.map(|due| Due { cause: due.cause.or(cause), ..due });
}

/// What a check leaves on the record, whether or not the lease is to be had.
fn see(record: &mut Record, check: &Check, now: Timestamp) {
    if let Some(number) = &check.refund {
        if record.progress.seen_as.is_none() {
            record.progress.seen_as.clone_from(&check.seen_as);
        }
        refund::hint(record, number, check, now);
        return;
    }
    if check.seen_as.is_some() {
        record.progress.seen_as.clone_from(&check.seen_as);
    }
    record.progress.owed |= check.is_owed();
    if check.reason != Reason::Due {
        record.meet(now);
    }
    if check.reason == Reason::Manual {
        refund::want_all(record, now);
    }
}

/// A notification of the payment came. One of a refund says nothing of it.
fn notifies(check: &Check) -> bool {
    check.reason == Reason::Notified && check.refund.is_none()
}

fn lease(mut record: Record, request: &LeaseRequest, now: Timestamp) -> Taking {
    count_the_last_lease(&mut record);
    let check = &request.check;
    see(&mut record, check, now);
    let until = now + request.length;
    record.lease = Some(Lease { token: request.token, until, committed: false });
    let mut cause = check.cause().or(record.due.map_or(Cause::Cadence, |due| due.cause));
    if record.outgoing.is_empty() {
        let mut asks_for_the_order = check.reason != Reason::Due && check.refund.is_none();
        if let Some(again) = record.look_again.take() {
            cause = cause.or(again.cause);
            asks_for_the_order |= again.cause != Cause::Refund;
            again.notified.into_iter().for_each(|hint| await_confirmation(&mut record, hint));
        }
        if notifies(check) {
            await_confirmation(&mut record, Hint::of(check.transaction_id.clone()));
        }
        if asks_for_the_order && !record.refunds.is_empty() {
            record.order_due = Some(Due { at: now, cause });
        }
    } else if check.reason != Reason::Due {
        // This holder only publishes; what the check wanted outlives the clear.
        look_again(&mut record, check, now);
    }
    refund::take_in_hand(&mut record, now);
    record.due = Some(Due { at: until + lost_delay(&record, request), cause });
    let dead = (record.leases_lost == LOST_BEFORE_POISON).then(|| {
        let detail = format!("{LOST_BEFORE_POISON} leases in a row ended without a result");
        let letter = DeadLetter::about(&record.key, DeadReason::Poison, detail, now);
        // A replay must not ask about the payment of an order that only its refunds made known.
        let only = record.refunds.first().filter(|_| record.progress.refund_only);
        match record.refund_in_hand().or(only) {
            Some(refund) => letter.of_refund(&refund.out_refund_no),
            None => letter,
        }
    });
    let taken = Taken::Leased(Box::new(record.clone()));
    Taking { write: Write::Put(Box::new(record)), taken, dead }
}

fn count_the_last_lease(record: &mut Record) {
    match record.lease.take() {
        Some(lease) if !lease.committed => record.leases_lost = record.leases_lost.saturating_add(1),
        Some(_) => record.leases_lost = 0,
        None => {}
    }
}

fn lost_delay(record: &Record, request: &LeaseRequest) -> Millis {
    if record.leases_lost >= LOST_BEFORE_POISON {
        return POISON_GAP;
    }
    let Some(nth) = record.leases_lost.checked_sub(LOST_BEFORE_BACKOFF) else { return Millis(0) };
    let nth = usize::try_from(nth).unwrap_or(usize::MAX);
    request.lost_delays.get(nth).copied().unwrap_or(Millis(0))
}

/// Starts the quick looks anew: a notification says something that no query has confirmed.
fn await_confirmation(record: &mut Record, hint: Hint) {
    record.progress.notified = true;
    let hint = match record.progress.quick.take() {
        Some(waiting) => waiting.hint.and(hint),
        None => hint,
    };
    record.progress.quick = Some(QuickLooks { made: 0, at: None, hint });
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// Stored, and the lease has ended: nothing is outgoing.
    Ended,
    /// Stored; publish the record's outgoing events, then clear.
    Outgoing,
    /// The lease or the record is gone: start again at the lease.
    Lost,
    /// Registered, accepted or rejected meanwhile: decide again on this record.
    Changed(Box<Record>),
}

/// A holder's wish to store what it decided.
#[derive(Debug, Clone)]
pub struct Commit {
    pub key: OrderKey,
    pub token: LeaseToken,
    /// The record's `facts` that the decision stands on.
    pub facts: u32,
    pub change: Change,
}

/// Stores a decision together with its outgoing events, fenced by the lease.
pub fn commit(stored: Option<&Record>, commit: &Commit, now: Timestamp) -> (Write, Committed) {
    let Some(stored) = stored.filter(|record| holds(record, commit.token, now)) else {
        return (Write::Keep, Committed::Lost);
    };
    if stored.facts != commit.facts {
        return (Write::Keep, Committed::Changed(Box::new(stored.clone())));
    }
    let change = &commit.change;
    let mut record = stored.clone();
    if let Some((number, found)) = &change.refund {
        refund::apply(&mut record, number, found, now);
    }
    if change.forget && stored.look_again.is_none() && record.refunds.is_empty() {
        return (Write::Delete, Committed::Ended);
    }
    record.state = change.state;
    record.version = change.version;
    let (seen_as, owed) = (record.progress.seen_as.take(), record.progress.owed);
    // Where only refunds are left to be known, the order is as if it had been met by them.
    let refund_only = record.progress.refund_only || change.forget && !record.refunds.is_empty();
    record.progress = Progress { seen_as, owed, refund_only, ..change.progress.clone() };
    if refund_only {
        record.state = refund::stands(&record.refunds);
    }
    record.payment = change.payment.clone().or(record.payment);
    record.claim = record.claim.wrapping_add(1);
    record.leases_lost = 0;
    record.updated_at = now;
    note_coalesced(&mut record, change.entry.clone());
    // A commit that is repeated because its outcome was unknown finds its own events.
    record.outgoing.extend(change.events.iter().filter(|event| !stored.has_event(event.id)).cloned());
    if record.outgoing.is_empty() {
        end_lease(&mut record, change.due, now);
        return (Write::Put(Box::new(record)), Committed::Ended);
    }
    record.due_decided = change.due;
    record.lease = record.lease.map(|lease| Lease { committed: true, ..lease });
    record.due = record.due.map(|due| Due { cause: Cause::Outgoing, ..due });
    (Write::Put(Box::new(record)), Committed::Outgoing)
}

fn holds(record: &Record, token: LeaseToken, now: Timestamp) -> bool {
    record.lease.is_some_and(|lease| lease.token == token && lease.until > now)
}

/// A long outage must not push everything else out of the history.
fn note_coalesced(record: &mut Record, entry: Entry) {
    match record.history.last_mut() {
        Some(last) if last.event.is_none() && last.what == entry.what && last.detail == entry.detail => {
            last.at = entry.at;
        }
        _ => record.note(entry),
    }
}

/// What became of a clear or a put-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    Done,
    /// The lease is somebody else's by now; the record's due time or its new holder finishes the work.
    Lost,
}

/// The outgoing events are published: moves them into the history and ends the lease.
///
/// An expired lease that nobody took still clears: the events are out, and publishing them again would help nobody.
pub fn clear(stored: Option<&Record>, token: LeaseToken, now: Timestamp) -> (Write, Cleared) {
    let Some(stored) = stored.filter(|record| record.lease.is_some_and(|lease| lease.token == token)) else {
        return (Write::Keep, Cleared::Lost);
    };
    let mut record = stored.clone();
    record.leases_lost = 0;
    record.updated_at = now;
    for event in std::mem::take(&mut record.outgoing) {
        record.note(Entry::emitted(now, event));
    }
    let due = record.due_decided.take();
    end_lease(&mut record, due, now);
    (Write::Put(Box::new(record)), Cleared::Done)
}

/// No answer could be had now: gives the lease back and looks again at `at`.
pub fn put_off(
    stored: Option<&Record>,
    token: LeaseToken,
    at: Timestamp,
    now: Timestamp,
) -> (Write, Cleared) {
    let Some(stored) = stored.filter(|record| holds(record, token, now)) else {
        return (Write::Keep, Cleared::Lost);
    };
    let mut record = stored.clone();
    record.lease = None;
    record.leases_lost = 0;
    let mut cause = record.due.map_or(Cause::Cadence, |due| due.cause);
    record.refunds.iter_mut().for_each(|refund| refund.in_hand = false);
    // While events are outgoing, the next holder only publishes: the wake-up must outlive its clear.
    if record.outgoing.is_empty()
        && let Some(again) = record.look_again.take()
    {
        cause = cause.or(again.cause);
        again.notified.into_iter().for_each(|hint| await_confirmation(&mut record, hint));
        if again.cause != Cause::Refund && !record.refunds.is_empty() {
            record.order_due = Some(Due { at, cause: again.cause });
        }
    }
    record.due = Some(Due { at, cause });
    (Write::Put(Box::new(record)), Cleared::Done)
}

/// Ends the lease. A wake-up that came meanwhile makes the order due at once, unless I6 drops it; a manual check alone
/// waits until the look that just ended is a second old.
fn end_lease(record: &mut Record, due: Option<Due>, now: Timestamp) {
    record.lease = None;
    record.refunds.iter_mut().for_each(|refund| refund.in_hand = false);
    record.rest_until(due);
    // What a refund is looked at again for stands in its own due time.
    if let Some(again) = record.look_again.take()
        && again.cause != Cause::Refund
        && !is_told(record, &again)
    {
        let is_only_asked = again.cause == Cause::Manual && again.notified.is_none();
        let at = if is_only_asked { fresh_until(record, now) } else { now };
        again.notified.into_iter().for_each(|hint| await_confirmation(record, hint));
        record.rest_until(Some(Due { at, cause: again.cause }));
    }
    debug_assert!(record.keeps_its_due_time(), "I8: a pending order is always looked at again");
}

/// A person who asked during a look has its result; the next query comes a second after it.
fn fresh_until(record: &Record, now: Timestamp) -> Timestamp {
    let until = record.progress.looked_at.map_or(now, |at| at + FRESH);
    until.clamp(now, now + FRESH)
}

/// I6: the wake-ups were notifications of what the record says by now.
fn is_told(record: &Record, again: &LookAgain) -> bool {
    let Some(Hint::One(id)) = &again.notified else { return false };
    let owes = record.progress.owed && record.withheld().next().is_some();
    again.cause == Cause::Notified && !owes && record.has_seen(Some(id))
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
