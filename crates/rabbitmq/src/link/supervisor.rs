//! Keeps one link up: connect, declare, hand out, watch, and again, until the process ends.
//!
//! Each outage is said once when it begins, again when its cause changes, and once when it is over.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::Event;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::{LinkError, LinkState, Purpose, Session};
use crate::config::Settings;
use crate::topology::{Finding, TopologyError, ensure};
use crate::trouble::Trouble;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Between looks at a topology that an operator has to mend.
const CONFLICT_PAUSE: Duration = Duration::from_secs(15);

/// A connection that lived so long ends a series of failures.
const STEADY: Duration = Duration::from_secs(10);

/// Runs until `cancel`, then takes leave of the broker.
pub(super) async fn run(
    settings: Arc<Settings>,
    purpose: Purpose,
    state: watch::Sender<LinkState>,
    cancel: CancellationToken,
) {
    let mut keeper = Keeper::new(settings, purpose, state);
    while let Some(connected) = cancel.run_until_cancelled(keeper.connect()).await {
        let (session, events) = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                let pause = keeper.failed(&failure);
                if cancel.run_until_cancelled(sleep(pause)).await.is_none() {
                    break;
                }
                continue;
            }
        };
        keeper.succeeded(&session);
        if cancel.run_until_cancelled(keeper.watch(&session, events)).await.is_none() {
            keeper.state.send_replace(LinkState::Closed);
            session.close("closing".into()).await;
            break;
        }
        let pause = keeper.lost(&session);
        if cancel.run_until_cancelled(sleep(pause)).await.is_none() {
            break;
        }
    }
    keeper.state.send_replace(LinkState::Closed);
}

/// What the client library tells about a connection.
type Events = BoxStream<'static, Event>;

/// Why there is no session.
struct Failure {
    cause: Arc<str>,
    trouble: Option<Trouble>,
    /// It takes an operator.
    is_conflict: bool,
}

struct Keeper {
    settings: Arc<Settings>,
    purpose: Purpose,
    state: watch::Sender<LinkState>,
    random: StdRng,
    generation: u64,
    /// Failures in a row.
    failures: u32,
    /// Since when it is up, or down.
    since: Instant,
    /// What was last said about the outage.
    said: Option<Arc<str>>,
}

impl Keeper {
    fn new(settings: Arc<Settings>, purpose: Purpose, state: watch::Sender<LinkState>) -> Self {
        let random = StdRng::seed_from_u64(RandomState::new().hash_one(purpose.as_str()));
        let (generation, failures, since, said) = (0, 0, Instant::now(), None);
        Self { settings, purpose, state, random, generation, failures, since, said }
    }

    /// A connection on which the topology is as it should be.
    async fn connect(&mut self) -> Result<(Session, Events), Failure> {
        let name = format!("paybell {}", self.purpose.as_str());
        let (connection, plug) =
            dial(&self.settings, &name).await.map_err(|error| Failure::passing(&error))?;
        // Listening begins before anything is asked, so nothing is missed.
        let events: Events = Box::pin(connection.events_listener());
        self.generation += 1;
        let session = Session::new(connection, plug, self.generation);
        let turn = self.settings.declaring.lock().await;
        let declared = ensure(&session, &self.settings.shape, &[self.purpose.part()]).await;
        drop(turn);
        match declared {
            Ok(borne) => {
                self.tell(&borne);
                Ok((session, events))
            }
            Err(TopologyError::Link(error)) => Err(Failure::passing(&error)),
            Err(wrong) => Err(Failure { cause: wrong.to_string().into(), trouble: None, is_conflict: true }),
        }
    }

    /// Says what is not as it should be and is used all the same, once in a process for each kind.
    fn tell(&self, borne: &[Finding]) {
        for finding in borne {
            match finding {
                Finding::Aged { .. } if !self.settings.told.aged.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(finding = %finding, "{finding}");
                }
                Finding::Uncompared { .. }
                    if !self.settings.told.uncompared.swap(true, Ordering::Relaxed) =>
                {
                    tracing::info!(
                        "this user may not declare at RabbitMQ: what is there is used as it is; `paybell topology check` \
                         compares the arguments for a user with the configure permission"
                    );
                }
                _ => {}
            }
        }
    }

    fn succeeded(&mut self, session: &Session) {
        let (purpose, down_ms) = (self.purpose.as_str(), self.since.elapsed().as_millis());
        if self.said.take().is_some() {
            tracing::info!(purpose, down_ms, "RabbitMQ is back for {purpose} after {down_ms} ms");
        }
        self.since = Instant::now();
        self.state.send_replace(LinkState::Up(session.clone()));
    }

    /// Returns when the session is over.
    async fn watch(&self, session: &Session, mut events: Events) {
        let purpose = self.purpose.as_str();
        while !session.has_ended() {
            let event = tokio::select! {
                () = session.ended() => return,
                event = events.next() => event,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(purpose, reason, "RabbitMQ takes nothing for {purpose}: {reason}");
                    self.state.send_replace(LinkState::Blocked { reason: reason.into() });
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(purpose, "RabbitMQ takes messages for {purpose} again");
                    self.state.send_replace(LinkState::Up(session.clone()));
                }
                // A channel's error is told here too, and concerns only whoever works on the channel.
                Some(Event::Error(_)) if session.is_connected() => {}
                Some(Event::Error(error)) => session.failed(&error),
                None => session.end("the connection ended".into()),
                Some(_) => {}
            }
        }
    }

    /// A session ended: how long to wait before the next.
    fn lost(&mut self, session: &Session) -> Duration {
        let was_steady = self.since.elapsed() > STEADY;
        self.since = Instant::now();
        self.failures = if was_steady { 0 } else { self.failures.saturating_add(1) };
        self.down(&session.cause(), session.trouble());
        self.pause()
    }

    /// There was no session to be had: how long to wait before the next attempt.
    fn failed(&mut self, failure: &Failure) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.down(&failure.cause, failure.trouble);
        if failure.is_conflict { CONFLICT_PAUSE } else { self.pause() }
    }

    fn down(&mut self, cause: &Arc<str>, trouble: Option<Trouble>) {
        if self.said.as_ref() != Some(cause) {
            let (purpose, address) = (self.purpose.as_str(), self.settings.address());
            let remedy = trouble.map_or(String::new(), |trouble| format!(". {}", trouble.remedy()));
            tracing::error!(
                purpose, address, cause = %cause, "RabbitMQ at {address} is away for {purpose}: {cause}{remedy}"
            );
            self.said = Some(cause.clone());
        }
        self.state.send_replace(LinkState::Down { since: self.since, cause: cause.clone() });
    }

    fn pause(&mut self) -> Duration {
        let doublings = self.failures.min(5);
        let pause = (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX);
        pause.mul_f64(self.random.random_range(0.5..1.0))
    }
}

impl Failure {
    fn passing(error: &LinkError) -> Self {
        Self { cause: error.named().into(), trouble: Trouble::of(error), is_conflict: false }
    }
}
