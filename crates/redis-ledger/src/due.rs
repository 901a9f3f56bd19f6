//! The due set port: which orders' time has come. Many schedulers may claim at once: each record is claimed by
//! whoever stores its claim first, and the others pass over it.
//!
//! Once the earliest are known, each shard goes its own way: while Redis reads the records of one, those of another are
//! decided on here, and a third's are stored.
//!
//! A claim whose check is not handed out keeps its order waiting for a minute. So each step has a deadline of its own, and
//! what was claimed is handed out, however slow the rest is.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use paybell_core::check::{Check, Lane};
use paybell_core::claim::{CLAIM_LENGTH, claim};
use paybell_core::dead::DeadLetter;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DueSet, PAGE_ROWS_MAX, PortError};
use paybell_core::record::Due;
use paybell_core::time::Timestamp;
use redis::{Pipeline, Value};

use crate::change::bytes_of;
use crate::codec;
use crate::engine::{Inner, RedisLedger, within, within_max};
use crate::error::Fault;
use crate::keys::{SHARDS, Shard, member_of, order_of};
use crate::session::ANSWER_MAX;
use crate::step::{Standing, Step};
use crate::unreadable::letter_about;
use crate::writer::CALL_MAX;

/// Looks at the due sets in one claim, at most: each finds what the one before could not see.
const LOOKS_MAX: usize = 8;

/// How long claims may take to be stored: the pipeline that is under way has its deadline, and theirs another one. What is
/// stored later is claimed for nobody.
const STORED_MAX: Duration = ANSWER_MAX.saturating_mul(2);

