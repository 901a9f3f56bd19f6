//! The event log over a stream: appending, reading from a cursor, following the end.
//!
//! A cursor's position is the offset of its event plus one, so that 0 is the place before everything. Offsets rise
//! without being dense: the broker uses some for itself. Repeats of an id are not kept out.

mod ahead;
pub(crate) mod entry;
mod follower;
mod mark;
mod page;
mod reading;
mod recent;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use paybell_core::event::Event;
use paybell_core::ports::{Cursor, EventFilter, EventLog, LogRead, PAGE_ROWS_MAX, PortError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::unconstrained;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::fanout::Fanout;
use crate::link::{Link, LinkError, Purpose};
use crate::publisher::{Message, Publisher};
use crate::topology::names;
use ahead::{Ahead, CATCH_UP_TIMEOUT, Places};
use entry::properties;
use follower::{Asker, Follower};
use mark::{Marker, Marks};
use page::{Old, Wanted};
use recent::Found;
use tail::Tail;

/// How the port names this engine's log.
const PART: &str = "log";

/// How long a read takes at most.
const READ_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Why a place beyond the end is not answered at once.
const SHORT: &str = "it ends before that place, as far as this node knows: it is behind another node, or the log lost \
                     its tail";

/// How long closing waits for subscribers: a little longer than an append does.
const FINISH_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Pages of the older part that are read at once; each is a consumer at the broker.
const OLD_PAGES_MAX: usize = 8;

/// Readers that wait to hear the end.
const ASKERS_MAX: usize = 1_024;

/// What a process does with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub appends: bool,
    pub reads: bool,
    pub seldom: bool,
}

/// The event log of one process.
pub(crate) struct StreamLog {
    writer: Option<Writer>,
    reader: Option<Reader>,
}

/// The side that appends: the stream first, then the subscribers.
struct Writer {
    stream: String,
    publisher: Publisher,
    fanout: Fanout,
    appends: TaskTracker,
}

/// The side that reads.
struct Reader {
    link: Link,
    stream: String,
    tail: Arc<Tail>,
    askers: mpsc::Sender<Asker>,
    /// Asked for, and beyond the end.
    places: Places,
    old_pages: Semaphore,
}

impl StreamLog {
    /// Opens the connections that the process needs, and begins to follow the end if it reads.
    pub fn start(settings: &Arc<Settings>, access: Access, cancel: &CancellationToken) -> Self {
        let link = |purpose| Link::start(settings.clone(), purpose, cancel.clone());
        let prefix = settings.shape.prefix.as_str();
        let stream = names::event_log(prefix);
        let writer = access.appends.then(|| {
            let (fanout, carrier) = Fanout::new(link(Purpose::Fanout), names::events(prefix), cancel.clone());
            settings.tasks.spawn(carrier);
            let publisher = Publisher::start(link(Purpose::Append), settings, 1, cancel.clone());
            Writer { stream: stream.clone(), publisher, fanout, appends: TaskTracker::new() }
        });
        let reader = access.reads.then(|| {
            let (marks, asked, told) = Marks::new();
            let (reader, follower) = Reader::new(link(Purpose::Read), stream.clone(), marks);
            let follower = follower.run(!access.seldom);
            settings.tasks.spawn(cancel.clone().run_until_cancelled_owned(follower));
            let (settings, tail) = (settings.clone(), reader.tail.clone());
            let marker = Marker { settings: settings.clone(), stream, tail }.run(asked, told);
            settings.tasks.spawn(cancel.clone().run_until_cancelled_owned(marker));
            reader
        });
        Self { writer, reader }
    }

    /// Whether everything that this process opened of the log works.
    pub fn state(&self) -> Result<(), PortError> {
        let writer = self.writer.iter().flat_map(|writer| [writer.publisher.link(), writer.fanout.link()]);
        let reader = self.reader.iter().map(|reader| &reader.link);
        writer
            .chain(reader)
            .try_for_each(|link| link.session().map(drop).map_err(|cause| cause.unavailable(PART)))
    }

    /// Lets no append begin any more, and waits for those under way, but not for ever.
    pub async fn finish(&self) {
        if let Some(writer) = &self.writer {
            writer.publisher.finish().await;
            // What is in the stream by now still goes to subscribers, or comes to them a second time.
            writer.appends.close();
            if timeout(FINISH_TIMEOUT, writer.appends.wait()).await.is_err() {
                tracing::warn!("events under way are left to be published again");
            }
        }
    }

    /// Events that some subscriber's queue refused, since the start.
    pub fn fanout_refused(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.fanout.refused())
    }

    /// Messages in the stream that are not ours, as far as this process met them.
    pub fn foreign_messages(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.tail.foreign())
    }
}

