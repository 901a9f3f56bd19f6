//! The task behind the fan-out: the one owner of its channel.
//!
//! It publishes in the order of arrival, waits for no confirm before the next publish, and tells each event's fate
//! once.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::denials::{Denials, Heard};
use super::patience::Patience;
use super::{CONFIRM_TIMEOUT, Fate, Parcel, WAITING_EVENTS_MAX};
use crate::link::{Link, Session, bounded};
use crate::topology::{TopologyError, declare_one, events_exchange};

/// Publishes without a confirm, at most: beyond that the connection is given up, and they with it.
const UNCONFIRMED_MAX: usize = 8_192;

/// How long opening the channel may take, step by step.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Carrier {
    link: Link,
    exchange: String,
    patience: Arc<Patience>,
    denials: Denials,
    /// What has no channel yet.
    waiting: VecDeque<Parcel>,
    under_way: FuturesUnordered<BoxFuture<'static, Carried>>,
    open: Option<Open>,
    opening: Option<BoxFuture<'static, Open>>,
    /// Channels opened so far.
    opened: u64,
    /// Whether it was said that confirms are held back; said again when they came in between.
    has_complained: bool,
}

/// A channel in confirm mode, and the connection it belongs to.
#[derive(Clone)]
struct Open {
    session: Session,
    channel: Channel,
}

/// How a publish ended.
enum Carried {
    Told,
    /// The broker took it.
    Confirmed {
        routing_key: String,
        channel: u64,
    },
    /// The channel closed under it, and perhaps over it.
    Returned {
        parcel: Box<Parcel>,
        channel: u64,
        cause: Option<lapin::Error>,
    },
}

impl Carrier {
    pub fn new(link: Link, exchange: String, patience: Arc<Patience>) -> Self {
        let (waiting, under_way) = (VecDeque::new(), FuturesUnordered::new());
        let denials = Denials::new(exchange.clone());
        Self {
            link,
            exchange,
            patience,
            denials,
            waiting,
            under_way,
            open: None,
            opening: None,
            opened: 0,
            has_complained: false,
        }
    }

    /// Carries until everybody who hands over is gone, or `cancel`.
    pub async fn run(mut self, mut parcels: mpsc::Receiver<Parcel>, cancel: CancellationToken) {
        loop {
            let has_room = self.waiting.len() < WAITING_EVENTS_MAX;
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(carried) = self.under_way.next() => self.ended(carried),
                open = next(&mut self.opening) => {
                    self.opening = None;
                    self.open = Some(open);
                    self.opened += 1;
                }
                parcel = parcels.recv(), if has_room => match parcel {
                    Some(parcel) => self.waiting.push_back(parcel),
                    None => return,
                },
            }
            self.send_waiting();
        }
    }

    fn ended(&mut self, carried: Carried) {
        let (mut parcel, channel, cause) = match carried {
            Carried::Told => return,
            Carried::Confirmed { routing_key, channel } => return self.denials.taken(&routing_key, channel),
            Carried::Returned { parcel, channel, cause } => (parcel, channel, cause),
        };
        // Others of the same channel come after it: by then there may be a new one.
        if channel == self.opened {
            self.open = None;
        }
        match cause.map_or(Heard::Passing, |cause| self.denials.hear(&cause, channel)) {
            Heard::Passing | Heard::Denied => self.waiting.push_back(*parcel),
            Heard::Refused => refuse(&mut parcel, &self.patience),
        }
    }

    fn send_waiting(&mut self) {
        let (denials, patience) = (&self.denials, &self.patience);
        self.waiting.retain_mut(|parcel| {
            let is_denied = denials.hold(&parcel.routing_key);
            if is_denied {
                refuse(parcel, patience);
            }
            !is_denied
        });
        if self.waiting.is_empty() {
            return;
        }
        let Some(open) = self.open.clone() else {
            let (link, exchange) = (self.link.clone(), self.exchange.clone());
            self.opening.get_or_insert_with(|| Box::pin(open_channel(link, exchange)));
            return;
        };
        for parcel in self.waiting.drain(..) {
            if parcel.is_wanted() {
                let (confirm, channel) = (confirmed(&open.channel, &self.exchange, &parcel), self.opened);
                self.under_way.push(Box::pin(carry(confirm, parcel, channel, self.patience.clone())));
            } else if parcel.fate.is_none() {
                self.patience.refuse();
            }
        }
        if self.under_way.len() > UNCONFIRMED_MAX {
            self.open = None;
            self.give_up(&open.session);
        }
    }

    /// Drops the connection, because the client library keeps every event until its confirm. What no subscriber has yet
    /// because the broker holds the connection back is dropped with it, and counted; the log has it.
    fn give_up(&mut self, session: &Session) {
        let is_known = self.has_complained && self.patience.is_stalled();
        self.has_complained = true;
        if !is_known {
            tracing::error!(
                unconfirmed = self.under_way.len(),
                exchange = self.exchange,
                "{} events at {} wait for the broker's confirm: a subscriber's queue holds it back. The connection is \
                 dropped; what subscribers did not get of these events is in the log (GET /v1/events). Look for the queue \
                 with `rabbitmqctl list_queues name messages state`; delete or purge it, or give it overflow drop-head",
                self.under_way.len(),
                self.exchange,
            );
        }
        self.link.broken(session, "too many events without a confirm");
    }
}

