//! What a doctor asks a broker, once, on connections of its own: facts, no judgement. Declares only to compare, and
//! publishes two messages that no queue takes.

mod greeting;

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPScheme;
use lapin::{BasicProperties, ErrorKind, Event};
use tokio::time::timeout;

use crate::config::{RabbitConfig, Settings};
use crate::error::ConfigError;
use crate::link::{LinkError, Session, bounded, once};
use crate::topology::{Finding, Kind, compare, plan};

/// How long a broker that is well may take to confirm.
const CONFIRM_MAX: Duration = Duration::from_secs(2);

/// How long the word of an alarm may lag behind the publish that it stops.
const BLOCKED_WORD_MAX: Duration = Duration::from_millis(500);

const LOOK_MAX: Duration = Duration::from_secs(2);

/// A routing key that no queue has.
const NOWHERE: &str = "paybell-doctor-nobody";

const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

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
    /// `None`: it is not there.
    pub load: Option<Load>,
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
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Login(String),
    #[error("{0}")]
    VirtualHost(String),
}

/// Looks once. `subscribers` are queues that are not ours.
pub async fn probe(config: &RabbitConfig, subscribers: &[String]) -> Result<Facts, Unasked> {
    let settings = Settings::judged(config)?;
    let session = once(&settings, "doctor").await.map_err(unasked)?;
    let version = greeting::version(&settings).await;
    let topology = compare(&session, &settings.shape).await.map_err(|error| denied(&error));
    let is_queue = |kind: Kind| kind.exchange().is_none() && kind != Kind::Stream;
    let ours = plan(&settings.shape).into_iter().filter(|item| is_queue(item.kind)).map(|item| item.name);
    let mut queues = Vec::new();
    for name in ours.chain(subscribers.iter().cloned()) {
        if let Ok(load) = load(&session, &name).await {
            queues.push(Queue { name, load });
        }
    }
    Ok(Facts {
        host: settings.uri.authority.host.clone(),
        is_tls: settings.uri.scheme == AMQPScheme::AMQPS,
        user: settings.uri.authority.userinfo.username.clone(),
        version,
        topology,
        queues,
        // On a connection of its own: an alarm stops everything on it.
        publishing: match once(&settings, "doctor publish").await {
            Ok(session) => publishing(&session).await,
            Err(error) => Publishing::Failed(error.to_string()),
        },
    })
}

/// `None` if there is no such queue.
async fn load(session: &Session, name: &str) -> Result<Option<Load>, LinkError> {
    let channel = session.channel().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.queue_declare(name.into(), options, FieldTable::default());
    match bounded("look at a queue", LOOK_MAX, asked).await {
        Ok(queue) => Ok(Some(Load { messages: queue.message_count(), consumers: queue.consumer_count() })),
        Err(LinkError::Amqp { cause, .. }) if matches!(cause.kind(), ErrorKind::ProtocolError(_)) => Ok(None),
        Err(error) => Err(error),
    }
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

fn denied(error: &LinkError) -> Denied {
    Denied { cause: error.to_string(), is_permission: code_of(error) == Some(ACCESS_REFUSED) }
}

fn unasked(error: LinkError) -> Unasked {
    match code_of(&error) {
        Some(ACCESS_REFUSED) => Unasked::Login(error.to_string()),
        Some(NOT_ALLOWED) => Unasked::VirtualHost(error.to_string()),
        _ => Unasked::Away(error.to_string()),
    }
}
