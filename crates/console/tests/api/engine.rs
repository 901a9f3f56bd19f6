//! An engine in memory: maps behind one lock, changed by core's transitions only, and a worker that a test drives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::act::{Act, ActEntry};
use paybell_core::dead::{Removed, removal};
use paybell_core::decide::{Change, RefundLook, decide_refund};
use paybell_core::lease::{self, Cleared, Commit, Committed, LeaseRequest, Taken, Write};
use paybell_core::ports::*;
use paybell_core::refund::{self, RefundAnswer, RefundApplication, RefundAsked};
use paybell_core::register::{Application, Registered, register};
use paybell_core::time::Millis;
use paybell_core::verdict::{Judged, Judgement, judge};
use paybell_core::*;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// 2026-11-20T12:00:00+08:00.
pub const START: Timestamp = Timestamp::from_millis(1_795_147_200_000);

pub struct Engine {
    began: Instant,
    pub stored: Mutex<Stored>,
    grown: Notify,
    pub is_away: AtomicBool,
    /// Other processes have checks in hand that nobody counts.
    pub has_hands_elsewhere: AtomicBool,
    /// How often the event log was read.
    pub log_reads: AtomicU64,
    tokens: AtomicU64,
}

#[derive(Default)]
pub struct Stored {
    pub records: BTreeMap<OrderKey, Record>,
    pub checks: Vec<Check>,
    /// How many checks were ever published.
    pub published: usize,
    /// Checks that a worker holds.
    pub in_hand: u64,
    pub letters: BTreeMap<Uuid, DeadLetter>,
    pub events: Vec<Event>,
    pub acts: Vec<ActEntry>,
    /// Which number of a business order was paid first.
    pub claims: BTreeMap<BusinessNo, OutTradeNo>,
    /// The trail takes no entry.
    pub trail_is_full: bool,
    /// What a look buries while a person's act begins.
    pub buried_meanwhile: Option<DeadLetter>,
    /// What is stored is known to one server only, and no replica confirms it.
    pub is_unsettled: bool,
    /// Orders whose records cannot be read.
    pub unreadable: BTreeSet<OrderKey>,
    /// How many of the oldest events are gone.
    pub pruned: usize,
}

