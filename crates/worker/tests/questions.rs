//! Whose order it is becomes known while WeChat is asked: a registration or a correction comes between the question and
//! the commit. An answer to the old question decides nothing then. A world in memory over core's transitions, where the
//! shop speaks up during a chosen call.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fall"
)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::claim::claim;
use paybell_core::lease::{self, Cleared, Commit, Committed, LeaseRequest, Taken, Write};
use paybell_core::policy::{OpenidPolicy, Unregistered};
use paybell_core::ports::{
    Cursor, Delivery, EventFilter, EventLog, Ledger, LogRead, PortError, Reading, Settle,
};
use paybell_core::record::SeenAs;
use paybell_core::refund::{
    self, RefundAnswer, RefundApplication, RefundAsked as Stored, RefundFacts, RefundState, RefundStatus,
    Refusal,
};
use paybell_core::register::{Application, register};
use paybell_core::shadow::Mode;
use paybell_core::time::Millis;
use paybell_core::{
    Answer, AppId, Cadence, Check, Currency, DeadReason, Event, Fen, LeaseToken, MchId, Observation,
    OrderKey, OutRefundNo, Payment, Policy, Record, RefundId, Timestamp, TransactionId,
};
use prometheus_client::registry::Registry;
use worker::{
    Ask, Asked, CloseAsked, KeyUsed, Policies, RefundAsk, RefundAsked, Settled, Wechat, Worker,
    WorkerMetrics, WorkerParts,
};

use support::Nobody;

const TX: &str = "4200001234202611200123456789";

/// What the shop does while WeChat is asked.
type Word = Box<dyn Fn(&World) + Send + Sync>;

/// One order, paid to the sub merchant "19", and what WeChat knows of one refund of it.
struct World {
    now_ms: AtomicI64,
    record: Mutex<Option<Record>>,
    log: Mutex<Vec<Event>>,
    /// What the shop does during the call of this number, counted from one.
    words: Mutex<HashMap<usize, Word>>,
    /// Every call on WeChat, by name, with the sub merchant that it named.
    calls: Mutex<Vec<(&'static str, Option<String>)>>,
    /// The sub merchant in whose name WeChat took the refund.
    refunded_by: Mutex<Option<Option<MchId>>>,
    /// A refund in the wrong name is refused; otherwise taken in whatever name.
    is_strict: bool,
    /// The client sent it more than once until it was refused.
    repeats: bool,
}

fn key() -> OrderKey {
    OrderKey::new("1900000109", "T2026112000000001").unwrap()
}

fn fen(amount: i64) -> Fen {
    Fen::new(amount).unwrap()
}

fn mch(id: &str) -> MchId {
    MchId::new(id).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            now_ms: AtomicI64::new(1_795_147_200_000),
            record: Mutex::default(),
            log: Mutex::default(),
            words: Mutex::default(),
            calls: Mutex::default(),
            refunded_by: Mutex::default(),
            is_strict: true,
            repeats: false,
        }
    }

    fn during(self, call: usize, word: impl Fn(&World) + Send + Sync + 'static) -> Self {
        self.words.lock().unwrap().insert(call, Box::new(word));
        self
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap().clone().unwrap()
    }

    fn change<T>(&self, run: impl FnOnce(Option<&Record>) -> (Write, T)) -> T {
        let mut stored = self.record.lock().unwrap();
        let (write, answer) = run(stored.as_ref());
        match write {
            Write::Keep => {}
            Write::Put(record) => *stored = Some(*record),
            Write::Delete => *stored = None,
        }
        answer
    }

    fn register(&self, appid: Option<&str>, sub_mch_id: Option<&str>) {
        let application = Application {
            total_fee: fen(1999),
            fee_type: None,
            appid: appid.map(|appid| AppId::new(appid).unwrap()),
            sub_mch_id: sub_mch_id.map(mch),
            created_at: None,
            expires_at: None,
            business_no: None,
        };
        let mut stored = self.record.lock().unwrap();
        let (record, _) = register(stored.as_ref(), &key(), &application, &Cadence::wechat(), self.now());
        *stored = Some(record.expect("a registration"));
    }

    fn want_refund(&self, sub_mch_id: Option<&str>) -> Stored {
        let seen_as = SeenAs { appid: AppId::new("wx1").unwrap(), sub_mch_id: sub_mch_id.map(mch) };
        let wish = RefundApplication {
            out_refund_no: OutRefundNo::new("R1").unwrap(),
            refund_fee: fen(500),
            total_fee: Some(fen(1999)),
            fee_type: None,
            refund_account: None,
            refund_desc: None,
            seen_as: Some(seen_as),
            who: "shop".to_owned(),
        };
        let mut stored = self.record.lock().unwrap();
        let (record, asked) = refund::request(stored.as_ref(), &key(), &wish, self.now());
        *stored = record.or(stored.take());
        asked
    }

    fn worker(self: &Arc<Self>) -> Worker {
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
            seed: [1; 32],
        })
    }

    /// Lets the worker handle one check.
    async fn handles(self: &Arc<Self>, check: Check) -> &'static str {
        match self.worker().handle(Delivery::new(check, Box::new(Settles))).await {
            Settled::Done(outcome) => outcome,
            Settled::GivenBack => panic!("nothing fails here"),
        }
    }

    /// The scheduler's part: waits for the due time and makes a check of it.
    fn claimed(&self) -> Option<Check> {
        let mut stored = self.record.lock().unwrap();
        let record = stored.as_mut()?;
        self.now_ms.fetch_max(record.due?.at.millis(), Ordering::SeqCst);
        claim(record, self.now())
    }

    /// A call comes: while it is under way, the shop says its word.
    fn called(&self, name: &'static str, ask: &Ask) {
        let sub_mch_id = ask.sub_mch_id.as_ref().map(|id| id.as_str().to_owned());
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((name, sub_mch_id));
            calls.len()
        };
        let word = self.words.lock().unwrap().remove(&nth);
        if let Some(word) = word {
            word(self);
        }
    }

    fn calls(&self) -> Vec<(&'static str, Option<String>)> {
        self.calls.lock().unwrap().clone()
    }

    fn told(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().iter().map(|event| event.kind.as_str()).collect()
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
            appid: AppId::new("wx1").ok(),
            sub_mch_id: self.refunded_by.lock().unwrap().clone().flatten(),
        })
    }
}

