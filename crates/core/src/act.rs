//! What operators did: who, from where, when, what, to which object, why, and what came of it.
//!
//! An act is stored before its effect and its outcome after it, so that no effect is without an entry. It decides
//! nothing and changes no order: it is for the person who asks later. Listings of it are kept by the [`Acts`] port.
//!
//! [`Acts`]: crate::ports::Acts

use serde::{Deserialize, Serialize};

use crate::ids::MchId;
use crate::time::{Millis, Timestamp};

/// How long an act is kept at least; each new one lets those go that are older.
pub const ACT_AGE_MAX: Millis = Millis::seconds(100 * 86_400);

/// The outcome of an act that did what was asked; any other word says why not.
pub const DONE: &str = "done";

/// What operators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Took a payment that disagrees with its order as good.
    Accept,
    /// Declined one.
    Reject,
    /// Asked WeChat about an order by hand.
    Check,
    /// Closed an order at WeChat by hand.
    Close,
    /// Had an order told outside that was decided in shadow mode.
    Release,
    /// Asked for a refund.
    Refund,
    /// Had a dead letter handled again.
    DeadReplay,
    /// Forgot a dead letter.
    DeadDrop,
    /// Sent events to an endpoint again.
    EndpointResend,
    /// Had an endpoint served again.
    EndpointEnable,
    /// Had a day's bill reconciled.
    BillReconcile,
    /// Changed the mode of the whole installation.
    ModeChange,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 12] = [
        Action::Accept,
        Action::Reject,
        Action::Check,
        Action::Close,
        Action::Release,
        Action::Refund,
        Action::DeadReplay,
        Action::DeadDrop,
        Action::EndpointResend,
        Action::EndpointEnable,
        Action::BillReconcile,
        Action::ModeChange,
    ];

    /// The word used in documents and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Accept => "accept",
            Action::Reject => "reject",
            Action::Check => "check",
            Action::Close => "close",
            Action::Release => "release",
            Action::Refund => "refund",
            Action::DeadReplay => "dead.replay",
            Action::DeadDrop => "dead.drop",
            Action::EndpointResend => "endpoint.resend",
            Action::EndpointEnable => "endpoint.enable",
            Action::BillReconcile => "bill.reconcile",
            Action::ModeChange => "mode.change",
        }
    }

    /// The action of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One act as it is stored before its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// By the ledger's clock.
    pub at: Timestamp,
    /// The caller's name.
    pub who: String,
    /// The address that the request came from.
    pub peer: String,
    /// A word of [`Action`], kept as text: another version may know more of them.
    pub action: String,
    /// What it was done to, as its path below `/v1/`: `orders/1900000109/T1`, `dead/UUID`.
    pub object: String,
    /// The merchant it concerns, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mch_id: Option<MchId>,
    /// In the caller's words; may be empty.
    pub why: String,
}

/// A stored act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActEntry {
    /// 1 for the first, then one more with each; never given twice.
    pub number: u64,
    pub act: Act,
    /// [`DONE`], or a word that says why not; `None` while nobody knows: it is in hand, or its process ended.
    pub outcome: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_word_of_its_own() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        assert_eq!(Action::parse("Accept"), None);
    }
}
