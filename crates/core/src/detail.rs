//! The rare part of a record, as JSON, for engines to keep beside the short fields: names may be added without a new
//! format.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::observation::Payment;
use crate::record::{Due, Entry, LookAgain, Progress, Record};
use crate::verdict::Verdict;

/// What a record may have beside its short fields.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Detail {
    pub progress: Progress,
    pub look_again: Option<LookAgain>,
    pub verdict: Option<Verdict>,
    pub payment: Option<Payment>,
    pub outgoing: Vec<Event>,
    pub due_decided: Option<Due>,
    pub history: Vec<Entry>,
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
    pub fn json_of(record: &Record) -> Result<Option<String>, serde_json::Error> {
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
        record.payment = self.payment;
        record.outgoing = self.outgoing;
        record.due_decided = self.due_decided;
        record.history = self.history;
    }
}
