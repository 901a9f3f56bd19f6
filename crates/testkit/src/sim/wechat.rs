//! WeChat Pay inside the simulation: it knows what is true, answers queries in signed XML, and notifies as it likes.
//!
//! The worker's own verification and `observe` stand between its answers and a decision, as in production.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use paybell_core::decide::CloseSaid;
use paybell_core::observation::NotPaid;
use paybell_core::{Answer, Observation, OrderKey};
use wechat_pay::beijing;
use wechat_pay::close::CloseAnswer;
use wechat_pay::query::OrderQueryAnswer;
use wechat_pay::sign::{Algorithm, ApiKey, sign};
use wechat_pay::xml;
use worker::{Ask, Asked, CloseAsked, MerchantFacts, RefundAsk, RefundAsked, Wechat, close_answer, observe};

use super::mutation::Mutation;
use super::ports::World;
use super::refunds::RefundBooks;

pub const APPID: &str = "wx8888888888888888";
/// Another app of the same merchant, for which nobody ever pays.
pub const OTHER_APPID: &str = "wx9999999999999999";
pub const KEY: &str = "192006250b4c09247ec02edce69f6a2d";

/// What is true of one order.
#[derive(Debug, Clone)]
pub struct Truth {
    pub created_ms: i64,
    pub total_fee: i64,
    pub fee_type: &'static str,
    pub paid: Option<Paid>,
    pub closed_ms: Option<i64>,
}

/// A payment that happened.
#[derive(Debug, Clone)]
pub struct Paid {
    pub at_ms: i64,
    /// Until then queries answer as if it had not been paid.
    pub visible_ms: i64,
    pub transaction_id: String,
    pub refunded_ms: Option<i64>,
}

/// A verified "not paid" that a query was given.
#[derive(Debug, Clone)]
pub struct Denied {
    pub key: OrderKey,
    pub at_ms: i64,
}

/// WeChat's books.
#[derive(Default)]
pub struct Books {
    pub truths: BTreeMap<OrderKey, Truth>,
    pub denials: Vec<Denied>,
    pub queries: u32,
    pub refunds: RefundBooks,
}

/// WeChat, to the simulated workers.
#[derive(Clone)]
pub struct SimWechat {
    pub world: World,
    pub books: Arc<Mutex<Books>>,
    pub(super) key: ApiKey,
    pub(super) facts: MerchantFacts,
}

