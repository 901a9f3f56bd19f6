//! What people see of bills and ask of them. Reads and changes the notes; the work is done by whoever turns the books.

use std::sync::Arc;

use paybell_core::event::Event;
use paybell_core::ports::{Ledger, Notes, PortError};
use paybell_core::{Day, MchId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::book::{Entry, Request, TooMany};
use crate::error::Error;
use crate::folder::Folder;
use crate::shelf::{Kept, PREFIX, Shelf};

/// Reads and asks.
#[derive(Clone)]
pub struct Desk {
    pub notes: Arc<dyn Notes>,
    pub ledger: Arc<dyn Ledger>,
    /// Where a person's own bills lie; `None` where the work is done on another machine.
    pub folder: Option<Folder>,
    /// For whom requests are left; `None`: for whoever comes first.
    pub by: Option<u64>,
}

/// A day that somebody wants reconciled now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub mch_id: MchId,
    pub day: Day,
    /// A bill that lies in the folder; else WeChat is asked for it.
    pub file: Option<String>,
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It is worked on next; the day as it stands.
    Taken { request: Request, view: Value },
    /// The day is not over: there is no bill yet.
    NotOver,
    /// No such file, or no name of one.
    NoFile,
    /// Too many days wait already.
    TooMany,
}

/// What was told of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub event: Event,
    /// Not later than this: a comparison waits for room before it is told.
    pub until: Timestamp,
}

impl Desk {
    /// The last word that was told of every day that is kept, of one merchant or of all, the oldest first. A result that
    /// is not told yet is left to whoever tells it.
    pub async fn told(&self, mch_id: Option<&MchId>) -> Result<Vec<Told>, Error> {
        let mut told = Vec::new();
        for mch_id in self.those(mch_id).await? {
            let Some((_, book)) = self.shelf(&mch_id).read().await? else { continue };
            told.extend(book.days.into_values().filter_map(told_of));
        }
        Ok(told)
    }

    /// Every day that is known, of one merchant or of all, the newest first.
    pub async fn list(&self, mch_id: Option<&MchId>) -> Result<Vec<Value>, Error> {
        let mut days = Vec::new();
        for mch_id in self.those(mch_id).await? {
            let Some((_, book)) = self.shelf(&mch_id).read().await? else { continue };
            days.extend(book.days.iter().rev().map(|(day, entry)| view(&mch_id, *day, entry)));
        }
        Ok(days)
    }

    /// One day with its result; `None` if nobody ever looked at it.
    pub async fn read(&self, mch_id: &MchId, day: Day) -> Result<Option<Value>, Error> {
        let shelf = self.shelf(mch_id);
        let Some((_, book)) = shelf.read().await? else { return Ok(None) };
        let Some(entry) = book.days.get(&day) else { return Ok(None) };
        let mut shown = view(mch_id, day, entry);
        if let Some(kept) = shelf.kept(day).await?
            && let Some(fields) = shown.as_object_mut()
        {
            fields.insert("result".to_owned(), result(kept));
        }
        Ok(Some(shown))
    }

    /// Has a day reconciled as soon as somebody can.
    pub async fn ask(&self, wish: &Wish) -> Result<Asked, Error> {
        let now = self.ledger.clock().await?.now;
        if wish.day >= Day::of(now) {
            return Ok(Asked::NotOver);
        }
        if let Some(name) = &wish.file
            && self.folder.as_ref().and_then(|folder| folder.find(name)).is_none()
        {
            return Ok(Asked::NoFile);
        }
        let request = Request { id: new_id()?, at: now, file: wish.file.clone(), by: self.by };
        let shelf = self.shelf(&wish.mch_id);
        let asked = shelf.change(now, |book| {
            let entry = book.ask(wish.day, request.clone(), now);
            Some(entry.map(|entry| view(&wish.mch_id, wish.day, entry)))
        });
        Ok(match asked.await? {
            Some(Ok(view)) => Asked::Taken { request, view },
            Some(Err(TooMany)) | None => Asked::TooMany,
        })
    }

    async fn those(&self, mch_id: Option<&MchId>) -> Result<Vec<MchId>, Error> {
        match mch_id {
            Some(mch_id) => Ok(vec![mch_id.clone()]),
            None => self.merchants().await,
        }
    }

    async fn merchants(&self) -> Result<Vec<MchId>, Error> {
        let names = self.notes.list(PREFIX).await?;
        let of = |name: &String| MchId::new(name.strip_prefix(PREFIX)?).ok();
        Ok(names.iter().filter_map(of).collect())
    }

    fn shelf(&self, mch_id: &MchId) -> Shelf {
        Shelf::new(self.notes.clone(), mch_id)
    }
}

fn told_of(entry: Entry) -> Option<Told> {
    let reconciled = entry.reconciled?;
    let event = (reconciled.told == Some(reconciled.event.id)).then_some(reconciled.event)?;
    // A later try may have had the last word since.
    let until = entry.last.map_or(event.time, |last| last.at.max(event.time));
    Some(Told { event, until })
}

/// A day as a document.
fn view(mch_id: &MchId, day: Day, entry: &Entry) -> Value {
    let reconciled = entry.reconciled.as_ref();
    let time = |at: paybell_core::Timestamp| at.rfc3339();
    json!({
        "mch_id": mch_id,
        "date": day,
        "state": entry.state,
        "next_at": entry.wanted_at().map(time),
        "tries": entry.tries,
        "may_be_empty": entry.may_be_empty,
        "asked": entry.asked.as_ref().map(|asked| json!({"request": asked.id, "file": asked.file})),
        "progress": entry.lease.as_ref().and_then(|lease| lease.progress),
        "last": entry.last.as_ref().map(|last| json!({
            "at": time(last.at), "outcome": last.outcome, "detail": last.detail, "request": last.request,
        })),
        "reconciled_at": reconciled.map(|it| time(it.at)),
        "event_id": reconciled.map(|it| it.event.id),
        "summary": reconciled.map(|it| &it.event.data),
        "file": reconciled.and_then(|it| it.file.as_deref()),
    })
}

/// What the next day has to know is nobody else's business.
fn result(kept: Kept) -> Value {
    let mut result = kept.result;
    if let Some(fields) = result.as_object_mut() {
        fields.remove("carry");
        fields.insert("differences_left_out".to_owned(), json!(kept.left_out));
    }
    result
}

fn new_id() -> Result<Uuid, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        let part = "random numbers";
        Error::Port(PortError::Unavailable { part, cause: error.to_string() })
    })?;
    Ok(Uuid::from_bytes(bytes))
}
