//! Several orders that pay the same order of the shop: who was paid first, and what must hold of it at the end of a day.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use paybell_core::event::EventType;
use paybell_core::ids::{BusinessNo, MchId, OutTradeNo};
use paybell_core::ports::{Businesses, PortError};
use paybell_core::{Event, OrderKey};

use super::mutation::Mutation;
use super::ports::World;
use super::scenario::Played;
use super::store::Store;

#[async_trait]
impl Businesses for World {
    async fn numbers(&self, _: &MchId, _: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        Err(self.failed("businesses.numbers", "before"))
    }

    async fn claim(
        &self,
        _: &MchId,
        business_no: &BusinessNo,
        out_trade_no: &OutTradeNo,
    ) -> Result<OutTradeNo, PortError> {
        let is_forgotten = self.breaks(Mutation::ClaimForgotten);
        self.effect("businesses.claim", |store, _| {
            let first = store.claims.entry(business_no.clone()).or_insert_with(|| out_trade_no.clone());
            if is_forgotten { out_trade_no.clone() } else { first.clone() }
        })
        .await
    }
}

/// One registered payment of a business order is told as paid, and every other one as a duplicate of it.
pub fn judge(day: &Played, store: &Store, broken: &mut Vec<String>) {
    let mut paid: BTreeMap<BusinessNo, BTreeSet<OrderKey>> = BTreeMap::new();
    for event in store.log.iter().map(|emitted| &emitted.event) {
        let (Some(key), Some(data)) = (event.key(), event.order()) else { continue };
        let told = day.shop.told();
        let Some(business_no) = told.businesses.get(&key).filter(|_| data.registered) else { continue };
        match event.kind {
            EventType::Paid => drop(paid.entry(business_no.clone()).or_default().insert(key)),
            EventType::DuplicatePayment => is_true_duplicate(event, business_no, store, broken),
            _ => {}
        }
    }
    for (business_no, keys) in paid.iter().filter(|(_, keys)| keys.len() > 1) {
        broken.push(format!("the business order {business_no} was told as paid by {keys:?}"));
    }
}

fn is_true_duplicate(event: &Event, business_no: &BusinessNo, store: &Store, broken: &mut Vec<String>) {
    let Some(duplicate) = event.order().and_then(|data| data.duplicate.as_ref()) else {
        broken.push(format!("a duplicate of {} names no first payment", event.subject));
        return;
    };
    let first = duplicate.first_out_trade_no.as_str();
    let is_paid = |one: &Event| one.subject == first && one.kind == EventType::Paid && first != event.subject;
    let fits =
        duplicate.business_no == *business_no && store.log.iter().any(|emitted| is_paid(&emitted.event));
    if !fits {
        broken
            .push(format!("{} is told as a duplicate of {first}, which was not told as paid", event.subject));
    }
}
