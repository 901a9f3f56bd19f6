//! What survives crashes: the queue, the ledger and the event log of one simulated installation.
//!
//! Every method is one atomic step through the transitions of `paybell_core`, except where a mutation breaks it.

use std::collections::{BTreeMap, BTreeSet};

use paybell_core::cadence::Cadence;
use paybell_core::claim::claim;
use paybell_core::event::EventType;
use paybell_core::ids::{BusinessNo, OutTradeNo};
use paybell_core::lease::{self, Cleared, Commit, Committed, Holder, LeaseRequest, Taken, Taking, Write};
use paybell_core::record::{Cause, Due, State};
use paybell_core::refund::{self, Refund, RefundApplication, RefundAsked, RefundState};
use paybell_core::register::{Application, Registered, register};
use paybell_core::verdict::{Judged, Judgement, judge};
use paybell_core::{Check, DeadLetter, Event, Lane, LeaseToken, OrderKey, Record, Registration, Timestamp};
use uuid::Uuid;

use super::mutation::Mutation;

/// A stored check.
pub type CheckId = u64;

/// An event as it was emitted.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub event: Event,
    pub at_ms: i64,
}

/// The durable state.
#[derive(Default)]
pub struct Store {
    pub records: BTreeMap<OrderKey, Record>,
    checks: [BTreeMap<CheckId, Check>; 2],
    in_hand: BTreeSet<CheckId>,
    next_check: CheckId,
    pub log: Vec<Emitted>,
    pub dead: BTreeMap<Uuid, DeadLetter>,
    pub cadence: Cadence,
    pub mutation: Option<Mutation>,
    /// Invariants that a write broke, in words.
    pub broken: Vec<String>,
    /// How far the ledger's clock is off, and until when that shakes it.
    pub clock_off_ms: i64,
    pub unsteady_until_ms: i64,
    /// Which number of a business order was paid first.
    pub claims: BTreeMap<BusinessNo, OutTradeNo>,
    registrations_at_lease: BTreeMap<u128, Option<Registration>>,
    refunds_at_lease: BTreeMap<u128, Vec<Refund>>,
    told_again: BTreeSet<OrderKey>,
    /// Looks at each order that ended in a commit.
    pub looks: BTreeMap<OrderKey, u32>,
    random_ids: u128,
}

impl Store {
    /// Nothing stored yet.
    pub fn new(mutation: Option<Mutation>) -> Self {
        Self { mutation, ..Self::default() }
    }

    /// The ledger's clock at a true time.
    pub fn clock(&self, true_ms: i64) -> Timestamp {
        Timestamp::from_millis(true_ms + self.clock_off_ms)
    }

    fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn put(&mut self, record: Record) {
        if !record.keeps_its_due_time() {
            self.broken.push(format!("I8: {} {:?} has no due time", record.key, record.state));
        }
        let waits_for_more = |cause: Cause| !matches!(cause, Cause::Cadence | Cause::Refund);
        if record.look_again.as_ref().is_some_and(|again| waits_for_more(again.cause))
            && record.due.is_some_and(|due| !due.cause.is_urgent())
        {
            self.broken.push(format!("a wake-up of {} would wait among the polls", record.key));
        }
        if let Some(old) = self.records.get(&record.key)
            && record.state.rank() < old.state.rank()
            && !old.progress.refund_only
        {
            self.broken.push(format!("I7: {} fell from {:?} to {:?}", record.key, old.state, record.state));
        }
        self.records.insert(record.key.clone(), record);
    }

    fn write(&mut self, key: &OrderKey, write: Write) {
        match write {
            Write::Keep => {}
            Write::Put(record) => self.put(*record),
            Write::Delete => {
                self.records.remove(key);
            }
        }
    }

    fn bury(&mut self, letter: DeadLetter) {
        let letter = match self.dead.remove(&letter.id) {
            Some(earlier) => earlier.repeated(letter),
            None => letter,
        };
        self.dead.insert(letter.id, letter);
    }

