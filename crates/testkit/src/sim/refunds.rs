//! Refunds in the simulated world: WeChat's books of them, and its answers in signed XML.
//!
//! A number moves money once, as in production. Requests and answers get lost on either side of that.

use paybell_core::OrderKey;
use paybell_core::refund::{RefundAccount, RefundAnswer, RefundStatus, Refusal};
use paybell_core::time::Millis;
use wechat_pay::beijing;
use wechat_pay::refund::RefundAnswer as RequestAnswer;
use wechat_pay::refund_query::RefundQueryAnswer;
use wechat_pay::sign::Algorithm;
use worker::{RefundAsk, RefundAsked, observe_refund, refund_answer};

use super::mutation::Mutation;
use super::wechat::{Books, SimWechat, common, failed};

/// What is true of one refund.
#[derive(Debug, Clone)]
pub struct RefundTruth {
    pub number: String,
    pub refund_id: String,
    pub refund_fee: i64,
    /// Until then refundquery knows nothing of it.
    pub visible_ms: i64,
    /// What it comes to, and when: `CHANGE` may be followed by another word.
    pub words: Vec<(i64, &'static str)>,
}

/// How a refund will go, drawn when the day begins.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub lag_ms: i64,
    /// From being taken to the bank's word.
    pub settles_after_ms: i64,
    pub word: &'static str,
    /// After `CHANGE`: when a person settled it.
    pub mended_after_ms: Option<i64>,
    /// The merchant's account is empty, unless the refund comes from the other one.
    pub is_short: bool,
}

/// WeChat's books of refunds, beside those of orders.
#[derive(Debug, Default)]
pub struct RefundBooks {
    pub taken: Vec<(OrderKey, RefundTruth)>,
    pub courses: std::collections::BTreeMap<String, Course>,
    /// Requests that arrived, repeats included.
    pub requests: u32,
}

impl RefundTruth {
    /// What refundquery says at a time.
    pub fn word_at(&self, now_ms: i64) -> &'static str {
        self.words.iter().rev().find(|(at_ms, _)| *at_ms <= now_ms).map_or("PROCESSING", |(_, word)| word)
    }

    fn of(number: &str, nth: usize, refund_fee: i64, now_ms: i64, course: &Course) -> Self {
        let settled_ms = now_ms + course.settles_after_ms;
        let mut words = vec![(settled_ms, course.word)];
        words.extend(course.mended_after_ms.map(|after_ms| (settled_ms + after_ms, "SUCCESS")));
        Self {
            number: number.to_owned(),
            refund_id: format!("50000000002026112000000{nth:05}"),
            refund_fee,
            visible_ms: now_ms + course.lag_ms,
            words,
        }
    }

    /// When money went back, if it does.
    pub fn succeeds_ms(&self) -> Option<i64> {
        self.words.iter().find(|(_, word)| *word == "SUCCESS").map(|(at_ms, _)| *at_ms)
    }
}

impl Books {
    pub fn refund(&self, key: &OrderKey, number: &str) -> Option<&RefundTruth> {
        self.refunds.taken.iter().find(|(of, truth)| of == key && truth.number == number).map(|(_, one)| one)
    }

    /// Moves money back, once per number.
    pub fn take(
        &mut self,
        key: &OrderKey,
        number: &str,
        refund_fee: i64,
        now_ms: i64,
    ) -> Result<(), &'static str> {
        let Some(truth) = self.truths.get(key) else { return Err("ORDERNOTEXIST") };
        let is_paid = truth.paid.as_ref().is_some_and(|paid| paid.at_ms <= now_ms);
        let total_fee = truth.total_fee;
        if !is_paid {
            return Err("ORDERNOTEXIST");
        }
        if let Some(known) = self.refund(key, number) {
            return if known.refund_fee == refund_fee { Ok(()) } else { Err("PARAM_ERROR") };
        }
        let gone: i64 =
            self.refunds.taken.iter().filter(|(of, _)| of == key).map(|(_, one)| one.refund_fee).sum();
        if gone + refund_fee > total_fee {
            return Err("REFUND_FEE_MISMATCH");
        }
        let nth = self.refunds.taken.len();
        let plain = Course {
            lag_ms: 0,
            settles_after_ms: 1_000,
            word: "SUCCESS",
            mended_after_ms: None,
            is_short: false,
        };
        let course = self.refunds.courses.get(number).copied().unwrap_or(plain);
        let refund = RefundTruth::of(number, nth, refund_fee, now_ms, &course);
        if let (Some(at_ms), Some(paid)) =
            (refund.succeeds_ms(), self.truths.get_mut(key).and_then(|truth| truth.paid.as_mut()))
        {
            paid.refunded_ms = Some(paid.refunded_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
        }
        self.refunds.taken.push((key.clone(), refund));
        Ok(())
    }
}

