//! The dead letters port. A letter lies in the shard of its order; its id does not say which, so all are asked.

use async_trait::async_trait;
use paybell_core::dead::DeadLetter;
use paybell_core::ports::{DeadLetters, PAGE_ROWS_MAX, PortError};
use redis::{Pipeline, Value};
use uuid::Uuid;

use crate::change::bytes_of;
use crate::engine::{Inner, RedisLedger, within};
use crate::error::Fault;
use crate::keys::Shard;
use crate::scripts::Name;
use crate::step::letter_of;

#[async_trait]
impl DeadLetters for RedisLedger {
    async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        within(self.inner.bury(letter)).await
    }

    async fn list(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>, PortError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let ids = ids(&self.inner, after, limit).await?;
        let mut question = Pipeline::new();
        for (shard, id) in &ids {
            question.cmd("HGET").arg(self.inner.keys.of(*shard).dead()).arg(id.as_slice());
        }
        if question.is_empty() {
            return Ok(Vec::new());
        }
        letters(self.inner.read(&question).await?)
    }

    async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, PortError> {
        let mut question = Pipeline::new();
        for shard in Shard::all() {
            question.cmd("HGET").arg(self.inner.keys.of(shard).dead()).arg(id.to_string());
        }
        Ok(letters(self.inner.read(&question).await?)?.pop())
    }

    async fn remove(&self, id: Uuid) -> Result<bool, PortError> {
        within(self.inner.remove_letter(id)).await
    }
}

impl Inner {
    async fn remove_letter(&self, id: Uuid) -> Result<bool, PortError> {
        let mut steps = Pipeline::new();
        for shard in Shard::all() {
            let names = self.keys.of(shard);
            let mut call = Name::Remove.eval(2);
            call.arg(names.dead()).arg(names.dead_ids()).arg(id.to_string());
            steps.add_command(call);
        }
        let answers = self.settle(steps).await?;
        Ok(answers.iter().any(|answer| matches!(answer, Value::Int(count) if *count > 0)))
    }
}

/// The next ids of all shards: the texts of ids sort as the ids do.
async fn ids(inner: &Inner, after: Option<Uuid>, limit: usize) -> Result<Vec<(Shard, Vec<u8>)>, PortError> {
    let mut question = Pipeline::new();
    for shard in Shard::all() {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        question.cmd("ZRANGEBYLEX").arg(inner.keys.of(shard).dead_ids()).arg(from).arg("+");
        question.arg("LIMIT").arg(0).arg(limit);
    }
    let mut ids: Vec<(Shard, Vec<u8>)> = Vec::new();
    for (shard, answer) in Shard::all().zip(inner.read(&question).await?) {
        let some: Vec<Vec<u8>> =
            redis::from_redis_value(answer).map_err(|_| Fault::strange("ZRANGEBYLEX"))?;
        ids.extend(some.into_iter().map(|id| (shard, id)));
    }
    ids.sort_by(|(_, one), (_, other)| one.cmp(other));
    ids.truncate(limit);
    Ok(ids)
}

fn letters(answers: Vec<Value>) -> Result<Vec<DeadLetter>, PortError> {
    let mut letters = Vec::new();
    for answer in answers {
        let json = bytes_of(answer)?;
        if !json.is_empty() {
            letters.push(letter_of(&json)?);
        }
    }
    Ok(letters)
}
