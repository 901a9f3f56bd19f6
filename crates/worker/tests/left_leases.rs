//! Leases that errors of an engine leave behind: whatever call fails, before its effect or after it, the same worker's
//! next delivery gets on within seconds, and not after the lease's end. A ledger in memory over core's transitions
//! fails on demand; nothing here waits for real time. And a record that cannot be read, where no next delivery helps.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fall"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::dead::Removed;
use paybell_core::lease::{self, Cleared, Commit, Committed, LeaseRequest, Taken, Write};
use paybell_core::money::{Currency, Fen};
use paybell_core::policy::{OpenidPolicy, Unregistered};
use paybell_core::ports::{
    Businesses, Cursor, DeadLetters, Delivery, EventFilter, EventLog, Ledger, LogRead, PortError, Reading,
    Settle,
};
use paybell_core::shadow::Mode;
use paybell_core::time::Millis;
use paybell_core::{
    Answer, BusinessNo, Cadence, Check, DeadLetter, DeadReason, Event, LeaseToken, MchId, Observation,
    OrderKey, OutTradeNo, Payment, Policy, Record, State, Timestamp, TransactionId,
};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use uuid::Uuid;
use worker::{
    Ask, Asked, CloseAsked, KeyUsed, Policies, RefundAsk, RefundAsked, Settled, Wechat, Worker,
    WorkerMetrics, WorkerParts,
};

const TX: &str = "4200001234202611200123456789";

/// Between two deliveries of the same check.
const PAUSE: Millis = Millis::seconds(2);

/// An order must be told within this; a lease lasts much longer, as a test sees.
const TOLD_WITHIN: Millis = Millis::seconds(15);

/// A call on an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Take,
    Clock,
    Commit,
    Append,
    Clear,
    PutOff,
    Bury,
}

/// Whether a failing call has had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
    /// What is stored cannot be read.
    Unreadable,
}

use Side::{After, Before};

/// The engines and WeChat of one order.
struct World {
    now_ms: AtomicI64,
    record: Mutex<Option<Record>>,
    log: Mutex<Vec<Event>>,
    letters: Mutex<Vec<DeadLetter>>,
    /// What fails, in this order.
    faults: Mutex<VecDeque<(Call, Side)>>,
    queries: AtomicU64,
    /// Answers that WeChat may give.
    answers: Semaphore,
    /// Queries that the merchant's rate still refuses.
    slots_missing: AtomicU64,
}