    pub fn take(&mut self, request: &LeaseRequest, holder: Holder, true_ms: i64) -> Taken {
        let now = self.clock(true_ms);
        let key = &request.check.key;
        let as_payment =
            LeaseRequest { check: Check { refund: None, ..request.check.clone() }, ..request.clone() };
        let request = if self.breaks(Mutation::RefundIsAPayment) { &as_payment } else { request };
        let stored = self.records.get(key);
        let is_denied = stored
            .is_some_and(|record| matches!(record.state, State::Unpaid | State::Closed | State::Failed));
        let is_known = stored.is_some_and(|record| record.progress.notified);
        if self.breaks(Mutation::SeenTooEarly) && is_known
            || self.breaks(Mutation::LateTruthIgnored) && is_denied
        {
            return Taken::Duplicate;
        }
        let due_before = stored.and_then(|record| record.due);
        let Taking { write, taken, dead } = lease::take_from(stored, request, now, holder);
        if self.breaks(Mutation::NoLookAgain) && taken == Taken::Busy {
            return taken;
        }
        if let Taken::Leased(record) = &taken {
            if record.leases_lost < lease::LOST_BEFORE_BACKOFF
                && let (Some(lease), Some(due)) = (record.lease, record.due)
                && due.at > lease.until
            {
                self.broken.push(format!("I8: {} is due after its lease's end", record.key));
            }
            self.registrations_at_lease.insert(request.token.0, record.registration.clone());
            self.refunds_at_lease.insert(request.token.0, record.refunds.clone());
        }
        let write = match write {
            Write::Put(record) if self.breaks(Mutation::LeaseForgetsDue) && taken != Taken::Busy => {
                self.records.insert(key.clone(), Record { due: None, ..*record });
                Write::Keep
            }
            Write::Put(record) if self.breaks(Mutation::WakeUpWaitsAmongPolls) && taken == Taken::Busy => {
                Write::Put(Box::new(Record { due: due_before, ..*record }))
            }
            write => write,
        };
        self.write(key, write);
        dead.into_iter().for_each(|letter| self.bury(letter));
        taken
    }

    pub fn commit(&mut self, wanted: &Commit, true_ms: i64) -> Committed {
        let now = self.clock(true_ms);
        let mut wanted = wanted.clone();
        *self.looks.entry(wanted.key.clone()).or_default() += 1;
        let stored = self.records.get(&wanted.key).cloned();
        if let Some(stored) = &stored {
            if self.breaks(Mutation::CommitIgnoresFacts) {
                wanted.facts = stored.facts;
            }
            if let (true, Some(lease)) = (self.breaks(Mutation::NoFencing), stored.lease) {
                wanted.token = lease.token;
            }
        }
        if self.breaks(Mutation::TransientIsACadenceStep)
            && wanted.change.outcome == "transient"
            && let Some(stored) = &stored
        {
            let next = self.cadence.next_point(stored.created_at, None, now);
            let at = next.unwrap_or(now + paybell_core::decide::STUCK_GAP);
            wanted.change.due = wanted.change.due.map(|due| Due { at, ..due });
        }
        let (write, committed) = lease::commit(stored.as_ref(), &wanted, now);
        if let (true, Some(stored)) = (write != Write::Keep, &stored) {
            self.check_amounts(stored, &wanted);
            self.check_whose(stored, &wanted);
        }
        let write = match write {
            Write::Put(mut record) if self.breaks(Mutation::CommitOverwritesRegistration) => {
                let read = self.registrations_at_lease.get(&wanted.token.0).cloned().flatten();
                record.registration = read;
                Write::Put(record)
            }
            Write::Put(record) => Write::Put(Box::new(self.break_refunds(&wanted, *record))),
            write => write,
        };
        if write != Write::Keep {
            wanted.change.dead.clone().into_iter().for_each(|letter| self.bury(letter));
        }
        self.write(&wanted.key, write);
        committed
    }

