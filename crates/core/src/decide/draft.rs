//! Drafts: a change that keeps everything, and the events that a decision adds to it.

use uuid::Uuid;

use crate::decide::{Change, Look};
use crate::event::{
    ContentType, Disagreement, Duplicate, Event, EventType, Mismatch, OrderData, RefundData, SpecVersion,
    event_id, source_of,
};
use crate::observation::{Openid, Payment};
use crate::policy::OpenidPolicy;
use crate::record::{Entry, Progress, Record};
use crate::refund::{Refund, RefundFacts};
use crate::shadow::withheld_id;

impl Change {
    /// Keeps the state, ends the run of transient answers, and leaves no due time.
    pub(super) fn keep(record: &Record, look: &Look<'_>, what: &str, detail: impl Into<String>) -> Self {
        Self {
            state: record.state,
            version: record.version,
            events: Vec::new(),
            due: None,
            progress: Progress { attempts: 0, looked_at: Some(look.now), ..record.progress.clone() },
            payment: None,
            entry: Entry::new(look.now, what, detail),
            dead: None,
            refund: None,
            forget: false,
            outcome: "nothing_new",
        }
    }

    /// Adds an event, unless the same fact was ever committed, told or withheld.
    pub(super) fn emit(&mut self, record: &Record, draft: Draft<'_>, look: &Look<'_>) -> bool {
        let (told, withheld) = draft.ids(record);
        let is_told = draft.is_told(record, look);
        let id = if is_told { told } else { withheld };
        let is_known = |id| record.has_event(id) || self.events.iter().any(|event| event.id == id);
        // What was withheld of an order is released whole; a refund's telling is owed by itself.
        let is_released = draft.refund.is_some() && is_told;
        if is_known(told) || is_known(withheld) && !is_released {
            return false;
        }
        self.version = self.version.saturating_add(1);
        self.events.push(draft.event(record, id, self.version, look));
        true
    }
}

/// The fact that an event is to tell.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub kind: EventType,
    pub trade_state: Option<&'a str>,
    /// Absent in denials.
    pub payment: Option<&'a Payment>,
    pub mismatch: Option<Mismatch>,
    /// Only in what is told of a refund.
    pub refund: Option<(&'a Refund, &'a RefundFacts, &'a str)>,
}

impl Draft<'_> {
    /// As it is told, and as it is withheld.
    fn ids(&self, record: &Record) -> (Uuid, Uuid) {
        let transaction_id = self.payment.and_then(|payment| payment.transaction_id.as_ref());
        let reference = match self.refund {
            Some((_, facts, _)) => facts.refund_id.as_str(),
            None => transaction_id.map_or("", |id| id.as_str()),
        };
        (event_id(&record.key, self.kind, reference), withheld_id(&record.key, self.kind, reference))
    }

    fn is_told(&self, record: &Record, look: &Look<'_>) -> bool {
        match self.refund {
            Some((refund, ..)) => look.is_live() || refund.owed,
            None => look.is_told(record),
        }
    }

    fn event(&self, record: &Record, id: Uuid, version: u64, look: &Look<'_>) -> Event {
        Event {
            specversion: SpecVersion::V1,
            id,
            source: source_of(&record.key.mch_id),
            kind: self.kind,
            subject: record.key.out_trade_no.to_string(),
            time: look.now,
            datacontenttype: ContentType::Json,
            data: self.data(record, version, look).into(),
        }
    }

    fn data(&self, record: &Record, version: u64, look: &Look<'_>) -> OrderData {
        let registration = record.registration.as_ref();
        let payment = self.payment;
        let facts = self.refund.map(|(_, facts, _)| facts);
        OrderData {
            version,
            mch_id: record.key.mch_id.clone(),
            sub_mch_id: payment
                .and_then(|payment| payment.sub_mch_id.clone())
                .or_else(|| facts.and_then(|facts| facts.sub_mch_id.clone()))
                .or_else(|| registration.and_then(|registration| registration.sub_mch_id.clone())),
            appid: payment
                .and_then(|payment| payment.appid.clone())
                .or_else(|| facts.and_then(|facts| facts.appid.clone()))
                .or_else(|| registration.and_then(|registration| registration.appid.clone())),
            out_trade_no: record.key.out_trade_no.clone(),
            transaction_id: payment
                .and_then(|payment| payment.transaction_id.clone())
                .or_else(|| facts.and_then(|facts| facts.transaction_id.clone())),
            total_fee: payment
                .and_then(|payment| payment.total_fee)
                .or_else(|| facts.and_then(|facts| facts.total_fee)),
            fee_type: payment
                .map(|payment| &payment.fee_type)
                .or_else(|| facts.map(|facts| &facts.fee_type))
                .cloned(),
            cash_fee: payment.and_then(|payment| payment.cash_fee),
            settlement_total_fee: payment.and_then(|payment| payment.settlement_total_fee),
            coupon_fee: payment.and_then(|payment| payment.coupon_fee),
            coupons: payment.map(|payment| payment.coupons.clone()).unwrap_or_default(),
            trade_state: self.trade_state.map(str::to_owned),
            trade_type: payment.and_then(|payment| payment.trade_type.clone()),
            bank_type: payment.and_then(|payment| payment.bank_type.clone()),
            attach: payment.and_then(|payment| payment.attach.clone()),
            paid_at: payment.and_then(|payment| payment.paid_at),
            learned_by: match self.refund {
                Some((refund, ..)) => look.refund_learned_by(refund),
                None => look.learned_by(record),
            },
            late: matches!(self.kind, EventType::Paid | EventType::DuplicatePayment) && was_denied(record),
            registered: registration.is_some(),
            shadow: !self.is_told(record, look),
            openid: self.openid(look),
            disagreement: self.mismatch.map(|mismatch| Disagreement {
                mismatch,
                registered_fee: registration.map(|registration| registration.total_fee),
                registered_fee_type: registration.map(|registration| registration.fee_type.clone()),
            }),
            refund: self.refund.map(|(refund, facts, status)| refund_data(refund, facts, status)),
            duplicate: self.duplicate(record, look),
        }
    }

    fn duplicate(&self, record: &Record, look: &Look<'_>) -> Option<Duplicate> {
        if self.kind != EventType::DuplicatePayment {
            return None;
        }
        let business_no = record.registration.as_ref()?.business_no.clone()?;
        Some(Duplicate { business_no, first_out_trade_no: look.first_paid?.clone() })
    }

    fn openid(&self, look: &Look<'_>) -> Option<Openid> {
        match look.policy.openid {
            OpenidPolicy::Omit | OpenidPolicy::Keep => None,
            OpenidPolicy::Include => self.payment.and_then(|payment| payment.openid.clone()),
        }
    }
}

fn refund_data(refund: &Refund, facts: &RefundFacts, status: &str) -> RefundData {
    RefundData {
        out_refund_no: refund.out_refund_no.clone(),
        refund_id: facts.refund_id.clone(),
        refund_fee: facts.refund_fee,
        settlement_refund_fee: facts.settlement_refund_fee,
        cash_refund_fee: facts.cash_refund_fee,
        refund_status: status.to_owned(),
        refund_account: facts.account.clone(),
        refund_recv_accout: facts.received_by.clone(),
        refund_success_time: facts.succeeded_at,
    }
}

/// I9: whether we had called the order unpaid, closed or failed.
fn was_denied(record: &Record) -> bool {
    record
        .events()
        .any(|event| matches!(event.kind, EventType::Unpaid | EventType::Closed | EventType::Failed))
}
