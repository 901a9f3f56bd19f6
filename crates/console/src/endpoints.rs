//! Webhooks and old handlers as operators see them, and what they ask of them: send again, go on after a 410. A wish is
//! stored; whoever serves the endpoint fulfils it within seconds. Posts nothing itself and shows no secret.

use delivery::desk::{Asked, View};
use delivery::{EndpointName, Error as DeliveryError};
use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::ports::{Cursor, PortError};
use serde::Serialize;
use uuid::Uuid;

use crate::answer::{Body, json};
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::events::cursor;
use crate::fields::Fields;
use crate::line::reason;

#[derive(Serialize)]
struct Listing {
    endpoints: Vec<View>,
}

/// The wish as it was stored.
#[derive(Serialize)]
struct Stored<'a> {
    endpoint: &'a str,
    asked: &'static str,
}

/// `GET /v1/endpoints`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let now = shared.ports.ledger.clock().await?.now;
    let endpoints = shared.ports.endpoints.list(now).await?;
    Ok(json(StatusCode::OK, &Listing { endpoints }))
}

/// `GET /v1/endpoints/{name}`.
pub(crate) async fn show(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let now = shared.ports.ledger.clock().await?.now;
    let view = shared.ports.endpoints.show(call.param("name"), now).await?;
    Ok(json(StatusCode::OK, &view.ok_or(Error::UnknownEndpoint)?))
}

/// `POST /v1/endpoints/{name}/resend`: one event, or a part of the log.
pub(crate) async fn resend(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let fields = Fields::read(&call.body, &["event", "after", "to", "reason"])?;
    let why = reason(&fields)?;
    let what = What::read(&fields)?;
    let (name, endpoints) = (call.param("name"), &shared.ports.endpoints);
    let ask = async {
        stored(match what {
            What::Event(event) => endpoints.resend(name, event).await?,
            What::Range { after, to } => endpoints.resend_range(name, after, to).await?,
        })
    };
    shared.audited(call, deed(Action::EndpointResend, call, why)?, ask).await?;
    Ok(json(StatusCode::ACCEPTED, &Stored { endpoint: name, asked: "resend" }))
}

/// `POST /v1/endpoints/{name}/enable`.
pub(crate) async fn enable(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let why = reason(&Fields::read_optional(&call.body, &["reason"])?)?;
    let name = call.param("name");
    let ask = async { stored(shared.ports.endpoints.enable(name).await?) };
    shared.audited(call, deed(Action::EndpointEnable, call, why)?, ask).await?;
    Ok(json(StatusCode::ACCEPTED, &Stored { endpoint: name, asked: "enable" }))
}

/// A name that no endpoint can have is not worth an entry, and could be any text.
fn deed(action: Action, call: &Call, why: String) -> Result<Deed, Error> {
    let name = EndpointName::new(call.param("name")).map_err(|_| Error::UnknownEndpoint)?;
    Ok(Deed { action, object: format!("endpoints/{}", name.as_str()), mch_id: None, why })
}

fn stored(asked: Asked) -> Result<(), Error> {
    match asked {
        Asked::Stored => Ok(()),
        Asked::NoEndpoint => Err(Error::UnknownEndpoint),
        Asked::NoEvent => Err(Error::UnknownEvent),
        Asked::Unwanted => Err(Error::UnwantedEvent),
        Asked::TooMany => Err(Error::TooManyWishes),
    }
}

/// What is to be sent again.
enum What {
    Event(Uuid),
    Range {
        /// `None` is the oldest event of the log.
        after: Option<Cursor>,
        /// `None` is the newest.
        to: Option<Cursor>,
    },
}

impl What {
    fn read(fields: &Fields) -> Result<Self, Error> {
        let (event, after, to) = (fields.text("event")?, fields.text("after")?, fields.text("to")?);
        match (event, after) {
            (Some(_), Some(_)) => Err(Error::field("event", "give event, or after and to, not both")),
            (Some(_), None) if to.is_some() => Err(Error::field("to", "belongs to after, not to event")),
            (Some(event), None) => match Uuid::try_parse(event) {
                Ok(event) => Ok(Self::Event(event)),
                Err(_) => Err(Error::field("event", "is no event id (a UUID)")),
            },
            (None, Some(after)) => Self::range(after, to),
            (None, None) => {
                Err(Error::field("event", "give the id of an event, or after: a cursor or \"oldest\""))
            }
        }
    }

    fn range(after: &str, to: Option<&str>) -> Result<Self, Error> {
        let after = if after == "oldest" { None } else { Some(cursor("after", after)?) };
        let to = to.map(|to| cursor("to", to)).transpose()?;
        if after.zip(to).is_some_and(|(after, to)| to.position <= after.position) {
            return Err(Error::field("to", "lies before after"));
        }
        Ok(Self::Range { after, to })
    }
}

impl From<DeliveryError> for Error {
    fn from(error: DeliveryError) -> Self {
        const PART: &str = "ledger";
        Error::Engine(match error {
            DeliveryError::Port(error) => error,
            DeliveryError::Unreadable { .. } => PortError::Corrupt { part: PART, cause: error.to_string() },
            // Two who changed one note met too often, or the machine refuses: repeating helps.
            other => PortError::Unavailable { part: PART, cause: other.to_string() },
        })
    }
}
