//! Tells merchants of payments: at once, then on WeChat's cadence until one attempt is acknowledged, with the faults that
//! are asked for. One task per payment; `poster` does the posting.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    join,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use wechat_pay::sign::ApiKey;

use crate::{
    config::SimulatorConfig,
    faults::Fault,
    order::{Order, OrderKey, Paid},
    poster::{Kind, Outcome, Post, Poster},
    wire,
    world::{World, transaction_id},
};

/// Seconds between one attempt and the next, after the first immediate one: 24 h 4 m in all.
pub const CADENCE_S: [u64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];

pub(crate) const XML: &str = "text/xml; charset=utf-8";

pub(crate) struct Notifier {
    pub(crate) poster: Poster,
    /// Rings when a first attempt was made: whoever is held back has been overtaken.
    overtaken: Notify,
}

impl Notifier {
    pub(crate) fn new(config: &SimulatorConfig) -> Self {
        Notifier { poster: Poster::new(config), overtaken: Notify::new() }
    }

    /// Starts the notifications of a payment.
    pub(crate) fn announce(world: &Arc<World>, order: Arc<Order>) {
        let campaign = Campaign { world: world.clone(), order };
        world.spawn(async move {
            let stop = campaign.world.stop.clone();
            // Whoever stops the simulator wants no more notifications.
            let _ = stop.run_until_cancelled(campaign.run()).await;
        });
    }

    /// Claims a payment that did not happen.
    pub(crate) fn forge(world: &Arc<World>, order: Arc<Order>) {
        let campaign = Campaign { world: world.clone(), order };
        world.spawn(async move {
            let stop = campaign.world.stop.clone();
            let _ = stop.run_until_cancelled(campaign.forge()).await;
        });
    }
}

/// The notifications of one payment.
struct Campaign {
    world: Arc<World>,
    order: Arc<Order>,
}

/// What is to be posted.
#[derive(Clone, Copy)]
struct Item {
    kind: Kind,
    attempt: u32,
    fault: Option<Fault>,
}

impl Campaign {
    async fn run(&self) {
        if self.strikes(Fault::NotificationLost, 0) {
            return self.lose(Item { kind: Kind::Genuine, attempt: 0, fault: Some(Fault::NotificationLost) });
        }
        let mut began = self.world.clock.now();
        for (attempt, wait_s) in (0..).zip([0].into_iter().chain(CADENCE_S)) {
            // From the start of the attempt before, but never before its end.
            self.world.clock.sleep_until(began + Duration::from_secs(wait_s)).await;
            began = self.world.clock.now();
            if self.strikes(Fault::AttemptLost, attempt) {
                self.lose(Item { kind: Kind::Genuine, attempt, fault: Some(Fault::AttemptLost) });
                continue;
            }
            let held = if attempt == 0 { self.hold_back().await } else { None };
            if self.attempt(attempt, held).await {
                return self.send_duplicates(attempt).await;
            }
        }
        self.world.counters.notifications_exhausted.add_one();
    }

    /// One attempt with what comes before and beside it. True if it was acknowledged.
    async fn attempt(&self, attempt: u32, held: Option<Fault>) -> bool {
        for (fault, kind) in [(Fault::Tampered, Kind::Tampered), (Fault::Unsigned, Kind::Unsigned)] {
            if self.strikes(fault, attempt) {
                self.send(Item { kind, attempt, fault: Some(fault) }).await;
            }
        }
        let item = Item { kind: Kind::Genuine, attempt, fault: held };
        let acknowledged = if self.strikes(Fault::Simultaneous, attempt) {
            let copy = Item { fault: Some(Fault::Simultaneous), ..item };
            let (first, second) = join!(self.send(item), self.send(copy));
            first || second
        } else {
            self.send(item).await
        };
        if attempt == 0 {
            self.world.notifier.overtaken.notify_waiters();
        }
        acknowledged
    }

