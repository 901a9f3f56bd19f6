//! The records port: what anybody reads of orders.

use async_trait::async_trait;
use paybell_core::ids::OrderKey;
use paybell_core::paid::{PaidFilter, PaidPage};
use paybell_core::ports::{OrderFilter, OrderPage, PAGE_ROWS_MAX, PortError, Records, Tally};
use paybell_core::record::Record;
use redis::Pipeline;

use crate::change::bytes_of;
use crate::cursor::Place;
use crate::engine::{RedisLedger, within};
use crate::paid;
use crate::unreadable::{Read, read_of};
use crate::walk::Walk;

#[async_trait]
impl Records for RedisLedger {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        Ok(self.inner.stored(key).await?.map(|stored| stored.record))
    }

    async fn read_settled(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        within(self.inner.settled(key)).await
    }

    async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<OrderPage>, PortError> {
        let session = self.inner.link.session()?;
        let place = match after {
            None => Some(Place::start(filter.state, session.run())),
            Some(text) => Place::parse(text, filter.state, session.run()),
        };
        let Some(place) = place else { return Ok(None) };
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let walk = Walk { inner: &self.inner, session: &session, filter, limit, score_min: None };
        walk.page(place).await.map(Some)
    }

    async fn get_many(&self, keys: &[OrderKey]) -> Result<Vec<Option<Record>>, PortError> {
        let keys: Vec<&OrderKey> = keys.iter().take(PAGE_ROWS_MAX).collect();
        let mut question = Pipeline::new();
        for key in &keys {
            question.cmd("GET").arg(self.inner.keys.record(key));
        }
        if question.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.inner.read(&question).await?;
        let mut records = Vec::with_capacity(keys.len());
        for (key, answer) in keys.into_iter().zip(answers) {
            records.push(match read_of(key, bytes_of(answer)?) {
                Read::Record(record) => Some(*record),
                Read::Absent | Read::Unreadable => None,
            });
        }
        Ok(records)
    }

    async fn paid(
        &self,
        filter: &PaidFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<PaidPage>, PortError> {
        paid::page(&self.inner, filter, after, limit).await
    }

    async fn tally(&self) -> Result<Tally, PortError> {
        let mut seen = self.inner.tally.lock().await;
        crate::tally::tally(&self.inner, &mut seen).await
    }
}
