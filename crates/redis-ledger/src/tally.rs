//! Counts over all records. Every count is that of a set, so none can drift: pending orders are those with a due time
//! that no state's index has, the other states are their indexes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use paybell_core::check::Lane;
use paybell_core::ids::MchId;
use paybell_core::ports::{PortError, Tally};
use paybell_core::record::State;
use redis::Pipeline;

use crate::engine::Inner;
use crate::error::Fault;
use crate::keys::Shard;
use crate::scripts::Name;
use crate::step::FEN_SPAN_MS;

/// A registered order that is pending for longer counts as unconfirmed; up to [`FEN_SPAN_MS`] sooner.
const UNCONFIRMED_MS: i64 = 120_000;

/// How long a tally is good, at least; a slow one is good for longer, so that counting never fills Redis' time.
const TALLY_GOOD: Duration = Duration::from_secs(2);
const TALLY_GOOD_PER_COST: u32 = 20;

/// Fields of a sum that are read at once.
const FIELDS_PER_READ: usize = 500;

/// Until when a tally is good that was counted between these two times.
pub(crate) fn good_until(started: Duration, ended: Duration) -> Duration {
    let cost = ended.saturating_sub(started);
    ended.saturating_add(TALLY_GOOD.max(cost.saturating_mul(TALLY_GOOD_PER_COST)))
}

/// Counts everything.
pub(crate) async fn tally(inner: &Inner) -> Result<Tally, PortError> {
    let mut tally = counts(inner).await?;
    tally.unconfirmed_fen = unconfirmed(inner).await?;
    Ok(tally)
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

async fn unconfirmed(inner: &Inner) -> Result<Vec<(MchId, i64)>, PortError> {
    let latest = (inner.reading()?.now.millis().saturating_sub(UNCONFIRMED_MS)).div_euclid(FEN_SPAN_MS);
    let mut sums: BTreeMap<MchId, i64> = BTreeMap::new();
    let mut places: Vec<(Shard, u64)> = Shard::all().map(|shard| (shard, 0)).collect();
    // A field may be read twice: it counts once.
    let mut fields: HashMap<(Shard, String), i64> = HashMap::new();
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
    for ((_, field), fen) in fields {
        let (mch_id, span) = field.split_once(':').unwrap_or_default();
        let is_old = span.parse::<i64>().is_ok_and(|span| span <= latest);
        if let Ok(mch_id) = MchId::new(mch_id)
            && is_old
        {
            let sum = sums.entry(mch_id).or_default();
            *sum = sum.saturating_add(fen);
        }
    }
    Ok(sums.into_iter().collect())
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
