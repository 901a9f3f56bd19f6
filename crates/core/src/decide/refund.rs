//! What an answer means for one refund.
//!
//! Only refundquery settles a refund: that WeChat took the request says nothing of the money. What is not known stays
//! unknown, and is asked again. The order's own state is nobody's business here: once money went back, the order itself
//! is looked at, and its own row of the table tells so.

use crate::dead::{DeadLetter, DeadReason};
use crate::decide::draft::Draft;
use crate::decide::{Change, Look, QUICK_GAPS, RefundFound, STUCK_GAP, UNSTEADY_GAP, earlier};
use crate::event::EventType;
use crate::ids::OutRefundNo;
use crate::record::{Cause, Due, Entry, Record, State};
use crate::refund::{Refund, RefundAnswer, RefundFacts, RefundState, RefundStatus, Refusal};
use crate::time::{Millis, Timestamp};

/// How long an unsettled refund is asked about; WeChat's own are settled within days.
pub const REFUND_WATCH: Millis = Millis::seconds(30 * 86_400);

/// Between the first and the last denial of a request that was sent more than once and refused. WeChat recommends to ask
/// about a refund once a minute for its first five; whoever held the request under an earlier lease is through as well.
pub const REFUND_DENIAL_SPAN: Millis = Millis::seconds(300);

/// What one look at a refund found.
#[derive(Debug, Clone, Copy)]
pub struct RefundLook<'a> {
    pub number: &'a OutRefundNo,
    /// The wishes that this look answers: those that the record held when WeChat was asked.
    pub hints: u32,
    pub answer: &'a RefundAnswer,
}

/// Decides what an answer means for a refund.
pub fn decide_refund(record: &Record, found: &RefundLook<'_>, look: &Look<'_>) -> Change {
    let mut change = Change::keep(record, look, "refund", "");
    change.progress = record.progress.clone();
    change.due = record.order_due;
    let Some(known) = record.refund(found.number) else { return change };
    let mut refund = Refund { hints: found.hints, ..known.clone() };
    match found.answer {
        RefundAnswer::Accepted(facts) => taken(&mut refund, facts, look, &mut change),
        RefundAnswer::Observed(status, facts) => {
            observed(record, &mut refund, (status, facts), look, &mut change);
        }
        RefundAnswer::NotExist if refund.is_in_doubt() => denied(&mut refund, look, &mut change),
        RefundAnswer::NotExist => {
            if !unseen(record, &mut refund, look, &mut change) {
                change.entry = entry(known, "unknown to WeChat: forgotten", look);
                change.refund = Some((found.number.clone(), RefundFound::Nothing { hints: found.hints }));
                return change;
            }
        }
        RefundAnswer::Refused(refusal) if is_only_sending(&refund) => {
            refuse(&mut refund, refusal, &mut change);
        }
        RefundAnswer::Refused(refusal) | RefundAnswer::Doubtful(refusal) => {
            doubt(&mut refund, refusal, look, &mut change);
        }
        RefundAnswer::OtherOrder(refusal) => match refund.state {
            RefundState::Asked | RefundState::Refused => refuse(&mut refund, refusal, &mut change),
            RefundState::Notified => {
                // Whoever wrote the notification put another order's refund under this one.
                stuck(record, &mut refund, (&DeadReason::WrongOrder, &refusal.said), look, &mut change);
                change.entry = entry(known, &refusal.said, look);
                forget(record, &mut change);
                change.refund = Some((found.number.clone(), RefundFound::Nothing { hints: found.hints }));
                return change;
            }
            // WeChat said otherwise before.
            _ => stuck(record, &mut refund, (&DeadReason::WrongOrder, &refusal.said), look, &mut change),
        },
        RefundAnswer::Transient { at_least, .. } => later(&mut refund, *at_least, look, &mut change),
        RefundAnswer::Stuck { reason, detail } => {
            stuck(record, &mut refund, (reason, detail), look, &mut change);
        }
    }
    end_the_watch(record, &mut refund, look, &mut change);
    change.entry = entry(known, &words(known, &refund, found.answer), look);
    change.refund = Some((found.number.clone(), RefundFound::Kept(Box::new(refund))));
    change
}

