//! What can go wrong: at opening, as [`OpenError`] for the operator; afterwards, as the ports' own `PortError`.

use paybell_core::ports::PortError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The name of this part in errors.
pub(crate) const PART: &str = "ledger";

/// Why the ledger refuses to work. Each asks for an operator; a Redis that is merely away is none of these.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The text is no address. It is not shown, because it may hold a password.
    #[error("redis.url is no address of a Redis: {0}")]
    Url(String),
    /// The certificate authority that we are told to trust is none.
    #[error("redis.ca_file: {0}")]
    Authority(String),
    /// A prefix that would make keys unreadable.
    #[error("redis.prefix may have 1 to 64 of letters, digits and . _ -")]
    Prefix,
    /// The server throws keys away when its memory is full.
    #[error(
        "Redis has maxmemory-policy {policy}, which drops records when memory is full, and with them amounts, \
         leases and disputes: set maxmemory-policy noeviction"
    )]
    Evicts { policy: String },
    /// Another version, or something else, wrote these keys.
    #[error(
        "the keys under this prefix have layout {found:?}, and this version of paybell reads {known:?}: run the \
         newer version again, or choose another redis.prefix"
    )]
    Layout { found: String, known: String },
    /// Too old.
    #[error("Redis {found} is too old: paybell needs 6.2 or later")]
    Version { found: String },
    /// A node of a Redis Cluster.
    #[error("this Redis is a node of a Redis Cluster: paybell needs a single server, or Sentinel")]
    Cluster,
    /// Wrong password, or commands that the user may not run.
    #[error("Redis refuses us: {0}: check the user, the password and the ACL of redis.url")]
    Denied(String),
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection is of no use any more, or the server is no master: connect anew.
    Broken(String),
    /// The server answers and cannot do it now.
    Refused(String),
    /// Something stored is unreadable.
    Corrupt(String),
}

impl Fault {
    /// What an answer of the client library means for the connection.
    pub fn of(error: &RedisError) -> Self {
        let cause = error.to_string();
        let text = error.detail().unwrap_or_default();
        let is_of_no_use = match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown,
            ) => true,
            ErrorKind::Server(_) | ErrorKind::Extension => {
                // A script of Redis 6 wraps the error of its command into one of its own.
                ["READONLY", "LOADING", "MASTERDOWN"].iter().any(|code| text.contains(code))
            }
            _ => true,
        };
        if is_of_no_use { Fault::Broken(cause) } else { Fault::Refused(cause) }
    }

    /// An answer of a shape that the command does not have.
    pub fn strange(what: &str) -> Self {
        Fault::Broken(format!("Redis gave a strange answer to {what}"))
    }
}

impl From<Fault> for PortError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken(cause) | Fault::Refused(cause) => unavailable(cause),
            Fault::Corrupt(cause) => PortError::Corrupt { part: PART, cause },
        }
    }
}

/// Try again later.
pub(crate) fn unavailable(cause: impl Into<String>) -> PortError {
    PortError::Unavailable { part: PART, cause: cause.into() }
}
