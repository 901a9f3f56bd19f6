//! A check: the durable request to find out the truth about one order.
//!
//! It carries a hint at most, never a fact. The document has a format version, so that processes of two versions can
//! share a queue.

use serde::{Deserialize, Serialize};

use crate::ids::{OrderKey, OutRefundNo, TransactionId};
use crate::record::{Cause, SeenAs};
use crate::shadow::Telling;
use crate::time::Timestamp;

/// The newest version that this code reads; it reads the one before, too.
pub const FORMAT_VERSION: u8 = 2;

/// The version of a check that no refund caused. A reader that knows nothing of refunds would take one for a notification
/// of the payment, so only those carry the newer version.
const FORMAT_VERSION_PLAIN: u8 = 1;

/// Why the truth is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// An authentic notification came.
    Notified,
    /// The record's due time came.
    Due,
    /// The morning's bill lists it.
    Billed,
    /// A shop or an operator asks.
    Manual,
}

impl Reason {
    /// The word used in documents, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Notified => "notified",
            Reason::Due => "due",
            Reason::Billed => "billed",
            Reason::Manual => "manual",
        }
    }
}

/// Which of the two queues a check travels in: a backlog of polls must never delay a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Notified, manual and billed checks, and due ones whose cause is urgent.
    Urgent,
    /// Cadence polls and their retries.
    Cadence,
}

impl Lane {
    /// Both, the urgent one first.
    pub const ALL: [Lane; 2] = [Lane::Urgent, Lane::Cadence];
}

/// What a due check was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The record's claim number; a check whose number is no longer the record's is stale.
    pub number: u64,
    /// The due time it was made for.
    #[serde(rename = "due")]
    pub due_for: Timestamp,
    /// What made the record due.
    pub cause: Cause,
}

/// A durable request to find out the truth about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub key: OrderKey,
    pub reason: Reason,
    /// The notification's (or bill row's) own number: a hint for dropping duplicates, never used in a query.
    pub transaction_id: Option<TransactionId>,
    /// As whose order the notification came: whom to ask as, when nobody registered the order.
    pub seen_as: Option<SeenAs>,
    /// Present on due checks only.
    pub claim: Option<Claim>,
    /// Absent from the document where it is [`Telling::Usual`].
    pub telling: Telling,
    /// The refund whose notification came: the check is about this refund, and says nothing of the payment.
    pub refund: Option<OutRefundNo>,
}

/// The wire form. Field names are short because a queue holds millions.
#[derive(Serialize, Deserialize)]
struct Document {
    v: u8,
    mch_id: String,
    out_trade_no: String,
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction_id: Option<TransactionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen_as: Option<SeenAs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "is_usual")]
    telling: Telling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund: Option<OutRefundNo>,
}

/// What every version's document has.
#[derive(Deserialize)]
struct Version {
    v: u8,
}

fn is_usual(telling: &Telling) -> bool {
    *telling == Telling::Usual
}

/// A queue entry that is no check of ours.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("not a check document: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("check document version {0} is newer than this process reads")]
    Version(u8),
    #[error(transparent)]
    Id(#[from] crate::ids::IdError),
    #[error("a due check without its claim")]
    NoClaim,
}

impl Check {
    /// An authentic notification came for the order.
    pub fn notified(key: OrderKey, transaction_id: Option<TransactionId>) -> Self {
        Self { transaction_id, ..Self::plain(key, Reason::Notified) }
    }

    /// A notification of a refund came: authentic as far as one can be that nobody signed.
    pub fn refund_notified(key: OrderKey, refund: OutRefundNo) -> Self {
        Self { refund: Some(refund), ..Self::plain(key, Reason::Notified) }
    }

    /// The same, with the appid and the sub merchant that the notification named.
    pub fn with_seen_as(self, seen_as: SeenAs) -> Self {
        Self { seen_as: Some(seen_as), ..self }
    }

    /// A shop or an operator asks.
    pub fn manual(key: OrderKey) -> Self {
        Self::plain(key, Reason::Manual)
    }

