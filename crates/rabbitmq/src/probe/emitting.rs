//! Whether our user may publish events to the exchange that subscribers bind to. Publishes none: whoever binds
//! everything would get it.
//!
//! A broker judges permissions first and then the message, and refuses an expiration that is no number before it looks
//! for queues. So each question is a message that cannot be routed, and an objection to its contents means that the
//! user may publish under that routing key.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use paybell_core::event::EventType;
use tokio::time::timeout;

use super::{ACCESS_REFUSED, CONFIRM_MAX, LOOK_MAX, NOT_FOUND, code_of};
use crate::config::Settings;
use crate::link::{LinkError, Session, bounded, once};
use crate::topology::names;

/// All questions together.
const ASKING_MAX: Duration = Duration::from_secs(6);

/// Merchants that are asked about; permissions that tell more of them apart are rare.
const MERCHANTS_MAX: usize = 16;

/// No number of milliseconds.
const NO_EXPIRATION: &str = "never routed";

const PRECONDITION_FAILED: u16 = 406;

/// What our user may publish there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emitting {
    /// Every event of every merchant.
    Works,
    /// There is no such exchange yet.
    Missing,
    /// Not these, or nothing at all where it names none. With the broker's words about the first.
    Denied {
        keys: Vec<String>,
        cause: String,
    },
    Failed(String),
}

/// What the broker says about one key.
enum Answer {
    Fine,
    Missing,
    Denied(String),
}

pub(super) async fn emitting(settings: &Settings, mch_ids: &[&str]) -> Emitting {
    let asked = async {
        let session = once(settings, "doctor events").await?;
        asked(&session, &names::events(&settings.shape.prefix), mch_ids).await
    };
    let late = LinkError::Timeout { what: "ask what may be published", limit: ASKING_MAX };
    let asked = timeout(ASKING_MAX, asked).await.unwrap_or(Err(late));
    asked.unwrap_or_else(|error| Emitting::Failed(error.to_string()))
}

async fn asked(session: &Session, exchange: &str, mch_ids: &[&str]) -> Result<Emitting, LinkError> {
    let (mut keys, mut cause) = (Vec::new(), None);
    for mch_id in mch_ids.iter().take(MERCHANTS_MAX) {
        for kind in EventType::ALL {
            let key = format!("{}.{mch_id}", kind.as_str());
            match ask(session, exchange, &key).await? {
                Answer::Fine => {}
                Answer::Missing => return Ok(Emitting::Missing),
                Answer::Denied(told) if !told.contains(&key) => {
                    return Ok(Emitting::Denied { keys: Vec::new(), cause: told });
                }
                Answer::Denied(told) => {
                    cause.get_or_insert(told);
                    keys.push(key);
                }
            }
        }
    }
    Ok(cause.map_or(Emitting::Works, |cause| Emitting::Denied { keys, cause }))
}

/// On a channel of its own, as each answer ends one.
async fn ask(session: &Session, exchange: &str, key: &str) -> Result<Answer, LinkError> {
    let channel = session.channel().await?;
    bounded("confirm", LOOK_MAX, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let properties = BasicProperties::default().with_expiration(NO_EXPIRATION.into());
    let sent = async {
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), key.into(), options, b"", properties).await?.await
    };
    match bounded("publish", CONFIRM_MAX, sent).await {
        Ok(_) => Ok(Answer::Fine),
        Err(error) => match code_of(&error) {
            Some(PRECONDITION_FAILED) => Ok(Answer::Fine),
            Some(NOT_FOUND) => Ok(Answer::Missing),
            Some(ACCESS_REFUSED) => Ok(Answer::Denied(error.to_string())),
            _ => Err(error),
        },
    }
}
