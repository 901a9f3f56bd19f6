//! What taking a lease means for refunds: a notification's hint, and which refund the lease is for.

use crate::check::{Check, Reason};
use crate::ids::OutRefundNo;
use crate::record::Record;
use crate::refund::{REFUNDS_PER_ORDER_MAX, Refund, RefundState};
use crate::time::Timestamp;

/// Whether a notification of a refund tells something that is not told yet.
pub(crate) fn is_news(record: &Record, number: &OutRefundNo, check: &Check) -> bool {
    match record.refunds.iter().find(|refund| refund.out_refund_no == *number) {
        Some(refund) => !refund.state.is_final() || check.is_owed() && !refund.owed,
        None => record.refunds.len() < REFUNDS_PER_ORDER_MAX || has_refused(record),
    }
}

fn has_refused(record: &Record) -> bool {
    record.refunds.iter().any(|refund| refund.state == RefundState::Refused)
}

/// The refund is to be looked at now. One that nobody knew yet is added.
pub(crate) fn hint(record: &mut Record, number: &OutRefundNo, check: &Check, now: Timestamp) {
    let is_known = record.refunds.iter().any(|refund| refund.out_refund_no == *number);
    if !is_known {
        make_place(record);
        record.add_refund(Refund::heard_of(number.clone(), now));
    }
    let is_owed = check.is_owed();
    if let Some(refund) = record.refunds.iter_mut().find(|refund| refund.out_refund_no == *number) {
        refund.owed |= is_owed;
        if check.reason == Reason::Notified {
            refund.notified = true;
            refund.quick = Some(0);
        }
        if matches!(check.reason, Reason::Notified | Reason::Billed) {
            refund.speak_against_denials();
        }
        want(refund, now);
    }
}

/// Where an order has as many refunds as it may, its oldest refused one goes: nothing moved under it.
pub(crate) fn make_place(record: &mut Record) {
    if record.refunds.len() >= REFUNDS_PER_ORDER_MAX
        && let Some(place) = record.refunds.iter().position(|one| one.state == RefundState::Refused)
    {
        record.refunds.remove(place);
    }
}

/// A person asks about the order: every refund that may still change is looked at now, one that was given up too.
pub(crate) fn want_all(record: &mut Record, now: Timestamp) {
    record.refunds.iter_mut().filter(|refund| may_change(refund)).for_each(|refund| want(refund, now));
}

/// The same from `at` on, where the order rests until then. `false` if each is to be looked at by then anyway.
pub(crate) fn want_all_at(record: &mut Record, at: Timestamp, now: Timestamp) -> bool {
    let is_wanted = |refund: &Refund| refund.hints > 0 && refund.next_at.is_some_and(|next_at| next_at <= at);
    let mut is_new = false;
    for refund in record.refunds.iter_mut().filter(|refund| may_change(refund) && !is_wanted(refund)) {
        is_new = true;
        want_at(refund, at, now);
    }
    is_new
}

impl Record {
    /// Whether a refund of it may still change: a look at the order alone says nothing of that.
    pub fn has_open_refunds(&self) -> bool {
        self.refunds.iter().any(may_change)
    }
}

fn may_change(refund: &Refund) -> bool {
    matches!(
        refund.state,
        RefundState::Asked | RefundState::Notified | RefundState::Processing | RefundState::Abnormal
    )
}

/// Somebody wishes it to be looked at now.
pub(crate) fn want(refund: &mut Refund, now: Timestamp) {
    want_at(refund, now, now);
}

fn want_at(refund: &mut Refund, at: Timestamp, now: Timestamp) {
    refund.hints = refund.hints.saturating_add(1);
    refund.unseen = 0;
    if refund.next_at.is_none() && !refund.state.is_final() {
        // It had been given up: from now on it is watched anew.
        refund.known_at = now;
    }
    refund.next_at = Some(refund.next_at.map_or(at, |next_at| next_at.min(at)));
}

/// Chooses what the lease is for: the order, where its own due time has come, else the refund that has waited longest.
/// A request that may be sent under it is counted before it is.
pub(crate) fn take_in_hand(record: &mut Record, now: Timestamp) {
    record.refunds.iter_mut().for_each(|refund| refund.in_hand = false);
    let order = record.order_due.filter(|_| !record.progress.refund_only);
    if !record.outgoing.is_empty() || order.is_some_and(|due| due.at <= now) {
        return;
    }
    let waiting = record.refunds.iter_mut().filter(|refund| refund.next_at.is_some());
    let first = waiting.min_by_key(|refund| refund.next_at);
    // Where neither has come, as after a jump of the clock, the order goes first.
    if let Some(refund) = first.filter(|refund| order.is_none() || refund.next_at.is_some_and(|at| at <= now))
    {
        refund.in_hand = true;
        if refund.state == RefundState::Asked {
            refund.tries = refund.tries.saturating_add(1);
        }
    }
}
