//! Properties of whole lives: whatever happens to an order, in whatever sequence, the promises hold after every step.
//!
//! Several workers at a time, each of which may stop anywhere for ever or come back late; a clock that steps both ways;
//! answers of every kind, also contradictory ones. What the steps do is what an engine does: the transitions.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use crate::check::{Check, Reason};
use crate::decide::Change;
use crate::event::{Event, EventType};
use crate::ids::LeaseToken;
use crate::lease::{Cleared, Committed, FRESH, LOST_BEFORE_BACKOFF, Taken};
use crate::observation::{Answer, NotPaid, Payment};
use crate::policy::Unregistered;
use crate::record::{Cause, Due, Record, State};
use crate::samples::*;
use crate::shadow::{Mode, Telling};
use crate::time::Millis;
use crate::verdict::{Judged, Ruling};

#[derive(Debug, Clone)]
enum Step {
    Register(i64),
    Judge(Ruling),
    /// A check comes; the worker that takes its lease joins those at work.
    Deliver(Check),
    /// The scheduler claims the order if it is due; its check waits in the queue.
    Claim,
    /// The oldest claimed check is delivered; `true` leaves a copy in the queue, as a broker may.
    DeliverClaimed(bool),
    /// One of the workers gets this answer and commits.
    Commit(usize, Answer),
    Clear(usize),
    PutOff(usize, i64),
    /// One of the workers is never heard of again.
    Crash(usize),
    Clock(i64),
    /// The process runs in another mode from now on.
    Switch(Mode),
}

/// A worker between its lease and its end, with the record as it read it.
#[derive(Debug, Clone)]
struct Worker {
    token: LeaseToken,
    check: Check,
    record: Record,
}

struct World {
    desk: Desk,
    workers: Vec<Worker>,
    claimed: Vec<Check>,
    /// A notification of the order as we know it was answered SUCCESS.
    was_answered: bool,
    /// Every event ever committed, in order.
    committed: Vec<Event>,
}

fn answers() -> impl Strategy<Value = Answer> {
    let amounts = prop_oneof![3 => Just(FEE), 1 => Just(WRONG)];
    let transactions = prop_oneof![3 => Just(TX), 1 => Just(OTHER_TX)];
    let paid = (any::<bool>(), transactions, amounts)
        .prop_map(|(refunded, id, fee)| answer(Payment { refunded, ..payment(id, fee) }));
    let bare = Payment { refunded: true, transaction_id: None, ..payment(TX, FEE) };
    prop_oneof![
        6 => paid,
        4 => Just(not_paid(NotPaid::NotPay)),
        2 => Just(not_paid(NotPaid::NotExist)),
        1 => Just(closed()),
        1 => Just(failed()),
        1 => Just(unknown()),
        1 => Just(refused()),
        1 => Just(answer(bare)),
        2 => Just(Answer::Transient("time-out")),
    ]
}

