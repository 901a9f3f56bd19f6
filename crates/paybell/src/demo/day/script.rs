//! What will happen on the day, drawn from the seed before anything does: who buys, who walks away, who wants money back,
//! and what is sold where nobody tells Paybell. Plays nothing; [`super`] and the simulator do.

use rand::{Rng, SeedableRng, rngs::StdRng};
use simulator::{Faults, OrderKey};

use crate::demo::plan::MCH_ID;

/// Of all payers so many walk away.
const UNPAID: f64 = 0.05;
/// Of all payments so many go back, in part or whole.
const REFUNDED: f64 = 0.15;
/// How often each kind of forger tries.
const FORGERIES: f64 = 0.06;
/// 1 yuan to 999.99 yuan.
const FEN: std::ops::RangeInclusive<u64> = 100..=99_999;
/// One sale at the other till for so many orders, at least two.
const ORDERS_PER_SALE_ELSEWHERE: u32 = 20;

/// The whole day.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    pub morning: Vec<Sale>,
    pub noon: Vec<Sale>,
    pub elsewhere: Vec<Sale>,
    pub refunds: Vec<Refund>,
    /// What the simulator is told.
    pub faults: Faults,
}

/// One order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sale {
    pub key: OrderKey,
    pub total_fee: u64,
    pub is_paid: bool,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Refund {
    pub out_trade_no: String,
    pub out_refund_no: String,
    pub refund_fee: u64,
}

impl Script {
    /// The one day of these wishes.
    pub fn draw(orders: u32, drop: f64, duplicate: f64, seed: u64) -> Self {
        let faults = Faults {
            seed,
            notification_lost: drop,
            duplicate,
            duplicate_copies: 1,
            tampered: FORGERIES,
            unsigned: FORGERIES,
            forged: FORGERIES,
            refund_notification_lost: drop,
            refund_duplicate: duplicate,
            refund_duplicate_copies: 1,
            refund_garbage: FORGERIES,
            refund_forged: FORGERIES,
            ..Faults::default()
        };
        let mut random = StdRng::seed_from_u64(seed);
        let mut sale = |prefix: &str, number: u32, unpaid: f64| Sale {
            key: OrderKey { mch_id: MCH_ID.to_owned(), out_trade_no: format!("{prefix}{number:06}") },
            total_fee: random.random_range(FEN),
            is_paid: !random.random_bool(unpaid),
        };
        let mut morning: Vec<Sale> = (1..=orders).map(|number| sale("DAY", number, UNPAID)).collect();
        let elsewhere = (orders / ORDERS_PER_SALE_ELSEWHERE).max(2);
        let elsewhere = (1..=elsewhere).map(|number| sale("TILL", number, 0.0)).collect();
        let mut refunds = Vec::new();
        for sale in morning.iter().filter(|sale| sale.is_paid) {
            if random.random_bool(REFUNDED) {
                refunds.push(Refund::of(sale, &mut random));
            }
        }
        let noon = morning.split_off(morning.len() / 2);
        Self { morning, noon, elsewhere, refunds, faults }
    }

    /// Every sale.
    pub fn sales(&self) -> impl Iterator<Item = &Sale> {
        self.morning.iter().chain(&self.noon).chain(&self.elsewhere)
    }

    /// How many of them are to be told.
    pub fn told(&self) -> u32 {
        u32::try_from(self.sales().filter(|sale| sale.is_paid).count()).unwrap_or(u32::MAX)
    }
}

impl Refund {
    /// All of it, or a part.
    fn of(sale: &Sale, random: &mut StdRng) -> Self {
        let is_whole = random.random_bool(0.5);
        let refund_fee = if is_whole { sale.total_fee } else { random.random_range(1..=sale.total_fee) };
        let out_trade_no = sale.number().to_owned();
        Self { out_refund_no: format!("R-{out_trade_no}"), out_trade_no, refund_fee }
    }
}

impl Sale {
    /// Its `out_trade_no`.
    pub fn number(&self) -> &str {
        &self.key.out_trade_no
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_day() {
        let day = Script::draw(400, 0.2, 0.3, 7);
        assert_eq!(day, Script::draw(400, 0.2, 0.3, 7));
        assert_ne!(day.refunds, Script::draw(400, 0.2, 0.3, 8).refunds);
        assert_eq!((day.morning.len(), day.noon.len(), day.elsewhere.len()), (200, 200, 20));
        assert!((30..90).contains(&day.refunds.len()), "{}", day.refunds.len());
        assert!(day.told() < 420 && day.told() > 360, "{}", day.told());
    }

    #[test]
    fn nothing_goes_back_that_was_not_paid_nor_more_than_that() {
        let day = Script::draw(400, 0.2, 0.3, 7);
        for refund in &day.refunds {
            let sale = day.sales().find(|sale| sale.number() == refund.out_trade_no).unwrap();
            assert!(sale.is_paid && (1..=sale.total_fee).contains(&refund.refund_fee), "{refund:?}");
        }
    }
}
