//! The acts port: what operators did, in one hash. Acts are few, belong to no shard, and are numbered without a gap, so
//! that a page is a range of fields.

use async_trait::async_trait;
use paybell_core::act::{ACT_AGE_MAX, Act, ActEntry};
use paybell_core::ports::{ActFilter, ActOrder, ActPage, Acts, PAGE_ROWS_MAX, PortError};
use redis::{Cmd, Pipeline, Value};

use crate::engine::{Inner, RedisLedger, within};
use crate::error::Fault;
use crate::scripts::Name;

#[async_trait]
impl Acts for RedisLedger {
    async fn begin(&self, act: &Act) -> Result<u64, PortError> {
        let json = serde_json::to_string(act)
            .map_err(|error| Fault::Corrupt(format!("an act has no text: {error}")))?;
        let mut call = Name::Act.eval(1);
        call.arg(&self.inner.keys.acts).arg(json);
        call.arg(act.at.millis()).arg((act.at - ACT_AGE_MAX).millis());
        let answer = within(self.inner.change_acts(call)).await?;
        Ok(redis::from_redis_value(answer).map_err(|_| Fault::strange("act.lua"))?)
    }

    async fn conclude(&self, number: u64, outcome: &str) -> Result<(), PortError> {
        let mut call = Name::Outcome.eval(1);
        call.arg(&self.inner.keys.acts).arg(number).arg(outcome);
        within(self.inner.change_acts(call)).await.map(drop)
    }

    async fn list(&self, filter: &ActFilter, after: Option<u64>, limit: usize) -> Result<ActPage, PortError> {
        let (first, last) = self.inner.act_bounds().await?;
        let numbers = window(filter, (first, last), after);
        let Some(end) = numbers.last().copied() else {
            return Ok(ActPage { entries: Vec::new(), next: after.unwrap_or(0), has_more: false });
        };
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let mut entries = Vec::new();
        for entry in self.inner.acts(&numbers).await?.into_iter().filter(|entry| filter.admits(&entry.act)) {
            if entries.len() == limit {
                // One more is known to be there.
                let next = entries.last().map_or(end, |entry: &ActEntry| entry.number);
                return Ok(ActPage { entries, next, has_more: true });
            }
            entries.push(entry);
        }
        let has_more = match filter.order {
            ActOrder::NewestFirst => end > first,
            ActOrder::OldestFirst => end < last,
        };
        Ok(ActPage { entries, next: end, has_more })
    }
}

impl Inner {
    async fn change_acts(&self, call: Cmd) -> Result<Value, PortError> {
        let mut step = Pipeline::new();
        step.add_command(call);
        Ok(self.settle(step).await?.pop().unwrap_or_default())
    }

    /// The numbers of the oldest and the newest act; the newest is 0 if there never was one.
    async fn act_bounds(&self) -> Result<(u64, u64), PortError> {
        let mut question = Pipeline::new();
        question.cmd("HMGET").arg(&self.keys.acts).arg("first").arg("last");
        let answer = self.read(&question).await?.pop().unwrap_or_default();
        let (first, last): (Option<u64>, Option<u64>) =
            redis::from_redis_value(answer).map_err(|_| Fault::strange("HMGET"))?;
        Ok((first.unwrap_or(1), last.unwrap_or(0)))
    }

    /// Those of the numbered acts that are there.
    async fn acts(&self, numbers: &[u64]) -> Result<Vec<ActEntry>, PortError> {
        let mut question = Pipeline::new();
        question.cmd("HMGET").arg(&self.keys.acts).arg(numbers);
        let outcomes: Vec<String> = numbers.iter().map(|number| format!("{number}:outcome")).collect();
        question.cmd("HMGET").arg(&self.keys.acts).arg(outcomes);
        let mut answers = self.read(&question).await?.into_iter();
        let mut texts = || -> Result<Vec<Option<String>>, Fault> {
            let answer = answers.next().unwrap_or_default();
            redis::from_redis_value(answer).map_err(|_| Fault::strange("HMGET"))
        };
        let (acts, outcomes) = (texts()?, texts()?);
        let mut entries = Vec::new();
        for ((number, text), outcome) in numbers.iter().zip(acts).zip(outcomes) {
            let Some(text) = text else { continue };
            let (_, json) = text.split_once(' ').unwrap_or_default();
            let act = serde_json::from_str(json)
                .map_err(|error| Fault::Corrupt(format!("the act {number} is none of ours: {error}")))?;
            entries.push(ActEntry { number: *number, act, outcome });
        }
        Ok(entries)
    }
}

/// The numbers to look at next, in the order of the listing.
fn window(filter: &ActFilter, (first, last): (u64, u64), after: Option<u64>) -> Vec<u64> {
    match filter.order {
        ActOrder::NewestFirst => {
            let newest = after.map_or(last, |after| after.saturating_sub(1).min(last));
            (first..=newest).rev().take(PAGE_ROWS_MAX.saturating_add(1)).collect()
        }
        ActOrder::OldestFirst => {
            let oldest = after.map_or(first, |after| after.saturating_add(1).max(first));
            (oldest..=last).take(PAGE_ROWS_MAX.saturating_add(1)).collect()
        }
    }
}
