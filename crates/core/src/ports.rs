//! The ports: what the logic needs of an engine, in our words.
//!
//! Two engines implement them, and one conformance suite runs every rule against both. All of them are durable: an
//! `Ok` from a method that writes means that the write survives a crash of this process.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::act::{Act, ActEntry, Action};
use crate::check::{Check, Lane};
use crate::dead::{DeadLetter, Removed};
use crate::event::{Event, EventType};
use crate::ids::{AppId, BusinessNo, LeaseToken, MchId, OrderKey, OutTradeNo};
use crate::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use crate::paid::{PaidFilter, PaidPage};
use crate::place::{CashierError, CodeOf, Order, Placed, Step, Stepped, WhoPays};
use crate::record::{Record, State};
use crate::refund::{RefundApplication, RefundAsked};
use crate::register::{Application, Registered};
use crate::time::{Millis, Timestamp};
use crate::verdict::{Judged, Judgement};

/// Rows per page of every listing, at most.
pub const PAGE_ROWS_MAX: usize = 1000;

/// An engine could not do its work. The outcome of a write is then unknown, and repeating it is safe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// Away, full, or too slow: try again later.
    #[error("{part} is unavailable: {cause}")]
    Unavailable { part: &'static str, cause: String },
    /// What is stored cannot be read: an operator is needed.
    #[error("{part} holds something unreadable: {cause}")]
    Corrupt { part: &'static str, cause: String },
}

/// Where checks are stored durably.
#[async_trait]
pub trait CheckQueue: Send + Sync {
    /// All of them, or an error.
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError>;
    /// Checks of the lane that wait or are in hand.
    async fn backlog(&self, lane: Lane) -> Result<u64, PortError>;
    /// Whether the backlog counts what is in hand of any process. Where it does not, an empty one is no proof that a check
    /// was handled.
    fn counts_all_hands(&self) -> bool {
        false
    }
}

/// Where deliveries come from.
#[async_trait]
pub trait CheckSource: Send + Sync {
    /// Waits until the lane has something, then gives 1 to `max` deliveries. Dropping the future loses nothing.
    async fn receive(&self, lane: Lane, max: usize) -> Result<Vec<Delivery>, PortError>;
}

/// One hand-over of a check. Disposed of exactly once; dropping it gives the check back to the queue.
pub struct Delivery {
    pub check: Check,
    settle: Box<dyn Settle>,
}

/// The engine's side of a delivery.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Removes the check from the queue. Dropping `self` instead gives it back.
    async fn done(self: Box<Self>) -> Result<(), PortError>;
}

impl Delivery {
    /// Pairs a check with the engine's way of settling it.
    pub fn new(check: Check, settle: Box<dyn Settle>) -> Self {
        Self { check, settle }
    }

    /// The check was handled, or is a dead letter in the ledger by now.
    pub async fn done(self) -> Result<(), PortError> {
        self.settle.done().await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("check", &self.check).finish_non_exhaustive()
    }
}

/// A reading of the ledger's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub now: Timestamp,
    /// False for a while after the clock jumped: nothing is denied on its word.
    pub is_steady: bool,
}

