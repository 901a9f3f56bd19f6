//! Asking for a refund: one compare-and-set that needs no lease. It moves no money: the look that it makes due does.

use crate::ids::{OrderKey, OutRefundNo};
use crate::money::{Currency, Fen};
use crate::record::{Cause, Entry, Record, SeenAs, State};
use crate::refund::{
    REFUNDS_PER_ORDER_MAX, Refund, RefundAccount, RefundRequest, RefundState, again, make_place,
};
use crate::register::wake;
use crate::time::Timestamp;

/// What a shop asks for; absent means default, or equal to what was asked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundApplication {
    pub out_refund_no: OutRefundNo,
    pub refund_fee: Fen,
    /// The order's whole amount: needed only for an order that is not known here.
    pub total_fee: Option<Fen>,
    pub fee_type: Option<Currency>,
    pub refund_account: Option<RefundAccount>,
    pub refund_desc: Option<String>,
    /// Whose order it is, where it is not known here.
    pub seen_as: Option<SeenAs>,
    /// The name of the token that asks.
    pub who: String,
}

/// What asking did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundAsked {
    /// 201: it will be sent to WeChat; again, where WeChat had refused it, or in the name that was corrected.
    Added,
    /// 200: the same was asked for before.
    Same,
    /// 409: something else was asked for under this number; the fields that differ.
    Different(Vec<&'static str>),
    /// 409: WeChat would refuse it, or the order does not allow it.
    Denied(RefundDenial),
}

/// Why a refund is not even asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundDenial {
    /// Nothing is known of the order, so the request must say its whole amount.
    TotalFeeNeeded,
    /// The order is not known as paid.
    NotPaid(State),
    /// WeChat takes 50 refunds of an order.
    TooMany,
    /// An amount of nothing.
    Nothing,
    /// Together with the other live refunds it is more than was paid.
    MoreThanPaid { paid: Fen, other_refunds: i64 },
    /// The order was paid in this currency.
    OtherCurrency(Currency),
    /// The order was paid with this amount.
    OtherTotal(Fen),
}

/// What was paid, as far as it is known.
struct Paid {
    total_fee: Fen,
    fee_type: Currency,
}

/// The record after the application, and what it did. `None` leaves the stored record as it is.
pub fn request(
    stored: Option<&Record>,
    key: &OrderKey,
    application: &RefundApplication,
    now: Timestamp,
) -> (Option<Record>, RefundAsked) {
    let number = &application.out_refund_no;
    if let Some((record, refund)) = stored.and_then(|record| Some((record, record.refund(number)?)))
        && let Some(told) = already(refund, application)
    {
        return match told {
            RefundAsked::Same => again(record, refund, application, now),
            told => (None, told),
        };
    }
    let paid = match paid(stored, application) {
        Ok(paid) => paid,
        Err(denial) => return (None, RefundAsked::Denied(denial)),
    };
    if let Some(denial) = denial(stored, application, &paid) {
        return (None, RefundAsked::Denied(denial));
    }
    let mut record = stored.cloned().unwrap_or_else(|| known_by_refund(key, application, now));
    if record.progress.refund_only
        && application.seen_as.is_some()
        && record.refunds.iter().all(|refund| refund.facts.is_none())
    {
        // Nothing has borne out whose order it is, so the earlier word may have been the mistake.
        record.progress.seen_as.clone_from(&application.seen_as);
    }
    add(&mut record, application, paid, now);
    record.facts = record.facts.wrapping_add(1);
    record.updated_at = now;
    let detail = format!("{number} {} by {}", application.refund_fee, application.who);
    record.note(Entry::new(now, "refund_asked", detail));
    wake(&mut record, Cause::Refund, now);
    (Some(record), RefundAsked::Added)
}

/// What stands under this number, unless it may be asked for (again).
fn already(refund: &Refund, application: &RefundApplication) -> Option<RefundAsked> {
    let different = differences(refund, application);
    match refund.state {
        _ if !different.is_empty() => Some(RefundAsked::Different(different)),
        RefundState::Refused => None,
        // A notification only: whatever it is about, WeChat is asked before anything is sent.
        RefundState::Notified if refund.request.is_none() => None,
        _ => Some(RefundAsked::Same),
    }
}

fn differences(refund: &Refund, application: &RefundApplication) -> Vec<&'static str> {
    let mut different = Vec::new();
    let mut compare = |name, differs: bool| {
        if differs {
            different.push(name);
        }
    };
    compare("refund_fee", refund.fee().is_some_and(|fee| fee != application.refund_fee));
    if let Some(request) = &refund.request {
        let differs = |asked: Option<&Fen>| asked.is_some_and(|asked| *asked != request.total_fee);
        compare("total_fee", differs(application.total_fee.as_ref()));
        compare("fee_type", application.fee_type.as_ref().is_some_and(|asked| *asked != request.fee_type));
        // The way out of an empty account: a refused request may be sent again with another one.
        let is_bound = refund.state != RefundState::Refused && application.refund_account.is_some();
        compare("refund_account", is_bound && application.refund_account != request.refund_account);
        let is_described = application.refund_desc.is_some();
        compare("refund_desc", is_described && application.refund_desc != request.refund_desc);
    }
    different
}

