//! A worker that dies at every step of a refund, one after the other: money goes back once, and it is told once.
//!
//! A world in memory over core's transitions, with a WeChat that refunds a number once. Each run stops the worker for
//! good at one await more than the run before, before the effect or after it; then another worker takes over.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fall"
)]

mod support;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use paybell_core::claim::claim;
use paybell_core::decide::REFUND_DENIAL_SPAN;
use paybell_core::event::EventType;
use paybell_core::lease::{self, Cleared, Commit, Committed, LeaseRequest, Taken, Write};
use paybell_core::policy::{OpenidPolicy, Unregistered};
use paybell_core::ports::{
    Cursor, Delivery, EventFilter, EventLog, Ledger, LogRead, PortError, Reading, Settle,
};
use paybell_core::refund::{
    self, RefundAnswer, RefundApplication, RefundAsked as Stored, RefundFacts, RefundState, RefundStatus,
    Refusal,
};
use paybell_core::shadow::Mode;
use paybell_core::time::Millis;
use paybell_core::{
    Cadence, Check, Currency, DeadReason, Event, Fen, LeaseToken, OrderKey, OutRefundNo, Policy, Record,
    RefundId, Timestamp,
};
use prometheus_client::registry::Registry;
use worker::{
    Ask, Asked, CloseAsked, KeyUsed, Policies, RefundAsk, RefundAsked, Wechat, Worker, WorkerMetrics,
    WorkerParts,
};

use support::Nobody;

/// How WeChat's books of one refund stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Book {
    #[default]
    Nothing,
    Taken,
    Returned,
}

/// What is durable, and where the worker stops.
struct World {
    now_ms: AtomicI64,
    record: Mutex<Option<Record>>,
    log: Mutex<Vec<Event>>,
    refunds: Mutex<HashMap<String, (Book, u32)>>,
    /// Refundqueries, by what they found.
    queries: Mutex<Vec<Book>>,
    /// The client sends a request again by itself, and its last answer is this refusal.
    refusal: Mutex<Option<Refusal>>,
    /// The client sent it more than once until it was refused.
    repeats: bool,
    /// Until then refundquery knows of nothing.
    lags_until_ms: AtomicI64,
    /// What refundquery says instead of the truth.
    query_says: Mutex<Option<RefundAnswer>>,
    /// Whether WeChat takes what is sent.
    takes: bool,
    requests: AtomicUsize,
    /// The step at which nothing comes back any more; `usize::MAX` for one that lives.
    dies_at: AtomicUsize,
    steps: AtomicUsize,
}

fn key() -> OrderKey {
    OrderKey::new("1900000109", "T2026112000000001").unwrap()
}

fn fen(amount: i64) -> Fen {
    Fen::new(amount).unwrap()
}

impl World {
    fn new(dies_at: usize) -> Arc<Self> {
        Arc::new(Self::dying_at(dies_at))
    }

    /// A WeChat that refuses in the end, whether or not it took the request before.
    fn refusing(takes: bool) -> Arc<Self> {
        let refusal = Refusal {
            code: "NOTENOUGH".to_owned(),
            said: String::new(),
            cause: String::new(),
            remedy: String::new(),
            cause_zh: String::new(),
            remedy_zh: String::new(),
        };
        let repeats = takes;
        Arc::new(Self { refusal: Mutex::new(Some(refusal)), takes, repeats, ..Self::dying_at(usize::MAX) })
    }

    fn dying_at(dies_at: usize) -> Self {
        let world = Self {
            now_ms: AtomicI64::new(1_795_147_200_000),
            record: Mutex::default(),
            log: Mutex::default(),
            refunds: Mutex::default(),
            queries: Mutex::default(),
            refusal: Mutex::default(),
            repeats: false,
            lags_until_ms: AtomicI64::new(0),
            query_says: Mutex::default(),
            takes: true,
            requests: AtomicUsize::new(0),
            dies_at: AtomicUsize::new(dies_at),
            steps: AtomicUsize::new(0),
        };
        let wish = RefundApplication {
            out_refund_no: OutRefundNo::new("R1").unwrap(),
            refund_fee: fen(500),
            total_fee: Some(fen(1999)),
            fee_type: None,
            refund_account: None,
            refund_desc: None,
            seen_as: None,
            who: "shop".to_owned(),
        };
        let (record, asked) = refund::request(None, &key(), &wish, world.now());
        assert_eq!(asked, Stored::Added);
        *world.record.lock().unwrap() = record;
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    /// One step of the worker: where it dies, the future never goes on, and is dropped.
    async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) >= self.dies_at.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// An effect with a death on either side of it.
    async fn effect<T>(&self, run: impl FnOnce() -> T) -> T {
        self.step().await;
        let outcome = run();
        self.step().await;
        outcome
    }