impl World {
    fn failing(faults: &[(Call, Side)]) -> Arc<Self> {
        Arc::new(Self {
            now_ms: AtomicI64::new(1_795_147_200_000),
            record: Mutex::default(),
            log: Mutex::default(),
            letters: Mutex::default(),
            faults: Mutex::new(faults.iter().copied().collect()),
            queries: AtomicU64::new(0),
            answers: Semaphore::new(100),
            slots_missing: AtomicU64::new(0),
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn pass(&self, length: Millis) {
        self.now_ms.fetch_add(length.0, Ordering::SeqCst);
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap().clone().expect("a delivery has made the record")
    }

    fn call<T>(&self, call: Call, effect: impl FnOnce() -> T) -> Result<T, PortError> {
        let fault = self.faults.lock().unwrap().pop_front_if(|fault| fault.0 == call);
        match fault {
            None => Ok(effect()),
            Some((_, Side::Unreadable)) => {
                Err(PortError::Corrupt { part: "ledger", cause: "format 9".to_owned() })
            }
            Some((_, side)) => {
                if side == After {
                    effect();
                }
                Err(PortError::Unavailable { part: "ledger", cause: format!("{side:?} its effect") })
            }
        }
    }

    fn change<T>(&self, call: Call, run: impl FnOnce(Option<&Record>) -> (Write, T)) -> Result<T, PortError> {
        self.call(call, || {
            let mut stored = self.record.lock().unwrap();
            let (write, answer) = run(stored.as_ref());
            match write {
                Write::Keep => {}
                Write::Put(record) => *stored = Some(*record),
                Write::Delete => *stored = None,
            }
            answer
        })
    }

    fn worker(self: &Arc<Self>, seed: u8) -> Worker {
        let policy = Policy {
            mode: Mode::Live,
            cadence: Cadence::wechat(),
            unregistered: Unregistered::Emit,
            close_unpaid: false,
            openid: OpenidPolicy::Omit,
            retention: Millis::seconds(35 * 86_400),
        };
        Worker::new(WorkerParts {
            ledger: self.clone(),
            log: self.clone(),
            businesses: self.clone(),
            dead: self.clone(),
            wechat: self.clone(),
            policies: Arc::new(Policies::new(HashMap::new(), policy)),
            metrics: WorkerMetrics::register(&mut Registry::default(), ["1900000109"], &KeyUsed::default()),
            seed: [seed; 32],
        })
    }

    /// The queue hands the check out until it is done.
    async fn deliver_until_done(&self, worker: &Worker) -> &'static str {
        for _ in 0..20 {
            match worker.handle(notified()).await {
                Settled::Done(outcome) => return outcome,
                Settled::GivenBack => self.pass(PAUSE),
            }
        }
        panic!("given back twenty times: {:?}", self.record())
    }
}

#[async_trait]
impl Ledger for World {
    async fn clock(&self) -> Result<Reading, PortError> {
        self.call(Call::Clock, || Reading { now: self.now(), is_steady: true })
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        self.change(Call::Take, |stored| {
            let taking = lease::take(stored, request, self.now());
            (taking.write, taking.taken)
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        self.change(Call::Commit, |stored| lease::commit(stored, commit, self.now()))
    }

    async fn clear(&self, _: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        self.change(Call::Clear, |stored| lease::clear(stored, token, self.now()))
    }

    async fn put_off(&self, _: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        self.change(Call::PutOff, |stored| lease::put_off(stored, token, at, self.now()))
    }
}

#[async_trait]
impl EventLog for World {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.call(Call::Append, || self.log.lock().unwrap().extend_from_slice(events))
    }

    async fn read(&self, _: Option<Cursor>, _: &EventFilter, _: usize) -> Result<LogRead, PortError> {
        panic!("a worker does not read the log")
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        panic!("a worker does not read the log")
    }

    async fn grown(&self, _: Cursor) -> Result<(), PortError> {
        panic!("a worker does not read the log")
    }
}

#[async_trait]
impl Businesses for World {
    async fn numbers(&self, _: &MchId, _: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: &MchId, _: &BusinessNo, number: &OutTradeNo) -> Result<OutTradeNo, PortError> {
        Ok(number.clone())
    }
}

#[async_trait]
impl DeadLetters for World {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        self.call(Call::Bury, || self.letters.lock().unwrap().push(letter.clone()))
    }

    async fn list(&self, _: Option<Uuid>, _: usize) -> Result<Vec<DeadLetter>, PortError> {
        panic!("a worker reads no letters")
    }

    async fn get(&self, _: Uuid) -> Result<Option<DeadLetter>, PortError> {
        panic!("a worker reads no letters")
    }

    async fn remove(&self, _: &DeadLetter) -> Result<Removed, PortError> {
        panic!("a worker removes no letters")
    }
}

#[async_trait]
impl Wechat for World {
    async fn query(&self, _: &Ask) -> Asked {
        let one_less = |missing: u64| missing.checked_sub(1);
        if self.slots_missing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Asked::NoSlot;
        }
        self.queries.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        Asked::Answered(Answer::Observed(Observation::Payment(Box::new(Payment {
            refunded: false,
            appid: None,
            sub_mch_id: None,
            transaction_id: TransactionId::new(TX).ok(),
            total_fee: Fen::new(1999).ok(),
            fee_type: Currency::CNY,
            cash_fee: None,
            settlement_total_fee: None,
            coupon_fee: None,
            coupons: Vec::new(),
            trade_type: None,
            bank_type: None,
            attach: None,
            paid_at: Some(Timestamp::from_millis(1_795_147_199_000)),
            openid: None,
        }))))
    }

    async fn close(&self, _: &Ask) -> CloseAsked {
        panic!("nothing is closed here")
    }

    async fn refund(&self, _: &RefundAsk) -> RefundAsked {
        panic!("nothing is refunded here")
    }

    async fn refund_query(&self, _: &RefundAsk) -> RefundAsked {
        panic!("nothing is refunded here")
    }
}

struct Settles;

#[async_trait]
impl Settle for Settles {
    async fn done(self: Box<Self>) -> Result<(), PortError> {
        Ok(())
    }
}

fn notified() -> Delivery {
    let key = OrderKey::new("1900000109", "T2026112000000001").unwrap();
    Delivery::new(Check::notified(key, TransactionId::new(TX).ok()), Box::new(Settles))
}

/// What fails in a row: one call of the walk, then what gives the lease back, then the next tries.
fn stories() -> Vec<Vec<(Call, Side)>> {
    const SIDES: [Side; 2] = [Before, After];
    let calls = [Call::Take, Call::Clock, Call::Commit, Call::Append, Call::Clear];
    let giving_back =
        [None, Some((Call::Clock, Before)), Some((Call::PutOff, Before)), Some((Call::PutOff, After))];
    let both =
        |then: Call| SIDES.into_iter().flat_map(move |one| SIDES.map(|two| [(Call::Take, one), (then, two)]));
    let mut again = vec![Vec::new()];
    again.extend(SIDES.map(|side| vec![(Call::Take, side)]));
    again.extend(both(Call::Take).chain(both(Call::Commit)).map(Vec::from));
    let mut stories = Vec::new();
    for first in calls.into_iter().flat_map(|call| SIDES.map(|side| (call, side))) {
        for given_back in giving_back {
            for again in &again {
                stories.push([first].into_iter().chain(given_back).chain(again.iter().copied()).collect());
            }
        }
    }
    stories
}

#[tokio::test]
async fn whatever_fails_before_or_after_its_effect_the_order_is_told_long_before_the_lease_s_end() {
    let stories = stories();
    assert_eq!(stories.len(), 10 * 4 * 11);
    let mut outcomes = HashSet::new();
    for story in stories {
        let world = World::failing(&story);
        let begun = world.now();
        outcomes.insert(world.deliver_until_done(&world.worker(1)).await);
        let (record, took) = (world.record(), world.now().since(begun));
        assert_eq!((record.state, record.lease), (State::Paid, None), "{story:?}: {record:?}");
        assert!(record.outgoing.is_empty(), "{story:?}: {record:?}");
        let ids: HashSet<_> = world.log.lock().unwrap().iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), 1, "{story:?}");
        assert!(took <= TOLD_WITHIN, "{story:?}: {took:?}");
    }
    assert!(outcomes.contains("published") && outcomes.contains("duplicate"), "{outcomes:?}");
}