impl SimWechat {
    /// `/secapi/pay/refund`.
    pub(super) async fn request_refund(&self, ask: &RefundAsk) -> RefundAsked {
        let sim = &self.world.sim;
        let weather = self.world.weather();
        sim.pause(sim.pick(5..=400)).await;
        if sim.chance(weather.query_fails / 4.0) {
            return RefundAsked::NoSlot;
        }
        let Some(wanted) = &ask.request else { return unknown("no_request") };
        let number = match self.world.mutation {
            Some(Mutation::RefundNumberOnRetry) => format!("{}-{}", ask.out_refund_no, sim.pick(1..=9_999)),
            _ => ask.out_refund_no.as_str().to_owned(),
        };
        let key = &ask.order.key;
        let mood = if sim.chance(weather.query_fails) { sim.pick(1..=5) } else { 0 };
        if mood == 1 {
            // It never arrives.
            sim.pause(sim.pick(0..=10_000)).await;
            return self.lost(unknown("timeout"));
        }
        if mood == 2 {
            return self.lost(self.judge_request(ask, &self.signed_failure(key, "SYSTEMERROR")));
        }
        let outcome = {
            let now_ms = sim.now_ms();
            let mut books = self.books();
            books.refunds.requests += 1;
            let is_short = books.refunds.courses.get(&number).is_some_and(|course| course.is_short)
                && wanted.refund_account != Some(RefundAccount::RechargeFunds);
            match is_short {
                true => Err("NOTENOUGH"),
                false => books.take(key, &number, wanted.refund_fee.get(), now_ms),
            }
        };
        self.world.note(|| format!("refund {number} of {} → {outcome:?}, mood {mood}", key.out_trade_no));
        sim.pause(sim.pick(5..=400)).await;
        match (mood, outcome) {
            (3, _) => self.lost(unknown("timeout")),
            (4, _) => self.lost(self.judge_request(ask, &self.signed_failure(key, "SYSTEMERROR"))),
            // The connection broke, the client sent it again by itself, and by then the account was empty.
            (5, _) => self.repeated(self.judge_request(ask, &self.signed_failure(key, "NOTENOUGH"))),
            (_, Err(code)) => self.judge_request(ask, &self.signed_failure(key, code)),
            (_, Ok(())) => {
                let body = self.accepted(key, &number, ask);
                self.settled_early(self.judge_request(ask, &body))
            }
        }
    }

    /// `/pay/refundquery`.
    pub(super) async fn query_refund(&self, ask: &RefundAsk) -> RefundAsked {
        let sim = &self.world.sim;
        let weather = self.world.weather();
        sim.pause(sim.pick(5..=400)).await;
        if sim.chance(weather.query_fails / 4.0) {
            return RefundAsked::NoSlot;
        }
        if sim.chance(weather.query_fails) {
            sim.pause(sim.pick(0..=10_000)).await;
            return unknown("timeout");
        }
        let now_ms = sim.now_ms();
        let body = self.found(ask, now_ms);
        sim.pause(sim.pick(5..=400)).await;
        let parsed = RefundQueryAnswer::parse(body.as_bytes(), &self.key, Algorithm::Md5);
        match parsed {
            Ok(verified) => RefundAsked::Answered(observe_refund(ask, &self.facts, &verified.into_inner())),
            Err(_) => unknown("no_answer"),
        }
    }

    fn judge_request(&self, ask: &RefundAsk, body: &str) -> RefundAsked {
        let parsed = RequestAnswer::parse(body.as_bytes(), &self.key, Algorithm::Md5);
        match parsed {
            Ok(verified) => RefundAsked::Answered(refund_answer(ask, &self.facts, &verified.into_inner())),
            Err(_) => unknown("no_answer"),
        }
    }