    /// Delays the first attempt: by a time, or until another order's went ahead.
    async fn hold_back(&self) -> Option<Fault> {
        let faults = self.world.faults();
        let mut held = None;
        if self.strikes(Fault::Late, 0) {
            held = Some(Fault::Late);
            sleep(Duration::from_millis(faults.late_ms)).await;
        }
        if self.strikes(Fault::Reordered, 0) {
            held = Some(Fault::Reordered);
            let overtaken = self.world.notifier.overtaken.notified();
            // Nobody may come: then it is merely late.
            let _ = timeout(Duration::from_millis(faults.reordered_ms_max), overtaken).await;
        }
        held
    }

    async fn send_duplicates(&self, attempt: u32) {
        if !self.strikes(Fault::Duplicate, 0) {
            return;
        }
        for _ in 0..self.world.faults().duplicate_copies.max(1) {
            self.world.clock.sleep_s(1).await;
            self.send(Item { kind: Kind::Genuine, attempt, fault: Some(Fault::Duplicate) }).await;
        }
    }

    async fn forge(&self) {
        self.send(Item { kind: Kind::Forged, attempt: 0, fault: Some(Fault::Forged) }).await;
    }

    /// Posts, counts and remembers. True if it was acknowledged.
    async fn send(&self, item: Item) -> bool {
        let Some(body) = self.write(item.kind) else { return false };
        let at_ms = self.world.clock.wall_ms();
        let (outcome, took_ms) = self.world.notifier.poster.post(&self.order.notify_url, XML, body).await;
        let acknowledged = outcome == Outcome::Acknowledged;
        let (counters, traffic) = (&self.world.counters, &self.order.traffic);
        if item.kind == Kind::Genuine {
            counters.notifications_sent.add_one();
            traffic.notifications_sent.fetch_add(1, Relaxed);
        } else {
            counters.forgeries_sent.add_one();
        }
        match (item.kind, acknowledged) {
            (_, false) => {}
            (Kind::Genuine, true) => {
                counters.notifications_acknowledged.add_one();
                traffic.notifications_acknowledged.fetch_add(1, Relaxed);
            }
            (_, true) => counters.forgeries_acknowledged.add_one(),
        }
        self.remember(item, at_ms, outcome, took_ms);
        acknowledged
    }

    fn lose(&self, item: Item) {
        self.remember(item, self.world.clock.wall_ms(), Outcome::Lost, 0);
    }

    fn remember(&self, item: Item, at_ms: i64, outcome: Outcome, took_ms: u64) {
        self.world.notifier.poster.remember(Post {
            at_ms,
            order: Some(self.order.key.clone()),
            out_refund_no: None,
            kind: item.kind,
            attempt: item.attempt,
            fault: item.fault.map(Fault::name),
            outcome,
            took_ms,
        });
    }

    /// The document; none if the merchant or the payment is gone.
    fn write(&self, kind: Kind) -> Option<String> {
        let (world, order) = (&self.world, &*self.order);
        let merchant = world.merchant(&order.key.mch_id)?;
        let invented = invented_payment(world, order);
        let paid = if kind == Kind::Forged { &invented } else { order.paid.as_ref()? };
        let mut fields = wire::notification(order, paid, world.nonce());
        let key: &ApiKey = if kind == Kind::Forged { &world.foreign_key } else { &merchant.key };
        if kind != Kind::Unsigned {
            fields.sign(key, order.algorithm);
        }
        if kind == Kind::Tampered {
            fields.replace("total_fee", order.total_fee.saturating_add(1).to_string());
        }
        Some(fields.to_xml())
    }

    fn strikes(&self, fault: Fault, attempt: u32) -> bool {
        self.world.strikes(fault, &self.order.key, u64::from(attempt))
    }
}

/// What a forger makes up: everything but the transaction's number looks right.
fn invented_payment(world: &World, order: &Order) -> Paid {
    let wall_ms = world.clock.wall_ms();
    let other = OrderKey {
        mch_id: order.key.mch_id.clone(),
        out_trade_no: format!("{}/forged", order.key.out_trade_no),
    };
    Paid {
        transaction_id: transaction_id(&other, wall_ms),
        bank_type: "OTHERS".to_owned(),
        coupons: Vec::new(),
        wall_ms,
        at: Instant::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cadence_lasts_24_hours_and_4_minutes() {
        assert_eq!(CADENCE_S.iter().sum::<u64>(), 24 * 3600 + 4 * 60);
    }
}
