//! What can go wrong outside an attempt; a failed attempt is a value, see [`crate::outcome`].

use paybell_core::ports::PortError;

/// Why deliveries cannot be configured, kept or shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator corrects the configuration.
    #[error("{0}")]
    Config(String),
    /// An engine is away: try again later.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A newer version wrote it, or a hand: an operator looks.
    #[error("the note {name} cannot be read: {cause}")]
    Unreadable { name: String, cause: String },
    /// Two who changed the same note met too often: try again.
    #[error("the note {0} is changed by others at this moment: try again")]
    Contended(String),
    /// Nobody can read the client's randomness.
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}