fn checks() -> impl Strategy<Value = Check> {
    prop_oneof![
        4 => Just(notified(TX)),
        2 => Just(notified(TX).with_telling(Telling::Copied)),
        1 => Just(manual().with_telling(Telling::Release)),
        1 => Just(notified(OTHER_TX)),
        1 => Just(Check::notified(key(), None)),
        1 => Just(billed(TX)),
        2 => Just(manual()),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let moves = prop_oneof![
        4 => 0i64..2_000,
        3 => 0i64..70_000,
        1 => 0i64..100_000_000,
        1 => -70_000i64..0,
    ];
    let amounts = prop_oneof![Just(FEE), Just(WRONG)];
    prop_oneof![
        1 => amounts.prop_map(Step::Register),
        1 => prop_oneof![2 => Just(Ruling::Accept), 1 => Just(Ruling::Reject)].prop_map(Step::Judge),
        4 => checks().prop_map(Step::Deliver),
        4 => Just(Step::Claim),
        4 => any::<bool>().prop_map(Step::DeliverClaimed),
        8 => (0usize..3, answers()).prop_map(|(worker, answer)| Step::Commit(worker, answer)),
        5 => (0usize..3).prop_map(Step::Clear),
        1 => (0usize..3, 1i64..5_000).prop_map(|(worker, wait)| Step::PutOff(worker, wait)),
        1 => (0usize..3).prop_map(Step::Crash),
        6 => moves.prop_map(Step::Clock),
        2 => prop_oneof![Just(Mode::Live), Just(Mode::Shadow)].prop_map(Step::Switch),
    ]
}

fn policies() -> impl Strategy<Value = Unregistered> {
    prop_oneof![Just(Unregistered::Emit), Just(Unregistered::Hold), Just(Unregistered::Ignore)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(
        unregistered in policies(),
        is_registered: bool,
        life in prop::collection::vec(steps(), 1..80),
    ) {
        let mut world = World::new(unregistered, is_registered);
        for step in &life {
            world.plays(step);
        }
        world.ends_well();
    }
}

impl World {
    fn new(unregistered: Unregistered, is_registered: bool) -> Self {
        let mut desk = if is_registered { Desk::registered() } else { Desk::empty() };
        desk.policy.unregistered = unregistered;
        Self { desk, workers: vec![], claimed: vec![], was_answered: false, committed: vec![] }
    }

    /// Plays a step, then checks what must hold after every one.
    fn plays(&mut self, step: &Step) {
        let before = self.desk.stored.clone();
        self.makes(step);
        let Some(after) = &self.desk.stored else {
            let told = before.is_some_and(|record| record.events().next().is_some());
            assert!(!told, "an order that we spoke of is not forgotten");
            self.was_answered = false;
            return;
        };
        assert!(after.keeps_its_due_time(), "I8: {after:#?}");
        if let Some(before) = before {
            assert!(after.state.rank() >= before.state.rank(), "I7: {:?} -> {:?}", before.state, after.state);
            assert!(after.version >= before.version);
            let is_ruling = matches!(step, Step::Judge(_));
            assert!(is_ruling || after.verdict == before.verdict, "only a person rules");
            let is_registering = matches!(step, Step::Register(_));
            assert!(
                is_registering || after.registration == before.registration,
                "only registering registers"
            );
        }
    }

    fn makes(&mut self, step: &Step) {
        match step {
            Step::Register(fee) => {
                let facts = self.desk.stored.as_ref().map(|record| record.facts);
                self.desk.register(&application(*fee));
                if facts.is_some_and(|facts| facts != self.desk.record().facts) {
                    self.wakes(Cause::Registered);
                }
            }
            Step::Judge(ruling) => {
                if self.desk.judge(&judgement(*ruling)) == Judged::Stored {
                    self.wakes(Cause::Accepted);
                }
            }
            Step::Deliver(check) => self.delivers(check),
            Step::Claim => self.claimed.extend(self.desk.claim()),
            Step::DeliverClaimed(_) if self.claimed.is_empty() => {}
            Step::DeliverClaimed(is_copied) => {
                let check = self.claimed.remove(0);
                self.delivers(&check);
                if *is_copied {
                    self.claimed.push(check);
                }
            }
            Step::Commit(worker, answer) => self.commits(*worker, answer),
            Step::Clear(worker) => self.ends(*worker, Desk::clear),
            Step::PutOff(worker, wait) => {
                let wait = Millis(*wait);
                self.ends(*worker, |desk| desk.put_off(desk.now + wait));
            }
            Step::Crash(worker) => drop(self.sits_at(*worker).map(|index| self.workers.remove(index))),
            Step::Clock(millis) => self.desk.now = self.desk.now + Millis(*millis),
            Step::Switch(mode) => self.desk.policy.mode = *mode,
        }
    }

    fn sits_at(&self, worker: usize) -> Option<usize> {
        (!self.workers.is_empty()).then(|| worker % self.workers.len())
    }

    /// Whoever registers or rules is answered by a look: at once, or when the lease ends.
    fn wakes(&self, cause: Cause) {
        let record = self.desk.record();
        let now = self.desk.now;
        match record.lease.filter(|lease| lease.until > now) {
            Some(_) => {
                assert_eq!(record.look_again.as_ref().map(|again| again.cause), Some(cause));
                assert!(record.due.unwrap().cause.is_urgent(), "should the holder die");
            }
            None => assert!(record.due.is_some_and(|due| due.at <= now && due.cause.is_urgent())),
        }
    }

    fn delivers(&mut self, check: &Check) {
        let before = self.desk.stored.clone();
        let now = self.desk.now;
        let taken = self.desk.take(check);
        // Of a duplicate everything was told already.
        self.was_answered |= check.reason == Reason::Notified && check.is_owed() && taken != Taken::Duplicate;
        match taken {
            Taken::Leased(record) => {
                let was_free = before.and_then(|record| record.lease).is_none_or(|lease| lease.until <= now);
                assert!(was_free, "I5: two leases at once");
                let lease = record.lease.unwrap();
                let due = record.due.unwrap();
                assert!(record.leases_lost >= LOST_BEFORE_BACKOFF || due.at <= lease.until, "I8");
                assert!(
                    record.look_again.is_none() || !record.outgoing.is_empty(),
                    "a holder that found it queries"
                );
                self.workers.push(Worker { token: lease.token, check: check.clone(), record: *record });
            }
            Taken::Busy => {
                let record = self.desk.record();
                let again = record.look_again.as_ref().unwrap();
                assert!(again.notified.is_some() || check.reason != Reason::Notified);
                let due = before.unwrap().due.unwrap();
                let due = Due { cause: due.cause.or(check.cause()), ..due };
                assert_eq!(
                    record.due,
                    Some(due),
                    "somebody else's lease end stands, and is as urgent as this"
                );
            }
            Taken::Duplicate => {
                let record = before.unwrap();
                assert!(record.outgoing.is_empty() && record.state.rank() >= State::Mismatch.rank(), "I6");
                assert_eq!(record.transaction_id(), check.transaction_id.as_ref(), "I6");
            }
            Taken::Stale => assert_eq!(check.reason, Reason::Due),
            Taken::Fresh => assert_eq!(check.reason, Reason::Manual),
        }
    }

    fn decides(&self, worker: &Worker, answer: &Answer) -> Change {
        self.desk.decide(&worker.record, &worker.check, answer)
    }

    fn commits(&mut self, worker: usize, answer: &Answer) {
        let Some(index) = self.sits_at(worker) else { return };
        let mut worker = self.workers[index].clone();
        if !worker.record.outgoing.is_empty() {
            return self.ends(index, Desk::clear);
        }
        loop {
            let change = self.decides(&worker, answer);
            let before = self.desk.stored.clone();
            self.desk.token = worker.token;
            match self.desk.commit(worker.record.facts, &change) {
                Committed::Changed(record) => worker.record = *record,
                Committed::Lost => {
                    assert_eq!(self.desk.stored, before, "a stale owner writes nothing");
                    self.workers.remove(index);
                    return;
                }
                Committed::Ended => {
                    self.wakes_up_what_waited(before.unwrap());
                    self.workers.remove(index);
                    return;
                }
                Committed::Outgoing => {
                    self.tells(&change, before.unwrap());
                    worker.record = self.desk.record().clone();
                    self.workers[index] = worker;
                    return;
                }
            }
        }
    }

    /// Checks the events that a commit stored.
    fn tells(&mut self, change: &Change, before: Record) {
        let known = before.outgoing.len();
        let record = self.desk.record();
        for event in &record.outgoing[known..] {
            assert!(change.events.contains(event));
            assert!(self.committed.iter().all(|told| told.id != event.id), "I7: no id twice");
            assert!(!event.is_shadow() || self.desk.policy.mode == Mode::Shadow, "live, everything is told");
            let last = self.committed.last().map_or(0, |told| told.order().unwrap().version);
            assert!(event.order().unwrap().version > last, "versions strictly rise");
            if event.kind == EventType::Paid {
                let is_one =
                    |told: &Event| told.kind == EventType::Paid && told.is_shadow() == event.is_shadow();
                assert!(!self.committed.iter().any(is_one), "one order.paid");
                assert!(self.may_be_paid(event, record), "I3: {event:#?} {record:#?}");
            }
            let is_denial = matches!(event.kind, EventType::Unpaid | EventType::Closed | EventType::Failed);
            assert!(
                !is_denial || before.state == State::Pending,
                "nothing is denied twice, nor after a payment"
            );
            self.committed.push(event.clone());
        }
    }

    fn may_be_paid(&self, event: &Event, record: &Record) -> bool {
        let data = event.order().unwrap();
        let equals =
            |fee, fee_type: &_| data.total_fee == Some(fee) && data.fee_type.as_ref() == Some(fee_type);
        let is_accepted =
            record.verdict.as_ref().is_some_and(|verdict| equals(verdict.total_fee, &verdict.fee_type));
        match &record.registration {
            Some(registration) => is_accepted || equals(registration.total_fee, &registration.fee_type),
            None => is_accepted || self.desk.policy.unregistered == Unregistered::Emit,
        }
    }

    /// Ends a worker's part by `by`: a clear that counts has published everything.
    fn ends(&mut self, worker: usize, by: impl FnOnce(&mut Desk) -> Cleared) {
        let Some(index) = self.sits_at(worker) else { return };
        let worker = &self.workers[index];
        let before = self.desk.stored.clone();
        self.desk.token = worker.token;
        let has_outgoing = before.as_ref().is_some_and(|record| !record.outgoing.is_empty());
        if !has_outgoing && worker.record.outgoing.is_empty() {
            // Nothing to clear: such a worker puts off.
            let later = self.desk.now + Millis(1_000);
            self.desk.put_off(later);
        } else if by(&mut self.desk) == Cleared::Done && self.desk.record().outgoing.is_empty() {
            self.wakes_up_what_waited(before.unwrap());
        }
        self.workers.remove(index);
    }

    /// I5: when a lease ends, what was asked for meanwhile is due at once, unless I6 drops it.
    fn wakes_up_what_waited(&self, before: Record) {
        let (Some(again), Some(record)) = (before.look_again, &self.desk.stored) else {
            return;
        };
        assert_eq!(record.look_again, None);
        let patience = if again.cause == Cause::Manual { FRESH } else { Millis(0) };
        let is_due = record.due.is_some_and(|due| due.at <= self.desk.now + patience);
        let is_dropped = again.cause == Cause::Notified && record.state.rank() >= State::Mismatch.rank();
        assert!(is_due || is_dropped, "a wake-up was lost: {again:?} {record:#?}");
    }

    /// From here on nothing fails, and WeChat says that the order is paid: the due times alone must bring every order
    /// that we wait for to an end, and every committed event out.
    fn ends_well(&mut self) {
        self.workers.clear();
        self.claimed.clear();
        let truth = success(TX, FEE);
        for _ in 0..40 {
            let Some(record) = &self.desk.stored else { break };
            let Some(due) = record.due else { break };
            self.desk.now = self.desk.now.max(due.at);
            self.plays(&Step::Claim);
            self.plays(&Step::DeliverClaimed(false));
            self.plays(&Step::Commit(0, truth.clone()));
            self.plays(&Step::Clear(0));
        }
        let mut published: HashMap<Uuid, usize> = HashMap::new();
        for event in &self.desk.published {
            *published.entry(event.id).or_default() += 1;
        }
        for event in &self.committed {
            assert_eq!(published.get(&event.id), Some(&1), "committed, so cleared once: {event:#?}");
        }
        let Some(record) = &self.desk.stored else { return };
        assert_eq!((record.due, record.lease, record.look_again.clone()), (None, None, None), "{record:#?}");
        assert_ne!(record.state, State::Pending, "the payment was found");
        let is_withheld = self.was_answered && record.withheld().next().is_some();
        assert!(!is_withheld, "WeChat was answered, it will not come again: {record:#?}");
    }
}
