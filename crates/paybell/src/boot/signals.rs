//! SIGTERM and SIGINT as values. Decides nothing: the first means drain and the second means end, says whoever asks.

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
