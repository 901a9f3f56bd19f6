//! Counts over all records. Every count is that of a set, so none can drift: pending orders are those with a due time
//! that no state's index has, the other states are their indexes. Fen are summed by merchant in the step that stores the
//! record; what is not two minutes old yet is summed once more by the time of its creation, and taken off.
//!
//! However many orders there are, a tally reads a few sums per merchant; however many processes there are, one of them
//! counts, and leaves the result to the others for as long as it is good.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use paybell_core::check::Lane;
use paybell_core::ids::MchId;
use paybell_core::ports::{PortError, Tally};
use paybell_core::record::State;
use redis::{Pipeline, Value};

use crate::change::bytes_of;
use crate::engine::Inner;
use crate::error::Fault;
use crate::keys::Shard;
use crate::scripts::Name;
use crate::step::{FEN_SPAN_MS, UNCONFIRMED_MS};

/// How long a tally is good, at least; a slow one is good for longer, so that counting never fills Redis' time.
const TALLY_GOOD: Duration = Duration::from_secs(2);
const TALLY_GOOD_PER_COST: u32 = 20;

/// How long what another process left is good here: it is some time old already.
const LEFT_GOOD: Duration = Duration::from_millis(500);

/// Fields of a sum that are read at once.
const FIELDS_PER_READ: usize = 500;

/// A span that is so much older than the young ones is forgotten.
const SPANS_KEPT: i64 = 6;

/// Sums of old spans that one tally forgets: there are more only where nobody counted for long.
const FORGOTTEN_PER_TALLY: usize = 10_000;

/// How long nobody else counts, should the one that counts be killed.
const COUNTING_MS_MAX: u64 = 10_000;

/// The tally that this process saw last, and until when it is good.
pub(crate) type Seen = Option<(Duration, Tally)>;

/// Counts, or takes what another process counted: however many there are, Redis counts once.
pub(crate) async fn tally(inner: &Inner, seen: &mut Seen) -> Result<Tally, PortError> {
    let started = inner.clock.monotonic();
    if let Some((good_until, tally)) = seen.as_ref()
        && started < *good_until
    {
        return Ok(tally.clone());
    }
    if let Some(tally) = left(inner).await {
        *seen = Some((started.saturating_add(LEFT_GOOD), tally.clone()));
        return Ok(tally);
    }
    if !may_count(inner).await
        && let Some((_, tally)) = seen.as_ref()
    {
        return Ok(tally.clone());
    }
    let mut tally = counts(inner).await?;
    tally.unconfirmed_fen = unconfirmed(inner).await?;
    let ended = inner.clock.monotonic();
    let good_until = good_until(started, ended);
    leave(inner, &tally, good_until.saturating_sub(ended)).await;
    *seen = Some((good_until, tally.clone()));
    Ok(tally)
}

/// Until when a tally is good that was counted between these two times.
fn good_until(started: Duration, ended: Duration) -> Duration {
    let cost = ended.saturating_sub(started);
    ended.saturating_add(TALLY_GOOD.max(cost.saturating_mul(TALLY_GOOD_PER_COST)))
}

async fn counts(inner: &Inner) -> Result<Tally, PortError> {
    let server_ms = inner.reading()?.now.millis().saturating_sub(inner.clock.shift_ms());
    let mut question = Pipeline::new();
    for shard in Shard::all() {
        let names = inner.keys.of(shard);
        let indexes = State::ALL.into_iter().filter_map(|state| names.state(state));
        let keys: Vec<&str> =
            Lane::ALL.map(|lane| names.due(lane)).into_iter().chain([names.dead()]).chain(indexes).collect();
        let mut call = Name::Tally.eval(keys.len());
        call.arg(keys).arg(server_ms);
        question.add_command(call);
    }
    let mut sums = [0_u64; 9];
    for answer in inner.read(&question).await? {
        let counts: Vec<i64> = redis::from_redis_value(answer).map_err(|_| Fault::strange("tally.lua"))?;
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(u64::try_from(count).unwrap_or(0));
        }
    }
    let [pending, dead_letters, others @ ..] = sums;
    let counted = [pending].into_iter().chain(others);
    Ok(Tally {
        orders: State::ALL.into_iter().zip(counted).collect(),
        unconfirmed_fen: Vec::new(),
        dead_letters,
    })
}

