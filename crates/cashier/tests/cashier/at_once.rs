//! Two numbers of one business order, placed at once: however the two processes' steps fall, a payer never can pay both.

use paybell_core::place::{CashierError, Placed, RefusalKind};
use paybell_core::ports::Cashier;

use crate::driver::Driver;
use crate::memory::World;
use crate::shop::*;

/// The first goes `first` steps, the second `second`, then the first to its end, then the second.
async fn interleaved(first: usize, second: usize) -> (World, [Result<Placed, CashierError>; 2]) {
    let world = World::new();
    let drivers = [Driver::allowing(first), Driver::allowing(second)];
    let desks = drivers.each_ref().map(|driver| desk(&world.driven_by(driver.clone())));
    let (one, other) = (of_b("T1"), of_b("T2"));
    let early = drivers[0].run(desks[0].place(&one)).await;
    let late = drivers[1].run(desks[1].place(&other)).await;
    drivers.iter().for_each(Driver::free_now);
    let one = match early {
        Ok(outcome) => outcome,
        Err(rest) => rest.await,
    };
    let other = match late {
        Ok(outcome) => outcome,
        Err(rest) => rest.await,
    };
    (world, [one, other])
}

/// More than placing a second number takes.
const STEPS_MAX: usize = 24;

#[tokio::test]
async fn at_most_one_can_be_paid_and_whoever_is_refused_may_ask_again() {
    let (mut both_refused, mut one_placed) = (0, 0);
    for (first, second) in (0..STEPS_MAX).flat_map(|first| (0..STEPS_MAX).map(move |second| (first, second)))
    {
        let (world, outcomes) = interleaved(first, second).await;
        let open = world.stored.lock().unwrap().books.len();
        assert!(open <= 1, "{first} steps, then {second}: both can be paid");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), open);
        for refused in outcomes.into_iter().filter(Result::is_err) {
            let refused = refusal(refused);
            let may_come = matches!(refused.kind, RefusalKind::BusinessBusy | RefusalKind::BusinessTooYoung);
            assert!(may_come && refused.retry_after.is_some(), "{:?}", refused.kind);
        }
        if open == 0 {
            both_refused += 1;
            placed(&world, &of_b("T1")).await;
        } else {
            one_placed += 1;
        }
    }
    assert!(both_refused > 0 && one_placed > 200, "{both_refused}, {one_placed}");
}

#[tokio::test]
async fn a_payer_who_pays_the_older_number_at_any_moment_keeps_the_new_one_from_being_payable() {
    let mut paid_in_time = 0;
    for steps in 0..40 {
        let world = World::new();
        placed(&world, &of_b("T1")).await;
        world.wait(600);
        let driver = Driver::allowing(steps);
        let desk = desk(&world.driven_by(driver.clone()));
        let order = of_b("T2");
        let early = driver.run(desk.place(&order)).await;
        let is_paid = !world.known(&key("T1")).unwrap().is_closed;
        world.at_wechat(&key("T1"), |known| known.is_paid = is_paid);
        driver.free_now();
        let outcome = match early {
            Ok(outcome) => outcome,
            Err(rest) => rest.await,
        };
        assert_eq!(outcome.is_ok(), !is_paid, "paid after {steps} steps");
        assert_eq!(world.known(&key("T2")).is_some(), !is_paid, "paid after {steps} steps");
        if is_paid {
            assert_eq!(refusal(outcome).kind, RefusalKind::BusinessPaid);
            assert!(world.checks().contains(&key("T1")), "its event goes out");
            paid_in_time += 1;
        }
    }
    assert!(paid_in_time > 10, "{paid_in_time}");
}
