//! Why a bill could not be worked on. Every one of them leaves the day without a new result: it is tried again, later.

use paybell_core::ports::PortError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An engine is away: later.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A note that another version, or somebody else, wrote: for an operator.
    #[error("the note {name} cannot be read: {cause}")]
    Unreadable { name: String, cause: String },
    /// Somebody else changed the note again and again: later.
    #[error("the note {0} is changed by others all the time")]
    Contended(String),
    /// Another process took the day over, because this one was too slow.
    #[error("another process works on the day by now")]
    LeaseLost,
    /// The process ends.
    #[error("stopped before the end")]
    Stopped,
    /// Too many checks wait already, and nobody takes them out: later.
    #[error("the queue of checks had no room for so long that the rest waits; is a worker running?")]
    NoRoom,
    /// The folder of bills: for an operator.
    #[error("{what}: {cause}")]
    Folder { what: String, cause: std::io::Error },
}

impl Error {
    /// The word for it where a day says what a try came to.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Port(PortError::Unavailable { .. }) => "engine_away",
            Self::Port(PortError::Corrupt { .. }) | Self::Unreadable { .. } => "unreadable",
            Self::Contended(_) => "contended",
            Self::LeaseLost => "lease_lost",
            Self::Stopped => "stopped",
            Self::NoRoom => "no_room",
            Self::Folder { .. } => "folder",
        }
    }
}