/// Whether the order itself is still to be told as refunded; what was denied must have been paid after all.
fn is_open(record: &Record) -> bool {
    let has_its_look = matches!(record.state, State::Pending | State::Refunded);
    !has_its_look && !record.progress.refund_only
}

/// While a paid order has a refund that succeeded, and orderquery does not say so yet, it is asked again.
pub(super) fn until_seen(record: &Record, look: &Look<'_>) -> Option<Due> {
    let succeeded = record.refunds.iter().filter(|refund| refund.state == RefundState::Succeeded);
    let since = succeeded.filter_map(|refund| refund.settled_at).max()?;
    let at = look.policy.cadence.next_point(since, None, look.now)?;
    Some(Due { at, cause: Cause::Cadence })
}

/// Nobody can have sent the request but this look, and WeChat told of no end of it.
fn is_only_sending(refund: &Refund) -> bool {
    refund.tries <= 1 && refund.quick.is_none()
}

fn refuse(refund: &mut Refund, refusal: &Refusal, change: &mut Change) {
    if refund.state == RefundState::Asked {
        refund.state = RefundState::Refused;
        refund.refusal = Some(refusal.clone());
    }
    (refund.next_at, refund.denied_at) = (None, None);
    change.outcome = "refund_refused";
}

/// A repeat was refused, and refundquery knows of nothing; but what was sent before may have been taken. From here on it
/// is not sent again, only asked about: the shop may be refunding another way by the time it is told of a refusal.
fn doubt(refund: &mut Refund, refusal: &Refusal, look: &Look<'_>, change: &mut Change) {
    if refund.state == RefundState::Asked {
        refund.refusal = Some(refusal.clone());
        denied(refund, look, change);
    } else {
        // WeChat said otherwise before.
        later(refund, Millis(0), look, change);
    }
}

/// WeChat knows nothing of a request in doubt. Only a second denial, long enough after the first, says that nothing moved.
fn denied(refund: &mut Refund, look: &Look<'_>, change: &mut Change) {
    refund.attempts = 0;
    let until = *refund.denied_at.get_or_insert(look.now) + REFUND_DENIAL_SPAN;
    if look.now < until {
        refund.next_at = next_look(refund, look).map(|at| at.min(until));
        change.outcome = "refund_in_doubt";
    } else if !look.is_clock_steady {
        refund.next_at = Some(look.now + UNSTEADY_GAP);
        change.outcome = "refund_in_doubt";
    } else {
        refund.state = RefundState::Refused;
        (refund.next_at, refund.denied_at) = (None, None);
        change.outcome = "refund_refused";
    }
}

/// A person must look; we look again, too.
fn stuck(
    record: &Record,
    refund: &mut Refund,
    (reason, detail): (&DeadReason, &str),
    look: &Look<'_>,
    change: &mut Change,
) {
    let letter = DeadLetter::about(&record.key, reason.clone(), detail, look.now);
    change.dead = Some(letter.of_refund(&refund.out_refund_no));
    change.outcome = "refund_stuck";
    refund.next_at = Some(look.now + STUCK_GAP);
}

/// WeChat took the request. It may have been settled in the meantime by what a notification made us ask.
fn taken(refund: &mut Refund, facts: &RefundFacts, look: &Look<'_>, change: &mut Change) {
    (refund.attempts, refund.unseen, refund.denied_at) = (0, 0, None);
    change.outcome = "refund_taken";
    if rank(refund.state) < rank(RefundState::Processing) {
        refund.state = RefundState::Processing;
        (refund.facts, refund.refusal) = (Some(facts.clone()), None);
    }
    refund.next_at = next_look(refund, look);
}

