//! The people around a payment: the payer, WeChat's notifier, the shop that registers orders, the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingress::{Answer, Ingress};
use paybell_core::cadence::WECHAT_GAPS_S;
use paybell_core::event::{EventType, Mismatch};
use paybell_core::ports::CheckQueue;
use paybell_core::register::{Application, Registered};
use paybell_core::verdict::{Judged, Judgement, Ruling};
use paybell_core::{AppId, BusinessNo, Check, Currency, Fen, OrderKey, Timestamp};

use super::executor::Process;
use super::ports::World;
use super::wechat::{OTHER_APPID, SimWechat};

/// What people were told, for the oracle.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// When WeChat was answered SUCCESS about the order, first.
    pub acknowledged: BTreeMap<OrderKey, i64>,
    /// When the shop was answered that the order is registered, and with which amount.
    pub registered: BTreeMap<OrderKey, (i64, i64)>,
    /// Which of the shop's own orders an order pays.
    pub businesses: BTreeMap<OrderKey, BusinessNo>,
    /// Orders that the shop registers for another of its apps than they are paid through.
    pub strayed: BTreeSet<OrderKey>,
    /// Orders whose payment an operator accepted.
    pub accepted: BTreeMap<OrderKey, i64>,
    pub forgeries_accepted: u32,
    /// When the shop was answered that its refund will be sent, first.
    pub refunds_asked: BTreeMap<(OrderKey, String), i64>,
    /// Refunds that a person made in the merchant platform.
    pub refunds_elsewhere: BTreeSet<(OrderKey, String)>,
    /// When WeChat was answered SUCCESS about the refund, first.
    pub refunds_notified: BTreeMap<(OrderKey, String), i64>,
    /// Orders of which nobody hears anything but that they were refunded.
    pub ghosts: BTreeSet<OrderKey>,
}

/// Everybody outside Paybell.
#[derive(Clone)]
pub struct Shop {
    pub world: World,
    pub wechat: SimWechat,
    pub ingress: Arc<Ingress>,
    pub told: Arc<Mutex<Ledgers>>,
}

/// How one order's notifications behave.
#[derive(Debug, Clone, Copy)]
pub struct Notifying {
    pub is_lost: bool,
    pub each_lost: f64,
    pub copies: i64,
    pub delay_ms: i64,
}

