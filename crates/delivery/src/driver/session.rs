//! The time in which one endpoint is ours: step, post, settle, keep.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use paybell_core::Timestamp;
use paybell_core::ports::{LogRead, PortError};
use paybell_core::time::Millis;
use rand::Rng;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::Server;
use crate::book::Lease;
use crate::error::Error;
use crate::machine::{Head, Machine, Parcel, Reading, Step};
use crate::outcome::Report;
use crate::shelf::Held;
use crate::wishes::Wish;

/// Between two lines about an event that cannot be read.
const SAY_GAP: Duration = Duration::from_secs(60);

/// After a part of the engine failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Session<'s> {
    server: &'s mut Server,
    machine: Machine,
    version: u64,
    lease_until: Timestamp,
    clock: Clock,
    in_flight: FuturesUnordered<BoxFuture<'static, (Uuid, Report)>>,
    kept_at: Instant,
    wishes_at: Instant,
    /// Until when the engine is left alone after a failure.
    blocked_until: Option<Instant>,
    /// When it was last said that an event cannot be read.
    said_at: Option<Instant>,
}

/// The ledger's clock, carried on between two readings.
struct Clock {
    read: Timestamp,
    at: Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        self.read + Millis(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// What becomes of the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Renewed,
    Freed,
}

/// Why the endpoint is not ours any more.
enum Ended {
    Lost,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Failed(error)
    }
}

impl<'s> Session<'s> {
    pub fn new(server: &'s mut Server, held: Held, now: Timestamp) -> Self {
        let endpoint = &server.courier.endpoint;
        let Held { mut book, version } = held;
        let print = endpoint.url.print();
        let is_moved = book.target != print;
        book.target = print;
        let lease_until = book.lease.map_or(now, |lease| lease.until);
        let mut machine = Machine::new(book, endpoint.wanted.clone(), endpoint.schedule());
        if is_moved {
            machine.enable(now);
        }
        let at = Instant::now();
        Self {
            server,
            machine,
            version,
            lease_until,
            clock: Clock { read: now, at },
            in_flight: FuturesUnordered::new(),
            kept_at: at,
            wishes_at: at,
            blocked_until: None,
            said_at: None,
        }
    }

    /// Until the endpoint is lost or the process drains.
    pub async fn work(mut self) {
        while !self.server.drain.is_cancelled() && self.clock.now() < self.lease_until {
            match self.advance().await {
                Ok(()) => {}
                Err(Ended::Lost) => {
                    let name = &self.server.courier.endpoint.name;
                    tracing::info!(endpoint = %name, "another process serves the endpoint {name}");
                    return;
                }
                Err(Ended::Failed(error)) => {
                    let name = &self.server.courier.endpoint.name;
                    tracing::warn!(endpoint = %name, error = %error, "the endpoint {name} waits: {error}");
                    self.blocked_until = Some(Instant::now() + STORE_PAUSE);
                }
            }
        }
        self.leave().await;
    }