fn observed(
    record: &Record,
    refund: &mut Refund,
    (status, facts): (&RefundStatus, &RefundFacts),
    look: &Look<'_>,
    change: &mut Change,
) {
    (refund.attempts, refund.unseen, refund.denied_at) = (0, 0, None);
    change.outcome = "refund_observed";
    let state = match status {
        RefundStatus::Success => RefundState::Succeeded,
        RefundStatus::Closed => RefundState::Closed,
        RefundStatus::Abnormal => RefundState::Abnormal,
        // WeChat has it, whatever it does with it.
        RefundStatus::Processing | RefundStatus::Unknown(_) => RefundState::Processing,
    };
    if state.is_final() || state == RefundState::Abnormal && rank(state) > rank(refund.state) {
        // A word that a notification may be about.
        refund.quick = None;
    }
    if rank(state) > rank(refund.state) {
        refund.state = state;
        refund.refusal = None;
        tell_a_difference(record, refund, facts, look, change);
        refund.settled_at = state.is_final().then_some(look.now);
        if state == RefundState::Succeeded && is_open(record) {
            change.due = earlier(change.due, Some(Due { at: look.now, cause: Cause::Refund }));
        }
    }
    if state == refund.state {
        let earlier = refund.facts.take().filter(|earlier| earlier.refund_id == facts.refund_id);
        // Only the answer to the request has it.
        let cash_refund_fee = facts.cash_refund_fee.or(earlier.and_then(|earlier| earlier.cash_refund_fee));
        let facts = RefundFacts { cash_refund_fee, ..facts.clone() };
        refund.facts = Some(facts.clone());
        tell(record, refund, (status, &facts), look, change);
    }
    refund.next_at = if refund.state.is_final() { None } else { next_look(refund, look) };
}

/// Tells a refund that came to an end, or to a person; once, whoever found it.
fn tell(
    record: &Record,
    refund: &Refund,
    (status, facts): (&RefundStatus, &RefundFacts),
    look: &Look<'_>,
    change: &mut Change,
) {
    let (kind, outcome) = match refund.state {
        RefundState::Succeeded => (EventType::RefundSucceeded, "refund_succeeded"),
        RefundState::Abnormal => (EventType::RefundAbnormal, "refund_abnormal"),
        RefundState::Closed => (EventType::RefundClosed, "refund_closed"),
        _ => return,
    };
    if is_too_old(record, refund, facts, look) {
        change.outcome = "old_refund";
        return;
    }
    let payment = record.payment.as_ref();
    let trade_state = payment.map(|payment| if payment.refunded { "REFUND" } else { "SUCCESS" });
    let refund = Some((refund, facts, status.as_str()));
    if change.emit(record, Draft { kind, trade_state, payment, mismatch: None, refund }, look) {
        change.outcome = outcome;
    }
}

/// It succeeded before anything we still remember, and nobody asked for it here: it was told then, or never ours to tell.
fn is_too_old(record: &Record, refund: &Refund, facts: &RefundFacts, look: &Look<'_>) -> bool {
    refund.request.is_none() && facts.succeeded_at.is_some_and(|at| look.may_have_forgotten(at, record))
}

/// Somebody else used the number for another amount: a person must know, and the event says what WeChat says.
fn tell_a_difference(
    record: &Record,
    refund: &Refund,
    facts: &RefundFacts,
    look: &Look<'_>,
    change: &mut Change,
) {
    let asked = refund.request.as_ref().map(|request| request.refund_fee);
    if let Some(asked) = asked.filter(|asked| *asked != facts.refund_fee) {
        let number = &refund.out_refund_no;
        let detail = format!("refund {number}: asked for {asked}, WeChat says {}", facts.refund_fee);
        let letter = DeadLetter::about(&record.key, DeadReason::RefundDiffers, detail, look.now);
        change.dead = Some(letter.of_refund(number));
    }
}

/// WeChat knows no such refund. `false` if it is to be forgotten.
fn unseen(record: &Record, refund: &mut Refund, look: &Look<'_>, change: &mut Change) -> bool {
    change.outcome = "refund_unseen";
    let nth = usize::try_from(refund.unseen).unwrap_or(usize::MAX);
    refund.unseen = refund.unseen.saturating_add(1);
    match refund.state {
        RefundState::Notified => {
            let nth_at = || QUICK_GAPS.get(nth).map(|gap| look.now + *gap);
            match if refund.quick.is_some() { next_quick(refund, look) } else { nth_at() } {
                Some(at) => refund.next_at = Some(at),
                None => {
                    forget(record, change);
                    return false;
                }
            }
        }
        // Not sent, or not arrived: the next look sends it, unless a notification says otherwise.
        RefundState::Asked if refund.quick.is_none() => refund.next_at = Some(look.now + look.retry_delay),
        // WeChat said otherwise before: one of its copies lags.
        RefundState::Asked | RefundState::Processing | RefundState::Abnormal => {
            let quick = next_quick(refund, look);
            later(refund, Millis(0), look, change);
            refund.next_at = quick.or(refund.next_at);
        }
        RefundState::Succeeded | RefundState::Closed | RefundState::Refused => refund.next_at = None,
    }
    true
}