/// What is registered and pending, without what is young. The two are not read at one moment: what comes in meanwhile may
/// be counted or not.
async fn unconfirmed(inner: &Inner) -> Result<Vec<(MchId, i64)>, PortError> {
    let now_ms = inner.reading()?.now.millis();
    let latest = now_ms.saturating_sub(UNCONFIRMED_MS).div_euclid(FEN_SPAN_MS);
    let mut sums: BTreeMap<MchId, i64> = BTreeMap::new();
    let mut grown_up: BTreeMap<Shard, Vec<String>> = BTreeMap::new();
    let mut room = FORGOTTEN_PER_TALLY;
    for ((shard, field), fen) in fields(inner).await? {
        let (mch_id, span) = match field.split_once(':') {
            Some((mch_id, span)) => (mch_id, span.parse::<i64>().ok()),
            None => (field.as_str(), None),
        };
        let Ok(mch_id) = MchId::new(mch_id) else { continue };
        let sum = sums.entry(mch_id).or_default();
        match span {
            None => *sum = sum.saturating_add(fen),
            Some(span) if span > latest => *sum = sum.saturating_sub(fen),
            Some(span) if span < latest - SPANS_KEPT && room > 0 => {
                room -= 1;
                grown_up.entry(shard).or_default().push(field);
            }
            Some(_) => {}
        }
    }
    forget(inner, grown_up).await;
    Ok(sums.into_iter().filter(|(_, fen)| *fen > 0).collect())
}

/// What stays all the same is left out of the sum, and goes next time.
async fn forget(inner: &Inner, grown_up: BTreeMap<Shard, Vec<String>>) {
    let mut step = Pipeline::new();
    for (shard, fields) in &grown_up {
        for some in fields.chunks(FIELDS_PER_READ) {
            step.cmd("HDEL").arg(inner.keys.of(*shard).fen()).arg(some);
        }
    }
    if !step.is_empty() {
        let _ = inner.read(&step).await;
    }
}

/// Every sum of every shard: as many as there are merchants, and those of what is young.
async fn fields(inner: &Inner) -> Result<HashMap<(Shard, String), i64>, PortError> {
    let mut places: Vec<(Shard, u64)> = Shard::all().map(|shard| (shard, 0)).collect();
    // A field may be read twice: it counts once.
    let mut fields = HashMap::new();
    while !places.is_empty() {
        let mut question = Pipeline::new();
        for (shard, cursor) in &places {
            let key = inner.keys.of(*shard).fen();
            question.cmd("HSCAN").arg(key).arg(*cursor).arg("COUNT").arg(FIELDS_PER_READ);
        }
        let answers = inner.read(&question).await?;
        let mut more = Vec::new();
        for ((shard, _), answer) in places.into_iter().zip(answers) {
            let answer: Result<(u64, Vec<(String, i64)>), _> = redis::from_redis_value(answer);
            let (cursor, some) = answer.map_err(|_| Fault::strange("HSCAN"))?;
            fields.extend(some.into_iter().map(|(field, fen)| ((shard, field), fen)));
            if cursor != 0 {
                more.push((shard, cursor));
            }
        }
        places = more;
    }
    Ok(fields)
}

/// A tally as one process leaves it for the others: orders by state, fen by merchant, dead letters.
type Left = (Vec<(State, u64)>, Vec<(MchId, i64)>, u64);

/// What another process left, while it is good.
async fn left(inner: &Inner) -> Option<Tally> {
    let mut question = Pipeline::new();
    question.cmd("GET").arg(&inner.keys.tally);
    let answer = inner.read(&question).await.ok()?.pop()?;
    let (orders, unconfirmed_fen, dead_letters): Left =
        serde_json::from_slice(&bytes_of(answer).ok()?).ok()?;
    Some(Tally { orders, unconfirmed_fen, dead_letters })
}

/// Whether nobody else counts now. Who cannot ask counts by itself.
async fn may_count(inner: &Inner) -> bool {
    let mut question = Pipeline::new();
    question.cmd("SET").arg(&inner.keys.counting).arg(1).arg("NX").arg("PX").arg(COUNTING_MS_MAX);
    !matches!(inner.read(&question).await.map(|mut answers| answers.pop()), Ok(Some(Value::Nil)))
}

/// Leaves it for the others; they count by themselves where that fails.
async fn leave(inner: &Inner, tally: &Tally, good: Duration) {
    let left = (&tally.orders, &tally.unconfirmed_fen, tally.dead_letters);
    let Ok(text) = serde_json::to_vec(&left) else { return };
    let good_ms = u64::try_from(good.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut step = Pipeline::new();
    step.cmd("SET").arg(&inner.keys.tally).arg(text).arg("PX").arg(good_ms);
    step.cmd("DEL").arg(&inner.keys.counting);
    let _ = inner.read(&step).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_tally_is_good_for_longer() {
        let at = Duration::from_millis;
        assert_eq!(good_until(at(1_000), at(1_001)), at(3_001));
        assert_eq!(good_until(at(1_000), at(2_000)), at(22_000));
    }
}
