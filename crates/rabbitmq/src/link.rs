//! A link: one supervised connection for one purpose, kept up for ever.
//!
//! Its supervisor connects, has the topology declared, hands the session out, and watches it; on any error it drops
//! everything and begins again. The client library's own recovery is off: it gives up, and knows nothing of channels.
//! A link does not publish or consume; whoever does opens channels on the session and begins again with the next one.

mod dial;
mod session;
mod supervisor;
mod tls;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
pub(crate) use crate::error::LinkError;
use crate::topology::Part;
pub(crate) use session::Session;
pub(crate) use tls::Trust;

/// One supervised connection. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
}

/// What a connection is for. Each is apart, because a broker that slows one down shall not slow the others down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Checks into their queues.
    Publish,
    /// Checks, registrations and dead checks out of theirs.
    Consume,
    /// Events into the log.
    Append,
    /// Events to subscribers.
    Fanout,
    /// Events out of the log.
    Read,
}

impl Purpose {
    /// The word in logs, and in the broker's list of connections.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Purpose::Publish => "publish",
            Purpose::Consume => "consume",
            Purpose::Append => "append",
            Purpose::Fanout => "fanout",
            Purpose::Read => "read",
        }
    }

    /// What it needs of the topology.
    pub(crate) fn part(self) -> Part {
        match self {
            Purpose::Publish | Purpose::Consume => Part::Queue,
            Purpose::Append | Purpose::Fanout | Purpose::Read => Part::Log,
        }
    }
}

/// How a link stands.
#[derive(Clone)]
pub(crate) enum LinkState {
    /// There is no connection; the supervisor tries again and again.
    Down {
        since: Instant,
        cause: Arc<str>,
    },
    /// The broker takes nothing on it, for lack of memory or disk.
    Blocked {
        reason: Arc<str>,
    },
    Up(Session),
    /// The process is ending; there will be no other.
    Closed,
}

impl Link {
    /// Begins to connect, and returns at once.
    pub(crate) fn start(settings: Arc<Settings>, purpose: Purpose, cancel: CancellationToken) -> Link {
        let down = LinkState::Down { since: Instant::now(), cause: "not connected yet".into() };
        let (sender, state) = watch::channel(down);
        settings.tasks.spawn(supervisor::run(settings.clone(), purpose, sender, cancel));
        Link { state }
    }

    /// The session, or why there is none, at once.
    pub(crate) fn session(&self) -> Result<Session, LinkError> {
        self.state.borrow().session()
    }

    /// Waits until there is a session on which the broker takes something; for ever, if the process is ending.
    pub(crate) async fn up(&self) -> Session {
        let mut state = self.state.clone();
        loop {
            if let Ok(session) = state.borrow_and_update().session()
                && !session.has_ended()
            {
                return session;
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Follows the state.
    pub(crate) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Gives a session up: its connection is dropped and another one made. Once per session is enough.
    #[expect(clippy::unused_self, reason = "it is the link that mends, by ending its session")]
    pub(crate) fn broken(&self, session: &Session, cause: impl Display) {
        session.end(cause.to_string().into());
    }
}

impl LinkState {
    pub(crate) fn session(&self) -> Result<Session, LinkError> {
        match self {
            LinkState::Up(session) => Ok(session.clone()),
            LinkState::Down { since, cause } => {
                Err(LinkError::Down { down_for: since.elapsed(), cause: cause.clone() })
            }
            LinkState::Blocked { reason } => Err(LinkError::Blocked(reason.clone())),
            LinkState::Closed => Err(LinkError::Closed),
        }
    }
}

/// A connection without a supervisor, for a command that ends soon. Nothing is declared on it.
pub(crate) async fn once(settings: &Settings, purpose: &str) -> Result<Session, LinkError> {
    let (connection, plug) = dial::dial(settings, &format!("paybell {purpose}")).await?;
    Ok(Session::new(connection, plug, 1))
}

/// The deadline around every wait for the broker.
pub(crate) async fn bounded<T>(
    what: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, LinkError> {
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(cause)) => Err(LinkError::Amqp { what, cause }),
        Err(_) => Err(LinkError::Timeout { what, limit }),
    }
}
