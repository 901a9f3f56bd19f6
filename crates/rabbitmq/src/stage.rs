//! Publishes made-up events to somebody's subscriber, for a rehearsal: confirmed, and looking like the fan-out's.
//!
//! It refuses the places where the engine keeps checks, registrations and the event log: a rehearsal never touches
//! them. It knows nothing of what it publishes, and repeats nothing.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};

use crate::config::{RabbitConfig, Settings};
use crate::error::StageError;
use crate::link::{LinkError, Session, bounded, once};
use crate::log::entry::CONTENT_TYPE;

const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the rehearsal's own exchange stands.
pub const REHEARSAL_EXCHANGE: &str = "paybell-rehearsal.events";

/// Where made-up events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Straight into a queue.
    Queue(String),
    /// To an exchange that is there.
    Exchange(String),
    /// To [`REHEARSAL_EXCHANGE`], which is declared: a durable topic exchange like the real one.
    Rehearsal,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Performed<'e> {
    pub id: &'e str,
    pub kind: &'e str,
    pub mch_id: &'e str,
    pub body: &'e [u8],
}

/// A connection for one rehearsal.
pub struct Stage {
    channel: Channel,
    place: Place,
    _session: Session,
}

impl Place {
    /// Refuses the names of the engine's own queues and exchanges, whatever their prefix.
    fn judged(&self) -> Result<(), StageError> {
        let (Place::Queue(name) | Place::Exchange(name)) = self else { return Ok(()) };
        let is_numbered = |word: &str| {
            name.rsplit_once('.').is_some_and(|(head, number)| {
                head.ends_with(word) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        let is_engines = [".dead", ".orders", ".events.log"].iter().any(|end| name.ends_with(end))
            || is_numbered(".checks")
            || is_numbered(".due");
        if is_engines || name.is_empty() { Err(StageError::Reserved(name.clone())) } else { Ok(()) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Queue(name) => write!(f, "queue {name}"),
            Place::Exchange(name) => write!(f, "exchange {name}"),
            Place::Rehearsal => write!(f, "exchange {REHEARSAL_EXCHANGE}"),
        }
    }
}

impl Stage {
    /// Connects, and declares the rehearsal's exchange if it is the place.
    pub async fn open(url: &str, place: Place) -> Result<Self, StageError> {
        place.judged()?;
        let settings = Settings::judged(&RabbitConfig::at(url))?;
        let session = once(&settings, "rehearse").await?;
        let channel = session.channel().await?;
        if place == Place::Rehearsal {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let declared = channel.exchange_declare(
                REHEARSAL_EXCHANGE.into(),
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            );
            bounded("declare", DECLARE_TIMEOUT, declared).await?;
        }
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        bounded("confirm mode", DECLARE_TIMEOUT, confirming).await?;
        Ok(Self { channel, place, _session: session })
    }

    /// Publishes one message; `Ok` means that at least one queue has it.
    pub async fn perform(&self, message: Performed<'_>) -> Result<(), StageError> {
        let (exchange, key) = match &self.place {
            Place::Queue(name) => ("", name.clone()),
            Place::Exchange(name) => (name.as_str(), format!("{}.{}", message.kind, message.mch_id)),
            Place::Rehearsal => (REHEARSAL_EXCHANGE, format!("{}.{}", message.kind, message.mch_id)),
        };
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(2)
            .with_message_id(message.id.into())
            .with_type(message.kind.into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let published = async {
            let body = message.body;
            self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await
        };
        match bounded("publish", CONFIRM_TIMEOUT, published).await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(StageError::Unroutable(self.place.clone())),
            Confirmation::Nack(_) => Err(StageError::Refused(self.place.clone())),
            Confirmation::NotRequested => Err(LinkError::Unconfirmed.into()),
        }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_own_places_are_refused() {
        for name in ["paybell.checks.0", "x.due.13", "paybell.dead", "paybell.orders", "p.events.log", ""] {
            for place in [Place::Queue(name.to_owned()), Place::Exchange(name.to_owned())] {
                assert!(matches!(place.judged(), Err(StageError::Reserved(_))), "{name}");
            }
        }
        for name in ["shop.payments", "paybell.events", "shop.due.soon", "orders", "checks"] {
            assert_eq!(Place::Queue(name.to_owned()).judged().map_err(|error| error.to_string()), Ok(()));
        }
    }
}
