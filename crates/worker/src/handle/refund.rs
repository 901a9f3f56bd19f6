//! One look at one refund, under the lease of its order.
//!
//! A request goes out only under a lease that the record counted for it (`take` did), so whoever comes after a crash knows
//! that it may have been sent, and asks WeChat before it sends the same again. The rest of the way is the order's:
//! decide → commit → publish → clear.

use paybell_core::decide::{RefundFound, RefundLook, decide_refund};
use paybell_core::lease::{Commit, Committed};
use paybell_core::ports::PortError;
use paybell_core::refund::{Refund, RefundAnswer, RefundFacts};
use paybell_core::time::Millis;
use paybell_core::{Check, LeaseToken, Look, Record};

use super::{Closing, Turn, Worker};
use crate::wechat::{Ask, RefundAsk, RefundAsked};

impl Worker {
    pub(super) async fn look_at_refund(
        &self,
        check: &Check,
        mut record: Record,
        refund: Refund,
        token: LeaseToken,
    ) -> Result<Turn, PortError> {
        let ask = RefundAsk::about(&record, &refund);
        let Some(mut answer) = self.ask_about(&ask, &refund).await else {
            return self.put_off(&record, token).await;
        };
        loop {
            let found = RefundLook { number: &refund.out_refund_no, hints: refund.hints, answer: &answer };
            let reading = self.parts.ledger.clock().await?;
            let policy = self.parts.policies.now(&record.key.mch_id).await?;
            let look = Look {
                check,
                policy: &policy,
                now: reading.now,
                is_clock_steady: reading.is_steady,
                retry_delay: self.with_random(|random| self.retry.delay(refund.attempts, random)),
                closing: Closing::NotTried,
                first_paid: None,
                memory: self.parts.policies.memory(&record, check).await?,
            };
            let change = decide_refund(&record, &found, &look);
            let outcome = change.outcome;
            let commit = Commit { key: record.key.clone(), token, facts: record.facts, change };
            let committed = self.parts.metrics.timed("commit", self.parts.ledger.commit(&commit)).await?;
            if let (Committed::Ended | Committed::Outgoing, Some((_, RefundFound::Kept(refund)))) =
                (&committed, &commit.change.refund)
            {
                self.parts.metrics.refund_looked(refund, reading.now);
            }
            match committed {
                Committed::Ended => return Ok(Turn::Done(outcome)),
                Committed::Outgoing => {
                    self.publish(&record, &commit.change.events, token).await?;
                    return Ok(Turn::Done(outcome));
                }
                Committed::Lost => return Ok(Turn::StartAgain),
                // Another refund was asked for, or the order was met, or whose it is was corrected, meanwhile.
                Committed::Changed(changed) => {
                    record = *changed;
                    answer = under(&ask, &RefundAsk::about(&record, &refund), answer);
                }
            }
        }
    }

    /// What WeChat says of the refund now; a request that WeChat does not know is sent. `None` where nothing was asked.
    async fn ask_about(&self, ask: &RefundAsk, refund: &Refund) -> Option<RefundAnswer> {
        if !refund.is_unsent() {
            let answer = self.refund_query(ask).await?;
            if !refund.may_be_sent() || answer != RefundAnswer::NotExist {
                return Some(answer);
            }
        }
        match self.parts.wechat.refund(ask).await {
            RefundAsked::Answered(refused @ (RefundAnswer::Refused(_) | RefundAnswer::Doubtful(_))) => {
                Some(self.confirmed(ask, refused).await)
            }
            RefundAsked::Answered(answer) => Some(answer),
            RefundAsked::NoSlot => None,
        }
    }

    /// A refusal may answer a repeat of a request that was taken: an earlier look's, or one that the client sent again by
    /// itself, over another host or with another key. So it counts only where WeChat knows no refund of this number.
    async fn confirmed(&self, ask: &RefundAsk, refused: RefundAnswer) -> RefundAnswer {
        match self.refund_query(ask).await {
            Some(RefundAnswer::NotExist) => refused,
            Some(answer) => answer,
            None => RefundAnswer::Transient { cause: "unclear_refusal", at_least: Millis(0) },
        }
    }

    async fn refund_query(&self, ask: &RefundAsk) -> Option<RefundAnswer> {
        match self.parts.wechat.refund_query(ask).await {
            RefundAsked::Answered(answer) => Some(answer),
            RefundAsked::NoSlot => None,
        }
    }
}

/// What an answer to one question is worth where another one has to be asked by now. That WeChat has what we sent stands,
/// or it might be sent again in another name; everything else the next look asks anew, before it sends anything.
fn under(asked: &RefundAsk, now: &RefundAsk, answer: RefundAnswer) -> RefundAnswer {
    if asked.order.is_as_whom(&now.order) {
        return answer;
    }
    match answer {
        RefundAnswer::Accepted(_) | RefundAnswer::Transient { .. } => answer,
        RefundAnswer::Observed(status, facts) if is_of(&now.order, &facts) => {
            RefundAnswer::Observed(status, facts)
        }
        // I2: told only once refundquery says so in the right name.
        RefundAnswer::Observed(_, facts) if asked.request.is_some() => RefundAnswer::Accepted(facts),
        RefundAnswer::Observed(..)
        | RefundAnswer::NotExist
        | RefundAnswer::Refused(_)
        | RefundAnswer::Doubtful(_)
        | RefundAnswer::OtherOrder(_)
        | RefundAnswer::Stuck { .. } => {
            RefundAnswer::Transient { cause: "question_changed", at_least: Millis(0) }
        }
    }
}

fn is_of(ask: &Ask, facts: &RefundFacts) -> bool {
    (!ask.must_be_appid || facts.appid == ask.appid)
        && (!ask.must_be_sub_mch_id || facts.sub_mch_id == ask.sub_mch_id)
}
