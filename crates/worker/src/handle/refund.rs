//! One look at one refund, under the lease of its order.
//!
//! A request goes out only under a lease that the record counted for it (`take` did), so whoever comes after a crash knows
//! that it may have been sent, and asks WeChat before it sends the same again. The rest of the way is the order's:
//! decide → commit → publish → clear.

use paybell_core::decide::{RefundLook, decide_refund};
use paybell_core::lease::{Commit, Committed};
use paybell_core::ports::PortError;
use paybell_core::refund::{Refund, RefundAnswer, RefundState};
use paybell_core::time::Millis;
use paybell_core::{Check, LeaseToken, Look, Record};

use super::{Closing, Turn, Worker};
use crate::wechat::{RefundAsk, RefundAsked};

impl Worker {
    pub(super) async fn look_at_refund(
        &self,
        check: &Check,
        mut record: Record,
        refund: Refund,
        token: LeaseToken,
    ) -> Result<Turn, PortError> {
        let Some(answer) = self.ask_about(&RefundAsk::about(&record, &refund), &refund).await else {
            return self.put_off(&record, token).await;
        };
        let found = RefundLook { number: &refund.out_refund_no, hints: refund.hints, answer: &answer };
        loop {
            let reading = self.parts.ledger.clock().await?;
            let policy = self.parts.policies.of(&record.key.mch_id);
            let look = Look {
                check,
                policy: &policy,
                now: reading.now,
                is_clock_steady: reading.is_steady,
                retry_delay: self.with_random(|random| self.retry.delay(refund.attempts, random)),
                closing: Closing::NotTried,
                first_paid: None,
            };
            let change = decide_refund(&record, &found, &look);
            let outcome = change.outcome;
            let commit = Commit { key: record.key.clone(), token, facts: record.facts, change };
            match self.parts.metrics.timed("commit", self.parts.ledger.commit(&commit)).await? {
                Committed::Ended => return Ok(Turn::Done(outcome)),
                Committed::Outgoing => {
                    self.publish(&record, &commit.change.events, token).await?;
                    return Ok(Turn::Done(outcome));
                }
                Committed::Lost => return Ok(Turn::StartAgain),
                // Another refund was asked for, or the order was met, meanwhile: the answer stands.
                Committed::Changed(changed) => record = *changed,
            }
        }
    }

    /// What WeChat says of the refund now; a request that WeChat does not know is sent. `None` where nothing was asked.
    async fn ask_about(&self, ask: &RefundAsk, refund: &Refund) -> Option<RefundAnswer> {
        let wechat = &self.parts.wechat;
        if !refund.is_unsent() {
            let answer = self.refund_query(ask).await?;
            let is_to_be_sent = refund.state == RefundState::Asked && answer == RefundAnswer::NotExist;
            if !is_to_be_sent {
                return Some(answer);
            }
        }
        match wechat.refund(ask).await {
            // An earlier try may have been taken: a refusal of this one says nothing of it.
            RefundAsked::Answered(RefundAnswer::Refused(refusal)) if !refund.is_unsent() => {
                match self.refund_query(ask).await {
                    Some(RefundAnswer::NotExist | RefundAnswer::Stuck { .. }) => {
                        Some(RefundAnswer::Refused(refusal))
                    }
                    Some(answer) => Some(answer),
                    None => Some(RefundAnswer::Transient { cause: "unclear_refusal", at_least: Millis(0) }),
                }
            }
            RefundAsked::Answered(answer) => Some(answer),
            RefundAsked::NoSlot => None,
            RefundAsked::Unclear(refusal) => match self.refund_query(ask).await {
                Some(RefundAnswer::NotExist) => Some(RefundAnswer::Refused(Box::new(refusal))),
                Some(answer) => Some(answer),
                None => Some(RefundAnswer::Transient { cause: "unclear_refusal", at_least: Millis(0) }),
            },
        }
    }

    async fn refund_query(&self, ask: &RefundAsk) -> Option<RefundAnswer> {
        match self.parts.wechat.refund_query(ask).await {
            RefundAsked::Answered(answer) => Some(answer),
            // A query is never refused so.
            RefundAsked::Unclear(_) => {
                Some(RefundAnswer::Transient { cause: "contradiction", at_least: Millis(0) })
            }
            RefundAsked::NoSlot => None,
        }
    }
}