    async fn change<T>(&self, run: impl FnOnce(Option<&Record>) -> (Write, T)) -> Result<T, PortError> {
        let apply = || {
            let mut stored = self.record.lock().unwrap();
            let (write, answer) = run(stored.as_ref());
            match write {
                Write::Keep => {}
                Write::Put(record) => *stored = Some(*record),
                Write::Delete => *stored = None,
            }
            answer
        };
        Ok(self.effect(apply).await)
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
            businesses: Arc::new(Nobody),
            dead: Arc::new(Nobody),
            wechat: self.clone(),
            policies: Arc::new(Policies::new(HashMap::new(), policy)),
            metrics: WorkerMetrics::register(&mut Registry::default(), ["1900000109"], &KeyUsed::default()),
            seed: [seed; 32],
        })
    }

    fn refund_state(&self) -> RefundState {
        self.record.lock().unwrap().as_ref().unwrap().refunds[0].state
    }

    /// The scheduler's part: waits for the due time and makes a check of it.
    fn claimed(&self) -> Option<Check> {
        let mut stored = self.record.lock().unwrap();
        let record = stored.as_mut()?;
        let due = record.due?;
        self.now_ms.fetch_max(due.at.millis(), Ordering::SeqCst);
        claim(record, self.now())
    }

    fn facts(&self) -> Box<RefundFacts> {
        Box::new(RefundFacts {
            refund_id: RefundId::new("50000000382019052709732678859").unwrap(),
            refund_fee: fen(500),
            settlement_refund_fee: None,
            cash_refund_fee: None,
            coupon_refund_fee: None,
            account: None,
            received_by: None,
            succeeded_at: None,
            transaction_id: None,
            total_fee: Some(fen(1999)),
            fee_type: Currency::CNY,
            appid: None,
            sub_mch_id: None,
        })
    }
}

#[async_trait]
impl Ledger for World {
    async fn clock(&self) -> Result<Reading, PortError> {
        Ok(self.effect(|| Reading { now: self.now(), is_steady: true }).await)
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        self.change(|stored| {
            let taking = lease::take(stored, request, self.now());
            (taking.write, taking.taken)
        })
        .await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        self.change(|stored| lease::commit(stored, commit, self.now())).await
    }

    async fn clear(&self, _: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        self.change(|stored| lease::clear(stored, token, self.now())).await
    }

    async fn put_off(&self, _: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        self.change(|stored| lease::put_off(stored, token, at, self.now())).await
    }
}

#[async_trait]
impl EventLog for World {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.effect(|| self.log.lock().unwrap().extend(events.iter().cloned())).await;
        Ok(())
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
impl Wechat for World {
    async fn query(&self, _: &Ask) -> Asked {
        panic!("the order is known by its refund only: its payment is nobody's business")
    }