#[async_trait]
impl DueSet for RedisLedger {
    async fn claim(&self, lane: Lane, limit: usize) -> Result<Vec<Check>, PortError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let (mut checks, mut letters, mut failure) = (Vec::new(), Vec::new(), None);
        let (begun, mut has_more) = (self.inner.clock.monotonic(), true);
        for _ in 0..LOOKS_MAX {
            let wanted = limit.saturating_sub(checks.len());
            if wanted == 0 || !has_more {
                break;
            }
            let batch = claim_some(&self.inner, lane, wanted).await;
            let is_slow = self.inner.clock.monotonic().saturating_sub(begun) > ANSWER_MAX;
            let is_stuck = batch.failure.is_some() && batch.checks.is_empty();
            // What is claimed waits for no further looks at a slow server.
            has_more = batch.has_more && !is_stuck && !is_slow;
            failure = batch.failure;
            checks.extend(batch.checks);
            letters.extend(batch.letters);
        }
        self.inner.tell_unreadable(&letters).await;
        match failure.filter(|_| checks.is_empty()) {
            Some(error) => Err(error),
            None => Ok(checks),
        }
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

/// What one look at the due sets claimed, earliest first.
#[derive(Default)]
struct Batch {
    checks: Vec<Check>,
    letters: Vec<DeadLetter>,
    /// More may be due.
    has_more: bool,
    /// What kept it from claiming more.
    failure: Option<PortError>,
}

/// Claims up to `wanted` of the earliest.
async fn claim_some(inner: &Inner, lane: Lane, wanted: usize) -> Batch {
    let (look, chosen, has_more) = match look(inner, lane, wanted).await {
        Ok(seen) => seen,
        Err(error) => return Batch { failure: Some(error), ..Batch::default() },
    };
    let mut batch = Batch { has_more, ..Batch::default() };
    let mut checks = Vec::with_capacity(chosen.len());
    for claimed in join_all(pieces(chosen).into_iter().map(|piece| claim_piece(look, piece))).await {
        match claimed {
            Ok(claimed) => {
                checks.extend(claimed.checks);
                batch.letters.extend(claimed.letters);
            }
            Err(error) => batch.failure = Some(error),
        }
    }
    checks.sort_by_key(|(place, _)| *place);
    batch.checks = checks.into_iter().map(|(_, check)| check).collect();
    batch
}

/// The earliest of all shards, and whether more may be due.
async fn look(
    inner: &Inner,
    lane: Lane,
    wanted: usize,
) -> Result<(Look<'_>, Vec<(Shard, Entry)>, bool), PortError> {
    let now = inner.reading()?.now;
    let per_shard = per_shard(wanted);
    let mut question = Pipeline::new();
    for shard in Shard::all() {
        let key = inner.keys.of(shard).due(lane);
        question.cmd("ZRANGEBYSCORE").arg(key).arg("-inf").arg(now.millis());
        question.arg("WITHSCORES").arg("LIMIT").arg(0).arg(per_shard);
    }
    let found = within(inner.read(&question)).await?;
    let found = found.into_iter().map(entries).collect::<Result<Vec<_>, Fault>>()?;
    let has_more = found.iter().any(|entries| entries.len() >= per_shard);
    let chosen = earliest(found, per_shard, wanted);
    let has_more = has_more && !chosen.is_empty();
    Ok((Look { inner, lane, now }, chosen, has_more))
}

/// Orders spread evenly: a share and some more nearly always holds a shard's part of the earliest.
fn per_shard(wanted: usize) -> usize {
    (wanted / usize::from(SHARDS) + 32).min(wanted)
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

/// What all entries of one look have in common.
#[derive(Clone, Copy)]
struct Look<'a> {
    inner: &'a Inner,
    lane: Lane,
    now: Timestamp,
}

/// Entries of one shard, each with its place among all, as many as one call of the script stores.
type Piece = (Shard, Vec<(usize, Entry)>);

fn pieces(chosen: Vec<(Shard, Entry)>) -> Vec<Piece> {
    let mut shards: Vec<Vec<_>> = Shard::all().map(|_| Vec::new()).collect();
    for (place, (shard, entry)) in chosen.into_iter().enumerate() {
        if let Some(entries) = shards.get_mut(shard.index()) {
            entries.push((place, entry));
        }
    }
    let mut pieces = Vec::with_capacity(shards.len());
    for (shard, mut entries) in Shard::all().zip(shards) {
        // Equal pieces: a call costs something of its own, and none may be long.
        let length = entries.len().div_ceil(entries.len().div_ceil(CALL_MAX).max(1));
        while !entries.is_empty() {
            let rest = entries.split_off(length.min(entries.len()));
            pieces.push((shard, std::mem::replace(&mut entries, rest)));
        }
    }
    pieces
}

/// What became of a piece.
#[derive(Default)]
struct Claimed {
    /// The checks of what could be claimed, each with its place among all.
    checks: Vec<(usize, Check)>,
    /// Of what nobody here can read.
    letters: Vec<DeadLetter>,
}

async fn claim_piece(look: Look<'_>, piece: Piece) -> Result<Claimed, PortError> {
    let shard = piece.0;
    let orders = orders(look, piece).await?;
    if orders.is_empty() {
        return Ok(Claimed::default());
    }
    let mut question = Pipeline::new();
    question.cmd("MGET");
    for (_, key, _) in &orders {
        question.arg(look.inner.keys.of(shard).record(key));
    }
    let Some(Value::Array(answers)) = within(look.inner.read(&question)).await?.pop() else {
        return Err(Fault::strange("MGET").into());
    };
    let (mut steps, mut checks) = (Vec::with_capacity(orders.len()), Vec::with_capacity(orders.len()));
    let mut letters = Vec::new();
    for ((place, key, at), answer) in orders.into_iter().zip(answers) {
        let (step, check) = step(look, (&key, at), bytes_of(answer)?, &mut letters)?;
        steps.push(step);
        checks.push(check.map(|check| (place, check)));
    }
    for refused in within_max(STORED_MAX, look.inner.writer.store_all(steps)).await? {
        // Somebody claimed it, or works on it: it is theirs.
        checks.get_mut(refused).and_then(Option::take);
    }
    Ok(Claimed { checks: checks.into_iter().flatten().collect(), letters })
}

/// The orders of a piece, each with its place and its due time.
async fn orders(look: Look<'_>, (shard, entries): Piece) -> Result<Vec<(usize, OrderKey, i64)>, PortError> {
    let mut orders = Vec::with_capacity(entries.len());
    for (place, (member, at)) in entries {
        let key = std::str::from_utf8(&member).ok().and_then(order_of);
        if let Some(key) = key.filter(|key| Shard::of(key) == shard) {
            orders.push((place, key, at));
            continue;
        }
        // Not ours: out of the way, or it would come first for ever.
        tracing::warn!("a due set of Redis named no order of its shard: {member:?}");
        let mut removal = Pipeline::new();
        removal.cmd("ZREM").arg(look.inner.keys.of(shard).due(look.lane)).arg(member.as_slice());
        within(look.inner.read(&removal)).await?;
    }
    Ok(orders)
}

/// A claim where the record agrees with its entry, otherwise a repair; a letter where nobody can say.
fn step(
    Look { inner, lane, now }: Look<'_>,
    (key, at): (&OrderKey, i64),
    bytes: Vec<u8>,
    letters: &mut Vec<DeadLetter>,
) -> Result<(Step, Option<Check>), Fault> {
    let planner = inner.planner();
    if bytes.is_empty() {
        tracing::warn!(order.key = %key, "the due set names {}, which has no record", member_of(key));
        return Ok((planner.repair(key, None, bytes), None));
    }
    let mut record = match codec::decode(key, &bytes) {
        Ok(record) => record,
        Err(fault) => {
            // Every other order's time has come too: this one must not stand in their way.
            letters.push(letter_about(key, fault, now));
            return Ok((planner.put_aside(key, bytes, lane, now + CLAIM_LENGTH), None));
        }
    };
    let before = Standing::of(Some(&record));
    let is_its_time = |due: Due| due.at.millis() == at && due.cause.is_urgent() == (lane == Lane::Urgent);
    if record.due.is_some_and(is_its_time)
        && let Some(check) = claim(&mut record, now)
    {
        return Ok((planner.change(key, before, bytes, Some(&record))?, Some(check)));
    }
    // Usually somebody was faster than our two looks; a step that compares puts right what really is wrong.
    Ok((planner.repair(key, Some(&record), bytes), None))
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
        assert!(per_shard(1000) < 100);
    }

    #[test]
    fn pieces_are_of_one_shard_and_even_and_keep_every_entry_s_place() {
        let shard = |number: usize| Shard::all().nth(number).unwrap();
        let chosen: Vec<_> = (0..100).map(|at| (shard(usize::from(at % 10 == 0)), entry(at))).collect();
        let pieces = pieces(chosen);
        let lengths: Vec<_> = pieces.iter().map(|(shard, entries)| (shard.index(), entries.len())).collect();
        assert_eq!(lengths, [(0, 45), (0, 45), (1, 10)]);
        let places = pieces.into_iter().flat_map(|(_, entries)| entries);
        let mut places: Vec<_> = places.map(|(place, (_, at))| (place, at)).collect();
        places.sort_unstable();
        assert_eq!(places, (0..100).map(|at| (usize::try_from(at).unwrap(), at)).collect::<Vec<_>>());
        assert!(super::pieces(Vec::new()).is_empty());
    }
}
