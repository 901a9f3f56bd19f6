//! The people who want money back: shops that ask, persons in the merchant platform, WeChat's notifier of refunds, and
//! whoever puts pieces of its notifications together anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paybell_core::cadence::WECHAT_GAPS_S;
use paybell_core::ports::CheckQueue;
use paybell_core::refund::{Refund, RefundAccount, RefundApplication, RefundAsked as Stored, RefundState};
use paybell_core::{Check, Fen, OrderKey, OutRefundNo};

use super::executor::Process;
use super::shop::Shop;

/// A refund that a shop wants.
#[derive(Debug, Clone)]
pub struct Wish {
    pub key: OrderKey,
    pub number: String,
    pub refund_fee: i64,
    pub total_fee: i64,
    pub at_ms: i64,
}

impl Shop {
    /// The shop wants money back for its customer, and asks until it is told that it was understood. Where WeChat
    /// refuses for want of funds, a person names the other account after a while.
    pub async fn want_refund(self, wish: Wish) {
        let sim = self.world.sim.clone();
        sim.pause(wish.at_ms - sim.now_ms()).await;
        let mut asked = RefundApplication {
            out_refund_no: OutRefundNo::new(wish.number.as_str()).expect("a short number"),
            refund_fee: Fen::new(wish.refund_fee).expect("the scenario draws small amounts"),
            total_fee: Some(Fen::new(wish.total_fee).expect("the scenario draws small amounts")),
            fee_type: None,
            refund_account: None,
            refund_desc: None,
            seen_as: None,
            who: "shop".to_owned(),
        };
        for _ in 0..200 {
            match self.ask_refund(&wish, &asked).await {
                Some(Stored::Added | Stored::Same) => {
                    self.told().refunds_asked.insert((wish.key.clone(), wish.number.clone()), sim.now_ms());
                    sim.pause(sim.pick(60_000..=1_200_000)).await;
                    if !self.is_refused(&wish) {
                        return;
                    }
                    if self.wechat.books().refund(&wish.key, &wish.number).is_some() {
                        let number = &wish.number;
                        let line =
                            format!("the shop was told that {number} was refused, and money went back");
                        self.world.store().broken.push(line);
                    }
                    asked.refund_account = Some(RefundAccount::RechargeFunds);
                }
                Some(Stored::Denied(_)) => sim.pause(sim.pick(60_000..=600_000)).await,
                // A notification spoke against the refusal: until it is decided, nothing can be asked for otherwise.
                Some(Stored::Different(fields))
                    if fields == ["refund_account"] && self.is_in_doubt(&wish) =>
                {
                    sim.pause(sim.pick(60_000..=600_000)).await;
                }
                Some(Stored::Different(fields)) => {
                    self.world.store().broken.push(format!("refund {} differs in {fields:?}", wish.number));
                    return;
                }
                None => sim.pause(sim.pick(500..=3_000)).await,
            }
        }
    }

    async fn ask_refund(&self, wish: &Wish, asked: &RefundApplication) -> Option<Stored> {
        let sim = &self.world.sim;
        sim.pause(sim.pick(1..=50)).await;
        let weather = self.world.weather();
        if sim.chance(weather.fail_before) {
            return None;
        }
        let now_ms = sim.now_ms();
        let stored = self.world.store().refund(&wish.key, asked, now_ms);
        self.world
            .note(|| format!("ask for refund {} of {} → {stored:?}", wish.number, wish.key.out_trade_no));
        sim.wake(&self.world.sleepy);
        Some(stored).filter(|_| !sim.chance(weather.fail_after))
    }

    fn is_refused(&self, wish: &Wish) -> bool {
        self.stands(wish, |refund| refund.state == RefundState::Refused)
    }

    fn is_in_doubt(&self, wish: &Wish) -> bool {
        self.stands(wish, Refund::is_in_doubt)
    }

    fn stands(&self, wish: &Wish, so: impl Fn(&Refund) -> bool) -> bool {
        let store = self.world.store();
        let number = OutRefundNo::new(wish.number.as_str()).expect("a short number");
        let refund = store.records.get(&wish.key).and_then(|record| record.refund(&number));
        refund.is_some_and(so)
    }

    /// A person refunds in the merchant platform.
    pub async fn refund_elsewhere(self, wish: Wish) {
        let sim = &self.world.sim;
        sim.pause(wish.at_ms - sim.now_ms()).await;
        let now_ms = sim.now_ms();
        let taken = self.wechat.books().take(&wish.key, &wish.number, wish.refund_fee, now_ms);
        self.world.note(|| format!("refund {} elsewhere → {taken:?}", wish.number));
        if taken.is_ok() {
            self.told().refunds_elsewhere.insert((wish.key.clone(), wish.number.clone()));
            self.notify_refund(&wish, false).await;
        }
    }

    /// WeChat tells of every refund that comes to an end, more than once, or not at all.
    pub async fn notify_refunds_asked(self, wish: Wish, is_lost: bool) {
        let sim = self.world.sim.clone();
        for _ in 0..400 {
            sim.pause(30_000).await;
            if self.wechat.books().refund(&wish.key, &wish.number).is_some() {
                return self.notify_refund(&wish, is_lost).await;
            }
        }
    }

    async fn notify_refund(&self, wish: &Wish, is_lost: bool) {
        let sim = &self.world.sim;
        let words = self.wechat.books().refund(&wish.key, &wish.number).map(|one| one.words.clone());
        for (at_ms, _) in words.unwrap_or_default() {
            sim.pause(at_ms - sim.now_ms()).await;
            if is_lost {
                continue;
            }
            for gap_s in [0].into_iter().chain(WECHAT_GAPS_S) {
                sim.pause(gap_s * 1000).await;
                if self.tell_refund(&wish.key, &wish.number).await {
                    let now_ms = sim.now_ms();
                    let told = (wish.key.clone(), wish.number.clone());
                    self.told().refunds_notified.entry(told).or_insert(now_ms);
                    break;
                }
            }
        }
    }

    /// What the ingress makes of a refund notification that decrypts.
    pub async fn tell_refund(&self, key: &OrderKey, number: &str) -> bool {
        let sim = &self.world.sim;
        let is_stored = Arc::new(AtomicBool::new(false));
        let (shop, flag) = (self.clone(), is_stored.clone());
        let number = OutRefundNo::new(number).expect("a short number");
        let check = Check::refund_notified(key.clone(), number);
        let waiters = Arc::default();
        let woken = Arc::clone(&waiters);
        sim.spawn(Process::Ingress, async move {
            let stored = shop.world.publish(&[check]).await.is_ok();
            flag.store(stored, Ordering::SeqCst);
            shop.world.sim.wake(&woken);
        });
        sim.wait(&waiters, 5_000).await;
        let stored = is_stored.load(Ordering::SeqCst);
        self.world.note(|| format!("refund notification of {} → {stored}", key.out_trade_no));
        stored
    }

    /// Somebody puts the pieces of genuine notifications together anew: a refund that is not, or not this order's.
    pub async fn forge_refund(self, key: OrderKey, number: String, at_ms: i64) {
        let sim = &self.world.sim;
        sim.pause(at_ms - sim.now_ms()).await;
        self.tell_refund(&key, &number).await;
    }
}
