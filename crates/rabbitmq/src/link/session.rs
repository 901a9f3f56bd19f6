//! A connection that stands, until it ends: what everybody else gets of it. It never connects again; its successor is
//! another session.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::Stream;
use lapin::{Channel, Connection, ErrorKind, Event};
use tokio_util::sync::CancellationToken;

use super::bounded;
use super::dial::Plug;
use crate::error::LinkError;
use crate::trouble::Trouble;

/// How long the broker may take to open a channel.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// One connection. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Session(Arc<Inner>);

struct Inner {
    connection: Connection,
    plug: Plug,
    generation: u64,
    ended: CancellationToken,
    cause: OnceLock<Arc<str>>,
    /// The broker's reply code, if it ended the connection with one.
    code: OnceLock<u16>,
    /// What an operator can do about its end.
    trouble: OnceLock<Trouble>,
}

impl Session {
    pub(super) fn new(connection: Connection, plug: Plug, generation: u64) -> Self {
        let (cause, code, trouble) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let ended = CancellationToken::new();
        Self(Arc::new(Inner { connection, plug, generation, ended, cause, code, trouble }))
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, LinkError> {
        let opened = bounded("open a channel", CHANNEL_TIMEOUT, self.0.connection.create_channel()).await;
        opened.map_err(|error| match &error {
            LinkError::Amqp { cause, .. } if matches!(cause.kind(), ErrorKind::ChannelsLimitReached) => {
                LinkError::Channels { allowed: self.0.connection.configuration().channel_max() }
            }
            _ => error,
        })
    }

    /// What the broker says of the connection from now on.
    pub(crate) fn events(&self) -> impl Stream<Item = Event> + Send {
        self.0.connection.events_listener()
    }

    /// Counts the link's connections, from 1.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Returns when the connection is gone. From then on everything on it fails at once.
    pub(crate) async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Whether it is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.ended.is_cancelled()
    }

    /// The reply code with which the broker ended it.
    pub(crate) fn end_code(&self) -> Option<u16> {
        self.0.code.get().copied()
    }

    /// It ended with an error.
    pub(super) fn failed(&self, error: &lapin::Error) {
        if let ErrorKind::ProtocolError(told) = error.kind() {
            // The first one counts.
            let _ = self.0.code.set(told.get_id());
        }
        let trouble = Trouble::told(error, false);
        if let Some(trouble) = trouble {
            let _ = self.0.trouble.set(trouble);
        }
        let cause = error.to_string();
        self.end(trouble.map_or(cause.clone(), |trouble| trouble.named(&cause)).into());
    }

    /// Ends it; the first cause is the one that counts.
    pub(super) fn end(&self, cause: Arc<str>) {
        // A later cause is a consequence.
        drop(self.0.cause.set(cause));
        self.0.ended.cancel();
        self.0.plug.pull();
    }

    /// Takes leave of the broker first.
    pub(crate) async fn close(&self, cause: Arc<str>) {
        let farewell = self.0.connection.close(200, "closing".into());
        if let Err(error) = bounded("close", CLOSE_TIMEOUT, farewell).await {
            tracing::debug!(error = %error, "no farewell from the broker: {error}");
        }
        self.end(cause);
    }

    /// Whether the client library holds the connection to be well.
    pub(super) fn is_connected(&self) -> bool {
        self.0.connection.status().connected()
    }

    /// What an operator can do about its end.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.0.trouble.get().copied()
    }

    pub(super) fn cause(&self) -> Arc<str> {
        self.0.cause.get().cloned().unwrap_or_else(|| "the connection ended".into())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The library's own farewell would wait for a silent peer for ever, in a thread of its own.
        self.plug.pull();
    }
}