    fn break_refunds(&self, wanted: &Commit, mut record: Record) -> Record {
        let Some((number, _)) = &wanted.change.refund else { return record };
        let is_meant = |refund: &&mut Refund| refund.out_refund_no == *number;
        match self.mutation {
            Some(Mutation::CommitOverwritesRefunds) => {
                let read = self.refunds_at_lease.get(&wanted.token.0).cloned().unwrap_or_default();
                record
                    .refunds
                    .retain(|refund| read.iter().any(|one| one.out_refund_no == refund.out_refund_no));
            }
            Some(Mutation::RefundDueForgotten) if record.lease.is_none() => {
                record.due = record.order_due;
            }
            Some(Mutation::RefundHintSwallowed) => {
                for refund in record.refunds.iter_mut().filter(is_meant).filter(|one| one.hints > 0) {
                    (refund.hints, refund.next_at) = (0, None);
                }
            }
            _ => {}
        }
        record
    }

    /// I3, at the moment of the commit: what the ledger holds then is what the payment must agree with.
    fn check_amounts(&mut self, stored: &Record, wanted: &Commit) {
        let Some(registration) = &stored.registration else { return };
        let is_payment = |event: &&Event| matches!(event.kind, EventType::Paid | EventType::DuplicatePayment);
        for event in wanted.change.events.iter().filter(is_payment) {
            let data = event.order().expect("a record tells of its order");
            let paid = (data.total_fee, data.fee_type.clone());
            let registered = (Some(registration.total_fee), Some(registration.fee_type.clone()));
            let accepted =
                stored.verdict.as_ref().map(|one| (Some(one.total_fee), Some(one.fee_type.clone())));
            if paid != registered && Some(&paid) != accepted.as_ref() {
                self.broken.push(format!("I3: {} paid {paid:?}, registered {registered:?}", stored.key));
            }
        }
    }

    /// I2, at the moment of the commit: whose order the ledger holds it for then.
    fn check_whose(&mut self, stored: &Record, wanted: &Commit) {
        let Some(appid) = stored.registration.as_ref().and_then(|one| one.appid.as_ref()) else { return };
        for event in &wanted.change.events {
            let data = event.order().expect("a record tells of its order");
            if data.appid.as_ref() != Some(appid) {
                let (kind, told) = (event.kind.as_str(), &data.appid);
                self.broken
                    .push(format!("I2: {kind} of {} for {told:?}, registered for {appid}", stored.key));
            }
        }
    }

    pub fn clear(&mut self, key: &OrderKey, token: LeaseToken, true_ms: i64) -> Cleared {
        let now = self.clock(true_ms);
        let (write, cleared) = lease::clear(self.records.get(key), token, now);
        let write = match write {
            Write::Put(record) if self.breaks(Mutation::RefundToldAgain) => {
                Write::Put(Box::new(self.forget_telling(*record, now)))
            }
            write => write,
        };
        self.write(key, write);
        cleared
    }

    /// As if nobody had looked at the refund yet; once a day, so that the day ends.
    fn forget_telling(&mut self, mut record: Record, now: Timestamp) -> Record {
        let is_told = |event: &Event| event.kind == EventType::RefundSucceeded;
        let settled = record.refunds.iter_mut().find(|refund| refund.state == RefundState::Succeeded);
        if let Some(refund) = settled.filter(|_| self.told_again.insert(record.key.clone())) {
            (refund.state, refund.next_at) = (RefundState::Processing, Some(now));
            record.history.retain(|entry| !entry.event.as_deref().is_some_and(is_told));
            record.due = Some(Due { at: now, cause: Cause::Refund });
        }
        record
    }