/// What workers do with records. Each method is one atomic step.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The ledger's clock: due times, leases and decisions go by it.
    async fn clock(&self) -> Result<Reading, PortError>;
    /// [`crate::lease::take`].
    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError>;
    /// [`crate::lease::commit`]; stores the change's dead letter in the same step.
    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError>;
    /// [`crate::lease::clear`].
    async fn clear(&self, key: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError>;
    /// [`crate::lease::put_off`].
    async fn put_off(&self, key: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError>;
    /// Since when there is this ledger, where one may be lost that the event log outlives: what was told before, nobody
    /// here knows. `None` where ledger and log are lost together, and where an earlier version began it.
    async fn began(&self) -> Result<Option<Timestamp>, PortError> {
        Ok(None)
    }
}

/// What schedulers do with records.
#[async_trait]
pub trait DueSet: Send + Sync {
    /// [`crate::claim::claim`] for up to `limit` due records of the lane, earliest first, each atomically. One that cannot
    /// be read is passed over: it comes again after as long as a claim lasts, and a dead letter says so.
    async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError>;
    /// How long the earliest due record of any lane has been due, in milliseconds; 0 if none is.
    async fn lag_ms(&self) -> Result<i64, PortError>;
}

/// What services and operators write.
#[async_trait]
pub trait Registry: Send + Sync {
    /// [`crate::register::register`].
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError>;
    /// [`crate::verdict::judge`].
    async fn judge(&self, key: &OrderKey, judgement: &Judgement) -> Result<Judged, PortError>;
    /// [`crate::place::place`].
    async fn place(&self, key: &OrderKey, step: &Step) -> Result<Stepped, PortError>;
    /// [`crate::refund::request`].
    async fn refund(&self, key: &OrderKey, application: &RefundApplication)
    -> Result<RefundAsked, PortError>;
}

/// Numbers of one business order that are kept, the newest: more of them come of a program that runs wild.
pub const BUSINESS_NUMBERS_MAX: usize = 64;

/// How long a business order is remembered after its last change.
pub const BUSINESS_AGE_MAX: Millis = Millis::seconds(100 * 86_400);

/// Which numbers at WeChat pay the same order of a shop, and which of them was paid first. Registering a number with a
/// `business_no` adds it here, in the same step or before.
#[async_trait]
pub trait Businesses: Send + Sync {
    /// The numbers that were registered with this business order, the earliest first.
    async fn numbers(&self, mch_id: &MchId, business_no: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError>;
    /// Whose payment is the first: this number's, if nobody claimed before.
    async fn claim(
        &self,
        mch_id: &MchId,
        business_no: &BusinessNo,
        out_trade_no: &OutTradeNo,
    ) -> Result<OutTradeNo, PortError>;
}

/// Calls at WeChat on a shop's demand, answered while the shop waits.
#[async_trait]
pub trait Cashier: Send + Sync {
    /// Registers the order, then places it; the same again brings the same while that is good.
    async fn place(&self, order: &Order) -> Result<Placed, CashierError>;
    /// Closes an unpaid order.
    async fn close(&self, key: &OrderKey) -> Result<Closed, CashierError>;
    /// Where to send a payer's browser, so that it comes back to the wish's address with a code.
    fn authorize_url(&self, wish: &AuthorizeWish) -> Result<String, CashierError>;
    /// Whom a code stands for. A code works once.
    async fn who_pays(&self, appid: &AppId, of: CodeOf, code: &str) -> Result<WhoPays, CashierError>;
}

/// How a payer is asked for an openid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeWish {
    pub appid: AppId,
    pub redirect_uri: String,
    /// Comes back with the code; bind it to the payer's session.
    pub state: String,
    /// Asks the payer for the profile as well.
    pub with_profile: bool,
}

/// What closing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Just now; `order.closed` follows.
    Now,
    /// It was closed before.
    Before,
    /// WeChat knows no such order: there is nothing that could be paid.
    NeverPlaced,
}

/// Which orders a listing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    pub state: Option<State>,
    pub mch_id: Option<MchId>,
}

/// Counts over all records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub orders: Vec<(State, u64)>,
    /// Fen of registered orders that have been pending for over two minutes.
    pub unconfirmed_fen: Vec<(MchId, i64)>,
    pub dead_letters: u64,
}

/// A page of a listing of records.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPage {
    pub records: Vec<Record>,
    /// Orders whose records are there and cannot be read by this process: written by a newer one, or damaged. They
    /// count as rows of the page.
    pub unreadable: Vec<OrderKey>,
    /// Where to continue, also when the page is empty: opaque, of letters, digits, `-` and `_`.
    pub next: String,
    pub has_more: bool,
}

/// What anybody reads of records.
#[async_trait]
pub trait Records: Send + Sync {
    /// One record.
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError>;
    /// The same for an answer that somebody rests on for good, such as that a refund will never be made: what it shows
    /// outlives whatever an acknowledged write outlives.
    async fn read_settled(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        self.read(key).await
    }
    /// Walks all records that the filter lets through, in the engine's own order, from the place `after`; `None` if
    /// that is no place of this listing. A walk meets every record that is there from its beginning to its end, and may
    /// meet some twice. A page may be short, even empty, while there is more.
    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<OrderPage>, PortError>;
    /// Several records, in the order of their keys: at most [`PAGE_ROWS_MAX`] of them. One that cannot be read is none
    /// here, so that the others can be had: whoever then looks at its order hears of it.
    async fn get_many(&self, keys: &[OrderKey]) -> Result<Vec<Option<Record>>, PortError> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(self.read(key).await?);
        }
        Ok(records)
    }
    /// Walks the payments that the filter lets through, in the engine's own order, by the rules of
    /// [`Records::list`]. A payment of an order that changes meanwhile may be met twice.
    async fn paid(
        &self,
        filter: &PaidFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<PaidPage>, PortError> {
        filter.walk(self, after, limit).await
    }
    /// Counts for metrics; may be as old as a few seconds.
    async fn tally(&self) -> Result<Tally, PortError>;
}

/// The letters that wait for a person.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Stores a letter, or raises the count of the one with its id.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError>;
    /// In the order of their ids, after `after`; fewer than `limit` only where there are no more. One that cannot be read
    /// is there as [`DeadLetter::unreadable`].
    async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError>;
    /// One letter.
    async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError>;
    /// [`crate::dead::removal`]: forgets a letter that was read. What was buried under its id since then stays, or an
    /// order would wait with nobody told.
    async fn remove(&self, read: &DeadLetter) -> Result<Removed, PortError>;
}

