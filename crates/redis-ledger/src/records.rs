//! The records port: what anybody reads of orders.

use async_trait::async_trait;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{OrderFilter, OrderPage, PAGE_ROWS_MAX, PortError, Records, Tally};
use paybell_core::record::Record;

use crate::cursor::Place;
use crate::engine::RedisLedger;
use crate::walk::Walk;

#[async_trait]
impl Records for RedisLedger {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        Ok(self.inner.stored(key).await?.map(|stored| stored.record))
    }

    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<OrderPage>, PortError> {
        let place = match after {
            None => Some(Place::start(filter.state)),
            Some(text) => Place::parse(text, filter.state),
        };
        let Some(place) = place else { return Ok(None) };
        let walk = Walk { inner: &self.inner, filter, limit: limit.clamp(1, PAGE_ROWS_MAX) };
        walk.page(place).await.map(Some)
    }

    async fn tally(&self) -> Result<Tally, PortError> {
        let inner = &self.inner;
        let mut last = inner.tally.lock().await;
        let started = inner.clock.monotonic();
        if let Some((good_until, tally)) = last.as_ref()
            && started < *good_until
        {
            return Ok(tally.clone());
        }
        let tally = crate::tally::tally(inner).await?;
        let ended = inner.clock.monotonic();
        *last = Some((crate::tally::good_until(started, ended), tally.clone()));
        Ok(tally)
    }
}
