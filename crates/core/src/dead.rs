//! Dead letters: checks that cannot be handled, kept with their reason until a person replays or drops them.
//!
//! A letter that this version cannot read, because a newer one wrote it or it is damaged, is shown as it stands among the
//! others, so that it hides none of them. Nothing is replayed on the strength of what could not be read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::check::Check;
use crate::event::NAMESPACE;
use crate::ids::{OrderKey, OutRefundNo};
use crate::time::{Timestamp, rfc3339};

/// Why a check cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// An authentic answer about another order, appid or sub merchant.
    WrongOrder,
    /// A trade state this version does not know, seen after the last cadence point.
    UnknownTradeState,
    /// A refunded payment whose answer lacks what an event needs, after the last cadence point.
    IncompleteAnswer,
    /// A signed business error that only a person can mend (`SIGNERROR`, `NOAUTH`, …).
    RefusedByWechat,
    /// The merchant is no longer in the configuration.
    UnknownMerchant,
    /// Ten leases in a row ended without a result.
    Poison,
    /// A queue entry that is no check of ours.
    Malformed,
    /// A refund that is not settled after 30 days.
    RefundStuck,
    /// A refund that WeChat knows with another amount than was asked for under its number.
    RefundDiffers,
    /// A registration that came by message and cannot be taken; nobody waits for its answer.
    Registration,
    /// A record that this version cannot read: a newer one wrote it, or it is damaged. It stays as it is.
    Unreadable,
    /// A word that this version does not know; [`UNKNOWN`] where not even a word is to be had.
    #[serde(untagged)]
    Unknown(String),
}

/// The reason of a letter whose reason cannot be read.
const UNKNOWN: &str = "unknown";

impl DeadReason {
    /// The word used in documents, logs and metrics.
    pub fn as_str(&self) -> &str {
        match self {
            DeadReason::WrongOrder => "wrong_order",
            DeadReason::UnknownTradeState => "unknown_trade_state",
            DeadReason::IncompleteAnswer => "incomplete_answer",
            DeadReason::RefusedByWechat => "refused_by_wechat",
            DeadReason::UnknownMerchant => "unknown_merchant",
            DeadReason::Poison => "poison",
            DeadReason::Malformed => "malformed",
            DeadReason::RefundStuck => "refund_stuck",
            DeadReason::RefundDiffers => "refund_differs",
            DeadReason::Registration => "registration",
            DeadReason::Unreadable => "unreadable",
            DeadReason::Unknown(word) => word,
        }
    }
}

/// Letters of posted registrations that name no order, at most. Beyond, the newer of two documents with one place is kept.
const ORDERLESS_MAX: u64 = 1024;

/// A check that cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Derives from order, reason and refund (of a registration without an order: from its document): a repeat raises
    /// `count`.
    pub id: Uuid,
    pub mch_id: String,
    pub out_trade_no: String,
    pub reason: DeadReason,
    /// For a person: what was seen, never a secret.
    pub detail: String,
    pub count: u64,
    #[serde(with = "rfc3339")]
    pub first_at: Timestamp,
    #[serde(with = "rfc3339")]
    pub last_at: Timestamp,
    /// The registration as it came, so that it can be replayed; absent for checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The refund whose look left the letter: a replay looks at it again, and not at the order's payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<OutRefundNo>,
}

impl DeadLetter {
    /// A first occurrence.
    pub fn about(key: &OrderKey, reason: DeadReason, detail: impl Into<String>, now: Timestamp) -> Self {
        Self {
            id: dead_id(key.mch_id.as_str(), key.out_trade_no.as_str(), &reason),
            mch_id: key.mch_id.as_str().to_owned(),
            out_trade_no: key.out_trade_no.as_str().to_owned(),
            reason,
            detail: detail.into(),
            count: 1,
            first_at: now,
            last_at: now,
            document: None,
            refund: None,
        }
    }

    /// The same about one refund of the order: a letter of its own.
    pub fn of_refund(self, number: &OutRefundNo) -> Self {
        let of = format!("{}\n{number}", self.out_trade_no);
        Self { id: dead_id(&self.mch_id, &of, &self.reason), refund: Some(number.clone()), ..self }
    }

    /// A queue entry that is no check of ours: it names no order, so all of them share one letter.
    pub fn malformed(detail: impl Into<String>, now: Timestamp) -> Self {
        Self {
            id: dead_id("", "", &DeadReason::Malformed),
            mch_id: String::new(),
            out_trade_no: String::new(),
            reason: DeadReason::Malformed,
            detail: detail.into(),
            count: 1,
            first_at: now,
            last_at: now,
            document: None,
            refund: None,
        }
    }

