//! Orders, payments and answers for the tests of this crate, and a ledger of one order.
//!
//! Compiled for tests only. It takes no short cuts: every record it hands out came about through the transitions that
//! an engine runs, so a test that starts from `paid` starts from what is really stored for a paid order.

use crate::cadence::Cadence;
use crate::check::Check;
use crate::claim::claim;
use crate::dead::{DeadLetter, DeadReason};
use crate::decide::{Change, Closing, Decision, Look, RefundLook, decide, decide_refund};
use crate::event::Event;
use crate::ids::{AppId, LeaseToken, OrderKey, OutRefundNo, OutTradeNo, RefundId, TransactionId};
use crate::lease::{Cleared, Commit, Committed, LeaseRequest, Taken, Write, clear, commit, put_off, take};
use crate::memory::Memory;
use crate::money::{Currency, Fen};
use crate::observation::{Answer, ClosedAs, Coupon, NotPaid, Observation, Openid, Payment};
use crate::policy::{OpenidPolicy, Policy, Unregistered};
use crate::record::{Record, State};
use crate::refund::{
    self, Receiver, Refund, RefundAnswer, RefundApplication, RefundAsked, RefundFacts, RefundStatus, Refusal,
};
use crate::register::{Application, Registered, register};
use crate::shadow::Mode;
use crate::time::{Millis, Timestamp};
use crate::verdict::{Judged, Judgement, Ruling, judge};

/// 2026-11-20 12:00:00 in Beijing.
pub(crate) const T0: Timestamp = Timestamp::from_millis(1_795_147_200_000);
/// The registered amount, and one that differs from it.
pub(crate) const FEE: i64 = 1999;
pub(crate) const WRONG: i64 = 1500;
pub(crate) const TX: &str = "4200001234202611200123456789";
pub(crate) const OTHER_TX: &str = "4200009999202611200987654321";
pub(crate) const LEASE: Millis = Millis::seconds(30);
pub(crate) const RETRY: Millis = Millis(7_777);
pub(crate) const LOST_DELAYS_S: [i64; 7] = [2, 4, 8, 16, 32, 64, 128];

pub(crate) fn at(seconds: i64) -> Timestamp {
    T0 + Millis::seconds(seconds)
}

pub(crate) fn key() -> OrderKey {
    OrderKey::new("1900000109", "T2026112000000001").unwrap()
}

pub(crate) fn tx(text: &str) -> TransactionId {
    TransactionId::new(text).unwrap()
}

pub(crate) fn fen(amount: i64) -> Fen {
    Fen::new(amount).unwrap()
}

pub(crate) fn notified(transaction_id: &str) -> Check {
    Check::notified(key(), Some(tx(transaction_id)))
}

pub(crate) fn billed(transaction_id: &str) -> Check {
    Check { reason: crate::Reason::Billed, ..notified(transaction_id) }
}

pub(crate) fn manual() -> Check {
    Check::manual(key())
}

pub(crate) fn application(total_fee: i64) -> Application {
    Application {
        total_fee: fen(total_fee),
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: None,
        expires_at: None,
        business_no: None,
    }
}

pub(crate) fn judgement(ruling: Ruling) -> Judgement {
    Judgement { ruling, who: "li".into(), why: "seen".into(), transaction_id: None }
}

