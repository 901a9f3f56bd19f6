//! What people see of endpoints and ask of them: any process answers, whoever works on the endpoint.
//!
//! Reads books and writes wishes; touches no book. The console puts it behind its routes.

use std::sync::Arc;

use paybell_core::Timestamp;
use paybell_core::event::{Event, EventType};
use paybell_core::ports::{Cursor, EventFilter, EventLog, LogRead, Notes, PAGE_ROWS_MAX};
use paybell_core::time::rfc3339_option;
use serde::Serialize;
use uuid::Uuid;

use crate::book::{Attempt, Book, GivenUp, Resend, Totals};
use crate::config::{Endpoint, EndpointName};
use crate::error::Error;
use crate::shelf::Shelf;
use crate::wishes::{Wish, WishBox};

/// The configured endpoints, as far as people are concerned.
#[derive(Clone)]
pub struct Desk {
    endpoints: Arc<[Endpoint]>,
    notes: Arc<dyn Notes>,
    log: Arc<dyn EventLog>,
}

/// What came of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is stored, and fulfilled within seconds by whoever works on the endpoint.
    Stored,
    /// No endpoint of that name is configured.
    NoEndpoint,
    /// The log keeps no such event.
    NoEvent,
    /// The endpoint does not want events of this type or merchant, or nobody is told of it.
    Unwanted,
    /// Too many wishes wait.
    TooMany,
}

impl Desk {
    pub fn new(endpoints: &[Endpoint], notes: Arc<dyn Notes>, log: Arc<dyn EventLog>) -> Self {
        Self { endpoints: endpoints.into(), notes, log }
    }

    /// Every configured endpoint, in the configuration's order.
    pub async fn list(&self, now: Timestamp) -> Result<Vec<View>, Error> {
        let mut views = Vec::with_capacity(self.endpoints.len());
        for endpoint in self.endpoints.iter() {
            views.push(self.view(endpoint, now).await?);
        }
        Ok(views)
    }

    /// One endpoint.
    pub async fn show(&self, name: &str, now: Timestamp) -> Result<Option<View>, Error> {
        match self.endpoint(name) {
            Some(endpoint) => self.view(endpoint, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// Sends one event of the log again, whatever became of it or its order.
    pub async fn resend(&self, name: &str, event: Uuid) -> Result<Asked, Error> {
        let Some(endpoint) = self.endpoint(name) else { return Ok(Asked::NoEndpoint) };
        match self.find(&endpoint.name, event).await? {
            Some((found, resend)) if endpoint.wanted.fits(&found) => {
                self.ask(&endpoint.name, Wish::Resend(resend)).await
            }
            Some(_) => Ok(Asked::Unwanted),
            None => Ok(Asked::NoEvent),
        }
    }

    /// Sends a part of the log again: after a place (without one: from the oldest event on), up to a place and with it
    /// (without one: to the newest).
    pub async fn resend_range(
        &self,
        name: &str,
        after: Option<Cursor>,
        to: Option<Cursor>,
    ) -> Result<Asked, Error> {
        let Some(endpoint) = self.endpoint(name) else { return Ok(Asked::NoEndpoint) };
        let to = match to {
            Some(to) => to,
            None => self.log.end().await?,
        };
        // A place that has left the log is the oldest one.
        let resend = Resend { after: after.unwrap_or(Cursor::START), to: to.position };
        self.ask(&endpoint.name, Wish::Resend(resend)).await
    }

    /// Serves an endpoint again that answered 410, and tries everything that waits at once. One that is stranded goes on
    /// with the next event.
    pub async fn enable(&self, name: &str) -> Result<Asked, Error> {
        match self.endpoint(name) {
            Some(endpoint) => self.ask(&endpoint.name, Wish::Enable).await,
            None => Ok(Asked::NoEndpoint),
        }
    }

    fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name.as_str() == name)
    }

    async fn ask(&self, name: &EndpointName, wish: Wish) -> Result<Asked, Error> {
        let is_stored = WishBox::new(self.notes.clone(), name).add(wish).await?;
        Ok(if is_stored { Asked::Stored } else { Asked::TooMany })
    }

    async fn view(&self, endpoint: &Endpoint, now: Timestamp) -> Result<View, Error> {
        match Shelf::new(self.notes.clone(), &endpoint.name).load().await {
            Ok(stored) => Ok(View::of(endpoint, stored.map(|(_, book)| book), now)),
            // One note that nobody can read hides no other endpoint.
            Err(error @ Error::Unreadable { .. }) => {
                let trouble = Some(error.to_string());
                Ok(View { state: "unreadable", trouble, ..View::of(endpoint, None, now) })
            }
            Err(error) => Err(error),
        }
    }

    /// The event and its place: from what the book still knows, otherwise by reading the log from its beginning.
    async fn find(&self, name: &EndpointName, event: Uuid) -> Result<Option<(Event, Resend)>, Error> {
        let stored = Shelf::new(self.notes.clone(), name).load().await?;
        let given_up = stored.iter().flat_map(|(_, book)| &book.given_up);
        let mut place = given_up.rev().find(|given_up| given_up.event == event).map(|known| known.after);
        loop {
            let read = self.log.read(place, &EventFilter::default(), PAGE_ROWS_MAX).await?;
            let page = match read {
                LogRead::Page(page) => page,
                LogRead::Gone { .. } => {
                    place = None;
                    continue;
                }
            };
            let mut before = place;
            for (cursor, found) in page.events {
                if found.id == event {
                    // The oldest event's own beginning is wherever the log begins.
                    let after = before.unwrap_or(Cursor::START);
                    return Ok(Some((found, Resend { after, to: cursor.position })));
                }
                before = Some(cursor);
            }
            if !page.has_more {
                return Ok(None);
            }
            place = Some(page.next);
        }
    }
}

/// One endpoint as people see it. Shows no secret, and no query of the address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    pub name: String,
    pub kind: &'static str,
    pub url: String,
    /// `new`, `serving`, `paused`, `disabled`, `stranded` (the log does not know its place), `held_up` (what comes next is
    /// an event that the process which serves it cannot read), `idle` (no process serves it), or `unreadable`.
    pub state: &'static str,
    /// Why it is unreadable.
    pub trouble: Option<String>,
    #[serde(with = "rfc3339_option")]
    pub paused_until: Option<Timestamp>,
    #[serde(with = "rfc3339_option")]
    pub disabled_at: Option<Timestamp>,
    /// Since when nothing new is sent for it, whatever its state.
    #[serde(with = "rfc3339_option")]
    pub held_up_at: Option<Timestamp>,
    /// Since when it gets only what is emitted from then on, though the log is older; until somebody saw to it.
    #[serde(with = "rfc3339_option")]
    pub began_anew_at: Option<Timestamp>,
    /// Where it stands in the log.
    pub cursor: Option<String>,
    /// Events that were read and not yet delivered.
    pub waiting: usize,
    pub lag_seconds: i64,
    /// Parts of the log that are still to be sent again.
    pub resends: usize,
    /// Since when the first of them waits before an event that cannot be read.
    #[serde(with = "rfc3339_option")]
    pub resend_held_up_at: Option<Timestamp>,
    pub delivered_total: u64,
    pub failed_total: u64,
    pub given_up_total: u64,
    pub cursor_gone_total: u64,
    /// Newest first.
    pub attempts: Vec<AttemptView>,
    /// Newest first.
    pub given_up: Vec<GivenUpView>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptView {
    pub event: Uuid,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub at: String,
    pub status: Option<u16>,
    pub ms: u64,
    pub result: String,
    pub words: String,
}

/// One event that nobody tries any more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GivenUpView {
    pub event: Uuid,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub at: String,
    pub attempts: u32,
    pub why: String,
}

