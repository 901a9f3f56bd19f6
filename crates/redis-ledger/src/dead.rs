//! The dead letters port. A letter lies in the shard of its order; its id does not say which, so all are asked.
//!
//! One that cannot be read is shown as it stands, and hides none of the others. A letter goes only as it was read:
//! `remove.lua` compares.

use async_trait::async_trait;
use paybell_core::dead::{DeadLetter, Removed, removal};
use paybell_core::ports::{DeadLetters, PAGE_ROWS_MAX, PortError};
use redis::{Pipeline, Value};
use uuid::Uuid;

use crate::change::bytes_of;
use crate::engine::{Inner, RedisLedger, within};
use crate::error::{Fault, unavailable};
use crate::keys::Shard;
use crate::scripts::Name;
use crate::step::letter_of;

/// How often a letter may change between reading and removing it: somebody buries it just now.
const TRIES_MAX: usize = 16;

/// A letter's id and where it lies.
type Place = (Shard, Uuid);

#[async_trait]
impl DeadLetters for RedisLedger {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        within(self.inner.bury(letter)).await
    }

    async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let (mut letters, mut after) = (Vec::new(), after);
        while letters.len() < limit {
            let places = places(&self.inner, after, limit - letters.len()).await?;
            let Some((_, last)) = places.last() else { break };
            after = Some(*last);
            // One that went meanwhile makes room for the next.
            letters.extend(letters_at(&self.inner, &places).await?.into_iter().map(|(_, _, letter)| letter));
        }
        Ok(letters)
    }

    async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError> {
        let everywhere: Vec<Place> = Shard::all().map(|shard| (shard, id)).collect();
        Ok(letters_at(&self.inner, &everywhere).await?.pop().map(|(_, _, letter)| letter))
    }

    async fn remove(&self, read: &DeadLetter) -> Result<Removed, PortError> {
        within(self.inner.remove_letter(read)).await
    }
}

impl Inner {
    async fn remove_letter(&self, read: &DeadLetter) -> Result<Removed, PortError> {
        let everywhere: Vec<Place> = Shard::all().map(|shard| (shard, read.id)).collect();
        for _ in 0..TRIES_MAX {
            let stored = letters_at(self, &everywhere).await?.pop();
            let removed = removal(stored.as_ref().map(|(_, _, letter)| letter), read);
            let Some((shard, text, _)) = stored.filter(|_| removed == Removed::Gone) else {
                return Ok(removed);
            };
            let names = self.keys.of(shard);
            let mut call = Name::Remove.eval(2);
            call.arg(names.dead()).arg(names.dead_ids()).arg(read.id.to_string()).arg(text);
            let mut step = Pipeline::new();
            step.add_command(call);
            if matches!(self.settle(step).await?.pop(), Some(Value::Int(1))) {
                return Ok(Removed::Gone);
            }
        }
        Err(unavailable("a dead letter changed at each attempt to remove it"))
    }
}

/// The next ids of all shards: the texts of ids sort as the ids do.
async fn places(inner: &Inner, after: Option<Uuid>, limit: usize) -> Result<Vec<Place>, PortError> {
    let mut question = Pipeline::new();
    for shard in Shard::all() {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        question.cmd("ZRANGEBYLEX").arg(inner.keys.of(shard).dead_ids()).arg(from).arg("+");
        question.arg("LIMIT").arg(0).arg(limit);
    }
    let mut places: Vec<Place> = Vec::new();
    for (shard, answer) in Shard::all().zip(inner.read(&question).await?) {
        let some: Vec<String> = redis::from_redis_value(answer).map_err(|_| Fault::strange("ZRANGEBYLEX"))?;
        places.extend(some.iter().filter_map(|id| Some((shard, Uuid::try_parse(id).ok()?))));
    }
    places.sort_by_key(|(_, id)| *id);
    places.truncate(limit);
    Ok(places)
}

/// The letters that lie there, with their texts.
async fn letters_at(inner: &Inner, places: &[Place]) -> Result<Vec<(Shard, Vec<u8>, DeadLetter)>, PortError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut question = Pipeline::new();
    for (shard, id) in places {
        question.cmd("HGET").arg(inner.keys.of(*shard).dead()).arg(id.to_string());
    }
    let mut letters = Vec::new();
    for ((shard, id), answer) in places.iter().zip(inner.read(&question).await?) {
        let text = bytes_of(answer)?;
        if !text.is_empty() {
            let letter = letter_of(*id, &text);
            letters.push((*shard, text, letter));
        }
    }
    Ok(letters)
}
