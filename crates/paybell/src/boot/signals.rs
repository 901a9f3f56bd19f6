//! SIGTERM, SIGINT and SIGHUP as values. Decides nothing: the first means drain and the second means end, says whoever asks.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Both signals, caught from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to catch them.
    pub fn listen() -> Result<Self, Error> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP, which says that the configuration has changed. Several at once are one.
pub struct Hangups(Signal);

impl Hangups {
    /// Begins to catch it; until then it ends the process.
    pub fn listen() -> Result<Self, Error> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // Signals end with the runtime only.
            std::future::pending::<()>().await;
        }
    }
}
