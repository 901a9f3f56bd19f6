//! The comparison behind `paybell shadow report`: what Paybell decided beside what the shop's old handler says it saw.
//!
//! [`sheet`] and [`access_log`] read the handler's side, [`decided`] fetches ours over the private API, [`compare`]
//! judges without reading anything, [`show`] prints. Changes nothing anywhere.

pub mod access_log;
pub mod compare;
pub mod decided;
pub mod moment;
pub mod sheet;
pub mod show;
mod words;

use paybell_core::Timestamp;

/// A payment as Paybell decided it, told or withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub mch_id: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    /// Fen.
    pub total_fee: i64,
    pub paid_at: Timestamp,
    /// When Paybell knew.
    pub learned_at: Timestamp,
    pub learned_by: String,
    /// Why it would have been `order.mismatch` instead of `order.paid`.
    pub mismatch: Option<String>,
}

/// One line of what the handler says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: usize,
    pub mch_id: Option<String>,
    pub out_trade_no: String,
    pub at: Timestamp,
    pub transaction_id: Option<String>,
    /// Fen.
    pub total_fee: Option<i64>,
}

/// From when on, and until before when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Period {
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}
