//! The event log by pages. Reads only; the place to continue is the caller's to keep.

use hyper::{Response, StatusCode};
use paybell_core::Event;
use paybell_core::event::EventType;
use paybell_core::ports::{Cursor, EventFilter, LogRead};
use serde::Serialize;

use crate::answer::{Body, json};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::query::Query;

#[derive(Serialize)]
struct Page<'a> {
    events: Vec<Row<'a>>,
    next: String,
    has_more: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    cursor: String,
    event: &'a Event,
}

/// `GET /v1/events`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["after", "type", "mch_id", "limit", "shadow"])?;
    let withheld = Withheld::of(&query)?;
    let after = query.get("after").map(|text| cursor("after", text)).transpose()?;
    match shared.ports.log.read(after, &filter(&query)?, query.limit()?).await? {
        LogRead::Gone { oldest } => Err(Error::Gone { oldest }),
        LogRead::Page(page) => {
            let row = |(cursor, event)| Row { cursor: Cursor::to_text(cursor), event };
            let shown = page.events.iter().filter(|(_, event)| withheld.shows(event));
            let events = shown.map(|(cursor, event)| row((*cursor, event))).collect();
            Ok(json(StatusCode::OK, &Page { events, next: page.next.to_text(), has_more: page.has_more }))
        }
    }
}

/// The filters of both ways to read events.
pub(crate) fn filter(query: &Query) -> Result<EventFilter, Error> {
    let kind = query.get("type").map(|text| {
        EventType::parse(text).ok_or_else(|| {
            let words: Vec<&str> = EventType::ALL.into_iter().map(EventType::as_str).collect();
            Error::field("type", format!("must be one of {}", words.join(", ")))
        })
    });
    Ok(EventFilter { kind: kind.transpose()?, mch_id: query.mch_id()? })
}

/// What to do with events that were decided in shadow mode and told to nobody: who does not know of them must not
/// meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    LeaveOut,
    Include,
    Only,
}

impl Withheld {
    /// `shadow=include` or `shadow=only`; left out without it.
    pub(crate) fn of(query: &Query) -> Result<Self, Error> {
        match query.get("shadow") {
            None => Ok(Self::LeaveOut),
            Some("include") => Ok(Self::Include),
            Some("only") => Ok(Self::Only),
            Some(_) => Err(Error::field("shadow", "must be include or only")),
        }
    }

    pub(crate) fn shows(self, event: &Event) -> bool {
        match self {
            Self::LeaveOut => !event.is_shadow(),
            Self::Include => true,
            Self::Only => event.is_shadow(),
        }
    }
}

/// A cursor as a caller gives it back.
pub(crate) fn cursor(field: &str, text: &str) -> Result<Cursor, Error> {
    Cursor::parse(text)
        .ok_or_else(|| Error::field(field, "is no cursor; give `next` or `cursor` of an earlier answer"))
}