/// With its last refund goes an order that nothing else is known of.
fn forget(record: &Record, change: &mut Change) {
    let is_last = record.refunds.len() == 1;
    change.forget = record.progress.refund_only && is_last && record.events().next().is_none();
    change.outcome = "refund_forgotten";
}

fn later(refund: &mut Refund, at_least: Millis, look: &Look<'_>, change: &mut Change) {
    refund.attempts = refund.attempts.saturating_add(1);
    refund.next_at = Some(look.now + Millis(look.retry_delay.0.max(at_least.0)));
    change.outcome = "refund_transient";
}

/// When it is looked at next: at a quick look, or at the next point of the cadence.
fn next_look(refund: &mut Refund, look: &Look<'_>) -> Option<Timestamp> {
    let poll = next_poll(refund, look);
    next_quick(refund, look).min(poll).or(poll)
}

/// The quick look after this one, which go on until an answer says the word that was told, or all are made.
fn next_quick(refund: &mut Refund, look: &Look<'_>) -> Option<Timestamp> {
    let made = refund.quick?;
    let gap = QUICK_GAPS.get(usize::from(made));
    refund.quick = gap.map(|_| made.saturating_add(1));
    gap.map(|gap| look.now + *gap)
}

/// The first point of the policy's cadence, counted from when the refund was asked for; then every six hours.
fn next_poll(refund: &Refund, look: &Look<'_>) -> Option<Timestamp> {
    let after = refund.next_at.map_or(look.now, |at| at.max(look.now));
    let point = look.policy.cadence.next_point(refund.known_at, None, after);
    Some(point.unwrap_or(look.now + STUCK_GAP))
}

/// After 30 days only a person can help: a letter is left, once, and the refund rests until somebody asks.
fn end_the_watch(record: &Record, refund: &mut Refund, look: &Look<'_>, change: &mut Change) {
    let Some(at) = refund.next_at else { return };
    let end = refund.known_at + REFUND_WATCH;
    if look.now < end || refund.state == RefundState::Notified {
        refund.next_at = Some(if look.now < end { at.min(end) } else { at });
        return;
    }
    refund.next_at = None;
    let detail = format!("refund {}: still {} after 30 days", refund.out_refund_no, refund.state.as_str());
    let letter = DeadLetter::about(&record.key, DeadReason::RefundStuck, detail, look.now);
    change.dead = Some(letter.of_refund(&refund.out_refund_no));
    change.outcome = "refund_stuck";
}

/// What WeChat says leads upwards only. A refused number may turn out to be known all the same; a closed refund that
/// turns out to have moved money is told.
fn rank(state: RefundState) -> u8 {
    match state {
        RefundState::Asked | RefundState::Notified | RefundState::Refused => 0,
        RefundState::Processing => 1,
        RefundState::Abnormal => 2,
        RefundState::Closed => 3,
        RefundState::Succeeded => 4,
    }
}

fn words(before: &Refund, after: &Refund, answer: &RefundAnswer) -> String {
    let said = match answer {
        RefundAnswer::Accepted(_) => "accepted",
        RefundAnswer::Observed(status, _) => status.as_str(),
        RefundAnswer::NotExist => "REFUNDNOTEXIST",
        RefundAnswer::Refused(refusal)
        | RefundAnswer::Doubtful(refusal)
        | RefundAnswer::OtherOrder(refusal) => &refusal.code,
        RefundAnswer::Transient { cause, .. } => cause,
        RefundAnswer::Stuck { detail, .. } => detail,
    };
    match before.state == after.state {
        true if after.is_in_doubt() => format!("{} in doubt, {said}", after.state.as_str()),
        true => format!("{}, {said}", after.state.as_str()),
        false => format!("{} to {}, {said}", before.state.as_str(), after.state.as_str()),
    }
}

fn entry(refund: &Refund, detail: &str, look: &Look<'_>) -> Entry {
    Entry::new(look.now, "refund", format!("{}: {detail}", refund.out_refund_no))
}
