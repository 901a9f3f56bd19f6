//! Dead letters: what waits for a person. A replay is a manual check of the letter's order, because there is one way to
//! an event, or takes a registration in again.

use std::time::Duration;

use hyper::{Response, StatusCode};
use paybell_core::lease::FRESH;
use paybell_core::{Check, DeadLetter, OrderKey};
use serde::Serialize;
use tokio::time::sleep;
use uuid::Uuid;

use crate::answer::{Body, json, no_content};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::posted;
use crate::ruling::reason;

#[derive(Serialize)]
struct Page {
    dead_letters: Vec<DeadLetter>,
    next: Option<Uuid>,
    has_more: bool,
}

#[derive(Serialize)]
struct Replayed<'a> {
    replayed: bool,
    #[serde(flatten)]
    letter: &'a DeadLetter,
}

/// `GET /v1/dead`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["limit", "after"])?;
    let after =
        query.get("after").map(|text| Uuid::try_parse(text).map_err(|_| not_a_cursor())).transpose()?;
    let limit = query.limit()?;
    let dead_letters = shared.ports.dead.list(after, limit).await?;
    let next = dead_letters.last().map(|letter| letter.id).or(after);
    let has_more = dead_letters.len() >= limit && !shared.ports.dead.list(next, 1).await?.is_empty();
    Ok(json(StatusCode::OK, &Page { dead_letters, next, has_more }))
}

/// `GET /v1/dead/{id}`.
pub(crate) async fn show(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    Ok(json(StatusCode::OK, &letter(shared, call).await?))
}

/// `POST /v1/dead/{id}/replay`. The check is stored before the letter goes: a crash between them leaves both.
pub(crate) async fn replay(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let why = reason(&Fields::read_optional(&call.body, &["reason"])?)?;
    let letter = letter(shared, call).await?;
    if let Some(document) = &letter.document {
        let taken =
            posted::register(shared.ports.registry.as_ref(), &shared.config.mch_ids, document.as_bytes());
        taken.await?.map_err(|(_, cause)| Error::RefusedAgain { cause })?;
        return replayed(shared, call, &letter, &why).await;
    }
    let key = letter.key().filter(|key| shared.config.mch_ids.contains(&key.mch_id));
    let key = key.ok_or_else(|| Error::NoReplay { reason: letter.reason.clone() })?;
    let_the_last_look_age(shared, &key).await?;
    shared.ports.queue.publish(&[Check::manual(key)]).await?;
    replayed(shared, call, &letter, &why).await
}

async fn replayed(
    shared: &Shared,
    call: &Call,
    letter: &DeadLetter,
    why: &str,
) -> Result<Response<Body>, Error> {
    shared.ports.dead.remove(letter.id).await?;
    let (id, who) = (letter.id, &call.who);
    tracing::info!(dead.id = %id, caller = %who, why = %why, "dead letter {id} replayed by {who}");
    Ok(json(StatusCode::ACCEPTED, &Replayed { replayed: true, letter }))
}

/// `DELETE /v1/dead/{id}`.
pub(crate) async fn discard(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let why = reason(&Fields::read_optional(&call.body, &["reason"])?)?;
    let (id, who) = (id(call)?, &call.who);
    if !shared.ports.dead.remove(id).await? {
        return Err(Error::UnknownLetter);
    }
    tracing::info!(dead.id = %id, caller = %who, why = %why, "dead letter {id} dropped by {who}");
    Ok(no_content())
}

/// A manual check is answered by a look that has just ended. That may be the one that left the letter: it knows nothing
/// of what was mended since.
async fn let_the_last_look_age(shared: &Shared, key: &OrderKey) -> Result<(), Error> {
    let record = shared.ports.records.read(key).await?;
    let Some(looked_at) = record.and_then(|record| record.progress.looked_at) else { return Ok(()) };
    let age_ms = shared.ports.ledger.clock().await?.now.since(looked_at).0.max(0);
    if let Ok(left_ms @ 1..) = u64::try_from(FRESH.0.saturating_sub(age_ms)) {
        sleep(Duration::from_millis(left_ms)).await;
    }
    Ok(())
}

async fn letter(shared: &Shared, call: &Call) -> Result<DeadLetter, Error> {
    shared.ports.dead.get(id(call)?).await?.ok_or(Error::UnknownLetter)
}

fn id(call: &Call) -> Result<Uuid, Error> {
    Uuid::try_parse(call.param("id")).map_err(|_| Error::field("id", "is no id of a dead letter (a UUID)"))
}

fn not_a_cursor() -> Error {
    Error::field("after", "is no cursor of this listing; give `next` of an earlier answer")
}
