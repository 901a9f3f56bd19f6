//! What will happen, drawn from the seed before anything does: amounts, who pays, whose notification is lost or comes
//! again, where forgers try. So the same seed gives the same table. Plays nothing; [`super::shop`] and the simulator do.

use rand::{Rng, SeedableRng, rngs::StdRng};
use simulator::{Fault, Faults, OrderKey};

/// The demo's one merchant, its app and its key. Not a real one.
pub const MCH_ID: &str = "1900000109";
pub const APP_ID: &str = "wx8888888888888888";
pub const API_KEY: &str = "DemoKeyOfNobodyUsedInDemosOnly00";

/// Of all payers so many walk away.
const UNPAID: f64 = 0.05;
/// How often each kind of forger tries.
const FORGERIES: f64 = 0.06;
/// 1 fen to 999.99 yuan.
const FEN_MAX: u64 = 99_999;

/// What a demo is asked to show.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub orders: u32,
    /// Share of payments whose notification never comes.
    pub drop: f64,
    /// Share of notifications that come again.
    pub duplicate: f64,
    pub seed: u64,
}

/// Everything that will happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub orders: Vec<Planned>,
    /// What the simulator is told; it draws the same fates from it.
    pub faults: Faults,
    pub expected: Expected,
}

/// One order.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub key: OrderKey,
    pub total_fee: u64,
    pub fate: Fate,
}

/// What becomes of an order at WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Paid, and WeChat says so.
    Notified,
    /// Paid, but the notification is lost: only a poll finds it.
    Lost,
    /// Nobody pays.
    Unpaid,
}

/// When all this has arrived, the demo has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    pub unpaid: u64,
    /// Genuine notifications, repeats included.
    pub notifications: u64,
    pub forgeries: u64,
}

impl Plan {
    /// The one plan of these wishes.
    pub fn draw(wishes: &Wishes) -> Self {
        let faults = Faults {
            seed: wishes.seed,
            notification_lost: wishes.drop,
            duplicate: wishes.duplicate,
            duplicate_copies: 1,
            tampered: FORGERIES,
            unsigned: FORGERIES,
            forged: FORGERIES,
            ..Faults::default()
        };
        let mut random = StdRng::seed_from_u64(wishes.seed);
        let orders: Vec<Planned> = (1..=wishes.orders)
            .map(|number| {
                let key = OrderKey { mch_id: MCH_ID.to_owned(), out_trade_no: format!("DEMO{number:06}") };
                let (total_fee, walks_away) = (random.random_range(1..=FEN_MAX), random.random_bool(UNPAID));
                let fate = match walks_away {
                    true => Fate::Unpaid,
                    false if faults.strikes(Fault::NotificationLost, &key, 0) => Fate::Lost,
                    false => Fate::Notified,
                };
                Planned { key, total_fee, fate }
            })
            .collect();
        let mut expected = Expected::default();
        orders.iter().for_each(|order| expected.add(order, &faults));
        Self { orders, faults, expected }
    }
}

impl Expected {
    fn add(&mut self, order: &Planned, faults: &Faults) {
        let strikes = |fault| u64::from(faults.strikes(fault, &order.key, 0));
        self.forgeries += strikes(Fault::Forged);
        match order.fate {
            Fate::Unpaid => self.unpaid += 1,
            Fate::Lost => {}
            Fate::Notified => {
                self.forgeries += strikes(Fault::Tampered) + strikes(Fault::Unsigned);
                self.notifications += 1 + strikes(Fault::Duplicate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISHES: Wishes = Wishes { orders: 400, drop: 0.2, duplicate: 0.3, seed: 7 };

    fn count(plan: &Plan, fate: Fate) -> usize {
        plan.orders.iter().filter(|order| order.fate == fate).count()
    }

    #[test]
    fn a_seed_is_a_plan() {
        let plan = Plan::draw(&WISHES);
        assert_eq!(plan, Plan::draw(&WISHES));
        let other = Plan::draw(&Wishes { seed: 8, ..WISHES });
        let fates = |plan: &Plan| plan.orders.iter().map(|order| order.fate).collect::<Vec<_>>();
        assert_ne!(fates(&plan), fates(&other));
        let longer = Plan::draw(&Wishes { orders: 500, ..WISHES });
        assert_eq!(longer.orders[..400], plan.orders, "more orders change none of the first");
    }

    #[test]
    fn the_shares_are_as_wished() {
        let plan = Plan::draw(&WISHES);
        assert!((8..40).contains(&count(&plan, Fate::Unpaid)), "{}", count(&plan, Fate::Unpaid));
        assert!((50..110).contains(&count(&plan, Fate::Lost)), "{}", count(&plan, Fate::Lost));
        let notified = u64::try_from(count(&plan, Fate::Notified)).unwrap();
        let repeats = plan.expected.notifications - notified;
        assert!((60..130).contains(&repeats), "{repeats}");
        assert!((40..100).contains(&plan.expected.forgeries), "{}", plan.expected.forgeries);
    }

    #[test]
    fn all_or_none_of_the_notifications_are_lost() {
        let all = Plan::draw(&Wishes { drop: 1.0, ..WISHES });
        assert_eq!((count(&all, Fate::Notified), all.expected.notifications), (0, 0));
        let none = Plan::draw(&Wishes { drop: 0.0, duplicate: 0.0, ..WISHES });
        assert_eq!(count(&none, Fate::Lost), 0);
        assert_eq!(none.expected.notifications, u64::try_from(count(&none, Fate::Notified)).unwrap());
    }
}
