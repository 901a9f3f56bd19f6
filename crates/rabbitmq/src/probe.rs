//! What a doctor asks a broker, once, on connections of its own: facts, no judgement. Declares only to compare, and
//! publishes only what no queue takes.

mod emitting;
mod greeting;

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPScheme;
use lapin::{BasicProperties, ErrorKind, Event};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{RabbitConfig, Settings};
use crate::error::ConfigError;
use crate::link::{LinkError, Session, bounded, once};
use crate::topology::{Finding, Kind, NOTHING_THERE, compare, plan};
use crate::trouble::Trouble;

pub use emitting::Emitting;

/// How long a broker that is well may take to confirm.
const CONFIRM_MAX: Duration = Duration::from_secs(2);

/// How long the word of an alarm may lag behind the publish that it stops.
const BLOCKED_WORD_MAX: Duration = Duration::from_millis(500);

/// One queue.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// All queues together, and the whole topology: together with the connection less than the time of a report.
const QUEUES_MAX: Duration = Duration::from_secs(6);
const COMPARE_MAX: Duration = Duration::from_secs(12);

/// A routing key that no queue has.
const NOWHERE: &str = "paybell-doctor-nobody";

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;

/// A broker as it was found.
#[derive(Debug, Clone)]
pub struct Facts {
    pub host: String,
    pub is_tls: bool,
    pub user: String,
    /// As the broker greets; `None` where it says none.
    pub version: Option<String>,
    pub topology: Result<Vec<Finding>, Denied>,
    /// Ours, and those asked for.
    pub queues: Vec<Queue>,
    pub publishing: Publishing,
    pub emitting: Emitting,
}

/// The broker's words about a permission that is missing, or about what went wrong instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub cause: String,
    pub is_permission: bool,
}

/// What AMQP tells of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub load: Result<Load, Unseen>,
}

/// Why a queue does not tell how long it is. The texts are the broker's words, or the connection's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// 404: there is no queue of that name.
    Missing,
    /// 404 as well: it is there, and the node that has it is down.
    Unserved(String),
    /// 403: this user may not look at it.
    Denied(String),
    /// 405: it belongs to one connection, and ends with it.
    Exclusive(String),
    /// No answer in time.
    Late(String),
    Failed(String),
}

/// What waits, and who takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub messages: u32,
    pub consumers: u32,
}

/// Whether the broker takes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    Works,
    /// An alarm: memory or disk. Its own words.
    Blocked(String),
    Failed(String),
}

/// Why there are no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{cause}")]
    Away { trouble: Trouble, cause: String },
}

/// Looks once. `subscribers` are queues that are not ours, `mch_ids` the merchants whose events are published.
pub async fn probe(
    config: &RabbitConfig,
    subscribers: &[String],
    mch_ids: &[&str],
) -> Result<Facts, Unasked> {
    let settings = Settings::judged(config)?;
    let session = once(&settings, "doctor").await.map_err(|error| unasked(&error))?;
    let (version, (topology, queues), emitting, publishing) = tokio::join!(
        greeting::version(&settings),
        standing(&session, &settings, subscribers),
        emitting::emitting(&settings, mch_ids),
        async {
            // On a connection of its own: an alarm stops everything on it.
            match once(&settings, "doctor publish").await {
                Ok(session) => publishing(&session).await,
                Err(error) => Publishing::Failed(error.to_string()),
            }
        }
    );
    Ok(Facts {
        host: settings.uri.authority.host.clone(),
        is_tls: settings.uri.scheme == AMQPScheme::AMQPS,
        user: settings.uri.authority.userinfo.username.clone(),
        version,
        topology,
        queues,
        publishing,
        emitting,
    })
}

/// What stands there: the topology, then the queues one after the other.
async fn standing(
    session: &Session,
    settings: &Settings,
    subscribers: &[String],
) -> (Result<Vec<Finding>, Denied>, Vec<Queue>) {
    let compared = timeout(COMPARE_MAX, compare(session, &settings.shape)).await;
    let late = LinkError::Timeout { what: "compare the topology", limit: COMPARE_MAX };
    let topology = compared.unwrap_or(Err(late)).map_err(|error| denied(&error));
    let is_queue = |kind: Kind| kind.exchange().is_none() && kind != Kind::Stream;
    let ours = plan(&settings.shape).into_iter().filter(|item| is_queue(item.kind)).map(|item| item.name);
    let end = Instant::now() + QUEUES_MAX;
    let mut queues = Vec::new();
    for name in ours.chain(subscribers.iter().cloned()) {
        let late = LinkError::Timeout { what: "look at all queues", limit: QUEUES_MAX };
        let load = timeout_at(end, load(session, &name)).await.unwrap_or(Err(late));
        queues.push(Queue { name, load: load.map_err(unseen) });
    }
    (topology, queues)
}

