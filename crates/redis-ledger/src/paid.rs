//! The walk over payments by their moment of success, without an index of its own.
//!
//! An index of a state has as its scores when the records expire, which is their last change and the retention
//! together; and no record changed last before its payment was made. So the orders of a late day are read alone. After
//! `retention.orders` was raised, records that were stored before it expire earlier than that, and may be passed over.

use paybell_core::paid::{PaidFilter, PaidPage};
use paybell_core::ports::{OrderFilter, PAGE_ROWS_MAX, PortError};
use paybell_core::record::State;
use paybell_core::time::{Millis, Timestamp};

use crate::cursor::Place;
use crate::engine::Inner;
use crate::walk::Walk;

/// In the order of their ranks: an order that rises meanwhile is met again, not missed.
const STATES: [State; 4] = [State::Mismatch, State::Rejected, State::Paid, State::Refunded];

/// How far our clock may go behind WeChat's, and more.
const SLACK: Millis = Millis::seconds(86_400);

/// A page from a place on; `None` if that is none of this walk.
pub(crate) async fn page(
    inner: &Inner,
    filter: &PaidFilter,
    after: Option<&str>,
    limit: usize,
) -> Result<Option<PaidPage>, PortError> {
    let session = inner.link.session()?;
    let Some((number, state, place)) = place_of(after, session.run()) else { return Ok(None) };
    let orders = OrderFilter { state: Some(state), mch_id: Some(filter.mch_id.clone()) };
    let score_min = score_min(inner, state, filter.from);
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let walk = Walk { inner, session: &session, filter: &orders, limit, score_min };
    let page = walk.page(place).await?;
    let orders = page.records.iter().filter_map(|record| filter.admits(record)).collect();
    let following = number.saturating_add(1);
    let next = match STATES.get(following) {
        _ if page.has_more => format!("{number}_{}", page.next),
        Some(state) => format!("{following}_{}", Place::start(Some(*state), session.run()).to_text()),
        None => format!("{number}_{}", page.next),
    };
    let has_more = page.has_more || following < STATES.len();
    Ok(Some(PaidPage { orders, next, has_more }))
}

/// The number of the state that is walked, the state, and the place in its index.
fn place_of(after: Option<&str>, run: u64) -> Option<(usize, State, Place)> {
    let (number, text) = match after {
        None => (0, None),
        Some(after) => {
            let (number, text) = after.split_once('_')?;
            (number.parse().ok()?, Some(text))
        }
    };
    let state = *STATES.get(number)?;
    let place = match text {
        None => Place::start(Some(state), run),
        Some(text) => Place::parse(text, Some(state), run)?,
    };
    Some((number, state, place))
}

fn score_min(inner: &Inner, state: State, from: Timestamp) -> Option<f64> {
    let min = (from + inner.retention.of(state) - SLACK).millis().saturating_sub(inner.clock.shift_ms());
    // Redis' scores are floating point; a time in milliseconds is one exactly.
    min.to_string().parse().ok()
}
