//! Which payments of the ledger the bill has shown: eight bytes and a bit each.
//!
//! A payment is remembered by a fingerprint of all that has to agree, so that a row which meets it agrees in
//! everything. Two different ones of a million share a fingerprint once in 30 million days.

use std::hash::{DefaultHasher, Hash, Hasher};

use paybell_core::money::Fen;
use paybell_core::record::State;

use crate::ledger::Held;
use crate::standing::Standing;

/// What has to agree, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Print(u64);

/// What has to agree.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Facts<'a> {
    pub out_trade_no: &'a str,
    pub transaction_id: Option<&'a str>,
    pub fee: i64,
    pub fee_type: &'a str,
    /// A person has to accept it, or rejected it.
    pub is_held_back: bool,
}

impl Print {
    pub fn of(facts: Facts<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        facts.hash(&mut hasher);
        Print(hasher.finish())
    }

    pub fn of_held(held: &Held) -> Self {
        Self::of(Facts {
            out_trade_no: &held.out_trade_no,
            transaction_id: held.transaction_id.as_deref(),
            fee: fen_of(held.fee),
            fee_type: held.fee_type.as_str(),
            is_held_back: is_held_back(held.state),
        })
    }

    /// `None` without a payment.
    pub fn of_standing(standing: &Standing) -> Option<Self> {
        let payment = standing.payment.as_ref()?;
        Some(Self::of(Facts {
            out_trade_no: &standing.out_trade_no,
            transaction_id: payment.transaction_id.as_deref(),
            fee: fen_of(payment.fee),
            fee_type: payment.fee_type.as_str(),
            is_held_back: is_held_back(standing.state),
        }))
    }
}

/// An amount that is not known agrees with none.
fn fen_of(fee: Option<Fen>) -> i64 {
    fee.map_or(-1, Fen::get)
}

fn is_held_back(state: State) -> bool {
    matches!(state, State::Mismatch | State::Rejected)
}

/// What marking found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    First,
    Again,
    Absent,
}

/// The fingerprints of a day, and which were shown.
#[derive(Debug, Default)]
pub(crate) struct Met {
    sorted: Vec<Print>,
    shown: Vec<bool>,
    waiting: usize,
}

impl Met {
    pub fn new(mut prints: Vec<Print>) -> Self {
        prints.sort_unstable();
        prints.dedup();
        Self { shown: vec![false; prints.len()], waiting: prints.len(), sorted: prints }
    }

    /// The bill shows it.
    pub fn mark(&mut self, print: Print) -> Marked {
        let shown = self.place(print).and_then(|place| self.shown.get_mut(place));
        match shown {
            None => Marked::Absent,
            Some(true) => Marked::Again,
            Some(shown) => {
                *shown = true;
                self.waiting -= 1;
                Marked::First
            }
        }
    }

    /// Whether it is held and was not shown.
    pub fn is_waiting(&self, print: Print) -> bool {
        self.place(print).and_then(|place| self.shown.get(place)) == Some(&false)
    }

    /// How many were not shown.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn place(&self, print: Print) -> Option<usize> {
        self.sorted.binary_search(&print).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Facts<'_> = Facts {
        out_trade_no: "T1",
        transaction_id: Some("42"),
        fee: 1999,
        fee_type: "CNY",
        is_held_back: false,
    };

    #[test]
    fn what_was_shown_is_remembered() {
        let print = |out_trade_no| Print::of(Facts { out_trade_no, ..USUAL });
        let mut met = Met::new(vec![print("T1"), print("T2"), print("T2")]);
        assert_eq!(met.waiting(), 2);
        assert_eq!(met.mark(print("T2")), Marked::First);
        assert_eq!(met.mark(print("T2")), Marked::Again);
        assert_eq!(met.mark(print("T3")), Marked::Absent);
        assert!(met.is_waiting(print("T1")) && !met.is_waiting(print("T2")) && !met.is_waiting(print("T3")));
        assert_eq!(met.waiting(), 1);
    }

    #[test]
    fn whatever_differs_gives_another_fingerprint() {
        for other in [
            Facts { out_trade_no: "T2", ..USUAL },
            Facts { transaction_id: Some("43"), ..USUAL },
            Facts { transaction_id: None, ..USUAL },
            Facts { fee: 1998, ..USUAL },
            Facts { fee_type: "HKD", ..USUAL },
            Facts { is_held_back: true, ..USUAL },
        ] {
            assert_ne!(Print::of(USUAL), Print::of(other), "{other:?}");
        }
    }
}
