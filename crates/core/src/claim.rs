//! Claiming a due record: one atomic step that makes a check of a due time.

use crate::check::{Check, Claim};
use crate::record::{Due, Record};
use crate::time::{Millis, Timestamp};

/// How far a claim moves the due time: past one lease, so that a lost check comes again.
pub const CLAIM_LENGTH: Millis = Millis::seconds(60);

/// Raises the claim number, moves the due time on, and returns the check; `None` if the record is not due.
pub fn claim(record: &mut Record, now: Timestamp) -> Option<Check> {
    let due = record.due.filter(|due| due.at <= now)?;
    record.claim = record.claim.wrapping_add(1);
    record.due = Some(Due { at: now + CLAIM_LENGTH, cause: due.cause });
    let claim = Claim { number: record.claim, due_for: due.at, cause: due.cause };
    Some(Check::due(record.key.clone(), claim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrderKey;
    use crate::record::Cause;

    #[test]
    fn a_claim_moves_the_due_time_and_an_early_one_does_nothing() {
        let now = Timestamp::from_millis(5_000);
        let mut record = Record::new(OrderKey::new("1", "T").unwrap(), now, now);
        record.due = Some(Due { at: now, cause: Cause::Cadence });
        assert_eq!(claim(&mut record, now - Millis(1)), None);
        let check = claim(&mut record, now).unwrap();
        assert_eq!(check.claim.unwrap().number, record.claim);
        assert_eq!(record.due.unwrap().at, now + CLAIM_LENGTH);
        assert_eq!(claim(&mut record, now), None);
    }

    #[test]
    fn the_check_and_what_is_left_behind_keep_the_due_time_s_cause() {
        let due_at = Timestamp::from_millis(5_000);
        let now = due_at + Millis(1_234);
        for cause in [Cause::Cadence, Cause::Notified, Cause::Outgoing] {
            let mut record = Record::new(OrderKey::new("1", "T").unwrap(), due_at, due_at);
            record.claim = 6;
            record.due = Some(Due { at: due_at, cause });
            let made = claim(&mut record, now).unwrap();
            assert_eq!(made.claim, Some(Claim { number: 7, due_for: due_at, cause }));
            assert_eq!(
                record.due,
                Some(Due { at: now + CLAIM_LENGTH, cause }),
                "a lost check is as urgent again"
            );
        }
    }

    #[test]
    fn a_record_without_a_due_time_is_never_claimed() {
        let now = Timestamp::from_millis(5_000);
        let mut record = Record::new(OrderKey::new("1", "T").unwrap(), now, now);
        let before = record.clone();
        assert_eq!(claim(&mut record, now), None);
        assert_eq!(record, before);
    }
}