fn paid(stored: Option<&Record>, application: &RefundApplication) -> Result<Paid, RefundDenial> {
    let said = || {
        let total_fee = application.total_fee.ok_or(RefundDenial::TotalFeeNeeded)?;
        Ok(Paid { total_fee, fee_type: application.fee_type.clone().unwrap_or_default() })
    };
    let Some(record) = stored else { return said() };
    if record.progress.refund_only {
        return paid_by_refunds(record).map_or_else(said, Ok);
    }
    match record.state {
        State::Mismatch | State::Rejected | State::Paid | State::Refunded => {
            let payment = record.payment.as_ref();
            let total_fee = payment.and_then(|payment| payment.total_fee);
            let fee_type = payment.map(|payment| payment.fee_type.clone()).unwrap_or_default();
            total_fee.map_or_else(said, |total_fee| Ok(Paid { total_fee, fee_type }))
        }
        State::Pending | State::Unpaid | State::Closed | State::Failed => {
            Err(RefundDenial::NotPaid(record.state))
        }
    }
}

/// What other refunds of the order say was paid.
fn paid_by_refunds(record: &Record) -> Option<Paid> {
    let told = |refund: &Refund| {
        let facts = refund.facts.as_ref()?;
        Some(Paid { total_fee: facts.total_fee?, fee_type: facts.fee_type.clone() })
    };
    let asked = |refund: &Refund| {
        let request = refund.request.as_ref().filter(|_| refund.state != RefundState::Refused)?;
        Some(Paid { total_fee: request.total_fee, fee_type: request.fee_type.clone() })
    };
    record.refunds.iter().find_map(told).or_else(|| record.refunds.iter().find_map(asked))
}

fn denial(stored: Option<&Record>, application: &RefundApplication, paid: &Paid) -> Option<RefundDenial> {
    let others = stored.map_or(&[][..], |record| &record.refunds);
    let is_other = |refund: &&Refund| refund.out_refund_no != application.out_refund_no;
    if application.refund_fee.is_zero() {
        return Some(RefundDenial::Nothing);
    }
    let counts = |refund: &&Refund| is_other(refund) && refund.state != RefundState::Refused;
    if others.iter().filter(counts).count() >= REFUNDS_PER_ORDER_MAX {
        return Some(RefundDenial::TooMany);
    }
    if application.fee_type.as_ref().is_some_and(|asked| *asked != paid.fee_type) {
        return Some(RefundDenial::OtherCurrency(paid.fee_type.clone()));
    }
    if application.total_fee.is_some_and(|asked| asked != paid.total_fee) {
        return Some(RefundDenial::OtherTotal(paid.total_fee));
    }
    let other_refunds: i64 = others
        .iter()
        .filter(is_other)
        .filter(|refund| refund.state.holds_money())
        .filter_map(|refund| refund.fee())
        .map(Fen::get)
        .fold(0, i64::saturating_add);
    let together = other_refunds.saturating_add(application.refund_fee.get());
    (together > paid.total_fee.get())
        .then_some(RefundDenial::MoreThanPaid { paid: paid.total_fee, other_refunds })
}

/// An order that nobody here has heard of: its payment is not asked about, and never told, for a refund's sake.
fn known_by_refund(key: &OrderKey, application: &RefundApplication, now: Timestamp) -> Record {
    let mut record = Record::new(key.clone(), now, now);
    record.progress.refund_only = true;
    record.progress.seen_as.clone_from(&application.seen_as);
    record
}

fn add(record: &mut Record, application: &RefundApplication, paid: Paid, now: Timestamp) {
    let number = &application.out_refund_no;
    if record.refund(number).is_none() {
        make_place(record);
        let refund = Refund::heard_of(number.clone(), now);
        record.add_refund(Refund { state: RefundState::Asked, ..refund });
    }
    if record.progress.refund_only && record.state != State::Refunded {
        record.state = State::Pending;
    }
    let Some(refund) = record.refunds.iter_mut().find(|refund| refund.out_refund_no == *number) else {
        return;
    };
    let earlier = refund.request.take();
    // Of a number that only a notification named, WeChat is asked first.
    refund.tries = u32::from(refund.state == RefundState::Notified);
    refund.request = Some(RefundRequest {
        refund_fee: application.refund_fee,
        total_fee: paid.total_fee,
        fee_type: paid.fee_type,
        refund_account: application
            .refund_account
            .or_else(|| earlier.as_ref().and_then(|earlier| earlier.refund_account)),
        refund_desc: application.refund_desc.clone().or_else(|| earlier.and_then(|one| one.refund_desc)),
        who: application.who.clone(),
        asked_at: now,
    });
    refund.state = RefundState::Asked;
    (refund.refusal, refund.denied_at) = (None, None);
    (refund.owed, refund.attempts) = (true, 0);
    (refund.known_at, refund.next_at) = (now, Some(now));
}