#[tokio::test]
async fn a_lease_lasts_longer_than_the_tests_wait() {
    let world = World::failing(&[(Call::Commit, Before), (Call::PutOff, Before)]);
    assert_eq!(world.worker(1).handle(notified()).await, Settled::GivenBack);
    let left = world.record().lease.expect("nobody could give it back");
    assert!(left.until.since(world.now()).0 > 3 * TOLD_WITHIN.0);
}

#[tokio::test]
async fn a_put_off_that_fails_leaves_nothing_to_wait_for_either() {
    for side in [Before, After] {
        let world = World::failing(&[(Call::PutOff, side), (Call::PutOff, Before)]);
        world.slots_missing.store(1, Ordering::SeqCst);
        world.deliver_until_done(&world.worker(1)).await;
        assert_eq!(world.record().state, State::Paid, "{side:?}");
    }
}

#[tokio::test]
async fn a_check_that_the_queue_gave_up_on_leaves_no_lease_behind_either() {
    for fault in [(Call::Take, After), (Call::Clock, Before), (Call::PutOff, Before), (Call::PutOff, After)] {
        let world = World::failing(&[fault]);
        let worker = world.worker(1);
        worker.rescue(notified()).await.unwrap_err();
        world.pass(PAUSE);
        worker.rescue(notified()).await.unwrap();
        let record = world.record();
        assert_eq!(record.lease, None, "{fault:?}");
        assert!(record.due.unwrap().at.since(world.now()) <= TOLD_WITHIN, "{fault:?}: {record:?}");
    }
}

