//! The second reading: every row against the ledger, and what the ledger holds beyond them.
//!
//! First the ledger's payments of the day are taken as fingerprints; a row that meets its own agrees in everything and
//! costs nothing more. The others are asked for by number, in batches. What no row met is walked once more and is only
//! here, unless midnight explains it (`carry`). Nothing is published here: the listener gets each difference.

use std::collections::BTreeMap;
use std::io;

use paybell_core::ids::MchId;
use paybell_core::time::Timestamp;
use wechat_pay::bill::{BillDate, BillError};

use crate::carry::Carry;
use crate::difference::Difference;
use crate::ledger::{Ledger, LedgerError};
use crate::result::Reconciliation;
use crate::run::Comparison;
use crate::scope::Scope;
use crate::survey::{Source, Survey};

/// Rows between two reports of progress.
pub(crate) const ROWS_BETWEEN: u64 = 4096;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Task {
    pub mch_id: MchId,
    /// The first day of the bill, and the last: the same for a day's bill.
    pub first: BillDate,
    pub last: BillDate,
    /// What may be healed; `None`: nothing, everything is reported only.
    pub scope: Option<Scope>,
    /// What the comparison of the day before left; `None` if that day was not compared.
    pub carry: Option<Carry>,
    /// The ledger's clock.
    pub now: Timestamp,
}

/// Who hears of differences while a comparison runs.
pub trait Listener {
    /// A difference, with the check to publish if one may heal it. An error ends the comparison.
    fn found(&mut self, difference: &Difference) -> Result<(), Stopped>;

    /// How far it is.
    fn progress(&mut self, progress: Progress) -> Result<(), Stopped> {
        let _ = progress;
        Ok(())
    }
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    /// Rows of the bill, or payments of the ledger.
    pub done: u64,
    pub total: Option<u64>,
}

/// The parts of a comparison, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The bill is read to its end.
    Reading,
    /// The ledger's payments of the day are taken.
    Gathering,
    /// The rows are compared.
    Comparing,
    /// What no row met is looked for.
    Missing,
}

/// The listener wants no more: its word is why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub String);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    #[error("the bill cannot be opened: {0}")]
    Open(#[source] io::Error),
    #[error(transparent)]
    Bill(#[from] BillError),
    #[error("the ledger cannot be read: {0}")]
    Ledger(#[from] LedgerError),
    #[error("the comparison was stopped: {0}")]
    Stopped(#[from] Stopped),
    #[error("the bill changed between its two readings")]
    Changed,
    #[error("the bill has more than {} rows", crate::survey::ROWS_MAX)]
    TooManyRows,
    #[error("no row of the bill is of merchant {wanted}; it has rows of {found}")]
    OtherMerchant { wanted: MchId, found: String },
    #[error("no row of the bill is of {wanted}; its first is of {found}")]
    OtherDay { wanted: BillDate, found: BillDate },
}

/// Compares a surveyed bill with the ledger.
pub fn compare(
    task: &Task,
    survey: &Survey,
    source: &mut dyn Source,
    ledger: &mut dyn Ledger,
    listener: &mut dyn Listener,
) -> Result<Reconciliation, Failure> {
    is_the_one(task, survey)?;
    let mut comparison = Comparison::new(task, ledger, listener, empty_result(task, survey));
    comparison.gather()?;
    comparison.read(survey, source)?;
    comparison.find_missing()?;
    comparison.report_totals(survey);
    Ok(comparison.result)
}

/// A bill of somebody else, or of another day, would differ in every row.
fn is_the_one(task: &Task, survey: &Survey) -> Result<(), Failure> {
    if survey.rows > 0 && !survey.merchants.contains_key(task.mch_id.as_str()) {
        let found = survey.merchants.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Failure::OtherMerchant { wanted: task.mch_id.clone(), found });
    }
    match survey.days.keys().next() {
        Some(found) if survey.days.range(task.first..=task.last).next().is_none() => {
            Err(Failure::OtherDay { wanted: task.first, found: *found })
        }
        _ => Ok(()),
    }
}

fn empty_result(task: &Task, survey: &Survey) -> Reconciliation {
    Reconciliation {
        mch_id: task.mch_id.as_str().to_owned(),
        first_date: task.first.to_string(),
        last_date: task.last.to_string(),
        rows: survey.rows,
        sums: survey.sums.clone(),
        by_sub_merchant: survey.by_sub_merchant.clone(),
        agreed: 0,
        not_compared: 0,
        counts: BTreeMap::new(),
        checks: 0,
        checks_fen: 0,
        reported_only: BTreeMap::new(),
        differences: Vec::new(),
        totals_off: Vec::new(),
        carry: Carry::default(),
        unjudged: 0,
        missed_by_walk: 0,
    }
}
