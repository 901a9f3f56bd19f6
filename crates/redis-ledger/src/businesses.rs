//! The businesses port: the numbers of a shop's own order, and which of them was paid first, in one hash each.
//!
//! A number is added before the registration that names it ([`Inner::link`]), if that is not refused as things stand:
//! one that is never registered after all does no harm, an order that nobody finds would.

use async_trait::async_trait;
use paybell_core::ids::{BusinessNo, MchId, OrderKey, OutTradeNo};
use paybell_core::ports::{BUSINESS_AGE_MAX, BUSINESS_NUMBERS_MAX, Businesses, PortError};
use redis::{Cmd, Pipeline, Value};

use crate::engine::{Inner, RedisLedger, within};
use crate::error::Fault;
use crate::scripts::Name;

#[async_trait]
impl Businesses for RedisLedger {
    async fn numbers(&self, mch_id: &MchId, business_no: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        let mut question = Pipeline::new();
        question.cmd("HGET").arg(self.inner.keys.business(mch_id, business_no)).arg("numbers");
        let answer = self.inner.read(&question).await?.pop().unwrap_or_default();
        let text: Option<String> = redis::from_redis_value(answer).map_err(|_| Fault::strange("HGET"))?;
        let numbers: Result<Vec<OutTradeNo>, Fault> =
            text.unwrap_or_default().split_whitespace().map(|word| number(word, business_no)).collect();
        Ok(numbers?)
    }

    async fn claim(
        &self,
        mch_id: &MchId,
        business_no: &BusinessNo,
        out_trade_no: &OutTradeNo,
    ) -> Result<OutTradeNo, PortError> {
        let mut call = Name::Claim.eval(1);
        call.arg(self.inner.keys.business(mch_id, business_no));
        call.arg(out_trade_no.as_str()).arg(BUSINESS_AGE_MAX.0);
        let answer = within(self.inner.change_business(call)).await?;
        let first: String = redis::from_redis_value(answer).map_err(|_| Fault::strange("claim.lua"))?;
        Ok(number(&first, business_no)?)
    }
}

impl Inner {
    /// Adds the number to its business order.
    pub async fn link(&self, key: &OrderKey, business_no: &BusinessNo) -> Result<(), PortError> {
        let mut call = Name::Link.eval(1);
        call.arg(self.keys.business(&key.mch_id, business_no));
        call.arg(key.out_trade_no.as_str()).arg(BUSINESS_NUMBERS_MAX).arg(BUSINESS_AGE_MAX.0);
        within(self.change_business(call)).await.map(drop)
    }

    async fn change_business(&self, call: Cmd) -> Result<Value, PortError> {
        let mut step = Pipeline::new();
        step.add_command(call);
        Ok(self.settle(step).await?.pop().unwrap_or_default())
    }
}

fn number(word: &str, business_no: &BusinessNo) -> Result<OutTradeNo, Fault> {
    OutTradeNo::new(word)
        .map_err(|error| Fault::Corrupt(format!("the business order {business_no}: {error}")))
}
