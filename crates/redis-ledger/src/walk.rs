//! A page of a listing: walks piece by piece, reads the records, and shows those that the filter lets through.
//!
//! A walk meets every record that is there all the time, over a server's restart or failover too: there it begins anew
//! with the part that it is in. So a page asks one session only. A record that cannot be read is named and left out.

use paybell_core::ids::{MchId, OrderKey};
use paybell_core::ports::{OrderFilter, OrderPage, PortError};
use paybell_core::record::{Record, State};
use redis::{Pipeline, Value};

use crate::change::bytes_of;
use crate::cursor::Place;
use crate::engine::Inner;
use crate::error::Fault;
use crate::keys::order_of;
use crate::session::Session;
use crate::unreadable::{Read, read_of};

/// Keys that one page may look at: a filter that lets little through gives short pages instead of long waits.
const LOOKED_MAX: usize = 20_000;

/// Keys that Redis is asked for at once.
const PIECE_MIN: usize = 16;
const PIECE_MAX: usize = 1_000;

/// One call of a listing.
pub(crate) struct Walk<'a> {
    pub inner: &'a Inner,
    pub session: &'a Session,
    pub filter: &'a OrderFilter,
    /// At least 1.
    pub limit: usize,
    /// Orders with a lower score in the index of their state are passed over unread.
    pub score_min: Option<f64>,
}

impl Walk<'_> {
    /// From a place on.
    pub async fn page(&self, mut place: Place) -> Result<OrderPage, PortError> {
        let mut found = Found::default();
        let (mut looked, mut empty_pieces) = (0, 0);
        while looked < LOOKED_MAX && found.len() < self.limit && place != Place::End {
            let room = self.limit - found.len();
            let asked = asked_for(room, empty_pieces);
            let (cursor, orders) = self.piece(&place, asked).await?;
            looked += asked.max(orders.len());
            let mut more = self.matching(orders).await?;
            empty_pieces = if more.len() == 0 { empty_pieces + 1 } else { 0 };
            if more.len() <= room {
                found.append(&mut more);
                place = place.next(cursor);
                continue;
            }
            // Rather a short page than half a piece: only the first piece of a page is cut.
            if found.len() == 0 {
                more.truncate(room);
                place = place.after_showing(more.keys());
                found = more;
            }
            break;
        }
        let Found { records, unreadable } = found;
        Ok(OrderPage { records, unreadable, next: place.to_text(), has_more: place != Place::End })
    }

    /// The orders of a piece that no earlier page showed, and Redis' next cursor.
    async fn piece(&self, place: &Place, asked: usize) -> Result<(u64, Vec<OrderKey>), PortError> {
        let keys = &self.inner.keys;
        let mch_id = self.filter.mch_id.as_ref().map(MchId::as_str);
        let mut question = Pipeline::new();
        let cursor = place.piece().map_or(0, |piece| piece.cursor);
        let is_index = if let Place::Index(shard, _) = place {
            let index = self.filter.state.and_then(|state| keys.of(*shard).state(state));
            let pattern = mch_id.map_or_else(|| "*".to_owned(), |mch_id| format!("{mch_id}:*"));
            question.cmd("ZSCAN").arg(index.unwrap_or_default()).arg(cursor).arg("MATCH").arg(pattern);
            true
        } else {
            question.cmd("SCAN").arg(cursor).arg("MATCH").arg(keys.pattern(mch_id));
            false
        };
        question.arg("COUNT").arg(asked);
        let answer = self.session.read(&question).await?.pop().unwrap_or_default();
        let answer: Result<(u64, Vec<Vec<u8>>), _> = redis::from_redis_value(answer);
        let (next, names) = answer.map_err(|_| Fault::strange("SCAN"))?;
        let is_new = |order: &OrderKey| place.piece().is_none_or(|piece| !piece.has_shown(order));
        let orders = if is_index {
            let (pairs, _) = names.as_chunks::<2>();
            let pairs = pairs.iter().filter(|[_, score]| self.reaches(score));
            pairs.filter_map(|[name, _]| order_of(std::str::from_utf8(name).ok()?)).filter(is_new).collect()
        } else {
            names.iter().filter_map(|name| keys.order_of(name)).filter(is_new).collect()
        };
        Ok((next, orders))
    }

    /// A score that cannot be read is high enough.
    fn reaches(&self, score: &[u8]) -> bool {
        let Some(min) = self.score_min else { return true };
        let score = std::str::from_utf8(score).ok().and_then(|text| text.parse::<f64>().ok());
        score.is_none_or(|score| score >= min)
    }

    async fn matching(&self, orders: Vec<OrderKey>) -> Result<Found, PortError> {
        let is_meant =
            |key: &OrderKey| self.filter.mch_id.as_ref().is_none_or(|mch_id| *mch_id == key.mch_id);
        let orders: Vec<OrderKey> = orders.into_iter().filter(is_meant).collect();
        let mut question = Pipeline::new();
        for key in &orders {
            question.cmd("GET").arg(self.inner.keys.record(key));
        }
        if question.is_empty() {
            return Ok(Found::default());
        }
        let answers: Vec<Value> = self.session.read(&question).await?;
        let mut found = Found::default();
        for (key, answer) in orders.into_iter().zip(answers) {
            match read_of(&key, bytes_of(answer)?) {
                Read::Absent => {}
                Read::Record(record) => {
                    let is_in_state = |state: State| state == record.state;
                    if self.filter.state.is_none_or(is_in_state) {
                        found.records.push(*record);
                    }
                }
                Read::Unreadable => found.unreadable.push(key),
            }
        }
        Ok(found)
    }
}

/// What a page shows.
#[derive(Default)]
struct Found {
    records: Vec<Record>,
    unreadable: Vec<OrderKey>,
}

impl Found {
    fn len(&self) -> usize {
        self.records.len() + self.unreadable.len()
    }

    fn append(&mut self, more: &mut Found) {
        self.records.append(&mut more.records);
        self.unreadable.append(&mut more.unreadable);
    }

    fn truncate(&mut self, rows: usize) {
        self.records.truncate(rows);
        self.unreadable.truncate(rows - self.records.len());
    }

    fn keys(&self) -> impl Iterator<Item = &OrderKey> {
        self.records.iter().map(|record| &record.key).chain(&self.unreadable)
    }
}

/// Somewhat less than there is room for, because Redis may give more; more where the filter lets nothing through.
fn asked_for(room: usize, empty_pieces: u32) -> usize {
    let usual = (room / 4 * 3).clamp(PIECE_MIN, PIECE_MAX);
    usual.saturating_mul(1_usize.checked_shl(empty_pieces).unwrap_or(usize::MAX)).min(PIECE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_the_room_and_grow_where_nothing_is_found() {
        assert_eq!([asked_for(1, 0), asked_for(100, 0), asked_for(100_000, 0)], [16, 75, 1_000]);
        assert_eq!([asked_for(1, 3), asked_for(1, 60), asked_for(1, 64)], [128, 1_000, 1_000]);
    }
}