#[tokio::test]
async fn a_check_that_the_queue_gave_up_on_forgives_no_lost_lease() {
    let world = World::failing(&[]);
    for dead in 1..=9 {
        let worker = world.worker(dead);
        // It dies while WeChat is asked.
        world.answers.forget_permits(usize::MAX);
        tokio::select! {
            biased;
            settled = worker.handle(notified()) => panic!("{settled:?}"),
            () = std::future::ready(()) => {}
        }
        world.pass(Millis::seconds(120));
    }
    world.worker(10).rescue(notified()).await.unwrap();
    let record = world.record();
    assert_eq!(record.leases_lost, 9);
    assert!(record.lease.is_some() && record.due.unwrap().at >= record.lease.unwrap().until);
    world.pass(Millis::seconds(600));
    assert_eq!(world.worker(11).rescue(notified()).await.ok(), Some(()));
    assert_eq!(world.record().leases_lost, 10, "the tenth is poison, whoever counts it");
}

#[tokio::test]
async fn a_check_that_a_fresh_look_answers_forgets_no_lease() {
    let world = World::failing(&[]);
    let worker = world.worker(1);
    assert_eq!(worker.handle(notified()).await, Settled::Done("paid"));
    world.faults.lock().unwrap().push_back((Call::Take, After));
    let key = world.record().key;
    let of_no_transaction = Delivery::new(Check::notified(key.clone(), None), Box::new(Settles));
    assert_eq!(worker.handle(of_no_transaction).await, Settled::GivenBack);
    let manual = || Delivery::new(Check::manual(key.clone()), Box::new(Settles));
    assert_eq!(worker.handle(manual()).await, Settled::Done("fresh"));
    assert_eq!(world.record().lease, None, "it was not even looked for, but given back afterwards");
    world.pass(PAUSE);
    assert_eq!(worker.handle(manual()).await, Settled::Done("nothing_new"));
    assert_eq!(world.record().lease, None);
}

#[tokio::test]
async fn only_the_worker_that_left_a_lease_takes_it_over() {
    let world = World::failing(&[(Call::Append, Before), (Call::PutOff, Before)]);
    let (worker, stranger) = (world.worker(1), world.worker(2));
    assert_eq!(worker.handle(notified()).await, Settled::GivenBack);
    let left = world.record().lease;
    assert_eq!(
        stranger.handle(notified()).await,
        Settled::Done("busy"),
        "it may be at work, for all they know"
    );
    assert_eq!(world.record().lease, left);
    assert_eq!(worker.handle(notified()).await, Settled::Done("published"));
}

#[tokio::test]
async fn i5_one_delivery_at_a_time_takes_over_what_was_left() {
    let world = World::failing(&[(Call::Take, After)]);
    world.answers.forget_permits(100);
    let worker = world.worker(1);
    assert_eq!(worker.handle(notified()).await, Settled::GivenBack);
    let waiting_payer = async {
        let mut turns = 0..10_000;
        while world.queries.load(Ordering::SeqCst) == 0 {
            turns.next().expect("one of the two takes over what was left, and asks");
            tokio::task::yield_now().await;
        }
        // Both have asked for the lease by now.
        tokio::task::yield_now().await;
        world.answers.add_permits(100);
    };
    let (one, two, ()) = tokio::join!(worker.handle(notified()), worker.handle(notified()), waiting_payer);
    assert_eq!(
        [one, two].iter().filter(|settled| **settled == Settled::Done("busy")).count(),
        1,
        "{one:?} {two:?}"
    );
    assert_eq!(world.queries.load(Ordering::SeqCst), 1);
    assert_eq!(world.record().state, State::Paid);
}