/// As `observe` does: an answer about another sub merchant or appid than must be is none about this order.
fn verified(ask: &Ask, payment: Payment) -> Answer {
    let wrong = ask.must_be_sub_mch_id && ask.sub_mch_id != payment.sub_mch_id
        || ask.must_be_appid && ask.appid != payment.appid;
    if wrong {
        return Answer::Refused { reason: DeadReason::WrongOrder, detail: "answered for another".to_owned() };
    }
    Answer::Observed(Observation::Payment(Box::new(payment)))
}

#[async_trait]
impl Ledger for World {
    async fn clock(&self) -> Result<Reading, PortError> {
        Ok(Reading { now: self.now(), is_steady: true })
    }

    async fn take(&self, request: &LeaseRequest) -> Result<Taken, PortError> {
        Ok(self.change(|stored| {
            let taking = lease::take(stored, request, self.now());
            (taking.write, taking.taken)
        }))
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, PortError> {
        Ok(self.change(|stored| lease::commit(stored, commit, self.now())))
    }

    async fn clear(&self, _: &OrderKey, token: LeaseToken) -> Result<Cleared, PortError> {
        Ok(self.change(|stored| lease::clear(stored, token, self.now())))
    }

    async fn put_off(&self, _: &OrderKey, token: LeaseToken, at: Timestamp) -> Result<Cleared, PortError> {
        Ok(self.change(|stored| lease::put_off(stored, token, at, self.now())))
    }
}

#[async_trait]
impl EventLog for World {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.log.lock().unwrap().extend_from_slice(events);
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
    async fn query(&self, ask: &Ask) -> Asked {
        self.called("query", ask);
        Asked::Answered(verified(
            ask,
            Payment {
                refunded: false,
                appid: AppId::new("wx1").ok(),
                sub_mch_id: Some(mch("19")),
                transaction_id: TransactionId::new(TX).ok(),
                total_fee: Some(fen(1999)),
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
            },
        ))
    }

