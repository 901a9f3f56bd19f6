//! A page of the older part of the log: a consumer opened at the cursor's event, which must be there.

use std::time::Duration;

use paybell_core::ports::{Cursor, EventFilter, EventPage, LogRead};
use tokio::time::{Instant, timeout, timeout_at};

use super::entry::Entry;
use super::reading::{Reading, Start};
use crate::link::{LinkError, Session};

/// Entries that one read looks at, so that a filter that matches nothing still ends.
const SCAN_ROWS_MAX: usize = 10_000;

/// How long one read looks; what it has by then is the page.
const SCAN_TIMEOUT: Duration = Duration::from_millis(1_200);

/// How long the first entry may take.
const FIRST_TIMEOUT: Duration = Duration::from_millis(1_800);

/// Deliveries ahead of us. The broker reads so many before it sends the first, one by one where they were written so:
/// with hundreds, no page of a busy broker would begin in time.
const PREFETCH: u16 = 32;

/// What a reader asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub filter: &'a EventFilter,
    pub limit: usize,
}

impl Wanted<'_> {
    /// Puts the next entry on a page; `false` if the page has no room for it, or if it is one that this version cannot
    /// read and may be wanted: then the page ends before it.
    pub fn add(&self, page: &mut EventPage, entry: &Entry) -> bool {
        if entry.is_hidden_from(self.filter) {
            return false;
        }
        if let Some(event) = entry.wanted(self.filter) {
            if page.events.len() >= self.limit {
                return false;
            }
            page.events.push((entry.cursor(), event.clone()));
        }
        page.next = entry.cursor();
        true
    }
}

/// The log to read, and its end.
pub(super) struct Old<'a> {
    pub session: &'a Session,
    pub stream: &'a str,
    /// Known to be there: nothing is waited for beyond it.
    pub end: Cursor,
}

impl Old<'_> {
    /// The page after the cursor, which is not beyond the end; without one from the oldest entry.
    pub async fn page(&self, after: Option<Cursor>, wanted: Wanted<'_>) -> Result<LogRead, LinkError> {
        let event = after.filter(|after| !after.id.is_nil());
        let start = event.map_or(Start::First, |event| Start::Offset(event.position.saturating_sub(1)));
        let (reading, first) = self.open(start).await?;
        match after {
            Some(after) if first.cursor() == after => self.collect(reading, after, None, wanted).await,
            Some(after) if first.before() != after => {
                drop(reading);
                self.gone().await
            }
            Some(_) | None => self.collect(reading, first.before(), Some(first), wanted).await,
        }
    }

    /// A cursor that is no place: the oldest one.
    pub async fn gone(&self) -> Result<LogRead, LinkError> {
        let (_, first) = self.open(Start::First).await?;
        Ok(LogRead::Gone { oldest: first.before() })
    }

    /// A consumer and its first entry. There is one: whoever follows the log knows one.
    async fn open(&self, start: Start) -> Result<(Reading, Entry), LinkError> {
        let mut reading = Reading::open(self.session, self.stream, start, PREFETCH).await?;
        let late = LinkError::Timeout { what: "begin a page", limit: FIRST_TIMEOUT };
        let first = timeout(FIRST_TIMEOUT, reading.next()).await.map_err(|_| late)??;
        Ok((reading, first))
    }

    /// Fills a page that begins at `from`, with `first` and what follows, up to the end.
    async fn collect(
        &self,
        mut reading: Reading,
        from: Cursor,
        first: Option<Entry>,
        wanted: Wanted<'_>,
    ) -> Result<LogRead, LinkError> {
        let deadline = Instant::now() + SCAN_TIMEOUT;
        let mut page = EventPage { events: Vec::new(), next: from, has_more: true };
        let mut entry = first;
        for looked_at in 0..SCAN_ROWS_MAX {
            if page.next.position >= self.end.position {
                page.has_more = false;
                break;
            }
            let next = match entry.take() {
                Some(first) => first,
                None => match timeout_at(deadline, reading.next()).await {
                    Ok(next) => next?,
                    Err(_) if looked_at > 0 => break,
                    Err(_) => return Err(LinkError::Timeout { what: "read a page", limit: SCAN_TIMEOUT }),
                },
            };
            if !wanted.add(&mut page, &next) {
                if page.next == from {
                    return Err(next.newer());
                }
                break;
            }
        }
        Ok(LogRead::Page(page))
    }
}
