//! The order of effects.
//!
//! ```text
//! take → query → decide → commit → publish → clear → acknowledge
//! ```
//!
//! Each step may be the last: the process can die between any two. What makes that safe:
//!
//! - *take* writes a due time no later than the lease's end before anything else happens, so an order whose worker
//!   died is looked at again;
//! - *commit* stores the decision together with its outgoing events, fenced by the lease: a stale owner can publish
//!   only what it committed itself;
//! - whoever next takes a lease finds outgoing events and publishes them, same ids, before anything else;
//! - *clear* only forgets what is published; *acknowledge* only forgets a check whose order needs it no more.
//!
//! A crash between two steps therefore repeats an event under the same id, and never loses one.

mod aside;
mod freeing;
mod question;
mod refund;

use std::sync::{Arc, Mutex, PoisonError};

use paybell_core::decide::Closing;
use paybell_core::lease::{Commit, Committed, LeaseRequest, Taken};
use paybell_core::ports::{Businesses, DeadLetters, Delivery, EventLog, Ledger, PortError};
use paybell_core::time::Millis;
use paybell_core::{Answer, Check, Decision, Event, LeaseToken, Look, OrderKey, OutTradeNo, Record, decide};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::question::Question;
use crate::left::{Left, Leftovers};
use crate::metrics::WorkerMetrics;
use crate::policies::Policies;
use crate::retry::RetryPolicy;
use crate::wechat::{Asked, CloseAsked, Wechat};

/// How long one worker may decide about an order.
pub const LEASE: Millis = Millis::seconds(60);

/// How often one delivery starts again at the lease; after that the record's due time goes on.
const RESTARTS_MAX: usize = 3;

/// What a worker works with.
pub struct WorkerParts {
    pub ledger: Arc<dyn Ledger>,
    pub log: Arc<dyn EventLog>,
    pub businesses: Arc<dyn Businesses>,
    /// Where a check goes whose record cannot be read. The letters of decisions are stored by the commit.
    pub dead: Arc<dyn DeadLetters>,
    pub wechat: Arc<dyn Wechat>,
    pub policies: Arc<Policies>,
    pub metrics: WorkerMetrics,
    /// For lease tokens and jitter: from the system in a process, from the seed in a simulation.
    pub seed: [u8; 32],
}

/// Handles deliveries, many at once.
pub struct Worker {
    parts: WorkerParts,
    retry: RetryPolicy,
    random: Mutex<StdRng>,
    /// Names this worker in its lease tokens.
    holder: u64,
    left: Leftovers,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Disposed of, with a word for metrics.
    Done(&'static str),
    /// An engine is away: the check went back to the queue.
    GivenBack,
}

/// What was done in a look because a decision wanted it first.
struct Done {
    closing: Closing,
    first_paid: Option<OutTradeNo>,
}

impl Done {
    const NOTHING: Self = Self { closing: Closing::NotTried, first_paid: None };
}

/// What became of one turn at the lease.
enum Turn {
    Done(&'static str),
    StartAgain,
}

impl Worker {
    /// A worker over these parts.
    pub fn new(parts: WorkerParts) -> Self {
        let mut random = StdRng::from_seed(parts.seed);
        let holder = random.random();
        Self {
            parts,
            retry: RetryPolicy::new(),
            random: Mutex::new(random),
            holder,
            left: Leftovers::default(),
        }
    }

    /// Handles one delivery to its end.
    pub async fn handle(&self, delivery: Delivery) -> Settled {
        let reason = delivery.check.reason;
        let worked = match self.work(&delivery.check).await {
            Err(error) => self.set_aside(&delivery.check, error).await,
            worked => worked,
        };
        let settled = match worked {
            Ok(outcome) => match self.parts.metrics.timed("done", delivery.done()).await {
                Ok(()) => Settled::Done(outcome),
                Err(error) => self.given_back(&error),
            },
            Err(error) => self.given_back(&error),
        };
        let outcome = match settled {
            Settled::Done(outcome) => outcome,
            Settled::GivenBack => "given_back",
        };
        self.parts.metrics.checked(reason, outcome);
        if settled != Settled::GivenBack {
            self.free_what_is_left().await;
        }
        settled
    }

