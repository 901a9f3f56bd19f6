//! Dead letters: what waits for a person. A replay is a manual check of the letter's order or refund, because there is one
//! way to an event, or takes a registration in again.

use std::time::Duration;

use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::dead::Removed;
use paybell_core::lease::FRESH;
use paybell_core::{DeadLetter, MchId, OrderKey};
use serde::Serialize;
use tokio::time::sleep;
use uuid::Uuid;

use crate::answer::{Body, json, no_content};
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;
use crate::posted;

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

/// `POST /v1/dead/{id}/replay`. The check is stored before the letter goes: a crash between them leaves both. What another
/// look leaves under the letter's id meanwhile stays: it is news that nobody has read.
pub(crate) async fn replay(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let (letter, deed) = deed(shared, call, Action::DeadReplay).await?;
    shared.audited(call, deed, handle_again(shared, &letter)).await?;
    Ok(json(StatusCode::ACCEPTED, &Replayed { replayed: true, letter: &letter }))
}

async fn handle_again(shared: &Shared, letter: &DeadLetter) -> Result<(), Error> {
    if letter.is_unreadable() {
        return Err(Error::UnreadableLetter { reason: letter.reason.clone() });
    }
    if let Some(document) = &letter.document {
        let taken =
            posted::register(shared.ports.registry.as_ref(), &shared.config.mch_ids, document.as_bytes());
        taken.await?.map_err(|(_, cause)| Error::RefusedAgain { cause })?;
    } else {
        let check = letter.check().filter(|check| shared.config.mch_ids.contains(&check.key.mch_id));
        let check = check.ok_or_else(|| Error::NoReplay { reason: letter.reason.clone() })?;
        if check.refund.is_none() {
            let_the_last_look_age(shared, &check.key).await?;
        }
        shared.ports.queue.publish(&[check]).await?;
    }
    shared.ports.dead.remove(letter).await?;
    Ok(())
}

/// `DELETE /v1/dead/{id}`.
pub(crate) async fn discard(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let (letter, deed) = deed(shared, call, Action::DeadDrop).await?;
    let drop = async {
        match shared.ports.dead.remove(&letter).await? {
            Removed::Gone => Ok(()),
            Removed::Absent => Err(Error::UnknownLetter),
            Removed::Repeated => Err(Error::RepeatedLetter),
        }
    };
    shared.audited(call, deed, drop).await?;
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

/// The letter that the path names, and what the trail says about it.
async fn deed(shared: &Shared, call: &Call, action: Action) -> Result<(DeadLetter, Deed), Error> {
    call.query(&[])?;
    let why = reason(&Fields::read_optional(&call.body, &["reason"])?)?;
    let letter = letter(shared, call).await?;
    let (object, mch_id) = (format!("dead/{}", letter.id), MchId::new(letter.mch_id.as_str()).ok());
    Ok((letter, Deed { action, object, mch_id, why }))
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
