//! Which payments of a bill may become checks, and so events: those this installation is responsible for.
//!
//! The first bill of a new installation lists payments that the shop has long shipped. What is outside the scope is
//! reported and never asked about.

use std::fmt;
use std::sync::Arc;

use paybell_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::earlier::Earlier;

/// What this installation is responsible for, of one merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Payments before this are somebody else's: `active_since`.
    pub active_since: Timestamp,
    /// Payments before this are older than what the ledger remembers: now less `retention.orders`, or less what that was.
    pub remembered_since: Timestamp,
    /// Apps of the merchant that are served here; empty: all of them.
    pub appids: Vec<String>,
    /// Sub merchants that are served here; empty: all of them.
    pub sub_mch_ids: Vec<String>,
    /// Order numbers that are served here: `out_trade_no_pattern`.
    pub pattern: Option<Pattern>,
    /// The ledger in whose place there is another one now; `None` where it has been the same all the time.
    pub earlier: Option<Arc<Earlier>>,
}

/// Why a payment is reported only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfScope {
    /// Paid before `active_since`.
    BeforeActiveSince,
    /// Paid longer ago than `retention.orders`.
    TooOld,
    /// Paid in an app that the merchant's `app_ids` do not name.
    OtherApp,
    /// Paid to a sub merchant that `sub_mch_ids` do not name.
    OtherSubMerchant,
    /// An order number that `out_trade_no_pattern` does not let through.
    OtherNumber,
    /// Paid before the ledger began, and told then: an event of the log says so.
    ToldBefore,
    /// The same, told as a mismatch or as a second payment: a person has to look.
    ToldOtherwise,
    /// Paid before the ledger began, and the log does not reach back so far: it may have been told.
    BeforeLedger,
}

impl OutOfScope {
    /// The word used in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutOfScope::BeforeActiveSince => "before_active_since",
            OutOfScope::TooOld => "too_old",
            OutOfScope::OtherApp => "other_app",
            OutOfScope::OtherSubMerchant => "other_sub_merchant",
            OutOfScope::OtherNumber => "other_number",
            OutOfScope::ToldBefore => "told_before",
            OutOfScope::ToldOtherwise => "told_otherwise",
            OutOfScope::BeforeLedger => "before_ledger",
        }
    }
}

impl Scope {
    /// Everything from a moment on.
    #[must_use]
    pub fn since(active_since: Timestamp) -> Self {
        let (appids, sub_mch_ids, remembered_since) = (Vec::new(), Vec::new(), active_since);
        Self { active_since, remembered_since, appids, sub_mch_ids, pattern: None, earlier: None }
    }

    /// Why a payment is outside; `None` inside.
    #[must_use]
    pub fn excludes(
        &self,
        out_trade_no: &str,
        appid: &str,
        sub_mch_id: Option<&str>,
        paid_at: Timestamp,
    ) -> Option<OutOfScope> {
        let is_other_sub = |sub: &str| !self.sub_mch_ids.iter().any(|one| one == sub);
        if paid_at < self.active_since {
            Some(OutOfScope::BeforeActiveSince)
        } else if paid_at < self.remembered_since {
            Some(OutOfScope::TooOld)
        } else if !self.appids.is_empty() && !self.appids.iter().any(|one| one == appid) {
            Some(OutOfScope::OtherApp)
        } else if !self.sub_mch_ids.is_empty() && sub_mch_id.is_none_or(is_other_sub) {
            Some(OutOfScope::OtherSubMerchant)
        } else if self.pattern.as_ref().is_some_and(|pattern| !pattern.admits(out_trade_no)) {
            Some(OutOfScope::OtherNumber)
        } else {
            self.earlier.as_ref().and_then(|earlier| earlier.excludes(out_trade_no, paid_at))
        }
    }
}

/// A glob over order numbers: `*` stands for any characters, `?` for one, and a backslash takes a character as it is
/// (`*` may stand in an order number).
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Byte(u8),
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern is empty: leave it out to let every order number through")]
    Empty,
    #[error("the pattern ends in a backslash: write the character that it stands before")]
    Unfinished,
    #[error("{0:?} stands in no order number: those are of 0-9 A-Z a-z _ - | * @")]
    Impossible(char),
    #[error("the pattern has no more than {PATTERN_CHARS_MAX} characters")]
    TooLong,
}

