//! What WeChat is asked in one look at an order, and as whom.
//!
//! An answer proves something only under the question that it was verified against. A registration that comes between
//! the query and the commit puts another one: the order has to be of that appid, of that sub merchant. The old answer says
//! nothing to it, so WeChat is asked again, as if the registration had come first.

use paybell_core::{Answer, Record};

use super::Worker;
use crate::wechat::{Ask, Asked};

/// How often WeChat is asked in one look because the question changed; a registration changes it once.
const QUESTIONS_MAX: u32 = 3;

pub(super) struct Question {
    pub ask: Ask,
    /// The order is known by its refunds only, so its payment is nobody's business; the decision says so again.
    is_nobodys: bool,
    put: u32,
}

impl Question {
    pub fn about(record: &Record) -> Self {
        Self { ask: Ask::about(record), is_nobodys: record.progress.refund_only, put: 1 }
    }

    /// Whether its answer is one to what has to be asked about the record by now.
    pub fn is_still(&self, record: &Record) -> bool {
        self.is_nobodys == record.progress.refund_only && self.ask.is_as_whom(&Ask::about(record))
    }

    pub fn anew(self, record: &Record) -> Self {
        Self { put: self.put.saturating_add(1), ..Self::about(record) }
    }
}

impl Worker {
    pub(super) async fn put(&self, question: &Question) -> Asked {
        if question.is_nobodys {
            return Asked::Answered(Answer::Transient("known_by_refund"));
        }
        if question.put > QUESTIONS_MAX {
            return Asked::Answered(Answer::Transient("question_changed"));
        }
        self.parts.wechat.query(&question.ask).await
    }
}