    /// A registration that came by message; `key` if it names an order. One that names none has a letter by what it
    /// says, so that another broken one does not replace it.
    pub fn registration(
        key: Option<&OrderKey>,
        document: String,
        detail: impl Into<String>,
        now: Timestamp,
    ) -> Self {
        let reason = DeadReason::Registration;
        let (mch_id, out_trade_no) =
            key.map_or(("", ""), |key| (key.mch_id.as_str(), key.out_trade_no.as_str()));
        let of = if key.is_some() { out_trade_no.to_owned() } else { shelf_of(&document) };
        let id = dead_id(mch_id, &of, &reason);
        let (mch_id, out_trade_no) = (mch_id.to_owned(), out_trade_no.to_owned());
        let (detail, document) = (detail.into(), Some(document));
        let (count, first_at, last_at, refund) = (1, now, now, None);
        Self { id, mch_id, out_trade_no, reason, detail, count, first_at, last_at, document, refund }
    }

    /// What is shown in the place of a letter that cannot be read: its id, its text as it stands, and what of it can be
    /// made out.
    pub fn unreadable(id: Uuid, text: &str, cause: impl std::fmt::Display) -> Self {
        let found: Value = serde_json::from_str(text).unwrap_or_default();
        let word = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default();
        let at = |name| Timestamp::parse_rfc3339(word(name)).unwrap_or(Timestamp::from_millis(0));
        Self {
            id,
            mch_id: word("mch_id").to_owned(),
            out_trade_no: word("out_trade_no").to_owned(),
            reason: DeadReason::Unknown(UNKNOWN.to_owned()),
            detail: format!("this version of paybell cannot read the letter ({cause}), which is: {text}"),
            count: found.get("count").and_then(Value::as_u64).unwrap_or(1),
            first_at: at("first_at"),
            last_at: at("last_at"),
            document: None,
            refund: None,
        }
    }

    /// Whether a newer version wrote it, or it is damaged: what it asks for is not known.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.reason, DeadReason::Unknown(_))
    }

    /// The stored letter after one more occurrence. One that cannot be read has nothing to add to.
    pub fn repeated(mut self, again: DeadLetter) -> Self {
        if self.is_unreadable() {
            return again;
        }
        self.count = self.count.saturating_add(again.count);
        self.detail = again.detail;
        self.last_at = again.last_at;
        self.document = again.document;
        self
    }

    /// The order it is about, if it names one.
    pub fn key(&self) -> Option<OrderKey> {
        OrderKey::new(self.mch_id.as_str(), self.out_trade_no.as_str()).ok()
    }

    /// The check that a replay publishes. One of a refund leaves an order that only its refund made known as it is. A
    /// letter that cannot be read has none: it may be about something that this version knows nothing of.
    pub fn check(&self) -> Option<Check> {
        if self.is_unreadable() {
            return None;
        }
        let check = Check::manual(self.key()?);
        Some(Check { refund: self.refund.clone(), ..check })
    }
}

/// What came of forgetting a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// There was none of its id.
    Absent,
    /// It is not the letter that was read: another occurrence was stored since, and waits for somebody to read it.
    Repeated,
}

/// What is to become of the letter that stands under the id of one that was read. [`Removed::Gone`]: it may go.
pub fn removal(stored: Option<&DeadLetter>, read: &DeadLetter) -> Removed {
    match stored {
        None => Removed::Absent,
        Some(stored) if stored == read => Removed::Gone,
        Some(_) => Removed::Repeated,
    }
}

/// Where a document without an order lies: by a hash of it, and there are only so many places, because whoever may post
/// can post without end.
fn shelf_of(document: &str) -> String {
    let (hash, _) = Uuid::new_v5(&NAMESPACE, document.as_bytes()).as_u64_pair();
    format!("document {}", hash % ORDERLESS_MAX)
}

