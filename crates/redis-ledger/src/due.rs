//! The due set port: which orders' time has come. Many schedulers may claim at once: each record is claimed by
//! whoever stores its claim first, and the others pass over it.

use async_trait::async_trait;
use futures_util::future::join_all;
use paybell_core::check::{Check, Lane};
use paybell_core::claim::claim;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DueSet, PAGE_ROWS_MAX, PortError};
use paybell_core::record::Record;
use paybell_core::time::Timestamp;
use redis::{Pipeline, Value};

use crate::change::stored_of;
use crate::engine::{Inner, RedisLedger, within};
use crate::error::Fault;
use crate::keys::{SHARDS, Shard, member_of, order_of};
use crate::recent::Stored;
use crate::step::Step;
use crate::writer::Outcome;

/// Looks at the due sets in one claim, at most: each finds what the one before could not see.
const LOOKS_MAX: usize = 8;

#[async_trait]
impl DueSet for RedisLedger {
    async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let mut checks = Vec::new();
        for _ in 0..LOOKS_MAX {
            let wanted = limit.saturating_sub(checks.len());
            if wanted == 0 {
                break;
            }
            match within(claim_some(&self.inner, lane, wanted)).await {
                Ok((claimed, has_more)) => {
                    checks.extend(claimed);
                    if !has_more {
                        break;
                    }
                }
                // What is claimed is claimed: it must not wait until its due time comes again.
                Err(error) if checks.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(checks)
    }

    async fn lag_ms(&self) -> Result<i64, PortError> {
        let mut question = Pipeline::new();
        for (shard, lane) in Shard::all().flat_map(|shard| Lane::ALL.map(|lane| (shard, lane))) {
            let key = self.inner.keys.of(shard).due(lane);
            question.cmd("ZRANGE").arg(key).arg(0).arg(0).arg("WITHSCORES");
        }
        let answers = self.inner.read(&question).await?;
        let mut earliest: Option<i64> = None;
        for answer in answers {
            let first = entries(answer)?.first().map(|(_, at)| *at);
            earliest = earliest.into_iter().chain(first).min();
        }
        let now = self.inner.reading()?.now;
        Ok(earliest.map_or(0, |at| now.since(Timestamp::from_millis(at)).0.max(0)))
    }
}

/// A member of a due set and its score.
type Entry = (Vec<u8>, i64);

/// Claims up to `wanted` of the earliest, and says whether more may be due.
async fn claim_some(inner: &Inner, lane: Lane, wanted: usize) -> Result<(Vec<Check>, bool), PortError> {
    let now = inner.reading()?.now;
    let per_shard = per_shard(wanted);
    let mut question = Pipeline::new();
    for shard in Shard::all() {
        let key = inner.keys.of(shard).due(lane);
        question.cmd("ZRANGEBYSCORE").arg(key).arg("-inf").arg(now.millis());
        question.arg("WITHSCORES").arg("LIMIT").arg(0).arg(per_shard);
    }
    let found = inner.read(&question).await?;
    let found = found.into_iter().map(entries).collect::<Result<Vec<_>, Fault>>()?;
    let has_more = found.iter().any(|entries| entries.len() >= per_shard);
    let chosen = earliest(found, per_shard, wanted);
    if chosen.is_empty() {
        return Ok((Vec::new(), false));
    }
    let steps = steps(inner, lane, now, chosen).await?;
    let stores = steps.into_iter().map(|(step, check)| async move {
        Ok::<_, PortError>(match inner.writer.store(step).await? {
            Outcome::Stored => check,
            // Somebody claimed it, or works on it: it is theirs.
            Outcome::Refused { .. } => None,
        })
    });
    let (mut checks, mut failure) = (Vec::new(), None);
    for stored in join_all(stores).await {
        match stored {
            Ok(check) => checks.extend(check),
            Err(error) => failure = Some(error),
        }
    }
    match failure.filter(|_| checks.is_empty()) {
        Some(error) => Err(error),
        None => Ok((checks, has_more)),
    }
}

/// Orders spread evenly: a share and some more nearly always holds a shard's part of the earliest.
fn per_shard(wanted: usize) -> usize {
    (wanted / usize::from(SHARDS) * 2 + 32).min(wanted)
}

/// The earliest of all shards, by shard. Beyond the last entry of a shard that may have more, nothing is known to be
/// the earliest; that is left for another look.
fn earliest(found: Vec<Vec<Entry>>, per_shard: usize, wanted: usize) -> Vec<(Shard, Entry)> {
    let is_cut = |entries: &&Vec<Entry>| entries.len() >= per_shard;
    let horizon = found.iter().filter(is_cut).filter_map(|entries| entries.last()).map(|(_, at)| *at).min();
    let mut all: Vec<(Shard, Entry)> = Shard::all()
        .zip(found)
        .flat_map(|(shard, entries)| entries.into_iter().map(move |entry| (shard, entry)))
        .filter(|(_, (_, at))| horizon.is_none_or(|horizon| *at <= horizon))
        .collect();
    all.sort_by_key(|(_, (_, at))| *at);
    all.truncate(wanted);
    all
}

/// A claim for each entry that its record agrees with, a repair for each other one.
async fn steps(
    inner: &Inner,
    lane: Lane,
    now: Timestamp,
    chosen: Vec<(Shard, Entry)>,
) -> Result<Vec<(Step, Option<Check>)>, PortError> {
    let mut question = Pipeline::new();
    let mut orders: Vec<(OrderKey, i64)> = Vec::with_capacity(chosen.len());
    for (shard, (member, at)) in &chosen {
        let key = std::str::from_utf8(member).ok().and_then(order_of);
        let Some(key) = key.filter(|key| Shard::of(key) == *shard) else {
            // Not ours: out of the way, or it would come first for ever.
            tracing::warn!("a due set of Redis named no order of its shard: {member:?}");
            let mut removal = Pipeline::new();
            removal.cmd("ZREM").arg(inner.keys.of(*shard).due(lane)).arg(member.as_slice());
            inner.read(&removal).await?;
            continue;
        };
        question.cmd("GET").arg(inner.keys.of(*shard).record(&key));
        orders.push((key, *at));
    }
    if question.is_empty() {
        return Ok(Vec::new());
    }
    let answers = inner.read(&question).await?;
    let mut steps = Vec::with_capacity(answers.len());
    for ((key, at), answer) in orders.into_iter().zip(answers) {
        let stored = stored_of(&key, crate::change::bytes_of(answer)?)?;
        steps.push(step(inner, lane, now, (&key, at), stored)?);
    }
    Ok(steps)
}

fn step(
    inner: &Inner,
    lane: Lane,
    now: Timestamp,
    (key, at): (&OrderKey, i64),
    stored: Option<Stored>,
) -> Result<(Step, Option<Check>), PortError> {
    let planner = inner.planner();
    let is_agreed = |record: &Record| {
        record.due.is_some_and(|due| due.at.millis() == at && due.cause.is_urgent() == (lane == Lane::Urgent))
    };
    let Some(Stored { bytes, record }) = stored else {
        tracing::warn!(order.key = %key, "the due set names {}, which has no record", member_of(key));
        return Ok((planner.repair(key, None, Vec::new()), None));
    };
    let mut claimed = record.clone();
    match claim(&mut claimed, now).filter(|_| is_agreed(&record)) {
        Some(check) => {
            let step = planner.change(key, Some(&record), bytes, Some(&claimed))?;
            Ok((step, Some(check)))
        }
        // Usually somebody was faster than our two looks; a step that compares puts right what really is wrong.
        None => Ok((planner.repair(key, Some(&record), bytes), None)),
    }
}

/// Members and scores of an answer.
fn entries(answer: Value) -> Result<Vec<Entry>, Fault> {
    let pairs: Vec<(Vec<u8>, f64)> = redis::from_redis_value(answer).map_err(|_| Fault::strange("ZRANGE"))?;
    Ok(pairs.into_iter().map(|(member, score)| (member, whole(score))).collect())
}

/// Scores are whole milliseconds, far below 2^53.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and scores are whole")]
fn whole(score: f64) -> i64 {
    score as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64) -> Entry {
        (format!("m:{at}").into_bytes(), at)
    }

    fn times(chosen: &[(Shard, Entry)]) -> Vec<i64> {
        chosen.iter().map(|(_, (_, at))| *at).collect()
    }

    #[test]
    fn the_earliest_of_all_shards_are_chosen() {
        let mut found = vec![Vec::new(); usize::from(SHARDS)];
        found[3] = vec![entry(5), entry(9)];
        found[7] = vec![entry(1), entry(6), entry(8)];
        assert_eq!(times(&earliest(found.clone(), 10, 4)), [1, 5, 6, 8]);
        assert_eq!(earliest(found, 10, 1)[0].0.index(), 7);
    }

    #[test]
    fn beyond_a_shard_that_was_cut_short_nothing_is_chosen() {
        let mut found = vec![Vec::new(); usize::from(SHARDS)];
        found[0] = vec![entry(1), entry(2)];
        found[1] = vec![entry(3)];
        assert_eq!(times(&earliest(found, 2, 4)), [1, 2], "shard 0 may have more before 3");
    }

    #[test]
    fn few_are_asked_of_each_shard() {
        assert_eq!(per_shard(5), 5);
        assert!(per_shard(1000) < 200);
    }
}
