//! One day of one merchant, from the lease to the last word. **The order of effects stands here and nowhere else**:
//! lease → bill → comparison → result and event stored → checks published → event appended → done.
//!
//! Nothing is published before the result is stored, so a process that dies before leaves nothing behind, and one that
//! dies after leaves a day whose telling the next one finishes: the checks once more, which the ledger drops, and the
//! same event.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paybell_core::memory::{self, Memory};
use paybell_core::paid::PaidFilter;
use paybell_core::ports::PortError;
use paybell_core::{Check, Day, LeaseToken, Mode, Timestamp};
use reconcile::{Reconciliation, Scope, Task};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use wechat_pay::bill::{BillDate, BillRefusal, RefusalKind};

use crate::book::{Entry, Failed, Lease, Reconciled, Stage, State};
use crate::earlier::{self, Concerned};
use crate::error::Error;
use crate::fetch::{Fetched, word};
use crate::folder::Part;
use crate::holdings::{Holdings, holds_any};
use crate::run::{Bills, Merchant};
use crate::shelf::{Company, Kept, Shelf};
use crate::telling::{Outflow, Publisher, data};
use crate::work::{Compared, Hand, Keep, Outlet, compare, fault};

/// Whether there was anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounded {
    Idle,
    Worked,
}

/// Takes the merchant's next day, if one is wanted, and works on it.
pub(crate) async fn round(
    bills: &Bills,
    merchant: &Merchant,
    drain: &CancellationToken,
) -> Result<Rounded, Error> {
    let now = bills.now().await?;
    let shelf = bills.shelf(&merchant.mch_id);
    let token = new_token()?;
    let is_alone = bills.company == Company::Alone;
    let taken = shelf.change(now, |book| {
        let is_new = book.days.is_empty() && book.since == now;
        let is_turned = book.turn(bills.wants.opening, merchant.active_since, now);
        let day = book.next(now, is_alone, bills.me);
        let lease = Lease { token: token.0, until: now + bills.timing.lease, progress: None };
        let entry = day.and_then(|day| book.lease(day, lease).cloned());
        bills.metrics.overdue(&merchant.mch_id, book.overdue(now));
        (is_new || is_turned || entry.is_some()).then_some((day, entry, book.since))
    });
    let Some((Some(day), Some(entry), since)) = taken.await? else { return Ok(Rounded::Idle) };
    let hand = Hand::default();
    let job = Job { bills, merchant, shelf, day, token, entry, since, now, hand };
    let worked = job.kept_ours(job.work(), drain).await;
    job.end(worked).await?;
    Ok(Rounded::Worked)
}

struct Job<'a> {
    bills: &'a Bills,
    merchant: &'a Merchant,
    shelf: Shelf,
    day: Day,
    token: LeaseToken,
    /// As it was when it became ours.
    entry: Entry,
    since: Timestamp,
    now: Timestamp,
    hand: Hand,
}

/// How a job ends that was not broken off.
enum Outcome {
    Reconciled,
    Failed(Failed),
}

/// A bill to compare.
enum Brought {
    /// It lies in the folder under its name.
    Kept(PathBuf),
    /// It was just downloaded.
    New(Part),
}

impl Brought {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::New(part) => part.path(),
        }
    }
}

/// A result that has just been stored, or was stored by somebody before.
struct ToTell {
    reconciled: Reconciled,
    checks: u64,
    /// All of them, where they are few and just found.
    at_hand: Option<Vec<Check>>,
    path: Option<PathBuf>,
}

