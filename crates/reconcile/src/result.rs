//! What a comparison came to: the sums of the bill, how many agreed, how many differed and in what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::carry::Carry;
use crate::difference::{Difference, Kind};
use crate::scope::OutOfScope;
use crate::sums::{SubSums, Sums};

/// Differences that are kept in the result; all of them went to the listener.
pub const LISTED_MAX: usize = 1000;

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    pub mch_id: String,
    /// `2026-11-18`: the first day of the bill, and the last, which is the same for a day's bill.
    pub first_date: String,
    pub last_date: String,
    /// Rows of the bill.
    pub rows: u64,
    /// Per currency, CNY first; never empty.
    pub sums: Vec<Sums>,
    /// A service provider's, per sub merchant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_sub_merchant: Vec<SubSums>,
    /// Rows that agree with the ledger.
    pub agreed: u64,
    /// Rows of refunds that were not compared, because nothing is known of refunds here.
    pub not_compared: u64,
    /// Differences by kind; kinds without any are left out.
    pub counts: BTreeMap<Kind, u64>,
    /// Checks that were handed out.
    pub checks: u64,
    /// What those payments come to, in fen, all currencies.
    pub checks_fen: i64,
    /// Payments that are outside the merchant's scope, by reason.
    pub reported_only: BTreeMap<OutOfScope, u64>,
    /// The first ones, as they were found.
    pub differences: Vec<Difference>,
    pub totals_off: Vec<TotalOff>,
    /// For the next day's comparison; left out of what people see.
    #[serde(default)]
    pub carry: Carry,
    /// Payments of the first minutes that cannot be judged, because the day before was not compared.
    pub unjudged: u64,
    /// Payments that the ledger holds, and that its own walk over the day did not show. Unless 0, payments that are
    /// only here may be missing from this result.
    pub missed_by_walk: u64,
}

/// One of the bill's own totals that is not the sum of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalOff {
    /// The bill's own name for it.
    pub name: String,
    /// In the total's own unit; `None` if the bill's value is no number.
    pub stated: Option<i64>,
    pub counted: i64,
}

impl Reconciliation {
    /// How many differences there are.
    #[must_use]
    pub fn differing(&self) -> u64 {
        self.counts.values().sum()
    }
}
