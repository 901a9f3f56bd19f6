//! The refunds of one record together: when the record is due for them, and what a commit makes of them.

use crate::decide::RefundFound;
use crate::ids::OutRefundNo;
use crate::record::{Cause, Due, Record, State};
use crate::refund::{Refund, RefundState};
use crate::time::Timestamp;

/// When the first of them is to be looked at: urgently if a shop waits for it or a notification came.
pub(crate) fn due(refunds: &[Refund]) -> Option<Due> {
    let first = refunds.iter().filter_map(|refund| refund.next_at).min()?;
    let waits = |refund: &&Refund| {
        let is_new = matches!(refund.state, RefundState::Asked | RefundState::Notified);
        refund.next_at == Some(first) && (is_new || refund.hints > 0 || refund.quick.is_some())
    };
    let cause = if refunds.iter().any(|refund| waits(&refund)) { Cause::Refund } else { Cause::Cadence };
    Some(Due { at: first, cause })
}

/// Stores what a look at one refund found, or forgets it. A wish that came meanwhile stays a wish: somebody answered its
/// notification, so the refund is looked at anew.
pub(crate) fn apply(record: &mut Record, number: &OutRefundNo, found: &RefundFound, now: Timestamp) {
    let Some(place) = record.refunds.iter().position(|refund| refund.out_refund_no == *number) else {
        return;
    };
    let Some(stored) = record.refunds.get_mut(place) else { return };
    let came_meanwhile = |hints: u32| stored.hints != hints;
    match found {
        RefundFound::Kept(found) if came_meanwhile(found.hints) => {
            let (owed, notified, is_told) = (stored.owed, stored.notified, stored.quick == Some(0));
            let next_at = Some(now);
            *stored = Refund { hints: 1, owed, notified, next_at, in_hand: false, ..*found.clone() };
            if is_told {
                // What WeChat was asked before says nothing of what it told since.
                stored.quick = Some(0);
                stored.speak_against_denials();
            }
        }
        RefundFound::Kept(found) => *stored = Refund { hints: 0, in_hand: false, ..*found.clone() },
        RefundFound::Nothing { hints } if came_meanwhile(*hints) => {
            (stored.hints, stored.unseen, stored.in_hand) = (1, 0, false);
            stored.next_at = Some(now);
        }
        RefundFound::Nothing { .. } => drop(record.refunds.remove(place)),
    }
}

/// The state of an order that is known by its refunds only.
pub(crate) fn stands(refunds: &[Refund]) -> State {
    let any = |is: fn(&Refund) -> bool| refunds.iter().any(is);
    if any(|refund| refund.state == RefundState::Succeeded) {
        State::Refunded
    } else if any(|refund| refund.next_at.is_some()) {
        State::Pending
    } else if any(|refund| refund.facts.is_some()) {
        // WeChat knows a refund of it, so it was paid.
        State::Paid
    } else {
        State::Unpaid
    }
}