    async fn close(&self, _: &Ask) -> CloseAsked {
        panic!("nothing is closed here")
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAsked {
        let take = || {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let mut refunds = self.refunds.lock().unwrap();
            let entry = refunds.entry(ask.out_refund_no.as_str().to_owned()).or_default();
            if entry.0 == Book::Nothing && self.takes {
                *entry = (Book::Taken, entry.1 + 1);
            }
            RefundAsked::Answered(match self.refusal.lock().unwrap().clone() {
                Some(refusal) if self.repeats => RefundAnswer::Doubtful(Box::new(refusal)),
                Some(refusal) => RefundAnswer::Refused(Box::new(refusal)),
                None => RefundAnswer::Accepted(self.facts()),
            })
        };
        self.effect(take).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAsked {
        let look = || {
            let mut refunds = self.refunds.lock().unwrap();
            let book = refunds.entry(ask.out_refund_no.as_str().to_owned()).or_default();
            self.queries.lock().unwrap().push(book.0);
            if self.now_ms.load(Ordering::SeqCst) < self.lags_until_ms.load(Ordering::SeqCst) {
                return RefundAsked::Answered(RefundAnswer::NotExist);
            }
            if let Some(answer) = self.query_says.lock().unwrap().clone() {
                return RefundAsked::Answered(answer);
            }
            RefundAsked::Answered(match book.0 {
                Book::Nothing => RefundAnswer::NotExist,
                Book::Taken => {
                    book.0 = Book::Returned;
                    RefundAnswer::Observed(RefundStatus::Processing, self.facts())
                }
                Book::Returned => RefundAnswer::Observed(RefundStatus::Success, self.facts()),
            })
        };
        self.effect(look).await
    }
}

struct Settles(Arc<World>);

#[async_trait]
impl Settle for Settles {
    async fn done(self: Box<Self>) -> Result<(), PortError> {
        self.0.step().await;
        Ok(())
    }
}

/// Lets a worker handle one check; `false` if it died over it.
fn handles(world: &Arc<World>, worker: &Worker, check: Check) -> bool {
    let mut handling = pin!(worker.handle(Delivery::new(check, Box::new(Settles(world.clone())))));
    let mut context = Context::from_waker(Waker::noop());
    // Nothing here waits for anything but death.
    matches!(handling.as_mut().poll(&mut context), Poll::Ready(_))
}

#[test]
fn a_worker_killed_at_any_step_returns_the_money_once_and_tells_it_once() {
    let mut runs = 0;
    for dies_at in 0.. {
        let world = World::new(dies_at);
        let mut worker = world.worker(1);
        let mut deaths = 0;
        while let Some(check) = world.claimed() {
            if !handles(&world, &worker, check) {
                deaths += 1;
                assert_eq!(deaths, 1);
                world.dies_at.store(usize::MAX, Ordering::SeqCst);
                worker = world.worker(2);
            }
        }
        let told: Vec<EventType> = world.log.lock().unwrap().iter().map(|event| event.kind).collect();
        let mut ids: Vec<_> = world.log.lock().unwrap().iter().map(|event| event.id).collect();
        ids.dedup();
        assert!(told.iter().all(|kind| *kind == EventType::RefundSucceeded), "dies at {dies_at}: {told:?}");
        assert_eq!(ids.len(), 1, "dies at {dies_at}: told once under one id");
        let refunds = world.refunds.lock().unwrap().clone();
        let once = HashMap::from([("R1".to_owned(), (Book::Returned, 1))]);
        assert_eq!(refunds, once, "dies at {dies_at}");
        let record = world.record.lock().unwrap().clone().unwrap();
        assert_eq!(
            (record.refunds[0].state, record.due),
            (RefundState::Succeeded, None),
            "dies at {dies_at}"
        );
        // A repeat asked first; where WeChat had taken it, nothing was sent again.
        assert_eq!(world.requests.load(Ordering::SeqCst), 1, "dies at {dies_at}");
        runs += 1;
        if deaths == 0 {
            break;
        }
    }
    assert!(runs > 30, "{runs} steps: the walk has more");
}

#[test]
fn what_was_never_sent_is_sent_once_wechat_says_that_it_has_none() {
    // Dead after the lease, before the request: the next worker cannot know, asks, and sends.
    let world = World::new(2);
    assert!(!handles(&world, &world.worker(1), world.claimed().unwrap()));
    world.dies_at.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(world.requests.load(Ordering::SeqCst), 0);
    let worker = world.worker(2);
    while let Some(check) = world.claimed() {
        assert!(handles(&world, &worker, check));
    }
    assert_eq!(world.requests.load(Ordering::SeqCst), 1);
    assert_eq!(world.queries.lock().unwrap()[0], Book::Nothing, "asked before it was sent");
}

#[test]
fn a_refusal_of_what_was_taken_before_is_none() {
    // The first try already: the client repeats a request by itself where an answer is lost.
    let world = World::refusing(true);
    let worker = world.worker(1);
    while let Some(check) = world.claimed() {
        assert!(handles(&world, &worker, check));
        assert_ne!(
            world.refund_state(),
            RefundState::Refused,
            "somebody would refund it under another number"
        );
    }
    assert_eq!(world.refund_state(), RefundState::Succeeded);
    assert_eq!(world.log.lock().unwrap().len(), 1);
    assert_eq!(world.refunds.lock().unwrap()["R1"], (Book::Returned, 1));
}

#[test]
fn a_refundquery_that_lags_confirms_no_refusal_of_what_was_taken() {
    for (lags_s, repeats) in [(3, true), (3, false), (290, true), (290, false)] {
        let world = World::refusing(true);
        let mut world = Arc::into_inner(world).unwrap();
        world.repeats = repeats;
        let world = Arc::new(world);
        world.lags_until_ms.store(world.now().millis() + lags_s * 1000, Ordering::SeqCst);
        if !repeats {
            // Its answer is lost with the worker: dead before anything is committed. The next one asks, sends it again,
            // and is refused.
            let (took, worker) = (4, world.worker(1));
            world.dies_at.store(took, Ordering::SeqCst);
            assert!(!handles(&world, &worker, world.claimed().unwrap()));
            assert_eq!(world.refunds.lock().unwrap()["R1"].0, Book::Taken, "it was taken");
            world.dies_at.store(usize::MAX, Ordering::SeqCst);
            world.lags_until_ms.store(world.now().millis() + 60_000 + lags_s * 1000, Ordering::SeqCst);
        }
        let worker = world.worker(2);
        while let Some(check) = world.claimed() {
            assert!(handles(&world, &worker, check));
            assert_ne!(world.refund_state(), RefundState::Refused, "somebody would refund it otherwise");
        }
        assert_eq!(world.refund_state(), RefundState::Succeeded, "{lags_s} {repeats}");
        assert_eq!(world.log.lock().unwrap().len(), 1);
        let sent = if repeats { 1 } else { 2 };
        assert_eq!(world.requests.load(Ordering::SeqCst), sent, "in doubt nothing is sent");
    }
}

#[test]
fn a_repeat_that_is_refused_moved_nothing_where_wechat_says_so_twice() {
    let world = World::refusing(false);
    let mut world = Arc::into_inner(world).unwrap();
    world.repeats = true;
    let world = Arc::new(world);
    let (worker, begun) = (world.worker(1), world.now());
    while let Some(check) = world.claimed() {
        assert!(handles(&world, &worker, check));
    }
    assert_eq!(world.refund_state(), RefundState::Refused);
    assert!(world.now().since(begun) >= REFUND_DENIAL_SPAN);
    assert_eq!(world.requests.load(Ordering::SeqCst), 1, "and nothing was sent meanwhile");
}

#[test]
fn a_refusal_is_one_where_wechat_says_that_it_has_none() {
    let world = World::refusing(false);
    let worker = world.worker(1);
    assert!(handles(&world, &worker, world.claimed().unwrap()));
    assert_eq!(world.refund_state(), RefundState::Refused);
    assert_eq!(*world.queries.lock().unwrap(), [Book::Nothing], "asked, and after it was refused");
    assert_eq!(world.claimed(), None);
}

#[test]
fn a_refundquery_that_is_refused_confirms_no_refusal() {
    let world = World::refusing(true);
    let said = RefundAnswer::Stuck { reason: DeadReason::RefusedByWechat, detail: "NOAUTH".to_owned() };
    *world.query_says.lock().unwrap() = Some(said);
    let worker = world.worker(1);
    for _ in 0..3 {
        assert!(handles(&world, &worker, world.claimed().unwrap()));
        assert_eq!(world.refund_state(), RefundState::Asked, "nobody knows that it has none");
    }
    // Somebody mended it.
    *world.query_says.lock().unwrap() = None;
    while let Some(check) = world.claimed() {
        assert!(handles(&world, &worker, check));
    }
    assert_eq!(world.refund_state(), RefundState::Succeeded);
}