fn dead_id(mch_id: &str, out_trade_no: &str, reason: &DeadReason) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{mch_id}\n{out_trade_no}\ndead\n{}", reason.as_str()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_repeat_raises_the_count_under_one_id() {
        let key = OrderKey::new("1", "T").unwrap();
        let at = |s| Timestamp::from_millis(s);
        let first = DeadLetter::about(&key, DeadReason::Poison, "a", at(1));
        let again = DeadLetter::about(&key, DeadReason::Poison, "b", at(2));
        assert_eq!(first.id, again.id);
        let both = first.repeated(again);
        assert_eq!((both.count, both.first_at, both.last_at, both.detail.as_str()), (2, at(1), at(2), "b"));
        assert_ne!(both.id, DeadLetter::about(&key, DeadReason::WrongOrder, "", at(1)).id);
        let refund = |number| both.clone().of_refund(&OutRefundNo::new(number).unwrap());
        assert_ne!(both.id, refund("R1").id);
        assert_ne!(
            refund("R1").id,
            refund("R2").id,
            "the second refund's letter must not replace the first's"
        );
        assert_eq!(refund("R1").id, refund("R1").id);
    }

    #[test]
    fn broken_registrations_without_an_order_have_letters_of_their_own_and_not_without_end() {
        let now = Timestamp::from_millis(1);
        let letter = |body: String| DeadLetter::registration(None, body, "no order", now);
        let broken: HashSet<_> =
            ["no json", "[]", "{}", "{\"mch_id\":1}"].map(|body| letter(body.to_owned()).id).into();
        assert_eq!(broken.len(), 4);
        assert_eq!(letter("{}".to_owned()).id, letter("{}".to_owned()).id, "the same again raises the count");
        let flood: HashSet<_> = (0..20_000).map(|number| letter(format!("junk {number}")).id).collect();
        assert_eq!(flood.len(), 1024);
        let key = OrderKey::new("1", "T").unwrap();
        let of_order = |body: &str| DeadLetter::registration(Some(&key), body.to_owned(), "", now).id;
        assert_eq!(of_order("a"), of_order("b"), "an order has one letter, with what was posted last");
    }

    #[test]
    fn a_letter_from_before_refunds_is_read_and_written_as_ever() {
        let key = OrderKey::new("1", "T").unwrap();
        let letter = DeadLetter::about(&key, DeadReason::Poison, "a", Timestamp::from_millis(0));
        let json = serde_json::to_string(&letter).unwrap();
        assert!(!json.contains("refund"), "{json}");
        assert_eq!(serde_json::from_str::<DeadLetter>(&json).unwrap(), letter);
    }
    #[test]
    fn a_reason_of_a_newer_version_stays_the_word_it_is_and_asks_for_nothing() {
        let key = OrderKey::new("1", "T").unwrap();
        let letter = DeadLetter::about(&key, DeadReason::Poison, "a", Timestamp::from_millis(0));
        let json = serde_json::to_string(&letter).unwrap();
        let newer = json.replace("\"poison\"", "\"moon_phase\"");
        let read: DeadLetter = serde_json::from_str(&newer).unwrap();
        assert_eq!(read.reason, DeadReason::Unknown("moon_phase".to_owned()));
        assert_eq!(serde_json::to_string(&read).unwrap(), newer, "and is written as it came");
        assert!(read.key().is_some());
        assert_eq!(read.check(), None, "it may be about something that this version knows nothing of");
        assert!(letter.check().is_some());
        let known: DeadReason = serde_json::from_str("\"refund_differs\"").unwrap();
        assert_eq!(known, DeadReason::RefundDiffers);
    }

    #[test]
    fn what_can_be_made_out_of_an_unreadable_letter_is_shown_with_its_text() {
        let text =
            r#"{"mch_id":"1","out_trade_no":"T","count":{"since":3},"last_at":"2026-11-20T12:00:00+08:00"}"#;
        let shown = DeadLetter::unreadable(Uuid::from_u128(7), text, "count is no number");
        assert_eq!((shown.id, shown.key()), (Uuid::from_u128(7), OrderKey::new("1", "T").ok()));
        assert_eq!((shown.reason.as_str(), shown.count), ("unknown", 1));
        assert_eq!(shown.last_at.rfc3339(), "2026-11-20T12:00:00+08:00");
        assert!(
            shown.detail.contains(text) && shown.detail.contains("count is no number"),
            "{}",
            shown.detail
        );
        assert_eq!(shown.check(), None);
        let damaged = DeadLetter::unreadable(Uuid::from_u128(7), "{", "no end");
        assert_eq!((damaged.key(), damaged.mch_id.as_str(), damaged.count), (None, "", 1));
        let key = OrderKey::new("1", "T").unwrap();
        let again = DeadLetter::about(&key, DeadReason::Poison, "a", Timestamp::from_millis(5));
        assert_eq!(shown.repeated(again.clone()), again, "a commit must not fail because of it");
    }

    #[test]
    fn only_the_letter_that_was_read_is_forgotten() {
        let key = OrderKey::new("1", "T").unwrap();
        let read = DeadLetter::about(&key, DeadReason::Poison, "a", Timestamp::from_millis(1));
        let again = read.clone().repeated(read.clone());
        assert_eq!(removal(Some(&read), &read), Removed::Gone);
        assert_eq!(removal(Some(&again), &read), Removed::Repeated);
        assert_eq!(removal(None, &read), Removed::Absent);
    }
}
