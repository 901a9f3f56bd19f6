//! The rare part of a record, as JSON, for engines to keep beside the short fields: names may be added without a new
//! format.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::BusinessNo;
use crate::observation::Payment;
use crate::place::Placing;
use crate::record::{Due, Entry, LookAgain, Progress, Record};
use crate::refund::Refund;
use crate::verdict::Verdict;

/// What a record may have beside its short fields.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Detail {
    pub progress: Progress,
    pub look_again: Option<LookAgain>,
    pub verdict: Option<Verdict>,
    pub placing: Option<Box<Placing>>,
    /// The registration's.
    pub business_no: Option<BusinessNo>,
    pub payment: Option<Payment>,
    pub outgoing: Vec<Event>,
    pub due_decided: Option<Due>,
    pub history: Vec<Entry>,
    pub refunds: Vec<Refund>,
    pub order_due: Option<Due>,
}

#[derive(Serialize)]
struct DetailOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look_again: Option<&'a LookAgain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placing: Option<&'a Placing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_no: Option<&'a BusinessNo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<&'a Payment>,
    #[serde(skip_serializing_if = "<[Event]>::is_empty")]
    outgoing: &'a [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    due_decided: Option<Due>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    history: &'a [Entry],
    #[serde(skip_serializing_if = "<[Refund]>::is_empty")]
    refunds: &'a [Refund],
    #[serde(skip_serializing_if = "Option::is_none")]
    order_due: Option<Due>,
}

impl Detail {
    /// `None` while there is nothing of it.
    pub fn json_of(record: &Record) -> Result<Option<String>, serde_json::Error> {
        let has_progress = record.progress != Progress::default();
        let registration = record.registration.as_ref();
        let business_no = registration.and_then(|registration| registration.business_no.as_ref());
        let has_any = has_progress
            || record.placing.is_some()
            || business_no.is_some()
            || record.look_again.is_some()
            || record.verdict.is_some()
            || record.payment.is_some()
            || !record.outgoing.is_empty()
            || record.due_decided.is_some()
            || !record.history.is_empty()
            || !record.refunds.is_empty()
            || record.order_due.is_some();
        if !has_any {
            return Ok(None);
        }
        let detail = DetailOf {
            progress: has_progress.then_some(&record.progress),
            look_again: record.look_again.as_ref(),
            verdict: record.verdict.as_ref(),
            placing: record.placing.as_deref(),
            business_no,
            payment: record.payment.as_ref(),
            outgoing: &record.outgoing,
            due_decided: record.due_decided,
            history: &record.history,
            refunds: &record.refunds,
            order_due: record.order_due,
        };
        serde_json::to_string(&detail).map(Some)
    }

    /// Reads what [`Detail::json_of`] wrote.
    pub fn of_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Completes a record that has its short fields.
    pub fn put_into(self, record: &mut Record) {
        record.progress = self.progress;
        record.look_again = self.look_again;
        record.verdict = self.verdict;
        record.placing = self.placing;
        if let Some(registration) = &mut record.registration {
            registration.business_no = self.business_no;
        }
        record.payment = self.payment;
        record.outgoing = self.outgoing;
        record.due_decided = self.due_decided;
        record.history = self.history;
        record.refunds = self.refunds;
        record.order_due = self.order_due;
    }
}
