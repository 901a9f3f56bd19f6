//! Killed at every step of placing: no order that WeChat knows and we do not.

use paybell_core::State;
use paybell_core::place::Order;
use paybell_core::ports::Cashier;

use crate::driver::Driver;
use crate::memory::World;
use crate::shop::*;

/// What must hold whenever nobody works.
fn nobody_can_pay_what_we_do_not_know(world: &World, at: usize) {
    let stored = world.stored.lock().unwrap();
    for (key, known) in &stored.books {
        let record = stored.records.get(key).unwrap_or_else(|| panic!("killed at {at}: {key} is unknown"));
        let registered = record.registration.as_ref().unwrap();
        assert_eq!(registered.total_fee.get(), known.total_fee, "killed at {at}");
        assert_eq!(record.state, State::Pending, "killed at {at}");
        assert!(record.due.is_some(), "killed at {at}: nobody looks at {key}");
    }
}

/// Kills at every step, then asks the same again; says how many steps there were.
async fn killed_everywhere(prepare: impl AsyncFn(&World), order: &Order) -> usize {
    for steps in 0.. {
        let world = World::new();
        prepare(&world).await;
        let driver = Driver::allowing(steps);
        let process = desk(&world.driven_by(driver.clone()));
        match driver.run(process.place(order)).await {
            Ok(outcome) => {
                outcome.unwrap();
                return steps;
            }
            Err(killed) => drop(killed),
        }
        nobody_can_pay_what_we_do_not_know(&world, steps);
        let again = placed(&world, order).await;
        nobody_can_pay_what_we_do_not_know(&world, steps);
        let known = world.known(&order.key).unwrap();
        assert!(known.times_placed <= 2, "killed at {steps}");
        assert_eq!(again.prepay_id, format!("wx{}of{}", known.times_placed, order.key.out_trade_no));
        let offer = world.record(&order.key).placing.unwrap().offer.unwrap();
        assert_eq!(offer.prepay_id, again.prepay_id, "killed at {steps}");
    }
    unreachable!("placing ends")
}

#[tokio::test]
async fn a_first_order() {
    let steps = killed_everywhere(async |_| (), &native("T1")).await;
    assert_eq!(steps, 10, "register, read, begin, unifiedorder, offered: before and after each");
}

#[tokio::test]
async fn a_number_that_an_older_one_makes_way_for() {
    let prepare = async |world: &World| {
        placed(world, &of_b("T1")).await;
        world.wait(301);
    };
    for_every_kill_only_one_is_open(prepare, &of_b("T2")).await;
}

async fn for_every_kill_only_one_is_open(prepare: impl AsyncFn(&World), order: &Order) {
    for steps in 0.. {
        let world = World::new();
        prepare(&world).await;
        let driver = Driver::allowing(steps);
        let process = desk(&world.driven_by(driver.clone()));
        let ended = driver.run(process.place(order)).await.is_ok();
        let open = |world: &World| {
            let stored = world.stored.lock().unwrap();
            stored.books.values().filter(|known| !known.is_closed && !known.is_paid).count()
        };
        assert!(open(&world) <= 1, "killed at {steps}");
        placed(&world, order).await;
        assert_eq!(open(&world), 1, "killed at {steps}");
        if ended {
            assert!(steps > 20, "{steps}");
            return;
        }
    }
}
