//! What can go wrong: at the start, as [`ConfigError`] for the operator; afterwards, as [`LinkError`] inside and as the
//! ports' own `PortError` outside. None of them carries a password: the URL is never part of a text.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::{Cursor, PortError};

use crate::stage::Place;
use crate::trouble::Trouble;

/// A setting with which nothing can ever be connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "rabbitmq.url: {0}; it looks like amqp://USER:PASSWORD@HOST:5672/%2f, or amqps:// for TLS, with / in the \
         virtual host written as %2f"
    )]
    Url(String),
    #[error("rabbitmq.ca_file: {0}")]
    Authority(String),
    #[error("rabbitmq.prefix: {0:?} must be 1 to 64 letters, digits, dots, dashes or underscores")]
    Prefix(String),
    #[error(
        "rabbitmq.partitions: {0} must be from 1 to {max}: each lane has so many queues, and each queue takes a channel",
        max = crate::config::PARTITIONS_MAX
    )]
    Partitions(u16),
    #[error("rabbitmq: {0} must not be 0")]
    Zero(&'static str),
}

/// Why a rehearsal cannot publish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "{0:?} is no place for a rehearsal: it is named like a queue or exchange of Paybell's own; name your \
         subscriber's queue"
    )]
    Reserved(String),
    #[error(
        "no queue takes what is published to {0}: create your subscriber's queue, and bind it if this is an exchange"
    )]
    Unroutable(Place),
    #[error("{0} refused a message: a queue is full, or its policy refuses publishes")]
    Refused(Place),
    #[error("RabbitMQ: {0}")]
    Away(String),
}

impl From<LinkError> for StageError {
    fn from(error: LinkError) -> Self {
        Self::Away(error.told())
    }
}

/// Why the broker cannot be worked with now. All of them pass: the supervisor mends what it can, for ever.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LinkError {
    /// There is no connection.
    #[error("no connection for {} ms: {cause}", down_for.as_millis())]
    Down { down_for: Duration, cause: Arc<str> },
    /// The broker takes nothing: it is short of memory or disk.
    #[error("the broker blocks publishers: {0}")]
    Blocked(Arc<str>),
    /// No answer in time. Whether it was done is unknown.
    #[error("{what}: no answer within {} ms", limit.as_millis())]
    Timeout { what: &'static str, limit: Duration },
    /// The broker allows fewer channels than it takes.
    #[error(
        "the broker allows {allowed} channels on a connection, which is too few: raise channel_max in rabbitmq.conf, or \
         lower rabbitmq.partitions (publishing takes 2 for each and one more)"
    )]
    Channels { allowed: u16 },
    /// The broker or the connection refused.
    #[error("{what}: {cause}")]
    Amqp { what: &'static str, cause: lapin::Error },
    /// The broker knows it and cannot serve it.
    #[error(
        "{0} is there, but no node that has it serves it; if it stays so while every node runs, docs/operations.md \
         says what to do under \"A stream that does not come back\""
    )]
    Unserved(String),
    /// Confirmed as unroutable: nothing was stored.
    #[error("the broker has no queue {0}")]
    Unroutable(String),
    /// The queue is full, or the broker failed to store it.
    #[error("the broker refused a publish to {0}")]
    Refused(String),
    /// Confirm mode was lost.
    #[error("a publish was not confirmed: the channel is not in confirm mode")]
    Unconfirmed,
    /// Reading the event log ended, or what is read is no event log.
    #[error("event log: {0}")]
    Stream(&'static str),
    /// The next event of the log is a newer version's. Going on past it would lose it.
    #[error(
        "the event at {offset} ({kind}) was written by a newer version, and this one cannot read it: run that version, or \
         a later one"
    )]
    Newer { offset: u64, kind: String, at: Cursor },
    /// This process is ending.
    #[error("closed")]
    Closed,
}

impl LinkError {
    /// Whether a publish that may be repeated is worth another attempt: a refusal, which another queue may not give, no
    /// such queue, which the next connection declares, or a connection that ended, which another one replaces.
    pub fn is_for_another_attempt(&self) -> bool {
        match self {
            LinkError::Refused(_) | LinkError::Unroutable(_) => true,
            // What ended only the channel is said about the publish, and will be said of the next one.
            LinkError::Amqp { cause, .. } => !cause.is_amqp_soft_error(),
            _ => false,
        }
    }

    /// What is wrong, beginning with the setting to look at where there is one.
    pub fn named(&self) -> String {
        let cause = self.to_string();
        Trouble::of(self).map_or(cause.clone(), |trouble| trouble.named(&cause))
    }

    /// The same, and what to do.
    pub fn told(&self) -> String {
        let remedy = Trouble::of(self).map_or(String::new(), |trouble| format!(". {}", trouble.remedy()));
        self.named() + &remedy
    }

    /// As the ports say it.
    pub fn unavailable(&self, part: &'static str) -> PortError {
        PortError::Unavailable { part, cause: self.named() }
    }
}