    async fn close(&self, ask: &Ask) -> CloseAsked {
        panic!("nothing is closed here: {ask:?}")
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAsked {
        self.called("refund", &ask.order);
        if self.is_strict && ask.order.sub_mch_id != Some(mch("19")) {
            let refusal = Box::new(Refusal {
                code: "ORDERNOTEXIST".to_owned(),
                said: String::new(),
                cause: String::new(),
                remedy: String::new(),
                cause_zh: String::new(),
                remedy_zh: String::new(),
            });
            return RefundAsked::Answered(match self.repeats {
                true => RefundAnswer::Doubtful(refusal),
                false => RefundAnswer::Refused(refusal),
            });
        }
        *self.refunded_by.lock().unwrap() = Some(ask.order.sub_mch_id.clone());
        RefundAsked::Answered(RefundAnswer::Accepted(self.facts()))
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAsked {
        self.called("refundquery", &ask.order);
        // A refund is found only in the name of its sub merchant.
        let refunded_by = self.refunded_by.lock().unwrap().clone();
        RefundAsked::Answered(match refunded_by {
            Some(by) if by == ask.order.sub_mch_id => {
                RefundAnswer::Observed(RefundStatus::Success, self.facts())
            }
            _ => RefundAnswer::NotExist,
        })
    }
}

struct Settles;

#[async_trait]
impl Settle for Settles {
    async fn done(self: Box<Self>) -> Result<(), PortError> {
        Ok(())
    }
}

fn notified() -> Check {
    let seen_as = SeenAs { appid: AppId::new("wx1").unwrap(), sub_mch_id: Some(mch("19")) };
    Check { seen_as: Some(seen_as), ..Check::notified(key(), TransactionId::new(TX).ok()) }
}

fn some(id: &str) -> Option<String> {
    Some(id.to_owned())
}

#[tokio::test]
async fn i2_a_payment_to_another_than_was_registered_during_the_query_is_not_told() {
    for (appid, sub_mch_id) in [(None, Some("20")), (Some("wx2"), None), (Some("wx2"), Some("20"))] {
        let world = Arc::new(World::new().during(1, move |world| world.register(appid, sub_mch_id)));
        let outcome = world.handles(notified()).await;
        assert_eq!((outcome, world.told()), ("refused", vec![]), "{appid:?} {sub_mch_id:?}");
        let asked_as = sub_mch_id.or(Some("19")).and_then(some);
        assert_eq!(world.calls(), [("query", some("19")), ("query", asked_as)]);
        assert_eq!(world.record().lease, None);
    }
}

#[tokio::test]
async fn a_registration_during_the_query_that_the_payment_agrees_with_is_told_at_once() {
    for (appid, sub_mch_id, queries) in [(Some("wx1"), Some("19"), 2), (None, None, 1)] {
        let world = Arc::new(World::new().during(1, move |world| world.register(appid, sub_mch_id)));
        assert_eq!(world.handles(notified()).await, "paid");
        assert_eq!(world.told(), ["order.paid"]);
        assert!(world.log.lock().unwrap()[0].order().unwrap().registered);
        assert_eq!(world.calls().len(), queries, "an answer to the same question stands");
    }
}

#[tokio::test]
async fn a_look_asks_a_bounded_number_of_times() {
    // Each question is outrun by another one; more than one registration cannot be, so the record is bent.
    let bend = |nth: u32| {
        move |world: &World| {
            let mut stored = world.record.lock().unwrap();
            let record = stored.as_mut().unwrap();
            record.progress.seen_as =
                Some(SeenAs { appid: AppId::new("wx1").unwrap(), sub_mch_id: Some(mch(&format!("{nth}"))) });
            record.facts += 1;
        }
    };
    let world =
        (1..=10).fold(World::new(), |world, nth| world.during(usize::try_from(nth).unwrap(), bend(nth)));
    let world = Arc::new(world);
    assert_eq!((world.handles(notified()).await, world.told()), ("transient", vec![]));
    assert_eq!(world.calls().len(), 3);
    assert!(world.record().due.unwrap().at.since(world.now()) < Millis::seconds(60), "asked again soon");
}

#[tokio::test]
async fn a_refund_that_is_corrected_while_it_is_refused_is_sent_in_the_corrected_name() {
    for (during, repeats) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut world = World::new();
        world.repeats = repeats;
        assert_eq!(world.want_refund(None), Stored::Added);
        // 1: while it is sent; 2: while the refusal is confirmed.
        let world = Arc::new(world.during(during, |world| {
            assert_eq!(world.want_refund(Some("19")), Stored::Added);
        }));
        while let Some(check) = world.claimed() {
            world.handles(check).await;
            let state = world.record().refunds[0].state;
            assert_ne!(state, RefundState::Refused, "{during}: nobody has sent it in the right name");
        }
        assert_eq!(world.record().refunds[0].state, RefundState::Succeeded, "{during}");
        let sent: Vec<_> = world.calls().into_iter().filter(|call| call.0 == "refund").collect();
        assert_eq!(sent, [("refund", None), ("refund", some("19"))]);
        assert_eq!(world.calls()[2], ("refundquery", some("19")), "asked before it is sent again");
        assert_eq!(world.told(), ["refund.succeeded"]);
    }
}

#[tokio::test]
async fn a_refund_that_wechat_took_is_not_sent_again_in_a_corrected_name() {
    let mut world = World::new();
    world.is_strict = false;
    assert_eq!(world.want_refund(None), Stored::Added);
    let world = Arc::new(world.during(1, |world| {
        assert_eq!(world.want_refund(Some("20")), Stored::Added);
    }));
    for _ in 0..20 {
        let Some(check) = world.claimed() else { break };
        world.handles(check).await;
        assert_eq!(world.record().refunds[0].state, RefundState::Processing);
    }
    assert_eq!(world.calls().iter().filter(|call| call.0 == "refund").count(), 1);
}

#[tokio::test]
async fn i2_a_refund_of_another_than_was_registered_during_the_query_is_not_told() {
    let mut world = World::new();
    world.is_strict = false;
    assert_eq!(world.want_refund(Some("19")), Stored::Added);
    let world = Arc::new(world.during(2, |world| world.register(None, Some("20"))));
    assert_eq!(world.handles(world.claimed().unwrap()).await, "refund_taken");
    assert_eq!(world.handles(world.claimed().unwrap()).await, "refund_taken", "WeChat has it, for another");
    assert_eq!(world.calls()[1], ("refundquery", some("19")));
    assert!(world.told().is_empty());
    assert_eq!(world.record().refunds[0].state, RefundState::Processing);
}
