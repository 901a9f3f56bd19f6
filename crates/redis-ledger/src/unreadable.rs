//! Records that this process cannot read: a newer version wrote them, or they are damaged. They stay as they are, and a
//! letter says which orders wait for somebody who can read them. Never repairs and never guesses.

use futures_util::future::join_all;
use paybell_core::dead::{DeadLetter, DeadReason};
use paybell_core::ids::OrderKey;
use paybell_core::ports::PortError;
use paybell_core::record::Record;
use paybell_core::time::Timestamp;

use crate::change::stored_of;
use crate::engine::{Inner, within};
use crate::error::Fault;

/// What a look at many records found of one.
pub(crate) enum Read {
    Absent,
    Record(Box<Record>),
    Unreadable,
}

/// One record among others, which must not miss theirs because of it.
pub(crate) fn read_of(key: &OrderKey, bytes: Vec<u8>) -> Read {
    match stored_of(key, bytes) {
        Ok(None) => Read::Absent,
        Ok(Some(stored)) => Read::Record(Box::new(stored.record)),
        Err(fault) => {
            let cause = PortError::from(fault);
            tracing::warn!(order.key = %key, "order {key} is left out: {cause}");
            Read::Unreadable
        }
    }
}

/// The letter of a due record that was passed over.
pub(crate) fn letter_about(key: &OrderKey, fault: Fault, now: Timestamp) -> DeadLetter {
    DeadLetter::about(key, DeadReason::Unreadable, PortError::from(fault).to_string(), now)
}

impl Inner {
    /// Tells of records that were passed over. What is not told now is told when they come due again.
    pub async fn tell_unreadable(&self, letters: &[DeadLetter]) {
        let told = join_all(letters.iter().map(|letter| within(self.bury(letter)))).await;
        for (letter, told) in letters.iter().zip(told) {
            let (mch_id, out_trade_no) = (&letter.mch_id, &letter.out_trade_no);
            match told {
                Ok(()) => tracing::error!(
                    mch_id,
                    out_trade_no,
                    "order {out_trade_no} is due and passed over, a dead letter says so: {}",
                    letter.detail
                ),
                Err(error) => tracing::error!(mch_id, out_trade_no, error = %error,
                    "order {out_trade_no} is due and passed over, and no dead letter says so ({error}): {}", letter.detail),
            }
        }
    }
}