/// A place in the event log: a position and the id of the event there. Opaque to everybody outside an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    pub position: u64,
    pub id: Uuid,
}

/// Which events a reader wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub kind: Option<EventType>,
    pub mch_id: Option<MchId>,
}

/// A page of the event log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    pub events: Vec<(Cursor, Event)>,
    /// Where to continue, also when the page is empty.
    pub next: Cursor,
    pub has_more: bool,
}

/// What reading the log found.
#[derive(Debug, Clone, PartialEq)]
pub enum LogRead {
    Page(EventPage),
    /// The cursor's event is not at its position (another log, pruned, or a lost tail): the oldest valid place.
    Gone {
        oldest: Cursor,
    },
}

/// The record of what was emitted.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Emission: all of them, or an error. A repeat of an id is kept out where the engine can tell.
    async fn append(&self, events: &[Event]) -> Result<(), PortError>;
    /// Oldest first; without a cursor from the oldest kept. Ends before an event that a newer version wrote, this one
    /// cannot read, and the reader may want; what begins with such a one is [`PortError::Corrupt`].
    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError>;
    /// The place after the event before which reading with this filter ends, if there is such a one.
    async fn past_unread(&self, _: Cursor, _: &EventFilter) -> Result<Option<Cursor>, PortError> {
        Ok(None)
    }
    /// The place after the newest event.
    async fn end(&self) -> Result<Cursor, PortError>;
    /// Waits until the log may have grown past the cursor. Dropping the future loses nothing.
    async fn grown(&self, past: Cursor) -> Result<(), PortError>;
}

/// Bytes of a note's text, at most.
pub const NOTE_BYTES_MAX: usize = 1024 * 1024;

/// A stored note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// 1 for the first text, one more with every text after it.
    pub version: u64,
    pub text: String,
}

/// Small documents that a role keeps across restarts and shares with its other processes. No retention touches them.
#[async_trait]
pub trait Notes: Send + Sync {
    /// One note.
    async fn read(&self, name: &str) -> Result<Option<Note>, PortError>;
    /// Stores the text if the note's version is `expected` (`None`: there is no such note), as the next version.
    /// `false` if it is another: nothing was stored, somebody else wrote. A text over [`NOTE_BYTES_MAX`] is an error.
    async fn write(&self, name: &str, expected: Option<u64>, text: &str) -> Result<bool, PortError>;
    /// The names that begin with `prefix`, in the order of their bytes; [`PAGE_ROWS_MAX`] at most.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError>;
}

/// Which acts a listing shows, and from which end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActFilter {
    pub action: Option<Action>,
    pub mch_id: Option<MchId>,
    pub order: ActOrder,
}

/// From which end acts are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ActOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// A page of acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActPage {
    pub entries: Vec<ActEntry>,
    /// The number after which to continue, also when the page is empty.
    pub next: u64,
    pub has_more: bool,
}

/// What operators did.
#[async_trait]
pub trait Acts: Send + Sync {
    /// Stores an act before its effect, gives it its number, and lets acts go that are older than this one by more
    /// than [`crate::act::ACT_AGE_MAX`].
    async fn begin(&self, act: &Act) -> Result<u64, PortError>;
    /// Stores what came of it. The first word stands; an act that is gone stays gone.
    async fn conclude(&self, number: u64, outcome: &str) -> Result<(), PortError>;
    /// The acts that the filter lets through, after the number `after` in the order of the listing. A page may be
    /// short, even empty, while there is more.
    async fn list(&self, filter: &ActFilter, after: Option<u64>, limit: usize) -> Result<ActPage, PortError>;
}

impl ActFilter {
    /// Whether it lets the act through.
    pub fn admits(&self, act: &Act) -> bool {
        self.action.is_none_or(|action| action.as_str() == act.action)
            && self.mch_id.as_ref().is_none_or(|mch_id| Some(mch_id) == act.mch_id.as_ref())
    }
}

impl Cursor {
    /// The place before the first event of a log.
    pub const START: Cursor = Cursor { position: 0, id: Uuid::nil() };

    /// 48 characters of hexadecimal.
    pub fn to_text(self) -> String {
        format!("{:016x}{}", self.position, self.id.simple())
    }

    /// `None` if the text is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let (position, id) = (text.get(..16)?, text.get(16..)?);
        let id = Some(id).filter(|id| id.len() == 32)?;
        Some(Self { position: u64::from_str_radix(position, 16).ok()?, id: Uuid::try_parse(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = Cursor { position: 77, id: Uuid::from_u128(5) };
        assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
        assert_eq!(Cursor::parse("zz"), None);
        assert_eq!(Cursor::parse(&format!("{}x", cursor.to_text())), None);
    }
}