impl Engine {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            stored: Mutex::default(),
            grown: Notify::new(),
            is_away: AtomicBool::new(false),
            has_hands_elsewhere: AtomicBool::new(false),
            log_reads: AtomicU64::new(0),
            tokens: AtomicU64::new(1),
        })
    }

    pub fn now(&self) -> Timestamp {
        START + Millis(i64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    fn up(&self, part: &'static str) -> Result<(), PortError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(PortError::Unavailable { part, cause: "redis://:hunter2@host".to_owned() });
        }
        Ok(())
    }

    /// What a worker does: each waiting check is leased, answered, committed, published and cleared.
    pub fn work(&self, answer: &Answer) {
        let checks: Vec<Check> = self.stored.lock().unwrap().checks.drain(..).collect();
        for check in checks {
            let token = LeaseToken(self.tokens.fetch_add(1, Ordering::SeqCst).into());
            self.look(check, token, answer);
        }
    }

    fn look(&self, check: Check, token: LeaseToken, answer: &Answer) {
        self.under_lease(check, token, |record, look| {
            let first = self.claimed(record);
            let look = Look { first_paid: first.as_ref(), ..*look };
            match decide(record, answer, &look) {
                Decision::Commit(change) => *change,
                _ => panic!("no closing here"),
            }
        });
    }

    /// The first payment of a business order stands; here whoever is looked at first claims it.
    fn claimed(&self, record: &Record) -> Option<OutTradeNo> {
        let business_no = record.registration.as_ref()?.business_no.clone()?;
        let own = record.key.out_trade_no.clone();
        Some(self.stored.lock().unwrap().claims.entry(business_no).or_insert(own).clone())
    }

    /// What a worker does when a notification names a refund.
    pub fn work_refund(&self, key: &OrderKey, number: &OutRefundNo, answer: &RefundAnswer) {
        let token = LeaseToken(self.tokens.fetch_add(1, Ordering::SeqCst).into());
        let check = Check::refund_notified(key.clone(), number.clone());
        self.under_lease(check, token, |record, look| {
            let refund = record.refund_in_hand().expect("the lease is for the refund");
            let found = RefundLook { number, hints: refund.hints, answer };
            decide_refund(record, &found, look)
        });
    }

    fn under_lease(
        &self,
        check: Check,
        token: LeaseToken,
        decided: impl FnOnce(&Record, &Look<'_>) -> Change,
    ) {
        let request = LeaseRequest {
            check,
            token,
            length: Millis::seconds(60),
            given_up: None,
            lost_delays: [Millis::seconds(2); 7],
        };
        let key = request.check.key.clone();
        let now = self.now();
        let taking = self.change(&key, |stored| {
            let taking = lease::take(stored, &request, now);
            (taking.write.clone(), taking)
        });
        let Taken::Leased(record) = taking.taken else { return };
        let policy = Policy {
            mode: paybell_core::Mode::Live,
            cadence: Cadence::wechat(),
            unregistered: paybell_core::Unregistered::Emit,
            close_unpaid: false,
            openid: paybell_core::OpenidPolicy::Omit,
            retention: Millis::seconds(35 * 86_400),
        };
        let look = Look {
            check: &request.check,
            policy: &policy,
            now,
            is_clock_steady: true,
            retry_delay: Millis::seconds(2),
            closing: paybell_core::decide::Closing::NotTried,
            first_paid: None,
            memory: Default::default(),
        };
        let change = decided(&record, &look);
        if let Some(letter) = change.dead.clone() {
            self.bury_now(letter);
        }
        let facts = record.facts;
        let commit = Commit { key: key.clone(), token, facts, change };
        let committed = self.change(&key, |stored| lease::commit(stored, &commit, now));
        if committed == Committed::Outgoing {
            let events = self.stored.lock().unwrap().records[&key].outgoing.clone();
            self.emit(events);
            let cleared = self.change(&key, |stored| lease::clear(stored, token, now));
            assert_eq!(cleared, Cleared::Done);
        }
    }

    fn change<T>(&self, key: &OrderKey, step: impl FnOnce(Option<&Record>) -> (Write, T)) -> T {
        let mut stored = self.stored.lock().unwrap();
        let (write, result) = step(stored.records.get(key));
        match write {
            Write::Keep => {}
            Write::Put(record) => drop(stored.records.insert(key.clone(), *record)),
            Write::Delete => drop(stored.records.remove(key)),
        }
        result
    }

    pub fn emit(&self, events: Vec<Event>) {
        self.stored.lock().unwrap().events.extend(events);
        self.grown.notify_waiters();
    }

    pub fn bury_now(&self, letter: DeadLetter) {
        let mut stored = self.stored.lock().unwrap();
        let letter = match stored.letters.remove(&letter.id) {
            Some(known) => known.repeated(letter),
            None => letter,
        };
        stored.letters.insert(letter.id, letter);
    }

    pub fn record(&self, key: &OrderKey) -> Option<Record> {
        self.stored.lock().unwrap().records.get(key).cloned()
    }

    pub fn published(&self) -> usize {
        self.stored.lock().unwrap().published
    }
}

#[async_trait]
impl CheckQueue for Engine {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        self.up("queue")?;
        let mut stored = self.stored.lock().unwrap();
        stored.checks.extend(checks.iter().cloned());
        stored.published += checks.len();
        Ok(())
    }

    async fn backlog(&self, lane: Lane) -> Result<u64, PortError> {
        self.up("queue")?;
        let stored = self.stored.lock().unwrap();
        let waiting = stored.checks.iter().filter(|check| check.lane() == lane).count();
        Ok(u64::try_from(waiting).unwrap() + stored.in_hand)
    }

    fn counts_all_hands(&self) -> bool {
        !self.has_hands_elsewhere.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Registry for Engine {
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError> {
        self.up("ledger")?;
        if self.stored.lock().unwrap().unreadable.contains(key) {
            return Err(PortError::Corrupt { part: "ledger", cause: format!("the record of order {key}") });
        }
        let now = self.now();
        Ok(self.change(key, |stored| {
            let (record, outcome) = register(stored, key, application, &Cadence::wechat(), now);
            (record.map_or(Write::Keep, |record| Write::Put(Box::new(record))), outcome)
        }))
    }

    async fn place(&self, key: &OrderKey, step: &place::Step) -> Result<place::Stepped, PortError> {
        self.up("ledger")?;
        let now = self.now();
        Ok(self.change(key, |stored| {
            let (record, outcome) = place::place(stored, step, now);
            (record.map_or(Write::Keep, |record| Write::Put(Box::new(record))), outcome)
        }))
    }

    async fn judge(&self, key: &OrderKey, judgement: &Judgement) -> Result<Judged, PortError> {
        self.up("ledger")?;
        let now = self.now();
        Ok(self.change(key, |stored| {
            let (record, outcome) = judge(stored, judgement, now);
            (record.map_or(Write::Keep, |record| Write::Put(Box::new(record))), outcome)
        }))
    }

    async fn refund(&self, key: &OrderKey, asked: &RefundApplication) -> Result<RefundAsked, PortError> {
        self.up("ledger")?;
        let now = self.now();
        Ok(self.change(key, |stored| {
            let (record, outcome) = refund::request(stored, key, asked, now);
            (record.map_or(Write::Keep, |record| Write::Put(Box::new(record))), outcome)
        }))
    }
}

#[async_trait]
impl Records for Engine {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        self.up("ledger")?;
        Ok(self.record(key))
    }

    async fn read_settled(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        if self.stored.lock().unwrap().is_unsettled {
            return Err(PortError::Unavailable { part: "ledger", cause: "no replica confirms".to_owned() });
        }
        Records::read(self, key).await
    }

    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<OrderPage>, PortError> {
        self.up("ledger")?;
        let stored = self.stored.lock().unwrap();
        let Ok(start) = after.map_or(Ok(0), str::parse::<usize>) else { return Ok(None) };
        let fits = |record: &&Record| {
            filter.state.is_none_or(|state| state == record.state)
                && filter.mch_id.as_ref().is_none_or(|mch_id| *mch_id == record.key.mch_id)
        };
        let all: Vec<_> = stored.records.values().filter(fits).cloned().collect();
        let records: Vec<_> = all.iter().skip(start).take(limit).cloned().collect();
        let end = start + records.len();
        let unreadable = Vec::new();
        Ok(Some(OrderPage { records, unreadable, next: end.to_string(), has_more: end < all.len() }))
    }

    async fn tally(&self) -> Result<Tally, PortError> {
        Ok(Tally::default())
    }
}

#[async_trait]
impl DeadLetters for Engine {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        self.up("ledger")?;
        self.bury_now(letter.clone());
        Ok(())
    }

    async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError> {
        self.up("ledger")?;
        let stored = self.stored.lock().unwrap();
        let later = stored.letters.values().filter(|letter| after.is_none_or(|after| letter.id > after));
        Ok(later.take(limit).cloned().collect())
    }

    async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError> {
        self.up("ledger")?;
        Ok(self.stored.lock().unwrap().letters.get(&id).cloned())
    }

    async fn remove(&self, read: &DeadLetter) -> Result<Removed, PortError> {
        self.up("ledger")?;
        let mut stored = self.stored.lock().unwrap();
        let removed = removal(stored.letters.get(&read.id), read);
        if removed == Removed::Gone {
            stored.letters.remove(&read.id);
        }
        Ok(removed)
    }
}

