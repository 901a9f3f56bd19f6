//! The same request again: it changes nothing, unless the first could not be accepted as it was. It moves no money, and
//! gives no number another amount.

use crate::decide::STUCK_GAP;
use crate::record::{Cause, Entry, Record, SeenAs};
use crate::refund::{Refund, RefundApplication, RefundAsked, RefundState, want};
use crate::register::wake;
use crate::time::{Millis, Timestamp};

/// Between two looks that repeats of a request bring about.
const AGAIN_GAP: Millis = Millis::seconds(60);

/// The same again. Where it could never be accepted, whose order it is may be corrected; where it rests because only a
/// person could help, somebody has, and it is looked at now. A repeat of anything else changes nothing.
pub(crate) fn again(
    stored: &Record,
    refund: &Refund,
    application: &RefundApplication,
    now: Timestamp,
) -> (Option<Record>, RefundAsked) {
    let correction = match correction(stored, refund, application) {
        Ok(correction) => correction,
        Err(field) => return (None, RefundAsked::Different(vec![field])),
    };
    if correction.is_none() && !rests(refund, now) {
        return (None, RefundAsked::Same);
    }
    let mut record = stored.clone();
    let asked = if correction.is_some() { RefundAsked::Added } else { RefundAsked::Same };
    let mut detail = format!("{} again by {}", refund.out_refund_no, application.who);
    if let Some(seen_as) = correction {
        detail.push_str(&format!(", as appid {}", seen_as.appid));
        record.progress.seen_as = Some(seen_as.clone());
        record.facts = record.facts.wrapping_add(1);
    }
    for one in record.refunds.iter_mut().filter(|one| one.out_refund_no == refund.out_refund_no) {
        if asked == RefundAsked::Added {
            // It was asked about in another name: what was denied then says nothing now.
            one.denied_at = None;
        }
        want(one, now);
    }
    record.updated_at = now;
    record.note(Entry::new(now, "refund_asked", detail));
    wake(&mut record, Cause::Refund, now);
    (Some(record), asked)
}

/// Whose order it is, where the shop says otherwise than before and WeChat has borne out neither. `Err` where that could
/// hide what was taken: a refund is found by the merchant's number whatever appid asks, but only by its sub merchant.
fn correction<'a>(
    record: &Record,
    refund: &Refund,
    application: &'a RefundApplication,
) -> Result<Option<&'a SeenAs>, &'static str> {
    let is_open = record.progress.refund_only && refund.state == RefundState::Asked;
    let is_borne_out = record.refunds.iter().any(|refund| refund.facts.is_some());
    let Some(said) = application.seen_as.as_ref().filter(|_| is_open && !is_borne_out) else {
        return Ok(None);
    };
    match &record.progress.seen_as {
        Some(before) if before == said => Ok(None),
        Some(before) if before.sub_mch_id.is_some() && before.sub_mch_id != said.sub_mch_id => {
            Err("sub_mch_id")
        }
        _ => Ok(Some(said)),
    }
}

/// A request that waits for hours, or not at all any more, after an answer that only a person can mend. A program that
/// repeats itself has it looked at once a minute at most.
fn rests(refund: &Refund, now: Timestamp) -> bool {
    let is_far = |at: Timestamp| at > now + AGAIN_GAP && at <= now + STUCK_GAP + Millis(-AGAIN_GAP.0);
    refund.state == RefundState::Asked && refund.next_at.is_none_or(is_far)
}