pub(super) type Fields = Vec<(&'static str, String)>;

impl SimWechat {
    pub fn new(world: World) -> Self {
        let key = ApiKey::new(KEY).expect("the key of the reference has 32 characters");
        let facts = MerchantFacts {
            app_ids: vec![APPID.to_owned(), OTHER_APPID.to_owned()],
            sub_mch_ids: Vec::new(),
        };
        Self { world, books: Arc::default(), key, facts }
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The notification of a payment, as WeChat posts it.
    pub fn notification(&self, key: &OrderKey) -> String {
        let books = self.books();
        let mut fields = common(key);
        if let Some(truth) = books.truths.get(key)
            && let Some(paid) = &truth.paid
        {
            fields.extend(payment_fields(truth, paid));
        }
        self.signed(fields)
    }

    pub(super) fn signed(&self, mut fields: Fields) -> String {
        let sign =
            sign(fields.iter().map(|(name, value)| (*name, value.as_str())), &self.key, Algorithm::Md5);
        fields.push(("sign", sign));
        xml::write(fields)
    }

    /// What an honest query is answered now.
    fn honest(&self, key: &OrderKey) -> String {
        let now_ms = self.world.sim.now_ms();
        let books = self.books();
        let mut fields = common(key);
        let Some(truth) = books.truths.get(key).filter(|truth| truth.created_ms <= now_ms) else {
            fields.retain(|(name, _)| *name != "result_code");
            fields.push(("result_code", "FAIL".to_owned()));
            fields.push(("err_code", "ORDERNOTEXIST".to_owned()));
            return self.signed(fields);
        };
        let visible = truth.paid.as_ref().filter(|paid| paid.visible_ms <= now_ms);
        let state = match visible {
            Some(paid) if paid.refunded_ms.is_some_and(|at| at <= now_ms) => "REFUND",
            Some(_) => "SUCCESS",
            None if truth.closed_ms.is_some_and(|at| at <= now_ms) => "CLOSED",
            None => "NOTPAY",
        };
        fields.push(("trade_state", state.to_owned()));
        if let Some(paid) = visible {
            fields.extend(payment_fields(truth, paid));
        }
        self.signed(fields)
    }

    /// An answer of bad weather: none, unsigned, wrongly signed, or a signed excuse.
    fn dishonest(&self, key: &OrderKey) -> Option<String> {
        match self.world.sim.pick(0..=4) {
            0 => None,
            1 => {
                Some("<xml><return_code>FAIL</return_code><return_msg>频率限制</return_msg></xml>".to_owned())
            }
            2 => Some("<html>502 Bad Gateway</html>".to_owned()),
            3 => {
                // A lie that only the signature gives away.
                let mut fields = common(key);
                fields.push(("trade_state", "CLOSED".to_owned()));
                fields.push(("sign", "0".repeat(32)));
                Some(xml::write(fields))
            }
            _ => {
                let mut fields = common(key);
                fields.retain(|(name, _)| *name != "result_code");
                fields.push(("result_code", "FAIL".to_owned()));
                fields.push(("err_code", "SYSTEMERROR".to_owned()));
                Some(self.signed(fields))
            }
        }
    }

    fn judge(&self, ask: &Ask, body: &str) -> Answer {
        let parsed = OrderQueryAnswer::parse(body.as_bytes(), &self.key, Algorithm::Md5);
        match parsed {
            Ok(verified) => observe(ask, &self.facts, &verified.into_inner()),
            Err(_) if self.world.mutation == Some(Mutation::UnverifiedAnswers) && body.contains("CLOSED") => {
                Answer::Observed(Observation::Closed(paybell_core::observation::ClosedAs::Closed))
            }
            Err(_) => Answer::Transient("no_answer"),
        }
    }

    fn mutated(&self, key: &OrderKey, answer: Answer) -> Answer {
        match (self.world.mutation, answer) {
            (Some(Mutation::DenialFromTransient), Answer::Transient(_)) => {
                Answer::Observed(Observation::NotPaid(NotPaid::NotPay))
            }
            (
                Some(Mutation::RefundWithoutAmountCheck),
                Answer::Observed(Observation::Payment(mut payment)),
            ) if payment.refunded => {
                let store = self.world.store();
                let registered = store.records.get(key).and_then(|record| record.registration.as_ref());
                if let Some(registration) = registered {
                    payment.total_fee = Some(registration.total_fee);
                    payment.fee_type = registration.fee_type.clone();
                }
                Answer::Observed(Observation::Payment(payment))
            }
            (_, answer) => answer,
        }
    }
}

#[async_trait]
impl Wechat for SimWechat {
    async fn query(&self, ask: &Ask) -> Asked {
        let weather = self.world.weather();
        let sim = &self.world.sim;
        self.books().queries += 1;
        sim.pause(sim.pick(5..=400)).await;
        if sim.chance(weather.query_fails / 4.0) {
            return Asked::NoSlot;
        }
        let answer = if sim.chance(weather.query_fails) {
            sim.pause(sim.pick(0..=10_000)).await;
            self.dishonest(&ask.key).map_or(Answer::Transient("timeout"), |body| self.judge(ask, &body))
        } else {
            let answer = self.judge(ask, &self.honest(&ask.key));
            if matches!(&answer, Answer::Observed(observation) if !matches!(observation, Observation::Payment(_)))
            {
                let denied = Denied { key: ask.key.clone(), at_ms: sim.now_ms() };
                self.books().denials.push(denied);
            }
            // The answer may travel for long.
            sim.pause(sim.pick(5..=400)).await;
            answer
        };
        Asked::Answered(self.mutated(&ask.key, answer))
    }

    async fn close(&self, ask: &Ask) -> CloseAsked {
        let sim = &self.world.sim;
        sim.pause(sim.pick(5..=400)).await;
        if sim.chance(self.world.weather().query_fails) {
            return CloseAsked::Undecided(Answer::Transient("timeout"));
        }
        let now_ms = sim.now_ms();
        let mut fields = common(&ask.key);
        {
            let mut books = self.books();
            let Some(truth) = books.truths.get_mut(&ask.key) else {
                return CloseAsked::Answered(CloseSaid::NotExist);
            };
            if truth.paid.as_ref().is_some_and(|paid| paid.at_ms <= now_ms) {
                fields.retain(|(name, _)| *name != "result_code");
                fields.push(("result_code", "FAIL".to_owned()));
                fields.push(("err_code", "ORDERPAID".to_owned()));
            } else {
                truth.closed_ms = Some(now_ms);
                // A closed order cannot be paid any more.
                truth.paid = None;
            }
        }
        let body = self.signed(fields);
        match CloseAnswer::parse(body.as_bytes(), &self.key, Algorithm::Md5) {
            Ok(verified) => close_answer(&verified.into_inner()),
            Err(_) => CloseAsked::Undecided(Answer::Transient("no_answer")),
        }
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAsked {
        self.request_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAsked {
        self.query_refund(ask).await
    }
}

pub(super) fn common(key: &OrderKey) -> Fields {
    vec![
        ("return_code", "SUCCESS".to_owned()),
        ("result_code", "SUCCESS".to_owned()),
        ("appid", APPID.to_owned()),
        ("mch_id", key.mch_id.as_str().to_owned()),
        ("out_trade_no", key.out_trade_no.as_str().to_owned()),
        ("nonce_str", "n".to_owned()),
    ]
}

/// A signed refusal.
pub(super) fn failed(key: &OrderKey, code: &'static str) -> Fields {
    let mut fields = common(key);
    fields.retain(|(name, _)| *name != "result_code");
    fields.extend([("result_code", "FAIL".to_owned()), ("err_code", code.to_owned())]);
    fields
}

fn payment_fields(truth: &Truth, paid: &Paid) -> Fields {
    vec![
        ("transaction_id", paid.transaction_id.clone()),
        ("total_fee", truth.total_fee.to_string()),
        ("fee_type", truth.fee_type.to_owned()),
        ("time_end", beijing::format_compact(paid.at_ms).unwrap_or_default()),
        ("trade_type", "JSAPI".to_owned()),
        ("openid", "oSIM".to_owned()),
    ]
}
