//! One comparison on a thread of its own: both readings of the file, and what was found. Stores nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use paybell_core::Check;
use reconcile::{Difference, Failure, Listener, Reconciliation, Stopped, Surveyed, Task};
use tokio_util::sync::CancellationToken;
use wechat_pay::bill::BillRefusal;

use crate::book::{Progress, Stage};
use crate::holdings::Holdings;

/// Checks of one bill that are kept in memory; of more, the bill is read once more to publish them.
pub(crate) const CHECKS_KEPT_MAX: usize = 1000;

/// What a work and those around it share.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<Shared>);

#[derive(Default)]
struct Shared {
    stop: CancellationToken,
    progress: Mutex<Option<Progress>>,
}

impl Hand {
    /// The work is to end at the next row or batch.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    pub fn is_stopped(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Waits until it is to end.
    pub async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    pub fn note(&self, stage: Stage, done: u64, total: Option<u64>) {
        let mut progress = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = Some(Progress { stage, done, total });
    }

    pub fn progress(&self) -> Option<Progress> {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do with the checks that are found.
pub(crate) trait Outlet: Send {
    fn put(&mut self, check: &Check) -> Result<(), Stopped>;
}

/// Keeps the first ones.
#[derive(Default)]
pub(crate) struct Keep(pub Vec<Check>);

impl Outlet for Keep {
    fn put(&mut self, check: &Check) -> Result<(), Stopped> {
        if self.0.len() < CHECKS_KEPT_MAX {
            self.0.push(check.clone());
        }
        Ok(())
    }
}

/// What came of a comparison.
pub(crate) enum Compared {
    Result(Box<Reconciliation>),
    /// The file holds WeChat's refusal instead of a bill.
    Refused(BillRefusal),
    Failed(Failure),
}

/// Reads the file twice and compares it. Blocks.
pub(crate) fn compare(
    task: &Task,
    path: &Path,
    holdings: &mut Holdings,
    hand: &Hand,
    outlet: &mut dyn Outlet,
) -> Compared {
    let mut source = OpenAnew(path.to_owned());
    let mut ear = Ear { hand, outlet };
    let surveyed = reconcile::survey(&mut source, &mut ear);
    let survey = match surveyed {
        Ok(Surveyed::Whole(survey)) => survey,
        Ok(Surveyed::Refused(refusal)) => return Compared::Refused(refusal),
        Err(failure) => return Compared::Failed(failure),
    };
    match reconcile::compare(task, &survey, &mut source, holdings, &mut ear) {
        Ok(result) => Compared::Result(Box::new(result)),
        Err(failure) => Compared::Failed(failure),
    }
}

struct OpenAnew(PathBuf);

impl reconcile::Source for OpenAnew {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(&self.0)?))
    }
}

struct Ear<'a> {
    hand: &'a Hand,
    outlet: &'a mut dyn Outlet,
}

impl Listener for Ear<'_> {
    fn found(&mut self, difference: &Difference) -> Result<(), Stopped> {
        match difference.check() {
            Some(check) => self.outlet.put(check),
            None => Ok(()),
        }
    }

    fn progress(&mut self, progress: reconcile::Progress) -> Result<(), Stopped> {
        if self.hand.is_stopped() {
            return Err(Stopped("the process ends, or another one works on the day".to_owned()));
        }
        let stage = match progress.stage {
            reconcile::Stage::Reading => Stage::Reading,
            reconcile::Stage::Gathering => Stage::Gathering,
            reconcile::Stage::Comparing => Stage::Comparing,
            reconcile::Stage::Missing => Stage::Missing,
        };
        self.hand.note(stage, progress.done, progress.total);
        Ok(())
    }
}

/// The word for a failure, and whether the file is at fault.
pub(crate) fn fault(failure: &Failure) -> (&'static str, bool) {
    match failure {
        Failure::Bill(_) | Failure::Changed => ("not_whole", true),
        Failure::TooManyRows => ("too_large", true),
        Failure::OtherMerchant { .. } => ("other_merchant", true),
        Failure::OtherDay { .. } => ("other_day", true),
        Failure::Ledger(_) => ("ledger", false),
        Failure::Stopped(_) => ("stopped", false),
        _ => ("unreadable", false),
    }
}
