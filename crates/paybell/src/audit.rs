//! The comparison behind `paybell audit`: a bill beside a shop's own list of orders, with nothing installed.
//!
//! [`orders`] reads the list and stands in for the ledger, crate `reconcile` compares, [`show`] prints. Asks nobody and
//! changes nothing.

pub mod orders;
pub mod show;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use paybell_core::{MchId, Timestamp};
use reconcile::{
    Difference, Failure, Listener, Progress, Reconciliation, Source, Stage, Stopped, Survey, Surveyed, Task,
};
use wechat_pay::bill::{BillDate, BillRefusal};

use orders::Orders;

/// Which bill, and whose.
pub struct Asked<'a> {
    pub bill: &'a Path,
    pub mch_id: Option<MchId>,
    /// One day of it; all days that it has rows of if `None`.
    pub date: Option<BillDate>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("the file is WeChat's answer instead of a bill: {0}")]
    Refused(BillRefusal),
    #[error("the bill is empty: name its day with --date")]
    NoDay,
    #[error("the bill has rows of several merchants ({0}): name one with --mch-id")]
    ManyMerchants(String),
}

/// Compares; everything that differs is in the result.
pub fn audit(asked: &Asked<'_>, orders: &mut Orders) -> Result<Reconciliation, AuditError> {
    let mut source = BillFile(asked.bill.to_owned());
    let mut ears = Ears { heard: Vec::new(), bar: ProgressBar::new_spinner() };
    let survey = match reconcile::survey(&mut source, &mut ears)? {
        Surveyed::Whole(survey) => survey,
        Surveyed::Refused(refusal) => return Err(AuditError::Refused(refusal)),
    };
    let (first, last) = days(asked, &survey)?;
    let task = Task {
        mch_id: merchant(asked, &survey)?,
        first,
        last,
        scope: None,
        carry: None,
        now: Timestamp::from_millis(last.end_ms()),
    };
    let result = reconcile::compare(&task, &survey, &mut source, orders, &mut ears);
    ears.bar.finish_and_clear();
    Ok(Reconciliation { differences: ears.heard, ..result? })
}

fn days(asked: &Asked<'_>, survey: &Survey) -> Result<(BillDate, BillDate), AuditError> {
    if let Some(date) = asked.date {
        return Ok((date, date));
    }
    let mut days = survey.days.keys();
    let first = *days.next().ok_or(AuditError::NoDay)?;
    Ok((first, days.next_back().copied().unwrap_or(first)))
}

fn merchant(asked: &Asked<'_>, survey: &Survey) -> Result<MchId, AuditError> {
    if let Some(mch_id) = &asked.mch_id {
        return Ok(mch_id.clone());
    }
    let mut numbers = survey.merchants.keys();
    match (numbers.next(), numbers.next()) {
        (Some(_), Some(_)) => {
            let all: Vec<&str> = survey.merchants.keys().map(String::as_str).collect();
            Err(AuditError::ManyMerchants(all.join(", ")))
        }
        (only, _) => {
            // A bill without rows names nobody, and has no row that could be somebody else's.
            let only = only.map_or("unknown", String::as_str);
            MchId::new(only).map_err(|_| AuditError::ManyMerchants(only.to_owned()))
        }
    }
}

struct BillFile(PathBuf);

impl Source for BillFile {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(&self.0)?))
    }
}

/// Keeps all of it: one machine's memory holds what one shop can read. The bar hides where nobody sees it.
struct Ears {
    heard: Vec<Difference>,
    bar: ProgressBar,
}

impl Listener for Ears {
    fn found(&mut self, difference: &Difference) -> Result<(), Stopped> {
        self.heard.push(difference.clone());
        Ok(())
    }

    fn progress(&mut self, progress: Progress) -> Result<(), Stopped> {
        show_progress(&self.bar, progress);
        Ok(())
    }
}

/// Moves a bar to where a comparison is.
pub fn show_progress(bar: &ProgressBar, progress: Progress) {
    if progress.total != bar.length() {
        let template = match progress.total {
            Some(_) => "{msg} [{bar:32}] {pos}/{len} {per_sec}",
            None => "{msg} {spinner} {pos} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        match progress.total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
    }
    bar.set_message(match progress.stage {
        Stage::Reading => "reading the bill",
        Stage::Gathering => "reading the orders",
        Stage::Comparing => "comparing",
        Stage::Missing => "looking for what is only here",
    });
    bar.set_position(progress.done);
}