    pub fn put_off(&mut self, key: &OrderKey, token: LeaseToken, at: Timestamp, true_ms: i64) -> Cleared {
        let (write, cleared) = lease::put_off(self.records.get(key), token, at, self.clock(true_ms));
        self.write(key, write);
        cleared
    }

    pub fn register(&mut self, key: &OrderKey, application: &Application, true_ms: i64) -> Registered {
        let now = self.clock(true_ms);
        let (record, outcome) = register(self.records.get(key), key, application, &self.cadence, now);
        record.into_iter().for_each(|record| self.put(record));
        outcome
    }

    pub fn judge(&mut self, key: &OrderKey, judgement: &Judgement, true_ms: i64) -> Judged {
        let (record, outcome) = judge(self.records.get(key), judgement, self.clock(true_ms));
        record.into_iter().for_each(|record| self.put(record));
        outcome
    }

    pub fn refund(&mut self, key: &OrderKey, asked: &RefundApplication, true_ms: i64) -> RefundAsked {
        let (record, outcome) = refund::request(self.records.get(key), key, asked, self.clock(true_ms));
        record.into_iter().for_each(|record| self.put(record));
        outcome
    }

    pub fn claim(&mut self, lane: Lane, limit: usize, true_ms: i64) -> Vec<Check> {
        let now = self.clock(true_ms);
        let is_due = |record: &&Record| {
            record.due.is_some_and(|due| due.at <= now && (due.cause.is_urgent() == (lane == Lane::Urgent)))
        };
        let keys: Vec<OrderKey> =
            self.records.values().filter(is_due).take(limit).map(|record| record.key.clone()).collect();
        let mut checks = Vec::new();
        for key in keys {
            let Some(mut record) = self.records.get(&key).cloned() else { continue };
            checks.extend(claim(&mut record, now));
            if self.breaks(Mutation::ClaimForgetsDue) {
                record.due = None;
                self.records.insert(key, record);
            } else {
                self.put(record);
            }
        }
        checks
    }

    /// When something is due next, on the ledger's clock.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.records.values().filter_map(|record| record.due).map(|due| due.at).min()
    }

    pub fn publish(&mut self, checks: &[Check]) {
        for check in checks {
            self.next_check += 1;
            let id = self.next_check;
            self.lane(check.lane()).insert(id, check.clone());
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<CheckId, Check> {
        let [urgent, cadence] = &mut self.checks;
        match lane {
            Lane::Urgent => urgent,
            Lane::Cadence => cadence,
        }
    }

    pub fn backlog(&mut self, lane: Lane) -> u64 {
        u64::try_from(self.lane(lane).len()).unwrap_or(u64::MAX)
    }

    /// Hands out the `nth` waiting check of the lane (so that the world can reorder them).
    pub fn receive(&mut self, lane: Lane, nth: usize) -> Option<(CheckId, Check)> {
        let in_hand = self.in_hand.clone();
        let waiting: Vec<CheckId> =
            self.lane(lane).keys().filter(|id| !in_hand.contains(id)).copied().collect();
        let id = *waiting.get(nth % waiting.len().max(1))?;
        let check = self.lane(lane).get(&id)?.clone();
        if self.breaks(Mutation::AcknowledgeFirst) {
            self.done(id);
        } else {
            self.in_hand.insert(id);
        }
        Some((id, check))
    }

    pub fn done(&mut self, id: CheckId) {
        self.in_hand.remove(&id);
        self.checks.iter_mut().for_each(|lane| {
            lane.remove(&id);
        });
    }

    pub fn give_back(&mut self, id: CheckId) {
        self.in_hand.remove(&id);
    }

    pub fn append(&mut self, events: &[Event], true_ms: i64) {
        for event in events {
            let mut event = event.clone();
            if self.breaks(Mutation::FreshEventIds) {
                self.random_ids += 1;
                event.id = Uuid::from_u128(self.random_ids);
            }
            self.log.push(Emitted { event, at_ms: true_ms });
        }
    }
}