impl Job<'_> {
    async fn work(&self) -> Result<Outcome, Error> {
        let to_tell = match self.resumed() {
            Some(reconciled) => {
                let path = reconciled.file.as_deref().and_then(|name| self.bills.folder.find(name));
                let checks = reconciled.event.bill().map_or(0, |data| data.billed);
                Ok(ToTell { reconciled: reconciled.clone(), checks, at_hand: None, path })
            }
            None => self.reconcile().await?,
        };
        match to_tell {
            Ok(to_tell) => self.tell(to_tell).await,
            Err(failed) => Ok(Outcome::Failed(failed)),
        }
    }

    /// The result that somebody stored and did not tell to its end, unless a person asks for another one.
    fn resumed(&self) -> Option<&Reconciled> {
        let is_resumed = self.entry.state == State::Telling && self.entry.asked.is_none();
        self.entry.reconciled.as_ref().filter(|_| is_resumed)
    }

    /// Brings the bill home, compares it, stores the result.
    async fn reconcile(&self) -> Result<Result<ToTell, Failed>, Error> {
        let brought = match self.bring().await? {
            Ok(brought) => brought,
            Err(failed) => return Ok(Err(failed)),
        };
        let (compared, outlet) = self.compare(brought.path().to_owned(), Keep::default()).await?;
        let result = match self.judged(compared).await? {
            Ok(result) => result,
            Err(failed) => return Ok(Err(failed)),
        };
        let (mch_id, folder) = (&self.merchant.mch_id, &self.bills.folder);
        let name = match brought {
            Brought::New(part) => folder.keep(part, mch_id, self.day)?.as_str().to_owned(),
            Brought::Kept(_) => self.given().unwrap_or_default().to_owned(),
        };
        earlier::warn(&result, self.concerned());
        let at = self.bills.now().await?;
        let is_shadow = self.bills.modes.settled().await? == Mode::Shadow;
        let data = data(&result, mch_id, self.day, is_shadow);
        let (event, was_asked) = (data.event(at), self.concerned().is_asked);
        let reconciled = Reconciled { at, event, told: None, was_asked, file: Some(name.clone()) };
        self.shelf.keep(&Kept::of(self.day, at, &result)?).await?;
        self.change(|entry| entry.reconcile(reconciled.clone())).await?;
        self.bills.metrics.reconciled(&result, seconds(at));
        let at_hand = Some(outlet.0).filter(|checks| u64::try_from(checks.len()) == Ok(result.checks));
        Ok(Ok(ToTell { reconciled, checks: result.checks, at_hand, path: folder.find(&name) }))
    }

    /// The file to compare.
    async fn bring(&self) -> Result<Result<Brought, Failed>, Error> {
        if let Some(name) = self.given() {
            return Ok(match self.bills.folder.find(name) {
                Some(path) => Ok(Brought::Kept(path)),
                None => Err(self
                    .failed("no_file", format!("{name} is not in {}", self.bills.folder.path().display()))),
            });
        }
        self.hand.note(Stage::Downloading, 0, None);
        let (mch_id, day) = (&self.merchant.mch_id, self.day);
        let part = self.bills.folder.part(mch_id, day);
        let fetched = tokio::select! {
            fetched = self.bills.source.fetch(mch_id, day, part.path()) => fetched,
            () = self.hand.stopped() => return Err(Error::Stopped),
        };
        Ok(match fetched {
            Fetched::Written => Ok(Brought::New(part)),
            Fetched::Refused(refusal) => Err(self.refused(&refusal).await?),
            Fetched::Failed { outcome, detail } => Err(self.failed(outcome, detail)),
        })
    }

    /// On a thread of its own, because it reads files and computes.
    async fn compare<O: Outlet + 'static>(
        &self,
        path: PathBuf,
        mut outlet: O,
    ) -> Result<(Compared, O), Error> {
        let records = self.bills.ports.records.clone();
        let mch_id = self.merchant.mch_id.clone();
        let mut holdings = Holdings { records, mch_id, handle: Handle::current() };
        let (task, hand) = (self.task().await?, self.hand.clone());
        let work = move || {
            let compared = compare(&task, &path, &mut holdings, &hand, &mut outlet);
            (compared, outlet)
        };
        spawn_blocking(work).await.map_err(|error| Error::Unreadable {
            name: format!("the bill of {} of {}", self.day, self.merchant.mch_id),
            cause: error.to_string(),
        })
    }

    async fn task(&self) -> Result<Task, Error> {
        let date =
            BillDate::parse(&self.day.to_string()).expect("every day of ours is one of WeChat's calendar");
        let before = self.shelf.kept(self.day.plus(-1)).await?;
        let (ports, retention) = (&self.bills.ports, self.bills.wants.retention);
        let kept = memory::kept(ports.notes.as_ref(), ports.ledger.as_ref(), retention).await?;
        let memory = Memory { began: None, kept };
        let scope = self.merchant.scope(self.since, memory.remembered_since(self.now, retention));
        let earlier =
            earlier::earlier(ports.ledger.as_ref(), ports.log.as_ref(), self.concerned(), &self.hand);
        let scope = Scope { earlier: earlier.await?.map(Arc::new), ..scope };
        Ok(Task {
            mch_id: self.merchant.mch_id.clone(),
            first: date,
            last: date,
            scope: Some(scope),
            carry: before.map(|kept| kept.carry()),
            now: self.now,
        })
    }

    fn concerned(&self) -> Concerned<'_> {
        let is_asked = self.entry.asked.is_some() || self.resumed().is_some_and(|it| it.was_asked);
        Concerned { mch_id: &self.merchant.mch_id, day: self.day, is_asked }
    }

    async fn judged(&self, compared: Compared) -> Result<Result<Reconciliation, Failed>, Error> {
        Ok(match compared {
            Compared::Result(result) => Ok(*result),
            Compared::Refused(refusal) => Err(self.refused(&refusal).await?),
            Compared::Failed(reconcile::Failure::Ledger(reconcile::LedgerError::Port(error))) => {
                return Err(Error::Port(error));
            }
            Compared::Failed(reconcile::Failure::Stopped(_)) if self.hand.is_stopped() => {
                return Err(Error::Stopped);
            }
            Compared::Failed(failure) => Err(self.failed(fault(&failure).0, chain(&failure))),
        })
    }

    /// Checks, then the event. Whoever comes after a crash does both again.
    async fn tell(&self, to_tell: ToTell) -> Result<Outcome, Error> {
        let publisher = Publisher {
            queue: self.bills.ports.queue.clone(),
            hand: self.hand.clone(),
            patience: self.bills.patience(),
        };
        match (to_tell.checks, to_tell.at_hand) {
            (0, _) => {}
            (total, Some(checks)) => publisher.publish(&checks, 0, total).await?,
            (total, None) => {
                if let Err(failed) = self.publish_again(publisher, total, to_tell.path).await? {
                    return Ok(Outcome::Failed(failed));
                }
            }
        }
        let told = self.entry.reconciled.as_ref().and_then(|earlier| earlier.told);
        let event = to_tell.reconciled.event;
        if told != Some(event.id) {
            self.bills.ports.log.append(std::slice::from_ref(&event)).await?;
        }
        Ok(Outcome::Reconciled)
    }

    /// The checks are not at hand: they are many, or a dead process had them.
    async fn publish_again(
        &self,
        publisher: Publisher,
        total: u64,
        path: Option<PathBuf>,
    ) -> Result<Result<(), Failed>, Error> {
        let brought = match path {
            Some(path) => Brought::Kept(path),
            None => match self.bring().await? {
                Ok(brought) => brought,
                Err(failed) => return Ok(Err(failed)),
            },
        };
        let outflow =
            Outflow { publisher, handle: Handle::current(), batch: Vec::new(), done: 0, total, failed: None };
        let (compared, mut outflow) = self.compare(brought.path().to_owned(), outflow).await?;
        if let Some(error) = outflow.failed.take() {
            return Err(error);
        }
        if let Err(failed) = self.judged(compared).await? {
            return Ok(Err(failed));
        }
        let rest = std::mem::take(&mut outflow.batch);
        outflow.publisher.publish(&rest, outflow.done, total).await?;
        Ok(Ok(()))
    }

    fn given(&self) -> Option<&str> {
        self.entry.asked.as_ref()?.file.as_deref()
    }

    fn failed(&self, outcome: &'static str, detail: String) -> Failed {
        Failed { outcome, detail, may_be_empty: false }
    }

    /// WeChat's "no bill" proves nothing, but where we know of no payment either, there may well be none.
    async fn refused(&self, refusal: &BillRefusal) -> Result<Failed, Error> {
        let explanation = refusal.kind.explanation();
        let detail = format!("{refusal}: {}. {}", explanation.cause, explanation.remedy);
        let is_none = refusal.kind == RefusalKind::NoBill;
        let may_be_empty = is_none && !self.must_have_a_bill().await?;
        Ok(Failed { outcome: word(refusal.kind), detail, may_be_empty })
    }

    async fn must_have_a_bill(&self) -> Result<bool, Error> {
        let before = self.shelf.kept(self.day.plus(-1)).await?;
        if before.is_some_and(|kept| !kept.carry().open.is_empty()) {
            return Ok(true);
        }
        let (from, until) = (self.day.begin(), self.day.end());
        let filter = PaidFilter { mch_id: self.merchant.mch_id.clone(), from, until };
        Ok(holds_any(self.bills.ports.records.as_ref(), &filter).await?)
    }

    /// Changes the day while it is ours.
    async fn change(&self, mut change: impl FnMut(&mut Entry)) -> Result<(), Error> {
        let changed = self.shelf.change(self.now, |book| {
            change(book.held(self.day, self.token)?);
            Some(())
        });
        changed.await?.ok_or(Error::LeaseLost)
    }

    /// Goes on with the work while the lease can be renewed and nobody wants the process to end.
    async fn kept_ours(
        &self,
        work: impl Future<Output = Result<Outcome, Error>>,
        drain: &CancellationToken,
    ) -> Result<Outcome, Error> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                worked = &mut work => return worked,
                () = tokio::time::sleep(self.bills.timing.renewal) => {}
                () = drain.cancelled(), if !self.hand.is_stopped() => self.hand.stop(),
            }
            if let Err(error) = self.renew().await
                && !matches!(error, Error::Port(_) | Error::Contended(_))
            {
                self.hand.stop();
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let until = self.bills.now().await? + self.bills.timing.lease;
        let lease = Lease { token: self.token.0, until, progress: self.hand.progress() };
        self.change(|entry| entry.lease = Some(lease.clone())).await
    }

    /// The last word about this try.
    async fn end(&self, worked: Result<Outcome, Error>) -> Result<(), Error> {
        let (mch_id, day, now) = (&self.merchant.mch_id, self.day, self.bills.now().await?);
        let served = self.entry.asked.as_ref();
        match worked {
            Ok(Outcome::Reconciled) => {
                self.change(|entry| entry.done(served, now)).await?;
                self.bills.metrics.tried(mch_id, "reconciled");
                tracing::info!(merchant.mch_id = %mch_id, bill.date = %day, "the bill of {day} of {mch_id} is reconciled");
                Ok(())
            }
            Ok(Outcome::Failed(failed)) => {
                self.say(&failed);
                self.change(|entry| entry.fail(failed.clone(), served, now)).await
            }
            Err(Error::LeaseLost) => {
                tracing::warn!(merchant.mch_id = %mch_id, bill.date = %day, "another process took the bill of {day} over");
                Ok(())
            }
            Err(Error::Stopped) => self.change(|entry| entry.let_go(now)).await,
            Err(error) => {
                let failed = self.failed(error.word(), chain(&error));
                self.say(&failed);
                let is_away = matches!(error, Error::Port(PortError::Unavailable { .. }));
                let end = if is_away { Entry::break_off } else { Entry::fail };
                self.change(|entry| end(entry, failed.clone(), served, now)).await
            }
        }
    }

    fn say(&self, failed: &Failed) {
        let (mch_id, day, outcome) = (&self.merchant.mch_id, self.day, failed.outcome);
        let detail = &failed.detail;
        self.bills.metrics.tried(mch_id, outcome);
        if failed.may_be_empty {
            tracing::debug!(merchant.mch_id = %mch_id, bill.date = %day, "no bill of {day} of {mch_id}: {detail}");
        } else {
            tracing::warn!(
                merchant.mch_id = %mch_id, bill.date = %day, outcome,
                "the bill of {day} of {mch_id} is not reconciled ({outcome}): {detail}"
            );
        }
    }
}

fn seconds(at: Timestamp) -> f64 {
    std::time::Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0)).as_secs_f64()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    words
}

fn new_token() -> Result<LeaseToken, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Unreadable { name: "random numbers".to_owned(), cause: error.to_string() })?;
    Ok(LeaseToken(u128::from_le_bytes(bytes)))
}
