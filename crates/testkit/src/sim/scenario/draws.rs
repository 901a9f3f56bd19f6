//! Which of a day's orders are refunded, how, and by whom it is heard of.

use paybell_core::OrderKey;

use super::super::executor::{Process, Sim};
use super::super::refunds::Course;
use super::super::shop::Notifying;
use super::super::wishes::Wish;
use super::{HOUR_MS, MCH_ID, MINUTE_MS, Scenario};

/// A paid order of which money goes back.
pub(super) struct Refunded {
    pub key: OrderKey,
    pub nth: i64,
    pub paid_ms: i64,
    pub total_fee: i64,
    /// Nobody hears of the order before.
    pub is_ghost: bool,
}

impl Scenario {
    /// Nobody but WeChat knows of the order until money goes back; its payment may be notified long after.
    pub(super) fn draw_ghost(&self, key: &OrderKey, paid_ms: i64) {
        let sim = &self.world.sim;
        if sim.chance(0.5) {
            self.shop.told().ghosts.insert(key.clone());
            return;
        }
        let how =
            Notifying { is_lost: false, each_lost: 0.0, copies: 1, delay_ms: sim.pick(0..=8 * HOUR_MS) };
        sim.spawn(Process::World, self.shop.clone().notify(key.clone(), paid_ms, how));
    }

    pub(super) fn draw_refunds(&self, order: &Refunded) {
        let Refunded { key, nth, paid_ms, total_fee, is_ghost } = order;
        let (nth, paid_ms, total_fee, is_ghost) = (*nth, *paid_ms, *total_fee, *is_ghost);
        let sim = &self.world.sim;
        let shop = || self.shop.clone();
        for one in 0..sim.pick(1..=3) {
            let number = format!("R{nth}-{one}");
            let course = draw_course(sim);
            self.shop.wechat.books().refunds.courses.insert(number.clone(), course);
            let at_ms = paid_ms + sim.pick(1_000..=20 * MINUTE_MS);
            let refund_fee = sim.pick(1..=total_fee / 2);
            let wish = Wish { key: key.clone(), number: number.clone(), refund_fee, total_fee, at_ms };
            if is_ghost || sim.chance(0.3) {
                sim.spawn(Process::World, shop().refund_elsewhere(wish));
            } else {
                sim.spawn(Process::World, shop().want_refund(wish.clone()));
                sim.spawn(Process::World, shop().notify_refunds_asked(wish, sim.chance(0.5)));
            }
            if sim.chance(0.2) {
                let another = OrderKey::new(MCH_ID, format!("T{}", nth + 1)).expect("a short number");
                let of = if sim.chance(0.5) { another } else { key.clone() };
                let what = if sim.chance(0.5) { number } else { format!("X{nth}-{one}") };
                sim.spawn(Process::World, shop().forge_refund(of, what, at_ms + sim.pick(0..=HOUR_MS)));
            }
        }
    }
}

fn draw_course(sim: &Sim) -> Course {
    let word = match sim.pick(0..=9) {
        0..=6 => "SUCCESS",
        7 => "REFUNDCLOSE",
        _ => "CHANGE",
    };
    let lag_ms = match sim.pick(0..=9) {
        0..=2 => sim.pick(0..=8_000),
        3 => sim.pick(0..=240_000),
        _ => 0,
    };
    let settles_after_ms =
        lag_ms + if sim.chance(0.5) { sim.pick(1_000..=60_000) } else { sim.pick(0..=2 * HOUR_MS) };
    let is_mended = word == "CHANGE" && sim.chance(0.5);
    let mended_after_ms = is_mended.then(|| sim.pick(MINUTE_MS..=3 * HOUR_MS));
    Course { lag_ms, settles_after_ms, word, mended_after_ms, is_short: sim.chance(0.2) }
}