impl Shop {
    pub fn told(&self) -> MutexGuard<'_, Ledgers> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts one body to the ingress and waits for its answer, as WeChat does: five seconds.
    async fn post(&self, body: String) -> Option<Answer> {
        let answer: Arc<Mutex<Option<Answer>>> = Arc::default();
        let waiters = Arc::default();
        let (shop, slot, woken) = (self.clone(), answer.clone(), Arc::clone(&waiters));
        self.world.sim.spawn(Process::Ingress, async move {
            let reception = shop.ingress.receive(None, body.as_bytes()).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(reception.answer);
            shop.world.sim.wake(&woken);
        });
        self.world.sim.wait(&waiters, 5_000).await;
        answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// WeChat's notifier of one payment: its cadence, until SUCCESS.
    pub async fn notify(self, key: OrderKey, paid_ms: i64, how: Notifying) {
        let sim = &self.world.sim;
        sim.pause(paid_ms - sim.now_ms()).await;
        let is_still_paid = self.wechat.books().truths.get(&key).is_some_and(|truth| truth.paid.is_some());
        if how.is_lost || !is_still_paid {
            return;
        }
        sim.pause(how.delay_ms).await;
        for gap_s in [0].into_iter().chain(WECHAT_GAPS_S) {
            sim.pause(gap_s * 1000).await;
            if sim.chance(how.each_lost) {
                continue;
            }
            let mut is_taken = false;
            for _ in 1..how.copies {
                let shop = self.clone();
                let key = key.clone();
                sim.spawn(Process::World, async move {
                    shop.world.sim.pause(shop.world.sim.pick(0..=2_000)).await;
                    shop.notify_once(&key).await;
                });
            }
            is_taken |= self.notify_once(&key).await;
            if is_taken {
                return;
            }
        }
    }

    async fn notify_once(&self, key: &OrderKey) -> bool {
        let body = self.wechat.notification(key);
        let answer = self.post(body).await;
        self.world.note(|| format!("notification {} → {answer:?}", key.out_trade_no));
        let is_taken = answer == Some(Answer::Success);
        if is_taken {
            let now_ms = self.world.sim.now_ms();
            self.told().acknowledged.entry(key.clone()).or_insert(now_ms);
        }
        is_taken
    }

    /// Somebody without the key claims that the order is paid.
    pub async fn forge(self, key: OrderKey, at_ms: i64) {
        let sim = &self.world.sim;
        sim.pause(at_ms - sim.now_ms()).await;
        let body = format!(
            "<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code><appid>{}</appid>\
             <mch_id>{}</mch_id><out_trade_no>{}</out_trade_no><transaction_id>4200</transaction_id>\
             <total_fee>1</total_fee><time_end>20261120120000</time_end><sign>{}</sign></xml>",
            super::wechat::APPID,
            key.mch_id,
            key.out_trade_no,
            "A".repeat(32)
        );
        if self.post(body).await == Some(Answer::Success) {
            self.told().forgeries_accepted += 1;
        }
    }

    /// The shop registers an order, again until it is told that it is registered.
    pub async fn register(self, key: OrderKey, at_ms: i64, created_ms: i64, total_fee: i64) {
        let sim = self.world.sim.clone();
        sim.pause(at_ms - sim.now_ms()).await;
        let is_astray = self.told().strayed.contains(&key);
        let application = Application {
            total_fee: Fen::new(total_fee).expect("the scenario draws small amounts"),
            fee_type: Some(Currency::CNY),
            appid: is_astray.then(other_appid),
            sub_mch_id: None,
            created_at: Some(Timestamp::from_millis(created_ms)),
            expires_at: None,
            business_no: self.told().businesses.get(&key).cloned(),
        };
        loop {
            sim.pause(sim.pick(1..=50)).await;
            let weather = self.world.weather();
            let is_done = !sim.chance(weather.fail_before) && {
                let now_ms = sim.now_ms();
                let outcome = self.world.store().register(&key, &application, now_ms);
                self.world.note(|| format!("register {} {total_fee} → {outcome:?}", key.out_trade_no));
                matches!(outcome, Registered::Added | Registered::Same)
            };
            sim.wake(&self.world.sleepy);
            if is_done && !sim.chance(weather.fail_after) {
                self.told().registered.insert(key, (sim.now_ms(), total_fee));
                return;
            }
            sim.pause(sim.pick(500..=3_000)).await;
        }
    }

    /// A shop whose payer came back to its page.
    pub async fn check(self, key: OrderKey, at_ms: i64) {
        let sim = &self.world.sim;
        sim.pause(at_ms - sim.now_ms()).await;
        // Best effort: the shop asks again if it is refused.
        let _refused = self.world.publish(&[Check::manual(key)]).await;
    }

    /// An operator who accepts every mismatch of the order, a while after it was told.
    pub async fn accept(self, key: OrderKey, until_ms: i64) {
        let sim = self.world.sim.clone();
        while sim.now_ms() < until_ms {
            sim.pause(sim.pick(600_000..=1_800_000)).await;
            let is_told = self.world.store().log.iter().any(|emitted| {
                emitted.event.key().as_ref() == Some(&key)
                    && emitted.event.kind == EventType::Mismatch
                    && emitted
                        .event
                        .order()
                        .and_then(|data| data.disagreement.as_ref())
                        .is_some_and(|one| one.mismatch != Mismatch::SecondTransaction)
            });
            if !is_told {
                continue;
            }
            let judgement = Judgement {
                ruling: Ruling::Accept,
                who: "operator".to_owned(),
                why: "the payer chose another size".to_owned(),
                transaction_id: None,
            };
            let now_ms = sim.now_ms();
            let outcome = self.world.store().judge(&key, &judgement, now_ms);
            self.world.note(|| format!("accept {} → {outcome:?}", key.out_trade_no));
            sim.wake(&self.world.sleepy);
            if outcome == Judged::Stored {
                self.told().accepted.insert(key, now_ms);
            }
            return;
        }
    }
}

fn other_appid() -> AppId {
    AppId::new(OTHER_APPID).expect("it begins with wx")
}