    /// One step of the machine; where there is none, keeps the book and waits.
    async fn advance(&mut self) -> Result<(), Ended> {
        if self.blocked_until.is_some_and(|until| until > Instant::now()) {
            self.wait(None, false).await;
            return Ok(());
        }
        self.blocked_until = None;
        let now = self.clock.now();
        match self.machine.step(now) {
            Step::Post(parcel) => self.post(*parcel, now),
            Step::Read(reading) => {
                self.read(&reading, now).await?;
                if reading.head == Head::Resend {
                    self.look_for_new();
                }
                // Reading past many unwanted events leaves no other moment for these.
                while let Some(Some((id, report))) = self.in_flight.next().now_or_never() {
                    self.settle(id, &report);
                }
                self.keep().await?;
            }
            Step::Wait { until, for_log } => {
                self.keep().await?;
                if !self.fulfil().await? {
                    self.wait(until, for_log).await;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, reading: &Reading, now: Timestamp) -> Result<(), Ended> {
        let log = &self.server.ports.log;
        let read = match log.read(Some(reading.after), &reading.filter, reading.limit).await {
            Err(error @ PortError::Corrupt { .. }) => {
                self.say_unread(reading.head, &error);
                self.machine.cannot_read(reading.clone(), now);
                return Ok(());
            }
            read => read.map_err(Error::from)?,
        };
        let (gone, was_stranded) =
            (self.machine.book().totals.cursor_gone, self.machine.book().stranded_at.is_some());
        let is_foreign = matches!(read, LogRead::Gone { oldest } if oldest.position < reading.after.position);
        self.machine.took(reading, read, now);
        let name = &self.server.courier.endpoint.name;
        if is_foreign && reading.head == Head::Resend {
            tracing::warn!(
                endpoint = %name,
                "what {name} was to get again is not in the event log: ask with another place"
            );
        }
        match (was_stranded, self.machine.book().stranded_at.is_some()) {
            (false, true) => tracing::error!(
                endpoint = %name,
                "the event log does not know the place of {name}, and begins before it: nothing new is sent, because \
                 everything would be sent again; if it stays so: paybell endpoint enable {name}"
            ),
            (true, false) => {
                tracing::info!(endpoint = %name, "the event log knows the place of {name} again")
            }
            _ => {}
        }
        if self.machine.book().totals.cursor_gone > gone {
            tracing::warn!(endpoint = %name, "the place of {name} has left the log: on at the oldest event");
            self.server.metrics.cursor_gone(name);
        }
        Ok(())
    }

    /// A long part that is sent again may leave no time in which the log is waited for.
    fn look_for_new(&mut self) {
        let (log, cursor) = (self.server.ports.log.clone(), self.machine.book().cursor);
        if log.grown(cursor).now_or_never().is_some_and(|grown| grown.is_ok()) {
            self.machine.log_grew();
        }
    }

    /// Once a minute: it may stay so until a rolling upgrade ends.
    fn say_unread(&mut self, head: Head, error: &PortError) {
        if self.said_at.is_some_and(|said_at| said_at.elapsed() < SAY_GAP) {
            return;
        }
        self.said_at = Some(Instant::now());
        let name = &self.server.courier.endpoint.name;
        let what = match head {
            Head::Main => "what comes next for",
            Head::Resend => "what is to be sent again to",
        };
        tracing::error!(
            endpoint = %name,
            error = %error,
            "{what} {name} is an event that this version cannot read, and what follows it waits too: {error}; to have \
             {name} pass it over: paybell endpoint enable {name}"
        );
    }

    fn post(&mut self, parcel: Parcel, now: Timestamp) {
        let (courier, id) = (self.server.courier.clone(), parcel.entry.id);
        let nonce = format!("{:032x}", self.server.random.random::<u128>());
        self.in_flight.push(Box::pin(async move { (id, courier.deliver(parcel, now, nonce).await) }));
    }

    fn settle(&mut self, id: Uuid, report: &Report) {
        let settled = self.machine.settled(id, report, self.clock.now(), &mut self.server.random);
        self.server.metrics.tried(&self.server.courier.endpoint.name, report, settled);
    }

    /// Until an attempt ends, the log grows, a time comes, or the process drains.
    async fn wait(&mut self, until: Option<Timestamp>, for_log: bool) {
        let wake = self.wake(until);
        let (log, cursor) = (self.server.ports.log.clone(), self.machine.book().cursor);
        tokio::select! {
            biased;
            () = self.server.drain.cancelled() => {}
            Some((id, report)) = self.in_flight.next(), if !self.in_flight.is_empty() => self.settle(id, &report),
            grown = log.grown(cursor), if for_log => match grown {
                Ok(()) => self.machine.log_grew(),
                Err(_) => self.blocked_until = Some(Instant::now() + STORE_PAUSE),
            },
            () = sleep_until(wake) => {}
        }
    }

    fn wake(&self, until: Option<Timestamp>) -> Instant {
        if let Some(until) = self.blocked_until {
            return until;
        }
        let timing = &self.server.timing;
        let mut wake = (self.wishes_at + timing.wishes_gap).min(self.kept_at + timing.lease / 3);
        if self.machine.is_dirty() {
            wake = wake.min(self.kept_at + timing.keep_gap);
        }
        if let Some(until) = until {
            let left = u64::try_from(until.since(self.clock.now()).0).unwrap_or(0);
            wake = wake.min(Instant::now() + Duration::from_millis(left));
        }
        wake
    }

    /// Writes the book where it changed a while ago, and renews the lease in good time.
    async fn keep(&mut self) -> Result<(), Ended> {
        let (timing, age) = (self.server.timing, self.kept_at.elapsed());
        let is_due = (self.machine.is_dirty() && age >= timing.keep_gap) || age >= timing.lease / 3;
        if is_due { self.write(Hold::Renewed).await } else { Ok(()) }
    }

    /// Writes the book now.
    async fn write(&mut self, hold: Hold) -> Result<(), Ended> {
        let now = self.server.ports.ledger.clock().await.map_err(Error::from)?.now;
        self.clock = Clock { read: now, at: Instant::now() };
        let holder = self.server.holder;
        let until = now + holder.length;
        let lease = Lease { token: holder.token, until };
        self.machine.book_mut().lease = (hold == Hold::Renewed).then_some(lease);
        let kept = self.server.shelf.keep(self.machine.book(), self.version, holder.token).await?;
        self.version = kept.ok_or(Ended::Lost)?;
        self.lease_until = until;
        self.kept_at = Instant::now();
        self.machine.kept();
        let name = &self.server.courier.endpoint.name;
        self.server.metrics.stands(name, self.machine.book(), now);
        Ok(())
    }

    /// Does what people asked for, and says whether there was something; the book that says so is written before the wishes are forgotten.
    async fn fulfil(&mut self) -> Result<bool, Ended> {
        if self.wishes_at.elapsed() < self.server.timing.wishes_gap {
            return Ok(false);
        }
        self.wishes_at = Instant::now();
        let done = self.machine.book().wishes_done;
        let waiting = self.server.wishes.waiting(done).await?;
        let has_enabled = self.fulfil_enable(&waiting).await?;
        for (number, wish) in waiting {
            if let Wish::Resend(resend) = wish
                && !self.machine.resend(resend)
            {
                break;
            }
            // Whatever a person asked for, they looked.
            self.machine.book_mut().began_anew_at = None;
            self.machine.book_mut().wishes_done = number;
        }
        let done_now = self.machine.book().wishes_done;
        if has_enabled || done_now > done {
            self.write(Hold::Renewed).await?;
        }
        if done_now > done {
            self.server.wishes.forget(done_now).await?;
        }
        Ok(has_enabled || done_now > done)
    }

    /// Before all others, and once: where nothing is sent, nothing that waits for room ever finds any.
    async fn fulfil_enable(&mut self, waiting: &[(u64, Wish)]) -> Result<bool, Ended> {
        let done = self.machine.book().enables_done;
        let newest = waiting.iter().rev().find(|(_, wish)| *wish == Wish::Enable);
        let Some((number, _)) = newest.filter(|(number, _)| *number > done) else { return Ok(false) };
        let log = self.server.ports.log.clone();
        if self.machine.book().stranded_at.is_some() {
            self.machine.float(log.end().await.map_err(Error::from)?);
        }
        for Reading { head, after, filter, .. } in self.machine.unread().cloned().collect::<Vec<_>>() {
            if let Some(past) = log.past_unread(after, &filter).await.map_err(Error::from)? {
                self.machine.pass_over(head, past);
            }
        }
        self.machine.enable(self.clock.now());
        let book = self.machine.book_mut();
        (book.began_anew_at, book.enables_done) = (None, *number);
        Ok(true)
    }

    /// Ends what is in flight within the time that there is, and frees the lease, so that another process goes on at
    /// once. An attempt that did not end is repeated.
    async fn leave(&mut self) {
        let until = Instant::now() + self.server.timing.drain;
        while let Ok(Some((id, report))) = timeout_at(until, self.in_flight.next()).await {
            self.settle(id, &report);
        }
        if let Err(Ended::Failed(error)) = self.write(Hold::Freed).await {
            let name = &self.server.courier.endpoint.name;
            tracing::warn!(endpoint = %name, error = %error, "the book of {name} was not kept: {error}");
        }
    }
}
