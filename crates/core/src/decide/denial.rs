//! The rows of an order that is not paid: look again on the cadence, and at its end call it unpaid or close it.

use crate::decide::draft::Draft;
use crate::decide::{
    CLOSE_AGAIN_GAP_MIN, CLOSE_AGE_MIN, Change, CloseSaid, Closing, Decision, Look, STUCK_GAP, UNSTEADY_GAP,
    earlier, quick_after, quick_due,
};
use crate::event::EventType;
use crate::observation::{NotPaid, Observation};
use crate::record::{Cause, Due, Record, State};
use crate::shadow::Mode;
use crate::time::Timestamp;

/// `NOTPAY`, `USERPAYING`, `ACCEPT`, `ORDERNOTEXIST`, `CLOSED`, `REVOKED`, `PAYERROR`.
pub(super) fn not_paid(record: &Record, observation: &Observation, look: &Look<'_>) -> Decision {
    let change = match observation {
        Observation::Closed(_) => denied(record, observation, State::Closed, look),
        Observation::Failed => denied(record, observation, State::Failed, look),
        _ if record.state != State::Pending => still_the_same(record, observation, look),
        _ => return waiting(record, observation, look),
    };
    Decision::Commit(Box::new(change))
}

/// An observation of equal or lower rank: history only, and the quick looks after a notification.
fn still_the_same(record: &Record, observation: &Observation, look: &Look<'_>) -> Change {
    let mut change = Change::keep(record, look, "observed", word(observation));
    change.progress.quick = quick_after(record, look.now);
    change.due = quick_due(change.progress.quick.as_ref());
    let awaits_its_payment =
        record.verdict.is_some() && matches!(record.state, State::Mismatch | State::Rejected);
    if awaits_its_payment {
        // WeChat contradicts what a person accepted: nobody else would make this order due again.
        let at = look.now + STUCK_GAP;
        change.due = earlier(change.due, Some(Due { at, cause: Cause::Accepted }));
    }
    change
}

fn waiting(record: &Record, observation: &Observation, look: &Look<'_>) -> Decision {
    let mut change = still_the_same(record, observation, look);
    change.outcome = "still_pending";
    let is_nobodys = *observation == Observation::NotPaid(NotPaid::NotExist)
        && record.registration.is_none()
        && change.progress.quick.is_none();
    if is_nobodys {
        change.forget = true;
        change.outcome = "forgotten";
        return Decision::Commit(Box::new(change));
    }
    if let Some(at) = look.next_cadence_point(record) {
        change.due = earlier(Some(Due { at, cause: Cause::Cadence }), change.due);
        return Decision::Commit(Box::new(change));
    }
    at_the_last_point(record, observation, look, change)
}

fn at_the_last_point(
    record: &Record,
    observation: &Observation,
    look: &Look<'_>,
    mut waiting: Change,
) -> Decision {
    let wait_until = |at| Some(Due { at, cause: Cause::Cadence });
    if !look.is_clock_steady {
        waiting.due = earlier(wait_until(look.now + UNSTEADY_GAP), waiting.due);
        waiting.outcome = "clock_unsteady";
        return Decision::Commit(Box::new(waiting));
    }
    let closes = look.policy.close_unpaid && look.policy.mode == Mode::Live && record.registration.is_some();
    let may_close_at = record.counts_from() + CLOSE_AGE_MIN;
    match look.closing {
        Closing::NotTried if closes && look.now < may_close_at => {
            waiting.due = earlier(wait_until(may_close_at), waiting.due);
            Decision::Commit(Box::new(waiting))
        }
        Closing::NotTried if closes => Decision::CloseFirst,
        Closing::NotTried => Decision::Commit(Box::new(denied(record, observation, State::Unpaid, look))),
        Closing::Answered(said) => match not_closed(record, observation, said, look) {
            None => Decision::Commit(Box::new(denied(record, observation, State::Closed, look))),
            Some((at, outcome)) => {
                waiting.due = earlier(wait_until(at), waiting.due);
                waiting.outcome = outcome;
                Decision::Commit(Box::new(waiting))
            }
        },
    }
}

/// When to close it again, unless nobody can pay it for sure: WeChat says that it closed it, or twice that there is no
/// such order, and no payer can come up with one.
fn not_closed(
    record: &Record,
    observation: &Observation,
    said: CloseSaid,
    look: &Look<'_>,
) -> Option<(Timestamp, &'static str)> {
    let does_not_exist = *observation == Observation::NotPaid(NotPaid::NotExist);
    match said {
        CloseSaid::Closed => None,
        CloseSaid::NotExist if does_not_exist => {
            let until = record.offered_until().filter(|until| *until > look.now)?;
            Some((until, "may_be_offered"))
        }
        CloseSaid::NotExist | CloseSaid::NotClosed => {
            let expires_at = record.registration.as_ref().and_then(|registration| registration.expires_at);
            let waited = look.now.since(look.policy.cadence.last_point(record.counts_from(), expires_at));
            Some((look.now + waited.clamp(CLOSE_AGAIN_GAP_MIN, STUCK_GAP), "not_closed"))
        }
    }
}

/// Emits the denial if it raises the rank.
fn denied(record: &Record, observation: &Observation, state: State, look: &Look<'_>) -> Change {
    let mut change = still_the_same(record, observation, look);
    if state.rank() <= record.state.rank() {
        return change;
    }
    change.state = state;
    let (kind, outcome) = match state {
        State::Closed => (EventType::Closed, "closed"),
        State::Failed => (EventType::Failed, "failed"),
        _ => (EventType::Unpaid, "unpaid"),
    };
    change.outcome = outcome;
    let draft =
        Draft { kind, trade_state: observation.trade_state(), payment: None, mismatch: None, refund: None };
    change.emit(record, draft, look);
    change
}

fn word(observation: &Observation) -> &str {
    observation.trade_state().unwrap_or("ORDERNOTEXIST")
}