    fn given_back(&self, error: &PortError) -> Settled {
        tracing::warn!(error = %error, "check given back: {error}");
        Settled::GivenBack
    }

    async fn work(&self, check: &Check) -> Result<&'static str, PortError> {
        for _ in 0..RESTARTS_MAX {
            let (taken, token) = self.take(check).await?;
            let record = match taken {
                Taken::Leased(record) => *record,
                Taken::Duplicate => return Ok("duplicate"),
                Taken::Busy => return Ok("busy"),
                Taken::Stale => return Ok("stale"),
                Taken::Fresh => return Ok("fresh"),
            };
            match self.turn(check, record, token).await {
                Ok(Turn::Done(outcome)) => return Ok(outcome),
                Ok(Turn::StartAgain) => {}
                Err(error) => {
                    self.let_go(&check.key, token).await;
                    return Err(error);
                }
            }
        }
        Ok("lease_lost")
    }

    /// Wishes for the lease, or for one that an error left behind.
    async fn take(&self, check: &Check) -> Result<(Taken, LeaseToken), PortError> {
        let left = self.left.take_out(&check.key);
        let request = self.lease_request(check, left);
        let taken = self.parts.metrics.timed("take", self.parts.ledger.take(&request)).await;
        match &taken {
            // It may have been stored all the same.
            Err(_) => self.left.put_back(&check.key, Left { tried: Some(request.token), ..left }),
            // Nobody asked who holds the lease.
            Ok(Taken::Duplicate | Taken::Stale | Taken::Fresh) => self.left.put_back(&check.key, left),
            Ok(Taken::Leased(_) | Taken::Busy) => {}
        }
        Ok((taken?, request.token))
    }

    /// Everything under one lease.
    async fn turn(&self, check: &Check, record: Record, token: LeaseToken) -> Result<Turn, PortError> {
        if record.outgoing.is_empty() {
            return match record.refund_in_hand().cloned() {
                Some(refund) => self.look_at_refund(check, record, refund, token).await,
                None => self.look(check, record, token).await,
            };
        }
        self.publish(&record, &record.outgoing, token).await?;
        Ok(Turn::Done("published"))
    }

    /// An engine failed under a lease. Nobody works under it any more, so nobody should have to wait for its end: it is
    /// given back, or, where the ledger itself is away, taken over by this worker's next delivery.
    async fn let_go(&self, key: &OrderKey, token: LeaseToken) {
        let wait = self.with_random(|random| self.retry.delay(0, random));
        if self.give_back(key, token, wait).await.is_err() {
            self.remember_given_up(key, token);
        }
    }

    async fn give_back(&self, key: &OrderKey, token: LeaseToken, wait: Millis) -> Result<(), PortError> {
        let at = self.parts.ledger.clock().await?.now + wait;
        self.parts.ledger.put_off(key, token, at).await.map(drop)
    }

    fn remember_given_up(&self, key: &OrderKey, token: LeaseToken) {
        self.left.put_back(key, Left { given_up: Some(token), tried: None });
    }