#[tokio::test]
async fn what_was_worked_under_gets_a_new_token_so_that_a_late_effect_is_refused() {
    let faults = [(Call::Commit, Before), (Call::PutOff, Before)];
    let world = World::failing(&[faults, faults].concat());
    let worker = world.worker(1);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        assert_eq!(worker.handle(notified()).await, Settled::GivenBack);
        tokens.push(world.record().lease.unwrap().token);
    }
    assert_eq!(tokens[0].holder(), tokens[1].holder());
    assert_ne!(tokens[0], tokens[1], "a commit under the first may still be under way");
    let refused = (Write::Keep, Cleared::Lost);
    assert_eq!(lease::clear(Some(&world.record()), tokens[0], world.now()), refused);
}

#[tokio::test]
async fn a_check_whose_record_cannot_be_read_becomes_a_letter_and_does_not_come_again() {
    let world = World::failing(&[(Call::Take, Side::Unreadable)]);
    assert_eq!(world.worker(1).handle(notified()).await, Settled::Done("unreadable"));
    let letters = world.letters.lock().unwrap().clone();
    let seen =
        |letter: &DeadLetter| (letter.reason.clone(), letter.key(), letter.detail.contains("format 9"));
    assert_eq!(
        letters.iter().map(seen).collect::<Vec<_>>(),
        [(DeadReason::Unreadable, Some(notified().check.key), true)]
    );
    assert_eq!(world.record.lock().unwrap().as_ref(), None, "nothing is written over it");
    assert_eq!(world.worker(1).handle(notified()).await, Settled::Done("paid"), "it can be read again");
}

#[tokio::test]
async fn such_a_check_is_kept_while_no_letter_can_be_stored() {
    for bury in [(Call::Bury, Before), (Call::Bury, Side::Unreadable), (Call::Clock, Before)] {
        let world = World::failing(&[(Call::Take, Side::Unreadable), bury]);
        assert_eq!(world.worker(1).handle(notified()).await, Settled::GivenBack, "{bury:?}");
    }
}

#[tokio::test]
async fn one_that_the_queue_gave_up_on_and_nobody_can_read_holds_up_no_other() {
    let world = World::failing(&[(Call::Take, Side::Unreadable)]);
    world.worker(1).rescue(notified()).await.unwrap();
    assert_eq!(world.letters.lock().unwrap().len(), 1);
    let away = World::failing(&[(Call::Take, Before)]);
    away.worker(1).rescue(notified()).await.unwrap_err();
    assert_eq!(away.letters.lock().unwrap().len(), 0, "an engine that is away buries nothing");
}

#[tokio::test]
async fn what_a_worker_left_is_given_back_by_whatever_it_does_next() {
    for faults in [
        vec![(Call::Commit, Before), (Call::PutOff, Before)],
        vec![(Call::Take, After)],
        // The ledger fails once more while it is given back.
        vec![(Call::Commit, Before), (Call::PutOff, Before), (Call::PutOff, Before)],
        vec![(Call::Take, After), (Call::PutOff, After)],
    ] {
        let world = World::failing(&faults);
        let (worker, stranger) = (world.worker(1), world.worker(2));
        assert_eq!(worker.handle(notified()).await, Settled::GivenBack, "{faults:?}");
        // The queue hands the check to somebody else, who cannot know.
        assert_eq!(stranger.handle(notified()).await, Settled::Done("busy"), "{faults:?}");
        for _ in 0..2 {
            let (due_for, cause) = (world.now(), paybell_core::record::Cause::Cadence);
            let claim = paybell_core::check::Claim { number: 999, due_for, cause };
            let of_yesterday = Delivery::new(Check::due(world.record().key, claim), Box::new(Settles));
            assert_eq!(worker.handle(of_yesterday).await, Settled::Done("stale"), "{faults:?}");
        }
        let record = world.record();
        assert_eq!(record.lease, None, "{faults:?}");
        assert!(record.due.unwrap().at.since(world.now()) <= TOLD_WITHIN, "{faults:?}: {record:?}");
        world.pass(TOLD_WITHIN);
        assert_eq!(stranger.handle(notified()).await, Settled::Done("paid"), "{faults:?}");
    }
}
