//! The event log as server-sent events. A page is read only when the client has taken the one before: a slow
//! client costs one page of memory, and falls behind in the log instead of in our buffers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use paybell_core::Event;
use paybell_core::ports::{Cursor, EventFilter, EventLog, EventPage, LogRead, PortError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer::{Body, with_type};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::events::{Withheld, cursor, filter};
use crate::gate::only;
use crate::limits::StreamPlace;
use crate::metrics::OpenStream;

/// Between two comments: keeps proxies from closing a quiet stream, and finds clients that are gone.
const COMMENT_GAP: Duration = Duration::from_secs(15);

/// Events read at once.
const PAGE_ROWS: usize = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /v1/events/stream`. The place to start is fixed before the answer's head: whatever is emitted after the client
/// has seen the head comes.
pub(crate) async fn open(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["after", "type", "mch_id", "shadow"])?;
    let withheld = Withheld::of(&query)?;
    let filter = filter(&query)?;
    // A browser that comes back repeats its first URL: the header is the newer word.
    let after = match only(&call.head, LAST_EVENT_ID).filter(|text| !text.is_empty()) {
        Some(text) => Some(cursor("Last-Event-ID", text)?),
        None => query.get("after").map(|text| cursor("after", text)).transpose()?,
    };
    if call.drain.is_cancelled() {
        return Err(Error::Draining);
    }
    let held = shared.stream_place(call)?;
    let log = shared.ports.log.clone();
    let place = match after {
        Some(place) => place,
        None => log.end().await?,
    };
    let reader = Reader {
        log,
        filter,
        withheld,
        place,
        ready: VecDeque::from([Bytes::from_static(b": paybell events\n\n")]),
        stage: Stage::Behind,
        comment_at: Instant::now() + COMMENT_GAP,
        drain: call.drain.clone(),
        shut_out: call.end(),
        _held: held,
    };
    let body = StreamBody::new(unfold(reader, Reader::next));
    let mut response = with_type(StatusCode::OK, "text/event-stream", body.boxed_unsync());
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// One client's place in the log.
struct Reader {
    log: Arc<dyn EventLog>,
    filter: EventFilter,
    withheld: Withheld,
    place: Cursor,
    /// What the client has not taken yet: one page at most.
    ready: VecDeque<Bytes>,
    stage: Stage,
    comment_at: Instant,
    drain: CancellationToken,
    /// Cancelled when the client may not read any more.
    shut_out: CancellationToken,
    _held: (StreamPlace, OpenStream),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There may be more in the log.
    Behind,
    /// Everything was read: wait for more.
    CaughtUp,
    /// Nothing comes after what is ready.
    Ending,
}

impl Reader {
    /// The next piece of the stream; `None` ends it.
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        loop {
            if self.drain.is_cancelled() || self.shut_out.is_cancelled() {
                return None;
            }
            if Instant::now() >= self.comment_at {
                self.comment_at = Instant::now() + COMMENT_GAP;
                return Some((Ok(Frame::data(Bytes::from_static(b":\n\n"))), self));
            }
            if let Some(piece) = self.ready.pop_front() {
                return Some((Ok(Frame::data(piece)), self));
            }
            let advanced = match self.stage {
                Stage::Behind => self.turn_page().await,
                Stage::CaughtUp => self.wait().await,
                Stage::Ending => return None,
            };
            if let Err(cause) = advanced {
                // The client comes back with its last cursor; a stream that pretends to be whole would be worse.
                tracing::warn!(%cause, "an event stream ends: {cause}");
                return None;
            }
        }
    }

    async fn turn_page(&mut self) -> Result<(), PortError> {
        let (log, drain) = (self.log.clone(), self.drain.clone());
        let read = tokio::select! {
            biased;
            () = drain.cancelled() => return Ok(()),
            read = log.read(Some(self.place), &self.filter, PAGE_ROWS) => read?,
        };
        match read {
            LogRead::Page(EventPage { events, next, has_more }) => {
                let shown = events.iter().filter(|(_, event)| self.withheld.shows(event));
                self.ready = shown.map(|(cursor, event)| told(*cursor, event)).collect();
                self.place = next;
                self.stage = if has_more { Stage::Behind } else { Stage::CaughtUp };
            }
            LogRead::Gone { oldest } => {
                self.ready = VecDeque::from([reset(oldest)]);
                self.stage = Stage::Ending;
            }
        }
        Ok(())
    }

    /// Until the log grows, the next comment is due, or the stream is to end.
    async fn wait(&mut self) -> Result<(), PortError> {
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = self.shut_out.cancelled() => {}
            () = sleep_until(self.comment_at) => {}
            grown = self.log.grown(self.place) => {
                grown?;
                self.stage = Stage::Behind;
            }
        }
        Ok(())
    }
}

fn told(cursor: Cursor, event: &Event) -> Bytes {
    let (id, kind, data) = (cursor.to_text(), event.kind.as_str(), event.to_json());
    Bytes::from(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
}

/// The `id` makes a browser that comes back by itself continue at the oldest place.
fn reset(oldest: Cursor) -> Bytes {
    let oldest = oldest.to_text();
    Bytes::from(format!("id: {oldest}\nevent: reset\ndata: {{\"oldest\":\"{oldest}\"}}\n\n"))
}