    /// query → decide → commit → publish → clear, under a lease with nothing outgoing.
    async fn look(&self, check: &Check, mut record: Record, token: LeaseToken) -> Result<Turn, PortError> {
        let mut question = Question::about(&record);
        let mut done = Done::NOTHING;
        let mut asked = self.put(&question).await;
        loop {
            let answer = match asked {
                Asked::Answered(answer) => answer,
                Asked::NoSlot => return self.put_off(&record, token).await,
            };
            match self.decide(check, &record, &answer, &done).await? {
                Decision::CloseFirst => {
                    asked = match self.parts.wechat.close(&question.ask).await {
                        CloseAsked::Answered(said) => {
                            done.closing = Closing::Answered(said);
                            self.put(&question).await
                        }
                        CloseAsked::Undecided(answer) => Asked::Answered(answer),
                        CloseAsked::NoSlot => Asked::NoSlot,
                    };
                }
                Decision::ClaimFirst => {
                    done.first_paid = self.claim(&record).await?;
                    asked = Asked::Answered(answer);
                }
                Decision::Commit(change) => {
                    let outcome = change.outcome;
                    let commit =
                        Commit { key: record.key.clone(), token, facts: record.facts, change: *change };
                    let committed =
                        self.parts.metrics.timed("commit", self.parts.ledger.commit(&commit)).await?;
                    match committed {
                        Committed::Ended => return Ok(Turn::Done(outcome)),
                        Committed::Outgoing => {
                            self.publish(&record, &commit.change.events, token).await?;
                            return Ok(Turn::Done(outcome));
                        }
                        Committed::Lost => return Ok(Turn::StartAgain),
                        Committed::Changed(changed) => {
                            // Registered, accepted or rejected meanwhile: decide again, on an answer to what is asked now.
                            record = *changed;
                            asked = Asked::Answered(answer);
                            if !question.is_still(&record) {
                                (question, done) = (question.anew(&record), Done::NOTHING);
                                asked = self.put(&question).await;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn decide(
        &self,
        check: &Check,
        record: &Record,
        answer: &Answer,
        done: &Done,
    ) -> Result<Decision, PortError> {
        let reading = self.parts.ledger.clock().await?;
        let policy = self.parts.policies.now(&record.key.mch_id).await?;
        let look = Look {
            check,
            policy: &policy,
            now: reading.now,
            is_clock_steady: reading.is_steady,
            retry_delay: self.with_random(|random| self.retry.delay(record.progress.attempts, random)),
            closing: done.closing,
            first_paid: done.first_paid.as_ref(),
            memory: self.parts.policies.memory(record, check).await?,
        };
        let decision = decide(record, answer, &look);
        if let Decision::Commit(change) = &decision
            && change.outcome == "before_ledger"
        {
            let number = &record.key.out_trade_no;
            tracing::warn!(mch_id = %record.key.mch_id, out_trade_no = %number,
                "{number} was paid before the ledger began, and may have been told then: nothing is told; what the event log \
                 does not know, the bill of its day brings (paybell reconcile), and a registration has it judged");
        }
        Ok(decision)
    }

    /// Claims the record's business order for its number; says whose it is. A crash after this claims the same again.
    async fn claim(&self, record: &Record) -> Result<Option<OutTradeNo>, PortError> {
        let registration = record.registration.as_ref();
        let business_no = registration.and_then(|registration| registration.business_no.as_ref());
        let Some(business_no) = business_no else { return Ok(Some(record.key.out_trade_no.clone())) };
        let OrderKey { mch_id, out_trade_no } = &record.key;
        let claim = self.parts.businesses.claim(mch_id, business_no, out_trade_no);
        self.parts.metrics.timed("claim", claim).await.map(Some)
    }

    /// Emission, then the clear. A refused clear is fine: the record's due time or its new holder finishes the work.
    async fn publish(&self, record: &Record, events: &[Event], token: LeaseToken) -> Result<(), PortError> {
        self.parts.metrics.timed("publish", self.parts.log.append(events)).await?;
        let reading = self.parts.ledger.clock().await?;
        events.iter().for_each(|event| self.parts.metrics.emitted(event, reading.now));
        self.parts.metrics.timed("clear", self.parts.ledger.clear(&record.key, token)).await?;
        Ok(())
    }

    async fn put_off(&self, record: &Record, token: LeaseToken) -> Result<Turn, PortError> {
        let wait = self.with_random(|random| Millis(random.random_range(1_000..=2_000)));
        self.give_back(&record.key, token, wait).await?;
        Ok(Turn::Done("put_off"))
    }

    fn lease_request(&self, check: &Check, left: Left) -> LeaseRequest {
        self.with_random(|random| LeaseRequest {
            check: check.clone(),
            token: left.tried.unwrap_or_else(|| LeaseToken::of(self.holder, random.random())),
            length: LEASE,
            given_up: left.given_up,
            lost_delays: [0, 1, 2, 3, 4, 5, 6].map(|nth| self.retry.delay(nth, random)),
        })
    }

    fn with_random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        // A generator has no invariant that a panic elsewhere could have broken.
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