async fn load(session: &Session, name: &str) -> Result<Load, LinkError> {
    let channel = session.channel().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.queue_declare(name.into(), options, FieldTable::default());
    let queue = bounded("look at a queue", LOOK_MAX, asked).await?;
    Ok(Load { messages: queue.message_count(), consumers: queue.consumer_count() })
}

/// Publishes to nowhere, confirmed, and does so twice: a broker in alarm takes the first, says that it blocks, and reads
/// nothing more.
async fn publishing(session: &Session) -> Publishing {
    let mut events = Box::pin(session.events());
    let published = async {
        let channel = session.channel().await?;
        bounded("confirm", LOOK_MAX, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        for _ in 0..2 {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let sent = async {
                channel.basic_publish("".into(), NOWHERE.into(), options, b"", properties).await?.await
            };
            bounded("publish", CONFIRM_MAX, sent).await?;
        }
        Ok::<(), LinkError>(())
    };
    let Err(error) = published.await else { return Publishing::Works };
    let blocked = async {
        while let Some(event) = events.next().await {
            if let Event::ConnectionBlocked(reason) = event {
                return Some(reason);
            }
        }
        None
    };
    match timeout(BLOCKED_WORD_MAX, blocked).await {
        Ok(Some(reason)) => Publishing::Blocked(reason),
        _ => Publishing::Failed(error.to_string()),
    }
}

fn code_of(error: &LinkError) -> Option<u16> {
    match error {
        LinkError::Amqp { cause, .. } => match cause.kind() {
            ErrorKind::ProtocolError(told) => Some(told.get_id()),
            _ => None,
        },
        _ => None,
    }
}

fn unseen(error: LinkError) -> Unseen {
    let cause = error.to_string();
    match (code_of(&error), error) {
        (Some(NOT_FOUND), _) if cause.contains(NOTHING_THERE) => Unseen::Missing,
        (Some(NOT_FOUND), _) => Unseen::Unserved(cause),
        (Some(ACCESS_REFUSED), _) => Unseen::Denied(cause),
        (Some(RESOURCE_LOCKED), _) => Unseen::Exclusive(cause),
        (_, LinkError::Timeout { .. }) => Unseen::Late(cause),
        _ => Unseen::Failed(cause),
    }
}

fn denied(error: &LinkError) -> Denied {
    Denied { cause: error.to_string(), is_permission: code_of(error) == Some(ACCESS_REFUSED) }
}

fn unasked(error: &LinkError) -> Unasked {
    Unasked::Away { trouble: Trouble::of(error).unwrap_or(Trouble::Away), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    fn refused(kind: impl Into<AMQPErrorKind>, text: &str) -> Unseen {
        let cause = ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into();
        unseen(LinkError::Amqp { what: "look at a queue", cause })
    }

    #[test]
    fn what_a_broker_answers_about_a_queue_is_told_apart() {
        let missing = refused(AMQPSoftError::NOTFOUND, "NOT_FOUND - no queue 'shop' in vhost '/'");
        assert_eq!(missing, Unseen::Missing);
        let down =
            "NOT_FOUND - home node 'rabbit@b' of durable queue 'shop' in vhost '/' is down or inaccessible";
        let told = refused(AMQPSoftError::NOTFOUND, down);
        assert!(matches!(&told, Unseen::Unserved(cause) if cause.contains("rabbit@b")), "{told:?}");
        let told = refused(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED - access to queue 'shop' refused");
        assert!(matches!(&told, Unseen::Denied(cause) if cause.contains("access to queue")), "{told:?}");
        let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'shop'";
        let told = refused(AMQPSoftError::RESOURCELOCKED, locked);
        assert!(matches!(&told, Unseen::Exclusive(cause) if cause.contains("locked queue")), "{told:?}");
        let told = refused(AMQPHardError::INTERNALERROR, "INTERNAL_ERROR");
        assert!(matches!(told, Unseen::Failed(_)), "{told:?}");
        let late = unseen(LinkError::Timeout { what: "look at a queue", limit: LOOK_MAX });
        assert_eq!(late, Unseen::Late("look at a queue: no answer within 2000 ms".to_owned()));
    }
}
