//! Closing on a shop's demand.

use paybell_core::State;
use paybell_core::place::RefusalKind;
use paybell_core::ports::{Cashier, Closed};
use paybell_core::time::Millis;

use crate::driver::Driver;
use crate::memory::{Known, Mood, World};
use crate::shop::*;

async fn with_an_order(seconds: i64) -> World {
    let world = World::new();
    placed(&world, &native("T1")).await;
    world.wait(seconds);
    world
}

#[tokio::test]
async fn an_unpaid_order_is_closed_and_the_worker_tells_it() {
    let world = with_an_order(300).await;
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Now);
    assert!(world.known(&key("T1")).unwrap().is_closed);
    assert_eq!(world.checks(), [key("T1")]);
    world.settle(&key("T1"), State::Closed);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Before);
    assert_eq!(refused_as(&world, &native("T1")).await, RefusalKind::OrderClosed);
}

#[tokio::test]
async fn wechat_is_not_asked_to_close_what_is_younger_than_five_minutes() {
    let world = with_an_order(240).await;
    let refusal = refusal(desk(&world).close(&key("T1")).await);
    assert_eq!((refusal.kind, refusal.retry_after), (RefusalKind::TooYoung, Some(Millis::seconds(60))));
}

#[tokio::test]
async fn a_paid_order_is_not_closed() {
    let world = with_an_order(600).await;
    world.at_wechat(&key("T1"), |known| known.is_paid = true);
    assert_eq!(refusal(desk(&world).close(&key("T1")).await).kind, RefusalKind::OrderPaid);
    assert_eq!(world.checks(), [key("T1")], "its event goes out");
    world.settle(&key("T1"), State::Paid);
    assert_eq!(refusal(desk(&world).close(&key("T1")).await).kind, RefusalKind::OrderPaid);
    assert_eq!(refusal(desk(&world).close(&key("T9")).await).kind, RefusalKind::UnknownOrder);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown_and_a_look() {
    let world = with_an_order(600).await;
    world.mood(Mood::Mute);
    let refused = refusal(desk(&world).close(&key("T1")).await);
    assert_eq!(refused.kind, RefusalKind::OutcomeUnknown);
    assert!(world.known(&key("T1")).unwrap().is_closed, "it was closed all the same");
    assert_eq!(world.checks(), [key("T1")]);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Now, "the same again says so");
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_close_leaves_it_unknown_too() {
    for mood in [Mood::Away, Mood::NoSlot] {
        let world = with_an_order(600).await;
        world.mood(mood);
        world.mood(Mood::Well);
        assert_eq!(refusal(desk(&world).close(&key("T1")).await).kind, RefusalKind::OutcomeUnknown);
        assert!(world.known(&key("T1")).unwrap().is_closed);
        assert_eq!(world.checks(), [key("T1")]);
    }
    let world = with_an_order(600).await;
    world.mood(Mood::NoSlot);
    assert_eq!(
        refusal(desk(&world).close(&key("T1")).await).kind,
        RefusalKind::WechatBusy,
        "nothing was sent"
    );
    assert!(!world.known(&key("T1")).unwrap().is_closed);
}

#[tokio::test]
async fn an_offer_that_no_payer_has_opened_yet_is_closed() {
    let world = with_an_order(600).await;
    world.at_wechat(&key("T1"), |known| known.is_unopened = true);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Now);
    assert!(world.known(&key("T1")).unwrap().is_closed);
}

#[tokio::test]
async fn an_offer_that_wechat_denies_altogether_is_not_closed_until_it_is_opened_or_over() {
    let world = with_an_order(600).await;
    world.at_wechat(&key("T1"), |known| known.is_hidden = true);
    let refused = refusal(desk(&world).close(&key("T1")).await);
    assert_eq!((refused.kind, refused.retry_after), (RefusalKind::NotClosed, Some(Millis::seconds(300))));
    assert!(!world.known(&key("T1")).unwrap().is_closed);
    assert_eq!(world.checks(), [key("T1")]);
    world.at_wechat(&key("T1"), Known::open);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Now);
    let world = with_an_order(7799).await;
    world.at_wechat(&key("T1"), |known| known.is_hidden = true);
    let refused = refusal(desk(&world).close(&key("T1")).await);
    assert_eq!((refused.kind, refused.retry_after), (RefusalKind::NotClosed, Some(Millis::seconds(1))));
    world.wait(1);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::NeverPlaced);
}

#[tokio::test]
async fn a_request_that_is_on_its_way_still_leaves_nothing_closed() {
    let world = World::new();
    world.mood(Mood::Late(400));
    refused(&world, &native("T1")).await;
    let refused = refusal(desk(&world).close(&key("T1")).await);
    assert_eq!((refused.kind, refused.retry_after), (RefusalKind::NotClosed, Some(Millis::seconds(3))));
    world.wait(310);
    assert_eq!(refusal(desk(&world).close(&key("T1")).await).kind, RefusalKind::NotClosed);
    world.wait(100);
    assert!(world.known(&key("T1")).is_some(), "it arrived");
    assert_eq!(
        refusal(desk(&world).close(&key("T1")).await).kind,
        RefusalKind::NotClosed,
        "WeChat knows it for ten seconds"
    );
    world.wait(300);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::Now);
}

#[tokio::test]
async fn an_order_of_the_shop_s_own_sdk_that_wechat_denies_may_be_opened_still() {
    let world = World::new();
    world.register(&native("T1")).await;
    world.wait(600);
    assert_eq!(refusal(desk(&world).close(&key("T1")).await).kind, RefusalKind::NotClosed);
    world.wait(7200);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::NeverPlaced);
}

/// Placed by another process between what WeChat says and what the shop is answered.
#[tokio::test]
async fn an_order_that_is_placed_while_it_is_closed_is_never_called_unplaced() {
    let (mut never_placed, mut refused_steps) = (0, 0);
    for steps in 0..20 {
        let world = World::new();
        world.register(&native("T1")).await;
        world.wait(8000);
        world.stored.lock().unwrap().hides_unopened = true;
        let driver = Driver::allowing(steps);
        let process = desk(&world.driven_by(driver.clone()));
        let key = key("T1");
        let early = driver.run(process.close(&key)).await;
        placed(&world, &native("T1")).await;
        driver.free_now();
        let outcome = match early {
            Ok(outcome) => outcome,
            Err(rest) => rest.await,
        };
        match outcome {
            Ok(Closed::NeverPlaced) => {
                // Placed after the record was read for the last time: after read, close, query and check.
                assert!(steps >= 9, "after {steps} steps");
                never_placed += 1;
            }
            Ok(other) => panic!("after {steps} steps: {other:?}"),
            Err(refused) => {
                let kind = refusal::<()>(Err(refused)).kind;
                assert!(matches!(kind, RefusalKind::NotClosed | RefusalKind::TooYoung), "{kind:?}");
                refused_steps += 1;
            }
        }
    }
    assert!(never_placed > 0 && refused_steps > 3, "{never_placed}, {refused_steps}");
}

#[tokio::test]
async fn an_order_that_was_never_placed_has_nothing_to_close() {
    let world = World::new();
    world.mood(Mood::Refuses("NOAUTH", ""));
    refused(&world, &native("T1")).await;
    world.wait(600);
    assert_eq!(desk(&world).close(&key("T1")).await.unwrap(), Closed::NeverPlaced);
}
