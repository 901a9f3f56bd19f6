//! Compares what is true at WeChat with the event log: every payment exactly one event id with the right amount, and
//! no event of anything else. Reads both, changes neither; the numbers go to [`super::table`].

use std::collections::{HashMap, HashSet};

use paybell_core::event::{Event, EventType, LearnedBy};
use serde_json::Value;
use simulator::{Control, Stats, Truth};

use crate::{api::Api, command::rows::entries, error::Error};

const PAGE: &str = "1000";

/// What the verdict stands on.
pub struct Evidence {
    /// What WeChat holds as true.
    pub truths: Vec<Truth>,
    pub stats: Stats,
    /// The whole event log.
    pub log: Vec<Event>,
    /// How many paid orders the subscriber saw; unknown while it may be behind.
    pub streamed: Option<u64>,
}

/// The numbers of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    pub paid: usize,
    pub events: usize,
    pub by_notification: usize,
    pub by_poll: usize,
    /// By a person or a bill: only if somebody helped.
    pub otherwise: usize,
    /// Notifications of a payment that had been acknowledged before.
    pub repeats: u64,
    pub repeats_dropped: u64,
    pub forgeries: u64,
    pub forgeries_refused: u64,
    pub not_paid: usize,
    pub told_unpaid: usize,
    pub lost: usize,
}

/// The numbers, and everything that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub tally: Tally,
    /// Orders that are paid and have no event: lost, if nothing more will come.
    pub lost: Vec<String>,
    /// What must never be, however early one looks.
    pub problems: Vec<String>,
}

impl Evidence {
    /// Reads the truth and the log.
    pub async fn collect(control: &Control, api: &Api, streamed: Option<u64>) -> Result<Self, Error> {
        let mut log = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = api.get("/v1/events", &[("after", after.as_deref()), ("limit", Some(PAGE))]).await?;
            for entry in entries(&page, "events") {
                let event = entry.get("event").cloned().unwrap_or_default();
                let event = serde_json::from_value(event);
                log.push(event.map_err(|error| Error::Failed(format!("the event log: {error}")))?);
            }
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if page.get("has_more").and_then(Value::as_bool) != Some(true) {
                // After the log: a payment that is made in between is missing in the log, not in the truth.
                return Ok(Self { truths: control.truths(), stats: control.stats(), log, streamed });
            }
        }
    }

    /// The verdict; `lost` and `problems` are empty if everything is as promised.
    pub fn judge(&self) -> Verdict {
        let truths: HashMap<(&str, &str), &Truth> = self
            .truths
            .iter()
            .map(|truth| ((truth.mch_id.as_str(), truth.out_trade_no.as_str()), truth))
            .collect();
        let mut problems = Vec::new();
        let (mut ids, mut told) = (HashSet::new(), HashMap::new());
        for event in &self.log {
            let key = (event.mch_id().as_str(), event.subject.as_str());
            let truth = truths.get(&key).copied();
            if !ids.insert(event.id) {
                problems.push(format!("{}: the event {} came twice", key.1, event.id));
            } else if event.kind == EventType::Paid && told.insert(key, event).is_some() {
                problems.push(format!("{}: two order.paid events with different ids", key.1));
            }
            problems.extend(disagreement(event, truth).map(|what| format!("{}: {what}", key.1)));
        }
        let is_lost = |truth: &&Truth| {
            truth.paid && !told.contains_key(&(truth.mch_id.as_str(), truth.out_trade_no.as_str()))
        };
        let lost =
            self.truths.iter().filter(is_lost).map(|truth| truth.out_trade_no.clone()).collect::<Vec<_>>();
        let taken = self.stats.forgeries_acknowledged;
        if taken > 0 {
            problems.push(format!("{taken} forged notifications were taken for good"));
        }
        let events = told.len();
        if let Some(seen) = self.streamed
            && u64::try_from(events) != Ok(seen)
        {
            problems.push(format!("the log has {events} paid orders, the subscriber saw {seen}"));
        }
        let tally = self.tally(told.values().copied(), lost.len());
        Verdict { tally, lost, problems }
    }

    fn tally<'e>(&self, told: impl Iterator<Item = &'e Event> + Clone, lost: usize) -> Tally {
        let paid = self.truths.iter().filter(|truth| truth.paid).count();
        let events = told.clone().count();
        let learned = |by| told.clone().filter(|event| event.learned_by() == by).count();
        let (by_notification, by_poll) = (learned(LearnedBy::Notification), learned(LearnedBy::Poll));
        let of_kind = |kind| self.log.iter().filter(|event| event.kind == kind).count();
        let acknowledged = self.truths.iter().filter(|truth| truth.notification_acknowledged).count();
        let at_first = u64::try_from(acknowledged).unwrap_or(u64::MAX);
        let repeats = self.stats.notifications_acknowledged.saturating_sub(at_first);
        let again = u64::try_from(of_kind(EventType::Paid).saturating_sub(events)).unwrap_or(u64::MAX);
        Tally {
            paid,
            events,
            by_notification,
            by_poll,
            otherwise: events - by_notification - by_poll,
            repeats,
            repeats_dropped: repeats.saturating_sub(again),
            forgeries: self.stats.forgeries_sent,
            forgeries_refused: self.stats.forgeries_sent.saturating_sub(self.stats.forgeries_acknowledged),
            not_paid: self.truths.len() - paid,
            told_unpaid: of_kind(EventType::Unpaid),
            lost,
        }
    }
}

/// In what an event contradicts the truth.
fn disagreement(event: &Event, truth: Option<&Truth>) -> Option<String> {
    let kind = event.kind.as_str();
    let Some(truth) = truth else { return Some(format!("{kind}, but WeChat knows no such order")) };
    let is_denial = matches!(event.kind, EventType::Unpaid | EventType::Closed | EventType::Failed);
    if is_denial {
        return truth.paid.then(|| format!("{kind}, but it is paid"));
    }
    if !truth.paid {
        return Some(format!("{kind}, but nobody paid"));
    }
    if event.kind == EventType::Mismatch {
        return Some(format!("{kind}: the amounts at the shop and at WeChat differ"));
    }
    let fee = event.order().and_then(|data| data.total_fee).and_then(|fee| u64::try_from(fee.get()).ok());
    let transaction_id = event.transaction_id().map(|id| id.as_str());
    if fee != Some(truth.total_fee) {
        Some(format!("{kind} says {} fen, paid were {}", fee.unwrap_or(0), truth.total_fee))
    } else if transaction_id != truth.transaction_id.as_deref() {
        Some(format!("{kind} names another transaction"))
    } else {
        None
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
