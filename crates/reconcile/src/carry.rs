//! What one day's comparison leaves to the next day's.
//!
//! The rule of midnight: WeChat files a payment by its own moment of success, which may differ from ours by seconds.
//! So a payment within [`EDGE`] of midnight may be in either day's bill, is looked for in both, and is reported only
//! once neither has it. Three cases of a payment that we hold:
//!
//! - at the end of the day and not in its bill: *open*, the next day's bill is asked before it is reported;
//! - at the beginning of the day and not in its bill: reported, unless the day before's bill had it (*early*); where
//!   the day before was not compared it cannot be judged, and is only counted;
//! - in this bill though we hold it as paid the next day: *early*, so that the next day does not miss it.

use paybell_core::time::Millis;
use serde::{Deserialize, Serialize};

use crate::ledger::Held;

/// How far from midnight a payment may be in the neighbour's bill.
pub const EDGE: Millis = Millis::seconds(300);

/// Payments of each sort that are carried over, at most; the others are reported at once.
pub const CARRIED_MAX: usize = 1000;

/// What the next day has to know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Carry {
    /// Ours of the last minutes of the day, that its bill does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Held>,
    /// Ours of the first minutes of the next day, that this day's bill has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<Early>,
}

/// A payment that a bill showed before its day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    pub out_trade_no: String,
    pub transaction_id: Option<String>,
}
