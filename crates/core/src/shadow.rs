//! Shadow mode: everything is observed and decided, and what would have been told is kept, marked, under ids of its own.
//!
//! One rule decides who hears of an order. While the mode is shadow, the shop's old handler answers WeChat, so nobody
//! waits for our word and events are *withheld*. Once WeChat was answered SUCCESS by us, it does not come again: then
//! the telling is *owed*, in whatever mode the process runs by then, and what was withheld is told after all. So it is
//! for an order that was placed through us, whose notifications come to us alone.
//!
//! Decides about events only. Who leaves the marked ones out: the fan-out, the deliveries, the private API.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::check::{Check, Reason};
use crate::decide::{Change, Look, STUCK_GAP, earlier};
use crate::event::{Event, EventType, NAMESPACE, event_id};
use crate::ids::OrderKey;
use crate::money::{Currency, Fen};
use crate::record::{Cause, Due, Record};
use crate::register::Registration;

/// Whether what is decided is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Live,
    Shadow,
}

impl Mode {
    /// The word of configuration and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Shadow => "shadow",
        }
    }
}

/// What a check means for the telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Telling {
    /// A notification was answered SUCCESS by us; anything else asks for nothing special.
    #[default]
    Usual,
    /// A copy of a notification: somebody else answers WeChat.
    Copied,
    /// A person wants to be told outside what was withheld.
    Release,
}

impl Check {
    /// Whether somebody relies on our telling of the order.
    pub fn is_owed(&self) -> bool {
        match self.telling {
            Telling::Usual => self.reason == Reason::Notified,
            Telling::Copied => false,
            Telling::Release => true,
        }
    }
}

impl Look<'_> {
    /// Whether events of this look are told outside.
    pub(crate) fn is_told(&self, record: &Record) -> bool {
        self.is_live() || record.progress.owed
    }

    pub(crate) fn is_live(&self) -> bool {
        self.policy.mode == Mode::Live
    }
}

impl Record {
    /// What was decided in shadow, was not told since, and could be. Denials stay what they are: the old handler knows
    /// none.
    pub fn withheld(&self) -> impl Iterator<Item = &Event> {
        let is_told = |event: &Event| told_id(event).is_none_or(|id| self.has_event(id));
        let events = self.events().filter(move |event| event.is_shadow() && !is_told(event));
        events.filter(|event| match event.kind {
            EventType::Paid | EventType::DuplicatePayment => self.still_agrees(event),
            EventType::Mismatch => !self.was_settled_after(event),
            EventType::Refunded => true,
            EventType::Closed | EventType::Failed | EventType::Unpaid => false,
            EventType::RefundSucceeded
            | EventType::RefundAbnormal
            | EventType::RefundClosed
            | EventType::BillReconciled => false,
        })
    }

    /// I3 holds when it is told, too: the order may have been registered differently since.
    fn still_agrees(&self, event: &Event) -> bool {
        let Some(data) = event.order() else { return false };
        let equals = |fee: Fen, fee_type: &Currency| {
            data.total_fee == Some(fee) && data.fee_type.as_ref() == Some(fee_type)
        };
        let is_accepted = self.verdict.as_ref().is_some_and(|verdict| {
            verdict.transaction_id == data.transaction_id && equals(verdict.total_fee, &verdict.fee_type)
        });
        let is_registered = |known: &Registration| equals(known.total_fee, &known.fee_type);
        is_accepted || self.registration.as_ref().is_none_or(is_registered)
    }

    /// A person took the payment after all: that it once disagreed is no news.
    fn was_settled_after(&self, mismatch: &Event) -> bool {
        let version = |event: &Event| event.order().map(|data| data.version);
        let is_later = |event: &Event| version(event) > version(mismatch);
        let is_same = |event: &Event| event.transaction_id() == mismatch.transaction_id();
        let is_payment = |kind| matches!(kind, EventType::Paid | EventType::DuplicatePayment);
        self.events().any(|event| is_payment(event.kind) && is_same(event) && is_later(event))
    }
}

/// The id of an event that is withheld: that of the event which is told, should it ever be, must not be spent on it.
pub fn withheld_id(key: &OrderKey, kind: EventType, reference: &str) -> Uuid {
    let name = format!("{}\n{}\n{}\n{reference}\nshadow", key.mch_id, key.out_trade_no, kind.as_str());
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Under which id a withheld event is told.
fn told_id(event: &Event) -> Option<Uuid> {
    let reference = event.transaction_id().map_or("", |id| id.as_str());
    Some(event_id(&event.key()?, event.kind, reference))
}

/// Nobody else would look at a paid order again: while its telling is owed and an answer did not allow it, we do.
pub(crate) fn come_back(record: &Record, change: &mut Change, look: &Look<'_>) {
    let is_open = record.progress.owed && change.events.is_empty() && record.withheld().next().is_some();
    if is_open && !change.forget {
        let at = look.now + STUCK_GAP;
        change.due = earlier(change.due, Some(Due { at, cause: Cause::Notified }));
    }
}

/// Adds what was withheld of an order whose telling is owed.
pub(crate) fn release(record: &Record, change: &mut Change) {
    if !record.progress.owed {
        return;
    }
    for event in record.withheld() {
        let (Some(id), mut event) = (told_id(event), event.clone()) else { continue };
        let Some(data) = event.order_mut() else { continue };
        change.version = change.version.saturating_add(1);
        (data.shadow, data.version) = (false, change.version);
        change.outcome = "released";
        change.events.push(Event { id, ..event });
    }
}