impl Stored {
    /// The place after the `count`th event.
    fn place(&self, count: usize) -> Cursor {
        let before = count.checked_sub(1).filter(|_| count > self.pruned);
        let id = before.map_or(Uuid::nil(), |index| self.events[index].id);
        Cursor { position: u64::try_from(count).unwrap(), id }
    }
}

#[async_trait]
impl EventLog for Engine {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.up("event log")?;
        self.emit(events.to_vec());
        Ok(())
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        self.up("event log")?;
        self.log_reads.fetch_add(1, Ordering::SeqCst);
        let stored = self.stored.lock().unwrap();
        let oldest = stored.place(stored.pruned);
        let after = after.unwrap_or(oldest);
        let mut count = usize::try_from(after.position).unwrap_or(usize::MAX);
        if count < stored.pruned || count > stored.events.len() || stored.place(count) != after {
            return Ok(LogRead::Gone { oldest });
        }
        let mut events = Vec::new();
        while count < stored.events.len() && events.len() < limit {
            let event = &stored.events[count];
            count += 1;
            let fits = filter.kind.is_none_or(|kind| kind == event.kind)
                && filter.mch_id.as_ref().is_none_or(|mch_id| mch_id == event.mch_id());
            if fits {
                events.push((stored.place(count), event.clone()));
            }
        }
        let has_more = count < stored.events.len();
        Ok(LogRead::Page(EventPage { events, next: stored.place(count), has_more }))
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        self.up("event log")?;
        let stored = self.stored.lock().unwrap();
        Ok(stored.place(stored.events.len()))
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        loop {
            let grown = self.grown.notified();
            self.up("event log")?;
            if self.end().await? != past {
                return Ok(());
            }
            grown.await;
        }
    }
}