/// Longest pattern.
pub const PATTERN_CHARS_MAX: usize = 128;

impl Pattern {
    /// Reads a glob such as `T2026*`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_CHARS_MAX {
            return Err(PatternError::TooLong);
        }
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let (letter, is_plain) = match letter {
                '\\' => (letters.next().ok_or(PatternError::Unfinished)?, true),
                letter => (letter, false),
            };
            parts.push(match letter {
                '*' if !is_plain => Part::Any,
                '?' if !is_plain => Part::One,
                letter if letter.is_ascii_alphanumeric() || "_-|*@".contains(letter) => {
                    Part::Byte(u8::try_from(letter).map_err(|_| PatternError::Impossible(letter))?)
                }
                letter => return Err(PatternError::Impossible(letter)),
            });
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether it lets the order number through.
    #[must_use]
    pub fn admits(&self, out_trade_no: &str) -> bool {
        let mut parts = self.parts.as_slice();
        let mut rest = out_trade_no.as_bytes();
        // Where to go on if the last `*` has to take one byte more.
        let mut retry: Option<(&[Part], &[u8])> = None;
        loop {
            match (parts.split_first(), rest.split_first()) {
                (Some((Part::Any, after)), _) => {
                    retry = Some((after, rest));
                    parts = after;
                    continue;
                }
                (Some((Part::One, after)), Some((_, left))) => {
                    (parts, rest) = (after, left);
                    continue;
                }
                (Some((Part::Byte(wanted), after)), Some((found, left))) if wanted == found => {
                    (parts, rest) = (after, left);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after, from)) = retry else { return false };
            let Some((_, left)) = from.split_first() else { return false };
            retry = Some((after, left));
            (parts, rest) = (after, left);
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_pattern_is_a_glob() {
        for (pattern, number, fits) in [
            ("T*", "T1", true),
            ("T*", "T", true),
            ("T*", "U1", false),
            ("*", "", true),
            ("*-web", "77-web", true),
            ("*-web", "77-web-2", false),
            ("*-*-*", "1-2", false),
            ("*-*-*", "1-2-3-4", true),
            ("A?", "A1", true),
            ("A?", "A", false),
            ("A?", "A12", false),
            (r"A\*", "A*", true),
            (r"A\*", "A1", false),
            ("*a*b", "xaxbxb", true),
            ("T1", "T1", true),
            ("T1", "t1", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().admits(number), fits, "{pattern} {number}");
        }
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("T\\"), Err(PatternError::Unfinished));
        assert_eq!(Pattern::parse("^T.*$"), Err(PatternError::Impossible('^')), "no regular expression");
        assert_eq!(Pattern::parse("订*"), Err(PatternError::Impossible('订')));
        assert_eq!(Pattern::parse(&"*".repeat(129)), Err(PatternError::TooLong));
        let slow = Pattern::parse(&"*a".repeat(60)).unwrap();
        assert!(!slow.admits(&"a".repeat(32)), "bounded however many stars there are");
    }

    #[test]
    fn what_is_outside_is_named() {
        let mut scope = Scope::since(ACTIVE);
        let later = Timestamp::from_millis(2_000_000);
        assert_eq!(scope.excludes("T1", "wx1", None, ACTIVE), None);
        let before = Timestamp::from_millis(999_999);
        assert_eq!(scope.excludes("T1", "wx1", None, before), Some(OutOfScope::BeforeActiveSince));
        scope.remembered_since = later;
        assert_eq!(scope.excludes("T1", "wx1", None, ACTIVE), Some(OutOfScope::TooOld));
        scope.appids = vec!["wx1".into(), "wx2".into()];
        assert_eq!(scope.excludes("T1", "wx2", None, later), None);
        assert_eq!(scope.excludes("T1", "wx3", None, later), Some(OutOfScope::OtherApp));
        scope.sub_mch_ids = vec!["77".into()];
        assert_eq!(scope.excludes("T1", "wx1", Some("77"), later), None);
        assert_eq!(scope.excludes("T1", "wx1", Some("78"), later), Some(OutOfScope::OtherSubMerchant));
        assert_eq!(scope.excludes("T1", "wx1", None, later), Some(OutOfScope::OtherSubMerchant));
        scope.pattern = Some(Pattern::parse("T*").unwrap());
        assert_eq!(scope.excludes("U1", "wx1", Some("77"), later), Some(OutOfScope::OtherNumber));
    }
}