pub(crate) fn payment(transaction_id: &str, total_fee: i64) -> Payment {
    Payment {
        refunded: false,
        appid: Some(AppId::new("wx8888888888888888").unwrap()),
        sub_mch_id: None,
        transaction_id: Some(tx(transaction_id)),
        total_fee: Some(fen(total_fee)),
        fee_type: Currency::CNY,
        cash_fee: Some(fen(total_fee)),
        settlement_total_fee: None,
        coupon_fee: None,
        coupons: vec![Coupon { id: "c1".into(), kind: Some("CASH".into()), fee: fen(100) }],
        trade_type: Some("JSAPI".into()),
        bank_type: Some("OTHERS".into()),
        attach: None,
        paid_at: Some(T0 + Millis::seconds(3)),
        openid: Some(Openid("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into())),
    }
}

pub(crate) fn answer(payment: Payment) -> Answer {
    Answer::Observed(Observation::Payment(Box::new(payment)))
}

pub(crate) fn success(transaction_id: &str, total_fee: i64) -> Answer {
    answer(payment(transaction_id, total_fee))
}

pub(crate) fn refund(transaction_id: &str, total_fee: i64) -> Answer {
    answer(Payment { refunded: true, ..payment(transaction_id, total_fee) })
}

pub(crate) fn not_paid(how: NotPaid) -> Answer {
    Answer::Observed(Observation::NotPaid(how))
}

pub(crate) fn closed() -> Answer {
    Answer::Observed(Observation::Closed(ClosedAs::Closed))
}

pub(crate) fn failed() -> Answer {
    Answer::Observed(Observation::Failed)
}

pub(crate) fn unknown() -> Answer {
    Answer::Observed(Observation::Unknown("PONDERING".into()))
}

pub(crate) fn refused() -> Answer {
    Answer::Refused { reason: DeadReason::RefusedByWechat, detail: "NOAUTH".into() }
}

pub(crate) fn number(text: &str) -> OutRefundNo {
    OutRefundNo::new(text).unwrap()
}

pub(crate) fn refund_notified(out_refund_no: &str) -> Check {
    Check::refund_notified(key(), number(out_refund_no))
}

pub(crate) fn wants(out_refund_no: &str, refund_fee: i64) -> RefundApplication {
    RefundApplication {
        out_refund_no: number(out_refund_no),
        refund_fee: fen(refund_fee),
        total_fee: None,
        fee_type: None,
        refund_account: None,
        refund_desc: None,
        seen_as: None,
        who: "shop".into(),
    }
}

pub(crate) fn refund_facts(refund_fee: i64) -> RefundFacts {
    RefundFacts {
        refund_id: RefundId::new("50000000382019052709732678859").unwrap(),
        refund_fee: fen(refund_fee),
        settlement_refund_fee: Some(fen(refund_fee)),
        cash_refund_fee: None,
        coupon_refund_fee: None,
        account: Some("REFUND_SOURCE_UNSETTLED_FUNDS".into()),
        received_by: Some(Receiver("CMB debit card 0403".into())),
        succeeded_at: Some(T0 + Millis::seconds(9)),
        transaction_id: Some(tx(TX)),
        total_fee: Some(fen(FEE)),
        fee_type: Currency::CNY,
        appid: Some(AppId::new("wx8888888888888888").unwrap()),
        sub_mch_id: None,
    }
}

pub(crate) fn refund_is(status: RefundStatus) -> RefundAnswer {
    RefundAnswer::Observed(status, Box::new(refund_facts(500)))
}

pub(crate) fn refund_taken() -> RefundAnswer {
    RefundAnswer::Accepted(Box::new(RefundFacts {
        received_by: None,
        succeeded_at: None,
        ..refund_facts(500)
    }))
}

pub(crate) fn refund_refused() -> RefundAnswer {
    RefundAnswer::Refused(Box::new(Refusal {
        code: "NOTENOUGH".into(),
        said: "基本账户余额不足".into(),
        cause: "c".into(),
        remedy: "r".into(),
        cause_zh: "原因".into(),
        remedy_zh: "办法".into(),
    }))
}

/// The same of a request that was sent more than once.
pub(crate) fn refund_doubtful() -> RefundAnswer {
    match refund_refused() {
        RefundAnswer::Refused(refusal) => RefundAnswer::Doubtful(refusal),
        other => other,
    }
}

pub(crate) fn refund_unknown() -> RefundAnswer {
    RefundAnswer::Transient { cause: "timeout", at_least: Millis(0) }
}

pub(crate) fn policy() -> Policy {
    Policy {
        mode: Mode::Live,
        cadence: Cadence::wechat(),
        unregistered: Unregistered::Emit,
        close_unpaid: false,
        openid: OpenidPolicy::Omit,
        retention: Millis::seconds(35 * 86_400),
    }
}

/// What one look at an order is made of, with the policy of [`policy`] unless changed.
pub(crate) fn look<'a>(check: &'a Check, policy: &'a Policy, now: Timestamp) -> Look<'a> {
    Look {
        check,
        policy,
        now,
        is_clock_steady: true,
        retry_delay: RETRY,
        closing: Closing::NotTried,
        first_paid: None,
        memory: Memory::default(),
    }
}

/// A ledger that knows one order, with its clock, what was published and what was buried.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub stored: Option<Record>,
    pub now: Timestamp,
    pub policy: Policy,
    pub published: Vec<Event>,
    pub dead: Vec<DeadLetter>,
    /// The token that commits, clears and puts off: of the lease taken last, unless a test goes back to another.
    pub token: LeaseToken,
    /// The number of the order's business order that was paid first, unless it is its own.
    pub first_paid: Option<OutTradeNo>,
    /// How far back the ledger knows what was told.
    pub memory: Memory,
    takes: u128,
}

impl Desk {
    /// Nobody has heard of the order.
    pub(crate) fn empty() -> Self {
        let token = LeaseToken(0);
        Self {
            stored: None,
            now: T0,
            policy: policy(),
            published: vec![],
            dead: vec![],
            token,
            first_paid: None,
            memory: Memory::default(),
            takes: 0,
        }
    }

    /// The order was registered at [`T0`].
    pub(crate) fn registered() -> Self {
        let mut desk = Self::empty();
        assert_eq!(desk.register(&application(FEE)), Registered::Added);
        desk
    }

    /// An order in that state, 70 s old, nothing outgoing, no notification among what made it so.
    pub(crate) fn in_state(state: State, is_registered: bool) -> Self {
        let mut desk = if is_registered { Self::registered() } else { Self::empty() };
        match state {
            State::Pending => drop(desk.look(&manual(), &not_paid(NotPaid::NotPay))),
            State::Unpaid => {
                desk.look(&manual(), &not_paid(NotPaid::NotPay));
                desk.policy.cadence = Cadence::from_gaps([Millis(1)]).unwrap();
                desk.wait(1);
                desk.look(&manual(), &not_paid(NotPaid::NotPay));
            }
            State::Closed => drop(desk.look(&manual(), &closed())),
            State::Failed => drop(desk.look(&manual(), &failed())),
            State::Paid => drop(desk.look(&manual(), &success(TX, FEE))),
            State::Refunded => drop(desk.look(&manual(), &refund(TX, FEE))),
            State::Mismatch | State::Rejected if is_registered => {
                drop(desk.look(&manual(), &success(TX, WRONG)))
            }
            State::Mismatch | State::Rejected => {
                desk.policy.unregistered = Unregistered::Hold;
                desk.look(&manual(), &success(TX, FEE));
                desk.wait(60);
                desk.look(&manual(), &success(TX, FEE));
            }
        }
        if state == State::Rejected {
            assert_eq!(desk.judge(&judgement(Ruling::Reject)), Judged::Stored);
            desk.wait(2);
            desk.poll(&success(TX, if is_registered { WRONG } else { FEE }));
        }
        assert_eq!(desk.record().state, state);
        desk.policy = policy();
        desk.now = at(70);
        desk
    }

    pub(crate) fn record(&self) -> &Record {
        self.stored.as_ref().expect("the test knows that the order is known")
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now = self.now + Millis::seconds(seconds);
    }

    pub(crate) fn take(&mut self, check: &Check) -> Taken {
        self.takes += 1;
        let token = LeaseToken(self.takes);
        let request = LeaseRequest {
            check: check.clone(),
            token,
            length: LEASE,
            given_up: None,
            lost_delays: LOST_DELAYS_S.map(Millis::seconds),
        };
        let taking = take(self.stored.as_ref(), &request, self.now);
        self.store(taking.write);
        self.dead.extend(taking.dead);
        if matches!(taking.taken, Taken::Leased(_)) {
            self.token = token;
        }
        taking.taken
    }

    /// Takes the lease, which must be free.
    pub(crate) fn hold(&mut self, check: &Check) -> Record {
        match self.take(check) {
            Taken::Leased(record) => *record,
            other => panic!("the lease was to be had: {other:?}"),
        }
    }

    pub(crate) fn decide(&self, record: &Record, check: &Check, answer: &Answer) -> Change {
        let mut look = Look { memory: self.memory, ..look(check, &self.policy, self.now) };
        let own = &record.key.out_trade_no;
        let mut decision = decide(record, answer, &look);
        if decision == Decision::ClaimFirst {
            look.first_paid = Some(self.first_paid.as_ref().unwrap_or(own));
            decision = decide(record, answer, &look);
        }
        match decision {
            Decision::Commit(change) => *change,
            other => panic!("nothing had to come first: {other:?}"),
        }
    }

    pub(crate) fn commit(&mut self, facts: u32, change: &Change) -> Committed {
        let asked = Commit { key: key(), token: self.token, facts, change: change.clone() };
        let (write, committed) = commit(self.stored.as_ref(), &asked, self.now);
        self.store(write);
        if matches!(committed, Committed::Ended | Committed::Outgoing) {
            self.dead.extend(change.dead.clone());
        }
        committed
    }

    /// Publishes what is outgoing, then clears.
    pub(crate) fn clear(&mut self) -> Cleared {
        let outgoing = self.stored.as_ref().map(|record| record.outgoing.clone()).unwrap_or_default();
        let (write, cleared) = clear(self.stored.as_ref(), self.token, self.now);
        self.store(write);
        if cleared == Cleared::Done {
            self.published.extend(outgoing);
        }
        cleared
    }

    pub(crate) fn put_off(&mut self, until: Timestamp) -> Cleared {
        let (write, cleared) = put_off(self.stored.as_ref(), self.token, until, self.now);
        self.store(write);
        cleared
    }

    /// One whole look: take, ask, decide, commit, publish, clear.
    pub(crate) fn look(&mut self, check: &Check, answer: &Answer) -> Change {
        let record = self.hold(check);
        let change = self.decide(&record, check, answer);
        if self.commit(record.facts, &change) == Committed::Outgoing {
            assert_eq!(self.clear(), Cleared::Done);
        }
        change
    }

    pub(crate) fn claim(&mut self) -> Option<Check> {
        claim(self.stored.as_mut()?, self.now)
    }

    /// Waits for the due time, claims the order and looks at it.
    pub(crate) fn poll(&mut self, answer: &Answer) -> Change {
        let due = self.record().due.expect("the test knows that the order is due some time");
        self.now = self.now.max(due.at);
        let check = self.claim().expect("it is due now");
        self.look(&check, answer)
    }

    pub(crate) fn register(&mut self, application: &Application) -> Registered {
        let cadence = &self.policy.cadence;
        let (record, outcome) = register(self.stored.as_ref(), &key(), application, cadence, self.now);
        self.stored = record.or(self.stored.take());
        outcome
    }

    pub(crate) fn ask_refund(&mut self, application: &RefundApplication) -> RefundAsked {
        let (record, outcome) = refund::request(self.stored.as_ref(), &key(), application, self.now);
        self.stored = record.or(self.stored.take());
        outcome
    }

    pub(crate) fn refund(&self, out_refund_no: &str) -> &Refund {
        self.record().refund(&number(out_refund_no)).expect("the test knows of the refund")
    }

    /// What an answer means for the refund that the lease is for.
    pub(crate) fn decide_refund(&self, record: &Record, check: &Check, answer: &RefundAnswer) -> Change {
        let refund = record.refund_in_hand().expect("the lease is for a refund");
        let found = RefundLook { number: &refund.out_refund_no, hints: refund.hints, answer };
        decide_refund(record, &found, &Look { memory: self.memory, ..look(check, &self.policy, self.now) })
    }

    /// One whole look at a refund: take, ask, decide, commit, publish, clear.
    pub(crate) fn look_at_refund(&mut self, check: &Check, answer: &RefundAnswer) -> Change {
        let record = self.hold(check);
        let change = self.decide_refund(&record, check, answer);
        if self.commit(record.facts, &change) == Committed::Outgoing {
            assert_eq!(self.clear(), Cleared::Done);
        }
        change
    }

    /// Waits for the due time, claims the order and looks at the refund that is due.
    pub(crate) fn poll_refund(&mut self, answer: &RefundAnswer) -> Change {
        let due = self.record().due.expect("the test knows that the refund is due some time");
        self.now = self.now.max(due.at);
        let check = self.claim().expect("it is due now");
        self.look_at_refund(&check, answer)
    }

    pub(crate) fn judge(&mut self, judgement: &Judgement) -> Judged {
        let (record, outcome) = judge(self.stored.as_ref(), judgement, self.now);
        self.stored = record.or(self.stored.take());
        outcome
    }

    fn store(&mut self, write: Write) {
        match write {
            Write::Keep => {}
            Write::Put(record) => self.stored = Some(*record),
            Write::Delete => self.stored = None,
        }
    }
}
