//! Keeps the book of one merchant as a note, and each day's result as another. The note's version is the fence:
//! a change is made on what was read, or made again.

use std::sync::Arc;

use paybell_core::ports::{NOTE_BYTES_MAX, Notes};
use paybell_core::{Day, MchId, Timestamp};
use reconcile::{Carry, Reconciliation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::book::{Book, DAYS_KEPT};
use crate::error::Error;

/// What the names of books begin with: one note for each merchant, so that they can be listed.
pub(crate) const PREFIX: &str = "bills/";
/// What those of results begin with.
const RESULTS: &str = "bill-results/";
/// Changes of one note that are tried before somebody else is let on.
const TRIES_MAX: usize = 20;

/// Who else may work on the same days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Other processes: a lease that runs is theirs.
    Others,
    /// Nobody, because nobody else can open the store: a lease that runs was left by a process that is dead.
    Alone,
}

/// The notes of one merchant.
#[derive(Clone)]
pub(crate) struct Shelf {
    notes: Arc<dyn Notes>,
    name: String,
}

/// A day's result as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub date: Day,
    pub at: Timestamp,
    /// A [`Reconciliation`]; of very many differences only the first.
    pub result: Value,
    /// Differences that were listed and found no room here.
    #[serde(default)]
    pub left_out: usize,
}

impl Kept {
    /// As much of the result as a note can hold.
    pub fn of(date: Day, at: Timestamp, result: &Reconciliation) -> Result<Self, Error> {
        let value = serde_json::to_value(result).map_err(|error| unreadable("a result", &error))?;
        let mut kept = Self { date, at, result: value, left_out: 0 };
        while kept.text()?.len() > NOTE_BYTES_MAX {
            let Some(listed) = kept.result.get_mut("differences").and_then(Value::as_array_mut) else {
                break;
            };
            let half = listed.len() / 2;
            if listed.is_empty() {
                break;
            }
            kept.left_out += listed.len() - half;
            listed.truncate(half);
        }
        Ok(kept)
    }

    /// What the next day has to know.
    pub fn carry(&self) -> Carry {
        let carry = self.result.get("carry").cloned();
        carry.and_then(|carry| serde_json::from_value(carry).ok()).unwrap_or_default()
    }

    fn text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| unreadable("a result", &error))
    }
}

fn unreadable(name: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::Unreadable { name: name.to_owned(), cause: cause.to_string() }
}

impl Shelf {
    pub fn new(notes: Arc<dyn Notes>, mch_id: &MchId) -> Self {
        Self { notes, name: format!("{PREFIX}{mch_id}") }
    }

    /// The book as it was last kept.
    pub async fn read(&self) -> Result<Option<(u64, Book)>, Error> {
        let Some(note) = self.notes.read(&self.name).await? else { return Ok(None) };
        let book = serde_json::from_str(&note.text).map_err(|error| unreadable(&self.name, &error))?;
        Ok(Some((note.version, book)))
    }

    /// Changes the book, which begins now if there is none. `None` from the change leaves it as it is.
    pub async fn change<T>(
        &self,
        now: Timestamp,
        mut change: impl FnMut(&mut Book) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..TRIES_MAX {
            let stored = self.read().await?;
            let version = stored.as_ref().map(|(version, _)| *version);
            let mut book = stored.map_or_else(|| Book::new(now), |(_, book)| book);
            let Some(told) = change(&mut book) else { return Ok(None) };
            let text = serde_json::to_string(&book).map_err(|error| unreadable(&self.name, &error))?;
            if self.notes.write(&self.name, version, &text).await? {
                return Ok(Some(told));
            }
        }
        Err(Error::Contended(self.name.clone()))
    }

    /// The result of a day, if it is still kept.
    pub async fn kept(&self, day: Day) -> Result<Option<Kept>, Error> {
        for name in [self.slot(day), self.old_slot(day)] {
            let Some(note) = self.notes.read(&name).await? else { continue };
            let kept: Kept = serde_json::from_str(&note.text).map_err(|error| unreadable(&name, &error))?;
            if kept.date == day {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Keeps a result, in the place of one that is as many days older as are kept. That of an old day never takes the
    /// place of a later one: it has one among its like.
    pub async fn keep(&self, kept: &Kept) -> Result<(), Error> {
        let (slot, text) = (self.slot(kept.date), kept.text()?);
        let there = self.notes.read(&slot).await?;
        let there = there.and_then(|note| serde_json::from_str::<Kept>(&note.text).ok());
        let name = match there.is_some_and(|there| there.date > kept.date) {
            true => self.old_slot(kept.date),
            false => slot,
        };
        for _ in 0..TRIES_MAX {
            let version = self.notes.read(&name).await?.map(|note| note.version);
            if self.notes.write(&name, version, &text).await? {
                return Ok(());
            }
        }
        Err(Error::Contended(name))
    }

    /// Notes are never removed, so the places of old results are used again.
    fn slot(&self, day: Day) -> String {
        self.place(day, "")
    }

    fn old_slot(&self, day: Day) -> String {
        self.place(day, "old-")
    }

    fn place(&self, day: Day, kind: &str) -> String {
        let number = day.days_since(Day::of(Timestamp::from_millis(0))).rem_euclid(DAYS_KEPT + 1);
        let mch_id = self.name.strip_prefix(PREFIX).unwrap_or(&self.name);
        format!("{RESULTS}{mch_id}/{kind}{number:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded::{Engine, EngineConfig, SystemClock};
    use serde_json::json;

    #[tokio::test]
    async fn an_old_days_result_takes_no_later_ones_place() {
        let dir = tempfile::tempdir().unwrap();
        let engine =
            Engine::open(EngineConfig::in_dir(dir.path()), Arc::new(SystemClock::default())).unwrap();
        let shelf = Shelf::new(Arc::new(engine), &MchId::new("1900000109").unwrap());
        let late = Day::parse("2026-11-19").unwrap();
        let old = late.plus(-DAYS_KEPT - 1);
        for date in [late, old, old.plus(-DAYS_KEPT - 1), late] {
            let at = Timestamp::from_millis(1);
            let kept = Kept { date, at, result: json!({"of": date}), left_out: 0 };
            shelf.keep(&kept).await.unwrap();
            assert_eq!(shelf.kept(date).await.unwrap().unwrap().result, kept.result);
            assert!(shelf.kept(late).await.unwrap().is_some(), "{date} took its place");
        }
        let next = late.plus(DAYS_KEPT + 1);
        let kept = Kept { date: next, at: Timestamp::from_millis(1), result: json!({}), left_out: 0 };
        shelf.keep(&kept).await.unwrap();
        assert!(shelf.kept(next).await.unwrap().is_some());
        assert!(shelf.kept(late).await.unwrap().is_none(), "its time is over");
    }
}
