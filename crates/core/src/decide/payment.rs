//! The rows of a payment: `SUCCESS` and `REFUND`.
//!
//! I3: `order.paid` only if amount and currency equal the registered (or accepted) ones. I7: never two of them for one
//! order. I9: late truth wins.

use crate::decide::draft::Draft;
use crate::decide::{Change, Look, earlier, quick_after, quick_due, refund, undecided};
use crate::event::{EventType, Mismatch};
use crate::ids::TransactionId;
use crate::money::{Currency, Fen};
use crate::observation::Payment;
use crate::policy::{HOLD, OpenidPolicy, Unregistered};
use crate::record::{Cause, Due, Progress, Record, State};
use crate::shadow;
use crate::time::Timestamp;

/// How a payment compares with what we expected.
enum Verdict {
    Agrees,
    Differs(Mismatch),
    /// Nobody registered the order yet: wait until then.
    Held(Timestamp),
    /// Nobody registered the order, and the merchant wants to hear nothing of such payments.
    Ignored,
    /// Nobody registered the order, and it was paid before anything we still remember.
    TooOld,
    /// Nobody registered the order in this ledger, and it was paid before there was this ledger: an earlier one may
    /// have told it, as paid or as something else.
    BeforeLedger,
}

/// A verified payment.
pub(super) fn paid(record: &Record, payment: &Payment, look: &Look<'_>) -> Change {
    let supplied = supplied_by_refund(record, payment);
    let payment = supplied.as_ref().unwrap_or(payment);
    if is_incomplete(payment) {
        return undecided::incomplete(record, look);
    }
    let mut change = Change::keep(record, look, "observed", word(payment));
    let is_confirmed = record
        .progress
        .quick
        .as_ref()
        .is_none_or(|quick| quick.hint.is_answered_by(payment.transaction_id.as_ref()));
    change.progress.quick = if is_confirmed { None } else { quick_after(record, look.now) };
    change.due = quick_due(change.progress.quick.as_ref());
    shadow::release(record, &mut change);
    match record.state {
        State::Pending | State::Unpaid | State::Closed | State::Failed => {
            first_payment(record, payment, look, change)
        }
        _ if record.transaction_id() != payment.transaction_id.as_ref() => {
            second_transaction(record, payment, look, change)
        }
        State::Mismatch | State::Rejected => judged_payment(record, payment, look, change),
        State::Paid | State::Refunded => known_payment(record, payment, look, change),
    }
}

fn is_incomplete(payment: &Payment) -> bool {
    payment.transaction_id.is_none() || payment.total_fee.is_none()
}

/// I4: a `REFUND` that came without its payment tells nothing until an answer about one of its refunds supplies it.
fn supplied_by_refund(record: &Record, payment: &Payment) -> Option<Payment> {
    if !payment.refunded || !is_incomplete(payment) {
        return None;
    }
    let facts = record.refunds.iter().filter_map(|refund| refund.facts.as_ref());
    let named = payment.transaction_id.as_ref();
    let is_it = |id: &TransactionId| named.is_none_or(|named| named == id);
    let facts = facts
        .into_iter()
        .find(|facts| facts.total_fee.is_some() && facts.transaction_id.as_ref().is_some_and(is_it))?;
    let known = record.payment.as_ref().filter(|known| known.transaction_id == facts.transaction_id);
    Some(match known {
        Some(known) => Payment { refunded: true, ..known.clone() },
        None => Payment {
            transaction_id: facts.transaction_id.clone(),
            total_fee: facts.total_fee,
            fee_type: facts.fee_type.clone(),
            ..payment.clone()
        },
    })
}

fn first_payment(record: &Record, payment: &Payment, look: &Look<'_>, mut change: Change) -> Change {
    match verdict(record, payment, look) {
        Verdict::Agrees => settle_paid(record, payment, look, &mut change),
        Verdict::Differs(mismatch) => {
            change.state = State::Mismatch;
            change.outcome = "mismatch";
            tell(&mut change, record, (EventType::Mismatch, Some(mismatch)), payment, look);
            settle_refund(record, payment, look, &mut change);
        }
        Verdict::Held(until) => {
            change.progress.held_until = Some(until);
            change.due = earlier(change.due, Some(Due { at: until, cause: Cause::Notified }));
            change.outcome = "held";
            return change;
        }
        Verdict::Ignored => {
            // What was told stays known, or the same id could come again.
            change.forget = record.events().next().is_none();
            change.outcome = "ignored";
            return change;
        }
        Verdict::BeforeLedger => {
            // Nothing is remembered either: a notification or a registration may still come, and is judged as ever.
            change.forget = record.events().next().is_none();
            change.outcome = "before_ledger";
            return change;
        }
        Verdict::TooOld => {
            change.state = if payment.refunded { State::Refunded } else { State::Paid };
            change.entry.detail.push_str(", paid before the retention: nothing emitted");
            change.outcome = "old_payment";
        }
    }
    change.progress = Progress { held_until: None, ..change.progress };
    change.payment = Some(kept(payment, look));
    change
}

fn settle_paid(record: &Record, payment: &Payment, look: &Look<'_>, change: &mut Change) {
    change.state = State::Paid;
    (change.outcome, _) = if is_second(record, look) {
        ("duplicate_payment", tell(change, record, (EventType::DuplicatePayment, None), payment, look))
    } else {
        ("paid", tell(change, record, (EventType::Paid, None), payment, look))
    };
    settle_refund(record, payment, look, change);
}