/// The console takes no lease: only the clock is asked.
#[async_trait]
impl Ledger for Engine {
    async fn clock(&self) -> Result<Reading, PortError> {
        self.up("ledger")?;
        Ok(Reading { now: self.now(), is_steady: true })
    }

    async fn take(&self, _: &LeaseRequest) -> Result<Taken, PortError> {
        panic!("the console takes no lease")
    }

    async fn commit(&self, _: &Commit) -> Result<Committed, PortError> {
        panic!("the console commits nothing")
    }

    async fn clear(&self, _: &OrderKey, _: LeaseToken) -> Result<Cleared, PortError> {
        panic!("the console clears nothing")
    }

    async fn put_off(&self, _: &OrderKey, _: LeaseToken, _: Timestamp) -> Result<Cleared, PortError> {
        panic!("the console puts nothing off")
    }
}

#[async_trait]
impl Acts for Engine {
    async fn begin(&self, act: &Act) -> Result<u64, PortError> {
        self.up("ledger")?;
        let mut stored = self.stored.lock().unwrap();
        if stored.trail_is_full {
            return Err(PortError::Unavailable { part: "ledger", cause: "full".to_owned() });
        }
        let number = u64::try_from(stored.acts.len()).unwrap() + 1;
        stored.acts.push(ActEntry { number, act: act.clone(), outcome: None });
        let buried = stored.buried_meanwhile.take();
        drop(stored);
        buried.into_iter().for_each(|letter| self.bury_now(letter));
        Ok(number)
    }

    async fn conclude(&self, number: u64, outcome: &str) -> Result<(), PortError> {
        self.up("ledger")?;
        let mut stored = self.stored.lock().unwrap();
        let entry = stored.acts.iter_mut().find(|entry| entry.number == number).unwrap();
        entry.outcome.get_or_insert(outcome.to_owned());
        Ok(())
    }

    async fn list(&self, filter: &ActFilter, after: Option<u64>, limit: usize) -> Result<ActPage, PortError> {
        self.up("ledger")?;
        let mut entries = self.stored.lock().unwrap().acts.clone();
        entries.retain(|entry| filter.admits(&entry.act));
        match filter.order {
            ActOrder::OldestFirst => entries.retain(|entry| entry.number > after.unwrap_or(0)),
            ActOrder::NewestFirst => {
                entries.retain(|entry| entry.number < after.unwrap_or(u64::MAX));
                entries.reverse();
            }
        }
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().map_or(after.unwrap_or(0), |entry| entry.number);
        Ok(ActPage { entries, next, has_more })
    }
}
