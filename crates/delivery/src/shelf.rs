//! Keeps the book of one endpoint as a note. The note's version is the fence: whoever lost the lease cannot write.

use std::sync::Arc;

use paybell_core::Timestamp;
use paybell_core::ids::LeaseToken;
use paybell_core::ports::Notes;
use paybell_core::time::Millis;

use crate::book::{Book, FORMAT, Lease};
use crate::config::EndpointName;
use crate::error::Error;

/// What the names of books begin with.
pub(crate) const PREFIX: &str = "delivery/";

/// The note of one endpoint.
#[derive(Clone)]
pub(crate) struct Shelf {
    notes: Arc<dyn Notes>,
    name: String,
}

/// Whether the endpoint is ours.
pub(crate) enum Taken {
    Ours(Box<Held>),
    /// Another process works on it until then, or longer.
    Others(Timestamp),
}

/// A book whose lease is ours.
pub(crate) struct Held {
    pub book: Book,
    pub version: u64,
}

/// Who takes a lease, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub token: LeaseToken,
    pub length: Millis,
    pub company: Company,
}

/// Who else may serve the same endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Other processes: a lease that runs is theirs.
    Others,
    /// Nobody, because nobody else can open the store: a lease that runs was left by a process that is dead.
    Alone,
}

impl Shelf {
    pub fn new(notes: Arc<dyn Notes>, name: &EndpointName) -> Self {
        Self { notes, name: format!("{PREFIX}{name}") }
    }

    /// The book as it was last kept, with its version.
    pub async fn load(&self) -> Result<Option<(u64, Book)>, Error> {
        let Some(note) = self.notes.read(&self.name).await? else { return Ok(None) };
        let unreadable = |cause: String| Error::Unreadable { name: self.name.clone(), cause };
        let book: Book = serde_json::from_str(&note.text).map_err(|error| unreadable(error.to_string()))?;
        if book.format > FORMAT {
            return Err(unreadable(format!("format {} is newer than {FORMAT}", book.format)));
        }
        Ok(Some((note.version, book)))
    }

    /// Takes the lease if it is free, expired or already ours. `fresh` is the book of an endpoint that has none.
    pub async fn take(&self, holder: Holder, now: Timestamp, fresh: &Book) -> Result<Taken, Error> {
        let stored = self.load().await?;
        let version = stored.as_ref().map(|(version, _)| *version);
        let mut book = stored.map_or_else(|| fresh.clone(), |(_, book)| book);
        // A lease that ends far beyond any length was taken by a clock that has been set back since.
        let end_max = now + holder.length + holder.length;
        if let Some(lease) = book.lease
            && holder.company == Company::Others
            && lease.until > now
            && lease.until <= end_max
            && lease.token != holder.token
        {
            return Ok(Taken::Others(lease.until));
        }
        book.lease = Some(Lease { token: holder.token, until: now + holder.length });
        if self.notes.write(&self.name, version, &text(&book)).await? {
            let version = version.unwrap_or(0) + 1;
            Ok(Taken::Ours(Box::new(Held { book, version })))
        } else {
            Ok(Taken::Others(now))
        }
    }

    /// Keeps the book over the version that was last kept; `None` if the endpoint is another's by now.
    ///
    /// A write whose outcome we never learned may have gone through: then the note is one version ahead, and still ours.
    pub async fn keep(&self, book: &Book, version: u64, token: LeaseToken) -> Result<Option<u64>, Error> {
        let text = text(book);
        if self.notes.write(&self.name, Some(version), &text).await? {
            return Ok(Some(version + 1));
        }
        match self.load().await? {
            Some((stored, kept)) if kept.lease.is_some_and(|lease| lease.token == token) => {
                let is_kept = self.notes.write(&self.name, Some(stored), &text).await?;
                Ok(is_kept.then_some(stored + 1))
            }
            _ => Ok(None),
        }
    }
}

fn text(book: &Book) -> String {
    // A struct of texts and numbers always has a JSON form.
    serde_json::to_string(book).unwrap_or_default()
}
