//! The rows that say nothing about the order: transient answers, answers that only a person can mend, and trade
//! states that this version does not know. None of them is ever the basis of a denial.

use crate::dead::{DeadLetter, DeadReason};
use crate::decide::{Change, Look, STUCK_GAP, earlier, quick_after, quick_due};
use crate::record::{Cause, Due, Record, State};

/// Due again after a backoff; never a cadence step.
pub(super) fn transient(record: &Record, cause: &str, look: &Look<'_>) -> Change {
    let mut change = Change::keep(record, look, "transient", cause);
    change.progress.attempts = record.progress.attempts.saturating_add(1);
    let cause = record.due.map_or(look.check.cause(), |due| due.cause);
    change.due = Some(Due { at: look.now + look.retry_delay, cause });
    change.outcome = "transient";
    change
}

/// A dead letter; the due time moves to the next cadence point, after the last one six hours on.
pub(super) fn refused(record: &Record, reason: &DeadReason, detail: &str, look: &Look<'_>) -> Change {
    let mut change = Change::keep(record, look, "refused", format!("{}: {detail}", reason.as_str()));
    change.progress.quick = None;
    change.dead = Some(DeadLetter::about(&record.key, reason.clone(), detail, look.now));
    change.due = due_while_stuck(record, look);
    change.outcome = "refused";
    change
}

/// Before the last point only the next point; after it a dead letter.
pub(super) fn unknown_state(record: &Record, trade_state: &str, look: &Look<'_>) -> Change {
    let detail = format!("trade_state {trade_state}");
    stuck(record, DeadReason::UnknownTradeState, &detail, look)
}

/// A refund whose answer lacks the transaction or the amount: an event needs both.
pub(super) fn incomplete(record: &Record, look: &Look<'_>) -> Change {
    let detail = "REFUND without transaction_id or total_fee";
    stuck(record, DeadReason::IncompleteAnswer, detail, look)
}

fn stuck(record: &Record, reason: DeadReason, detail: &str, look: &Look<'_>) -> Change {
    let mut change = Change::keep(record, look, "undecided", detail);
    change.progress.quick = quick_after(record, look.now);
    change.outcome = "undecided";
    let quick = quick_due(change.progress.quick.as_ref());
    if record.state.rank() >= State::Paid.rank() {
        change.due = quick;
        return change;
    }
    if look.next_cadence_point(record).is_none() {
        change.dead = Some(DeadLetter::about(&record.key, reason, detail, look.now));
    }
    change.due = earlier(due_while_stuck(record, look), quick);
    change
}

/// An order that we know as paid needs nobody to come back; every other one does.
fn due_while_stuck(record: &Record, look: &Look<'_>) -> Option<Due> {
    if record.state.rank() >= State::Paid.rank() {
        return None;
    }
    let next = match record.state {
        State::Pending => look.next_cadence_point(record),
        _ => None,
    };
    let at = next.unwrap_or(look.now + STUCK_GAP);
    Some(Due { at, cause: Cause::Cadence })
}