    /// The order's due time came.
    pub fn due(key: OrderKey, claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::plain(key, Reason::Due) }
    }

    fn plain(key: OrderKey, reason: Reason) -> Self {
        let (transaction_id, seen_as, claim, refund) = (None, None, None, None);
        Self { key, reason, transaction_id, seen_as, claim, telling: Telling::Usual, refund }
    }

    /// The same, with what it means for the telling.
    pub fn with_telling(self, telling: Telling) -> Self {
        Self { telling, ..self }
    }

    /// What makes the record due if this check cannot be finished.
    pub fn cause(&self) -> Cause {
        match self.reason {
            _ if self.refund.is_some() => Cause::Refund,
            Reason::Notified => Cause::Notified,
            Reason::Manual => Cause::Manual,
            Reason::Billed => Cause::Billed,
            Reason::Due => self.claim.map_or(Cause::Cadence, |claim| claim.cause),
        }
    }

    /// The queue it belongs to.
    pub fn lane(&self) -> Lane {
        if self.cause().is_urgent() { Lane::Urgent } else { Lane::Cadence }
    }

    /// The document that queues keep.
    pub fn to_json(&self) -> Vec<u8> {
        let document = Document {
            v: if self.refund.is_some() { FORMAT_VERSION } else { FORMAT_VERSION_PLAIN },
            mch_id: self.key.mch_id.as_str().to_owned(),
            out_trade_no: self.key.out_trade_no.as_str().to_owned(),
            reason: self.reason,
            transaction_id: self.transaction_id.clone(),
            seen_as: self.seen_as.clone(),
            claim: self.claim,
            telling: self.telling,
            refund: self.refund.clone(),
        };
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// Reads a document of this version or the one before.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CheckError> {
        let document: Document = match serde_json::from_slice(bytes) {
            Ok(document) => document,
            // A newer one may hold words that are not known here; only of what claims to be no newer is that a fault.
            Err(cause) => match serde_json::from_slice(bytes) {
                Ok(Version { v }) if v > FORMAT_VERSION => return Err(CheckError::Version(v)),
                _ => return Err(cause.into()),
            },
        };
        if document.v > FORMAT_VERSION {
            return Err(CheckError::Version(document.v));
        }
        if document.reason == Reason::Due && document.claim.is_none() {
            return Err(CheckError::NoClaim);
        }
        Ok(Self {
            key: OrderKey::new(document.mch_id, document.out_trade_no)?,
            reason: document.reason,
            transaction_id: document.transaction_id,
            seen_as: document.seen_as,
            claim: document.claim,
            telling: document.telling,
            refund: document.refund,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> OrderKey {
        OrderKey::new("1900000109", "T1").unwrap()
    }

    #[test]
    fn a_check_survives_the_queue() {
        let claim = Claim { number: 4, due_for: Timestamp::from_millis(9), cause: Cause::Manual };
        let hint = TransactionId::new("42").unwrap();
        let copied = Check::notified(key(), None).with_telling(Telling::Copied);
        let released = Check::manual(key()).with_telling(Telling::Release);
        let usual = [Check::notified(key(), Some(hint)), Check::manual(key()), Check::due(key(), claim)];
        let refund = Check::refund_notified(key(), OutRefundNo::new("R1").unwrap());
        for check in usual.into_iter().chain([copied, released, refund]) {
            assert_eq!(Check::from_json(&check.to_json()).unwrap(), check);
        }
    }

    #[test]
    fn a_newer_document_is_refused_not_misread() {
        let json = br#"{"v":3,"mch_id":"1","out_trade_no":"T","reason":"manual"}"#;
        assert!(matches!(Check::from_json(json), Err(CheckError::Version(3))));
    }

    #[test]
    fn a_newer_document_with_words_of_its_own_is_newer_and_not_malformed() {
        let newer = [
            r#"{"v":3,"mch_id":"1","out_trade_no":"T","reason":"foretold"}"#,
            r#"{"v":3,"mch_id":"1","out_trade_no":"T","reason":"manual","telling":"whispered"}"#,
            r#"{"v":3,"mch_id":"1","out_trade_no":"T","reason":"due","claim":{"number":1,"due":0,"cause":"weather"}}"#,
            r#"{"v":3,"order":{"wanted":"T"}}"#,
        ];
        for json in newer {
            let read = Check::from_json(json.as_bytes());
            assert!(matches!(read, Err(CheckError::Version(3))), "{json}: {read:?}");
            let ours = json.replace("\"v\":3", "\"v\":2");
            let read = Check::from_json(ours.as_bytes());
            assert!(matches!(read, Err(CheckError::Malformed(_))), "{ours}: {read:?}");
        }
    }

    #[test]
    fn only_a_refund_s_check_is_newer_than_a_reader_without_refunds_knows() {
        let version = |check: Check| {
            let document: serde_json::Value = serde_json::from_slice(&check.to_json()).unwrap();
            document["v"].as_u64().unwrap()
        };
        assert_eq!(version(Check::notified(key(), None)), 1);
        assert_eq!(version(Check::manual(key())), 1);
        let refund = Check::refund_notified(key(), OutRefundNo::new("R1").unwrap());
        assert_eq!(version(refund.clone()), 2, "it would be taken for a notification of the payment");
        assert_eq!((refund.cause(), refund.lane()), (Cause::Refund, Lane::Urgent));
    }

    #[test]
    fn urgent_due_checks_travel_with_the_notifications() {
        let claim = |cause| Claim { number: 1, due_for: Timestamp::from_millis(0), cause };
        assert_eq!(Check::due(key(), claim(Cause::Cadence)).lane(), Lane::Cadence);
        assert_eq!(Check::due(key(), claim(Cause::Outgoing)).lane(), Lane::Urgent);
        assert_eq!(Check::manual(key()).lane(), Lane::Urgent);
    }
}