impl View {
    fn of(endpoint: &Endpoint, book: Option<Book>, now: Timestamp) -> Self {
        let is_new = book.is_none();
        let book = book.unwrap_or_else(|| Book::new(String::new(), Cursor::START));
        let is_held = book.lease.is_some_and(|lease| lease.until > now);
        let paused_until = book.breaker.closed_at(now);
        let state = match () {
            () if is_new => "new",
            () if book.disabled_at.is_some() => "disabled",
            () if book.stranded_at.is_some() => "stranded",
            () if !is_held => "idle",
            () if book.held_up_at.is_some() => "held_up",
            () if paused_until.is_some() => "paused",
            () => "serving",
        };
        let Totals { delivered, failed, given_up, cursor_gone } = book.totals;
        Self {
            name: endpoint.name.to_string(),
            kind: endpoint.kind_word(),
            url: endpoint.url.to_string(),
            state,
            trouble: None,
            paused_until,
            disabled_at: book.disabled_at,
            held_up_at: book.held_up_at,
            began_anew_at: book.began_anew_at,
            cursor: (!is_new).then(|| book.cursor.to_text()),
            waiting: book.entries.len(),
            lag_seconds: book.lag_ms(now) / 1000,
            resends: book.resends.len(),
            resend_held_up_at: book.resend_held_up_at,
            delivered_total: delivered,
            failed_total: failed,
            given_up_total: given_up,
            cursor_gone_total: cursor_gone,
            attempts: book.attempts.iter().rev().map(AttemptView::of).collect(),
            given_up: book.given_up.iter().rev().map(GivenUpView::of).collect(),
        }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt) -> Self {
        Self {
            event: attempt.event,
            kind: attempt.kind,
            at: attempt.at.rfc3339(),
            status: attempt.status,
            ms: attempt.ms,
            result: attempt.result.clone(),
            words: attempt.words.clone(),
        }
    }
}

impl GivenUpView {
    fn of(given_up: &GivenUp) -> Self {
        Self {
            event: given_up.event,
            kind: given_up.kind,
            at: given_up.at.rfc3339(),
            attempts: given_up.attempts,
            why: given_up.why.clone(),
        }
    }
}
