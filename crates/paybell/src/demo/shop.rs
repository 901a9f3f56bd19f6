//! The shop and its payers: each order is placed at WeChat, registered at Paybell, then paid or not. A notified order
//! holds its place until its event is seen, so that orders never come faster than this machine can follow, and a
//! poll never overtakes a notification. Counts nothing but how long an event took.

use std::{sync::Arc, time::Duration};

use hyper::Method;
use paybell_core::{Timestamp, time::Millis};
use serde_json::json;
use simulator::{Control, Payment};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    board::Board,
    plan::{Fate, Plan, Planned},
    unified_order::Wechat,
};
use crate::{
    api::{Api, escaped},
    error::Error,
};

/// Orders that are on their way at once.
const IN_HAND_MAX: usize = 64;

/// What a shop works with.
pub struct Shop {
    pub wechat: Wechat,
    pub paybell: Api,
    /// The payers.
    pub payers: Control,
    pub board: Arc<Board>,
    /// So long an order can be paid.
    pub open_for: Duration,
}

impl Shop {
    /// Lives through every order of the plan, `per_second` of them at most. Gives how long each notified payment took
    /// to become an event.
    pub async fn trade(self: Arc<Self>, plan: &Plan, per_second: u32) -> Result<Vec<Duration>, Error> {
        let mut pace = interval(Duration::from_secs(1) / per_second.max(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let places = Arc::new(Semaphore::new(IN_HAND_MAX));
        let (mut orders, mut delays) = (JoinSet::new(), Vec::new());
        for order in &plan.orders {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            pace.tick().await;
            orders.spawn(self.clone().live_through(order.clone(), place));
            while let Some(ended) = orders.try_join_next() {
                delays.extend(unwrapped(ended)?);
            }
        }
        while let Some(ended) = orders.join_next().await {
            delays.extend(unwrapped(ended)?);
        }
        Ok(delays)
    }

    async fn live_through(
        self: Arc<Self>,
        order: Planned,
        _place: OwnedSemaphorePermit,
    ) -> Result<Option<Duration>, Error> {
        let of_order = |what: String| Error::Failed(format!("{}: {what}", order.key.out_trade_no));
        self.wechat.place(&order, &nonce()?).await.map_err(|why| of_order(format!("unifiedorder: {why}")))?;
        self.register(&order).await?;
        if order.fate == Fate::Unpaid {
            return Ok(None);
        }
        let seen = self.board.expect(&order.key.out_trade_no);
        let paid_at = Instant::now();
        let paid = self.payers.pay(&order.key, Payment::default());
        paid.map_err(|error| of_order(format!("pay: {error}")))?;
        if order.fate == Fate::Lost {
            return Ok(None);
        }
        // An event that does not come in time is missed by the verdict, not here.
        Ok(timeout(self.open_for, seen).await.is_ok().then(|| paid_at.elapsed()))
    }

    /// Tells Paybell what the order must cost, and when it is over.
    async fn register(&self, order: &Planned) -> Result<(), Error> {
        let placed = self.payers.truth(&order.key).map_err(|error| Error::Failed(error.to_string()))?;
        let placed_at =
            Timestamp::parse_rfc3339(&placed.created_at).map_err(|error| Error::Failed(error.to_string()))?;
        let open_for = Millis(i64::try_from(self.open_for.as_millis()).unwrap_or(i64::MAX));
        let body = json!({
            "total_fee": order.total_fee,
            "created_at": placed.created_at,
            "expires_at": (placed_at + open_for).rfc3339(),
        });
        let path = format!("/v1/orders/{}/{}", escaped(&order.key.mch_id), escaped(&order.key.out_trade_no));
        self.paybell.change(Method::PUT, &path, &body).await.map(drop)
    }
}

fn unwrapped<T>(ended: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    ended.map_err(|error| Error::Failed(format!("an order broke off: {error}")))?
}

fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