    fn lost(&self, asked: RefundAsked) -> RefundAsked {
        match (self.world.mutation, asked) {
            (Some(Mutation::LostAnswerIsARefusal), RefundAsked::Answered(RefundAnswer::Transient { .. })) => {
                RefundAsked::Answered(RefundAnswer::Refused(Box::new(Refusal {
                    code: "TIMEOUT".to_owned(),
                    said: String::new(),
                    cause: String::new(),
                    remedy: String::new(),
                    cause_zh: String::new(),
                    remedy_zh: String::new(),
                })))
            }
            (_, asked) => asked,
        }
    }

    /// What a client that sent a request more than once makes of the last answer.
    fn repeated(&self, asked: RefundAsked) -> RefundAsked {
        match (self.world.mutation, asked) {
            (Some(Mutation::RepeatIsTheOnlySending), asked) => asked,
            (_, RefundAsked::Answered(RefundAnswer::Refused(refusal))) => {
                RefundAsked::Answered(RefundAnswer::Doubtful(refusal))
            }
            (_, asked) => asked,
        }
    }

    fn settled_early(&self, asked: RefundAsked) -> RefundAsked {
        match (self.world.mutation, asked) {
            (Some(Mutation::RequestSettlesRefund), RefundAsked::Answered(RefundAnswer::Accepted(facts))) => {
                RefundAsked::Answered(RefundAnswer::Observed(RefundStatus::Success, facts))
            }
            (_, asked) => asked,
        }
    }

    fn signed_failure(&self, key: &OrderKey, code: &'static str) -> String {
        self.signed(failed(key, code))
    }

    fn accepted(&self, key: &OrderKey, number: &str, ask: &RefundAsk) -> String {
        let books = self.books();
        let mut fields = common(key);
        let shown = match self.world.mutation {
            Some(Mutation::RefundNumberOnRetry) => ask.out_refund_no.as_str().to_owned(),
            _ => number.to_owned(),
        };
        if let (Some(truth), Some(refund)) = (books.truths.get(key), books.refund(key, number)) {
            let paid = truth.paid.as_ref().map(|paid| paid.transaction_id.clone());
            fields.extend([
                ("transaction_id", paid.unwrap_or_default()),
                ("out_refund_no", shown),
                ("refund_id", refund.refund_id.clone()),
                ("total_fee", truth.total_fee.to_string()),
                ("refund_fee", refund.refund_fee.to_string()),
            ]);
        }
        self.signed(fields)
    }

    fn found(&self, ask: &RefundAsk, now_ms: i64) -> String {
        let number = ask.out_refund_no.as_str();
        let books = self.books();
        // WeChat finds a refund by its number alone, whatever order the question thinks it belongs to.
        let found = books
            .refunds
            .taken
            .iter()
            .find(|(of, one)| {
                of.mch_id == ask.order.key.mch_id && one.number == number && one.visible_ms <= now_ms
            })
            .map(|(of, one)| (of.clone(), one.clone()));
        let Some((key, refund)) = found else {
            drop(books);
            return self.signed(failed(&ask.order.key, "REFUNDNOTEXIST"));
        };
        let mut fields = common(&key);
        let truth = books.truths.get(&key);
        let paid = truth.and_then(|truth| truth.paid.as_ref()).map(|paid| paid.transaction_id.clone());
        let word = refund.word_at(now_ms);
        fields.extend([
            ("transaction_id", paid.unwrap_or_default()),
            ("total_fee", truth.map_or(0, |truth| truth.total_fee).to_string()),
            ("refund_count", "1".to_owned()),
            ("out_refund_no_0", refund.number.clone()),
            ("refund_id_0", refund.refund_id.clone()),
            ("refund_fee_0", refund.refund_fee.to_string()),
            ("refund_status_0", word.to_owned()),
        ]);
        if let ("SUCCESS", Some(at_ms)) = (word, refund.succeeds_ms()) {
            fields.push(("refund_success_time_0", beijing::format_spaced(at_ms).unwrap_or_default()));
        }
        self.signed(fields)
    }
}

fn unknown(cause: &'static str) -> RefundAsked {
    RefundAsked::Answered(RefundAnswer::Transient { cause, at_least: Millis(0) })
}