/// Whether the worker must claim the business order before this can be committed: whoever is told as paid claims it, also
/// where the business order became known only later.
pub(super) fn must_claim(record: &Record, change: &Change, look: &Look<'_>) -> bool {
    let registration = record.registration.as_ref();
    look.first_paid.is_none()
        && registration.is_some_and(|registration| registration.business_no.is_some())
        && record.events().chain(&change.events).any(|event| event.kind == EventType::Paid)
}

/// Another number of the same business order was paid first.
fn is_second(record: &Record, look: &Look<'_>) -> bool {
    look.first_paid.is_some_and(|first| *first != record.key.out_trade_no)
}

/// `REFUND` is judged as a payment first; then it tells once that at least part went back.
fn settle_refund(record: &Record, payment: &Payment, look: &Look<'_>, change: &mut Change) {
    if payment.refunded && change.state != State::Refunded {
        change.state = State::Refunded;
        tell(change, record, (EventType::Refunded, None), payment, look);
    }
}

/// A second payment under one order number: told once, never as a second `order.paid`; the state stays.
fn second_transaction(record: &Record, payment: &Payment, look: &Look<'_>, mut change: Change) -> Change {
    if tell(&mut change, record, (EventType::Mismatch, Some(Mismatch::SecondTransaction)), payment, look) {
        change.outcome = "second_transaction";
    }
    change
}

/// From mismatch or rejected only a person's `accept` leads to paid.
fn judged_payment(record: &Record, payment: &Payment, look: &Look<'_>, mut change: Change) -> Change {
    if is_accepted(record, payment) {
        settle_paid(record, payment, look, &mut change);
    } else if payment.refunded {
        settle_refund(record, payment, look, &mut change);
        change.outcome = "refunded";
    } else {
        change.due = earlier(change.due, refund::until_seen(record, look));
        return change;
    }
    change.payment = Some(kept(payment, look));
    change
}

/// Paid already: a registration that came later may differ, and money may have gone back.
fn known_payment(record: &Record, payment: &Payment, look: &Look<'_>, mut change: Change) -> Change {
    let difference = registered_difference(record, payment).filter(|_| !is_accepted(record, payment));
    if let Some(mismatch) = difference {
        if tell(&mut change, record, (EventType::Mismatch, Some(mismatch)), payment, look) {
            change.outcome = "mismatch";
        }
    } else if is_second(record, look)
        && tell(&mut change, record, (EventType::DuplicatePayment, None), payment, look)
    {
        change.outcome = "duplicate_payment";
    }
    if payment.refunded && record.state == State::Paid {
        settle_refund(record, payment, look, &mut change);
        change.payment = Some(kept(payment, look));
        change.outcome = "refunded";
    } else if record.state == State::Paid {
        change.due = earlier(change.due, refund::until_seen(record, look));
    }
    change
}

fn verdict(record: &Record, payment: &Payment, look: &Look<'_>) -> Verdict {
    if record.registration.is_some() {
        return registered_difference(record, payment).map_or(Verdict::Agrees, Verdict::Differs);
    }
    if payment.paid_at.is_some_and(|paid_at| look.may_have_forgotten(paid_at, record)) {
        return Verdict::TooOld;
    }
    if look.memory.is_before(payment.paid_at) {
        return Verdict::BeforeLedger;
    }
    match look.policy.unregistered {
        Unregistered::Emit => Verdict::Agrees,
        Unregistered::Ignore => Verdict::Ignored,
        Unregistered::Hold => match record.progress.held_until {
            Some(until) if until <= look.now => Verdict::Differs(Mismatch::Unregistered),
            Some(until) => Verdict::Held(until),
            None => Verdict::Held(look.now + HOLD),
        },
    }
}

fn registered_difference(record: &Record, payment: &Payment) -> Option<Mismatch> {
    let registration = record.registration.as_ref()?;
    difference(payment, registration.total_fee, &registration.fee_type)
}

fn difference(payment: &Payment, total_fee: Fen, fee_type: &Currency) -> Option<Mismatch> {
    if payment.fee_type != *fee_type {
        Some(Mismatch::Currency)
    } else if payment.total_fee != Some(total_fee) {
        Some(Mismatch::Amount)
    } else {
        None
    }
}

fn is_accepted(record: &Record, payment: &Payment) -> bool {
    record.verdict.as_ref().is_some_and(|verdict| {
        verdict.transaction_id == payment.transaction_id
            && difference(payment, verdict.total_fee, &verdict.fee_type).is_none()
    })
}

fn tell(
    change: &mut Change,
    record: &Record,
    (kind, mismatch): (EventType, Option<Mismatch>),
    payment: &Payment,
    look: &Look<'_>,
) -> bool {
    let draft =
        Draft { kind, trade_state: Some(word(payment)), payment: Some(payment), mismatch, refund: None };
    change.emit(record, draft, look)
}

/// What the record keeps of a payment: the payer only where the configuration asks for it.
fn kept(payment: &Payment, look: &Look<'_>) -> Payment {
    let openid = match look.policy.openid {
        OpenidPolicy::Include | OpenidPolicy::Keep => payment.openid.clone(),
        OpenidPolicy::Omit => None,
    };
    Payment { openid, ..payment.clone() }
}

fn word(payment: &Payment) -> &'static str {
    if payment.refunded { "REFUND" } else { "SUCCESS" }
}
