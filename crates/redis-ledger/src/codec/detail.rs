//! The rare part of a record, as JSON: names may be added without a new format.

use paybell_core::event::Event;
use paybell_core::ids::OrderKey;
use paybell_core::observation::Payment;
use paybell_core::record::{Due, Entry, LookAgain, Progress, Record};
use paybell_core::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// What a record may have beside its short fields.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    progress: Progress,
    look_again: Option<LookAgain>,
    verdict: Option<Verdict>,
    payment: Option<Payment>,
    outgoing: Vec<Event>,
    due_decided: Option<Due>,
    history: Vec<Entry>,
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
    payment: Option<&'a Payment>,
    #[serde(skip_serializing_if = "<[Event]>::is_empty")]
    outgoing: &'a [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    due_decided: Option<Due>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    history: &'a [Entry],
}

impl Detail {
    /// `None` while there is nothing of it.
    pub fn json_of(record: &Record) -> Result<Option<Vec<u8>>, Fault> {
        let has_progress = record.progress != Progress::default();
        let has_any = has_progress
            || record.look_again.is_some()
            || record.verdict.is_some()
            || record.payment.is_some()
            || !record.outgoing.is_empty()
            || record.due_decided.is_some()
            || !record.history.is_empty();
        if !has_any {
            return Ok(None);
        }
        let detail = DetailOf {
            progress: has_progress.then_some(&record.progress),
            look_again: record.look_again.as_ref(),
            verdict: record.verdict.as_ref(),
            payment: record.payment.as_ref(),
            outgoing: &record.outgoing,
            due_decided: record.due_decided,
            history: &record.history,
        };
        let unwritable = |error| Fault::Corrupt(format!("order {} cannot be written: {error}", record.key));
        serde_json::to_vec(&detail).map(Some).map_err(unwritable)
    }

    pub fn of_json(key: &OrderKey, json: &[u8]) -> Result<Self, Fault> {
        let corrupt = |error| Fault::Corrupt(format!("the record of order {key}, detail: {error}"));
        serde_json::from_slice(json).map_err(corrupt)
    }

    pub fn put_into(self, record: &mut Record) {
        record.progress = self.progress;
        record.look_again = self.look_again;
        record.verdict = self.verdict;
        record.payment = self.payment;
        record.outgoing = self.outgoing;
        record.due_decided = self.due_decided;
        record.history = self.history;
    }
}