#[async_trait]
impl EventLog for StreamLog {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.writer.as_ref().ok_or_else(not_opened)?.append(events).await
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        let reader = self.reader.as_ref().ok_or_else(not_opened)?;
        let wanted = Wanted { filter, limit: limit.clamp(1, PAGE_ROWS_MAX) };
        in_time(reader.page(after, wanted)).await
    }

    async fn past_unread(&self, place: Cursor, filter: &EventFilter) -> Result<Option<Cursor>, PortError> {
        let reader = self.reader.as_ref().ok_or_else(not_opened)?;
        in_time(async {
            match reader.page(Some(place), Wanted { filter, limit: 1 }).await {
                Err(LinkError::Newer { at, .. }) => Ok(Some(at)),
                read => read.map(|_| None),
            }
        })
        .await
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        in_time(self.reader.as_ref().ok_or_else(not_opened)?.end()).await
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        let reader = self.reader.as_ref().ok_or_else(not_opened)?;
        let mut end = reader.tail.watch();
        if reader.tail.newest().is_none() {
            // Perhaps nobody has asked yet, and the end is not followed before. Without an answer it is once there is one.
            drop(in_time(reader.end()).await);
        }
        // A cursor of another log is answered too: reading it will tell.
        let is_past = |end: &Option<Cursor>| end.is_some_and(|end| end != past);
        let found = *end.wait_for(is_past).await.map_err(|_| unavailable("closed"))?;
        if found.is_some_and(|found| found.position < past.position) {
            // A replica that lags, most likely. Reading would wait as well, and each time ask the broker.
            let has_it = |end: &Option<Cursor>| end.is_some_and(|end| end.position >= past.position);
            drop(timeout(CATCH_UP_TIMEOUT, end.wait_for(has_it)).await);
        }
        Ok(())
    }
}

impl Writer {
    /// The events are in the stream and were handed to subscribers. The stream comes first: it is the record. The
    /// subscribers belong to the same step, because only then are the events cleared; after a crash between the two
    /// everything is repeated under the same ids. What was decided in shadow is kept and told to nobody.
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let _under_way = self.appends.token();
        let bodies: Vec<Arc<[u8]>> = events.iter().map(|event| event.to_json().into_bytes().into()).collect();
        let mut stored = Vec::with_capacity(events.len());
        for (event, body) in events.iter().zip(&bodies) {
            let message = Message { queue: &self.stream, slot: 0, properties: properties(event), body };
            stored.push(self.publisher.publish(message));
        }
        let mut stored = stored.into_iter();
        // The first goes alone: then the channel is known to be open, and the others begin in this order.
        if let Some(first) = stored.next() {
            first.await.map_err(unavailable)?;
        }
        // All are waited for, so that nobody publishes any more when a repeat begins. A pause that the runtime makes
        // one of them take would break the order.
        let others = unconstrained(join_all(stored)).await;
        others.into_iter().collect::<Result<(), _>>().map_err(unavailable)?;
        let told = events.iter().zip(&bodies).filter(|(event, _)| !event.is_shadow());
        self.fanout.publish(told).await.map_err(unavailable)
    }
}

impl Reader {
    /// Reads over one connection; the second value follows the end.
    fn new(link: Link, stream: String, marks: Marks) -> (Self, Follower) {
        let (askers, asked) = mpsc::channel(ASKERS_MAX);
        let tail = Arc::new(Tail::new());
        let follower = Follower {
            link: link.clone(),
            stream: stream.clone(),
            tail: tail.clone(),
            askers: asked,
            marks: marks.clone(),
        };
        let (places, old_pages) = (Places::new(marks), Semaphore::new(OLD_PAGES_MAX));
        (Self { link, stream, tail, askers, places, old_pages }, follower)
    }

    async fn page(&self, after: Option<Cursor>, wanted: Wanted<'_>) -> Result<LogRead, LinkError> {
        let mut end = self.end().await?;
        let mut is_gone = false;
        if let Some(after) = after.filter(|after| after.position > end.position) {
            match self.places.wait(&self.tail, after).await {
                Ahead::Reached(newer) => end = newer,
                Ahead::Short => return Err(LinkError::Stream(SHORT)),
                Ahead::Gone => is_gone = true,
            }
        }
        let found = match after {
            Some(_) if is_gone => Found::Gone,
            Some(after) => self.tail.page(after, wanted),
            None => Found::Older,
        };
        match found {
            Found::Page(page) => Ok(LogRead::Page(page)),
            Found::Ahead => Err(LinkError::Stream(SHORT)),
            Found::Newer(entry) => Err(entry.newer()),
            Found::Older | Found::Gone => {
                let _turn = self.old_pages.acquire().await.map_err(|_| LinkError::Closed)?;
                let session = self.link.session()?;
                let old = Old { session: &session, stream: &self.stream, end };
                if found == Found::Gone { old.gone().await } else { old.page(after, wanted).await }
            }
        }
    }

    /// The end at this moment: everything that was confirmed on our node before is in the tail.
    async fn end(&self) -> Result<Cursor, LinkError> {
        self.link.session()?;
        let (asker, told) = oneshot::channel();
        self.askers.send(asker).await.map_err(|_| LinkError::Closed)?;
        told.await.map_err(|_| LinkError::Stream("its end was lost from sight"))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, LinkError>>) -> Result<T, PortError> {
    match timeout(READ_TIMEOUT, work).await {
        Ok(Err(error @ LinkError::Newer { .. })) => {
            Err(PortError::Corrupt { part: PART, cause: error.to_string() })
        }
        Ok(read) => read.map_err(unavailable),
        Err(_) => Err(unavailable(LinkError::Timeout { what: "read", limit: READ_TIMEOUT })),
    }
}

fn not_opened() -> PortError {
    unavailable("this process did not open the event log for that")
}

fn unavailable(cause: impl std::fmt::Display) -> PortError {
    PortError::Unavailable { part: PART, cause: cause.to_string() }
}