/// An event that the exchange will not have. Who gave up waiting for it repeats it, and it is counted then.
fn refuse(parcel: &mut Parcel, patience: &Patience) {
    if parcel.is_wanted() || parcel.fate.is_none() {
        patience.refuse();
    }
    parcel.tell(Fate::Refused);
}

/// One event, from the publish to its fate.
async fn carry(
    confirm: impl Future<Output = Result<Confirmation, lapin::Error>>,
    mut parcel: Parcel,
    channel: u64,
    patience: Arc<Patience>,
) -> Carried {
    let mut confirm = pin!(confirm);
    let deadline = Instant::now() + CONFIRM_TIMEOUT;
    let watched = tokio::select! {
        biased;
        result = timeout_at(deadline, &mut confirm) => Some(result),
        () = patience.is_over() => None,
    };
    let result = match watched {
        Some(result) => result,
        None => {
            parcel.tell(Fate::Unwatched);
            timeout_at(deadline, &mut confirm).await
        }
    };
    match result {
        Ok(Ok(Confirmation::Ack(_))) => {
            parcel.tell(Fate::Confirmed);
            return Carried::Confirmed { routing_key: parcel.routing_key, channel };
        }
        Ok(Ok(Confirmation::Nack(_))) => {
            patience.refuse();
            parcel.tell(Fate::Refused);
        }
        Ok(Ok(Confirmation::NotRequested)) => {
            return Carried::Returned { parcel: Box::new(parcel), channel, cause: None };
        }
        Ok(Err(cause)) => {
            return Carried::Returned { parcel: Box::new(parcel), channel, cause: Some(cause) };
        }
        Err(_) => {
            patience.stall();
            parcel.tell(Fate::Refused);
            // Whatever comes now changes nothing; unread, it would lie in the client library's memory.
            drop(confirm.await);
        }
    }
    Carried::Told
}

/// Publishes, and waits for the confirm.
fn confirmed(
    channel: &Channel,
    exchange: &str,
    parcel: &Parcel,
) -> impl Future<Output = Result<Confirmation, lapin::Error>> + Send + use<> {
    let (channel, exchange, key) = (channel.clone(), exchange.into(), parcel.routing_key.as_str().into());
    let (body, properties) = (parcel.body.clone(), parcel.properties.clone());
    async move {
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange, key, options, &body, properties).await?.await
    }
}

/// The future's output; never, if there is none.
async fn next<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Opens a channel, as long as that takes; the exchange is there when it is open.
async fn open_channel(link: Link, exchange: String) -> Open {
    loop {
        let session = link.up().await;
        match prepared(&session, &exchange).await {
            Ok(channel) => return Open { session, channel },
            Err(cause) => link.broken(&session, cause),
        }
    }
}

async fn prepared(session: &Session, exchange: &str) -> Result<Channel, TopologyError> {
    declare_one(session, &events_exchange(exchange.to_owned())).await?;
    let channel = session.channel().await?;
    bounded("confirm.select", OPEN_TIMEOUT, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}
