//! Why a command ends without success, and with which exit code. The text is for the person at the terminal: what is
//! wrong, where, what to do.

use std::io;

use crate::config::Problems;

/// What ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used: every problem on a line of its own.
    #[error("the configuration cannot be used:\n{0}")]
    Configuration(#[from] Problems),
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// Another process works on the embedded engine's folder; an errand ends by itself.
    #[error("{said}")]
    Held { said: String, is_errand: bool },
    /// It was tried and did not succeed.
    #[error("{0}")]
    Failed(String),
    /// A listener cannot start.
    #[error(transparent)]
    Listen(#[from] http_server::Error),
    /// Standard input or output.
    #[error("standard output or input: {0}")]
    Terminal(#[from] io::Error),
    /// A second signal.
    #[error("ended at once by a second signal: what was in hand is looked at again after the next start")]
    Interrupted,
    /// A signal, to a command that keeps nothing.
    #[error("stopped by a signal")]
    Stopped,
}

impl Error {
    /// 1 failed, 2 usage or configuration, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Usage(_) | Self::Held { .. } => 2,
            Self::Failed(_) | Self::Listen(_) => 1,
            // `paybell order list | head` is no failure.
            Self::Terminal(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Terminal(_) => 1,
            Self::Interrupted | Self::Stopped => 130,
        }
    }
}
