//! Several numbers of one business order.

use paybell_core::State;
use paybell_core::ids::BusinessNo;
use paybell_core::place::{Order, RefusalKind};
use paybell_core::time::Millis;

use crate::memory::{Known, Mood, NOON, World};
use crate::shop::*;

async fn with_an_older(seconds: i64) -> World {
    let world = World::new();
    placed(&world, &of_b("T1")).await;
    world.wait(seconds);
    world
}

#[tokio::test]
async fn an_unpaid_older_number_is_closed_before_the_new_one_is_placed() {
    let world = with_an_older(300).await;
    let placed = placed(&world, &of_b("T2")).await;
    assert_eq!(placed.closed, [key("T1").out_trade_no]);
    assert!(world.known(&key("T1")).unwrap().is_closed);
    assert_eq!(world.checks(), [key("T1")], "order.closed is the worker's to tell");
}

#[tokio::test]
async fn a_young_older_number_stays_and_can_be_offered_again() {
    let world = with_an_older(299).await;
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(refusal.kind, RefusalKind::BusinessTooYoung);
    assert_eq!(refusal.out_trade_no, Some(key("T1").out_trade_no));
    assert_eq!(refusal.retry_after, Some(Millis::seconds(1)));
    assert_eq!(world.known(&key("T2")), None);
    assert!(placed(&world, &of_b("T1")).await.is_repeat, "the way out that the refusal names");
    world.wait(1);
    placed(&world, &of_b("T2")).await;
}

#[tokio::test]
async fn a_paid_older_number_refuses_the_new_one_and_is_looked_at() {
    let world = with_an_older(10).await;
    world.at_wechat(&key("T1"), |known| known.is_paid = true);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(
        (refusal.kind, refusal.out_trade_no),
        (RefusalKind::BusinessPaid, Some(key("T1").out_trade_no))
    );
    assert_eq!((world.known(&key("T2")), world.checks()), (None, vec![key("T1")]));
    for state in [State::Paid, State::Refunded, State::Mismatch, State::Rejected] {
        world.settle(&key("T1"), state);
        let refusal = refused(&world, &of_b("T2")).await;
        assert_eq!((refusal.kind, refusal.state), (RefusalKind::BusinessPaid, Some(state)));
    }
}

#[tokio::test]
async fn a_number_that_is_over_stands_in_nobody_s_way() {
    for state in [State::Closed, State::Failed] {
        let world = with_an_older(1).await;
        world.settle(&key("T1"), state);
        assert_eq!(placed(&world, &of_b("T2")).await.closed, []);
    }
}

#[tokio::test]
async fn a_number_that_we_gave_up_is_closed_first_as_wechat_may_still_take_its_payment() {
    let world = with_an_older(600).await;
    world.settle(&key("T1"), State::Unpaid);
    assert_eq!(placed(&world, &of_b("T2")).await.closed, [key("T1").out_trade_no]);
    assert!(world.known(&key("T1")).unwrap().is_closed);
    let world = with_an_older(600).await;
    world.settle(&key("T1"), State::Unpaid);
    world.at_wechat(&key("T1"), |known| known.is_paid = true);
    assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::BusinessPaid);
    assert_eq!(world.checks(), [key("T1")], "its late payment is told");
}

#[tokio::test]
async fn a_payer_who_is_paying_is_waited_for() {
    let world = with_an_older(600).await;
    world.at_wechat(&key("T1"), |known| known.is_paying = true);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!((refusal.kind, refusal.retry_after), (RefusalKind::BusinessPaying, Some(Millis::seconds(10))));
}

#[tokio::test]
async fn nothing_is_placed_while_the_older_number_cannot_be_asked_about_or_closed() {
    for (moods, kind) in [
        (vec![Mood::Away], RefusalKind::WechatAway),
        (vec![Mood::NoSlot], RefusalKind::WechatBusy),
        (vec![Mood::KeysRefused], RefusalKind::KeysRefused),
    ] {
        let world = with_an_older(600).await;
        moods.into_iter().for_each(|mood| world.mood(mood));
        let refusal = refused(&world, &of_b("T2")).await;
        assert_eq!((refusal.kind, world.known(&key("T2"))), (kind, None));
        placed(&world, &of_b("T2")).await;
        assert!(world.known(&key("T1")).unwrap().is_closed);
    }
}

#[tokio::test]
async fn an_older_number_that_wechat_never_heard_of_is_let_be() {
    let world = World::new();
    let registered = of_b("T1");
    world.mood(Mood::Away);
    assert_eq!(refused_as(&world, &registered).await, RefusalKind::OutcomeUnknown);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(refusal.kind, RefusalKind::BusinessBusy, "the call may be on its way still");
    world.wait(30);
    assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::BusinessTooYoung, "its end is not known");
    world.wait(7770);
    assert_eq!(placed(&world, &of_b("T2")).await.closed, []);
}

#[tokio::test]
async fn an_older_number_that_wechat_refused_is_let_be_at_once() {
    let world = World::new();
    world.mood(Mood::Refuses("NOAUTH", ""));
    refused(&world, &of_b("T1")).await;
    assert_eq!(placed(&world, &of_b("T2")).await.closed, []);
}

#[tokio::test]
async fn an_offer_that_no_payer_has_opened_yet_is_closed_although_wechat_denies_it() {
    let world = with_an_older(10).await;
    world.at_wechat(&key("T1"), |known| known.is_unopened = true);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(
        (refusal.kind, refusal.retry_after),
        (RefusalKind::BusinessTooYoung, Some(Millis::seconds(290)))
    );
    world.wait(290);
    assert_eq!(placed(&world, &of_b("T2")).await.closed, [key("T1").out_trade_no]);
    assert!(world.known(&key("T1")).unwrap().is_closed);
    assert_eq!(world.checks(), [key("T1")]);
}

#[tokio::test]
async fn an_offer_that_wechat_denies_to_closeorder_too_keeps_the_new_number_away_until_it_is_opened_or_over()
{
    let world = with_an_older(600).await;
    world.at_wechat(&key("T1"), |known| known.is_hidden = true);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(refusal.kind, RefusalKind::BusinessNotClosed);
    assert_eq!(refusal.out_trade_no, Some(key("T1").out_trade_no));
    assert_eq!(refusal.retry_after, Some(Millis::seconds(300)));
    assert_eq!(world.known(&key("T2")), None);
    assert!(placed(&world, &of_b("T1")).await.is_repeat, "the way out that the refusal names");
    world.at_wechat(&key("T1"), |known| known.is_paying = true);
    world.at_wechat(&key("T1"), Known::open);
    assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::BusinessPaying);
    world.at_wechat(&key("T1"), |known| known.is_paying = false);
    assert_eq!(placed(&world, &of_b("T2")).await.closed, [key("T1").out_trade_no]);

    let world = with_an_older(600).await;
    world.at_wechat(&key("T1"), |known| known.is_hidden = true);
    world.wait(7200 - 60);
    let refusal = refused(&world, &of_b("T2")).await;
    assert_eq!(refusal.retry_after, Some(Millis::seconds(60)), "then it is over for sure");
    world.wait(60);
    assert_eq!(placed(&world, &of_b("T2")).await.closed, []);
}

#[tokio::test]
async fn a_number_of_the_shop_s_own_sdk_may_have_an_offer_out() {
    for (is_hidden, closed) in [(false, vec![key("T1").out_trade_no]), (true, vec![])] {
        let world = World::new();
        world.register(&of_b("T1")).await;
        world.at_wechat(&key("T1"), |known| {
            (known.placed_ms, known.is_unopened, known.is_hidden) = (NOON.millis(), true, is_hidden);
        });
        assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::BusinessTooYoung);
        world.wait(300);
        if is_hidden {
            assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::BusinessNotClosed);
            world.wait(7500);
        }
        assert_eq!(placed(&world, &of_b("T2")).await.closed, closed);
    }
}

/// Whatever the older number's request does that nobody waits for any more: at most one can be paid.
#[tokio::test]
async fn a_request_that_arrives_after_its_sender_gave_it_up_makes_nothing_payable_beside_the_new_number() {
    for late_s in [1, 20, 31, 299, 301, 400, 7900] {
        let world = World::new();
        world.mood(Mood::Late(late_s));
        assert_eq!(refused_as(&world, &of_b("T1")).await, RefusalKind::OutcomeUnknown);
        let mut waited_s = 0;
        let placed = loop {
            match place(&world, &of_b("T2")).await {
                Ok(placed) => break placed,
                Err(refused) => {
                    let wait = refusal::<()>(Err(refused)).retry_after.unwrap();
                    world.wait(wait.0.div_euclid(1000).max(1));
                    waited_s += wait.0.div_euclid(1000).max(1);
                    assert!(waited_s < 8000, "arrived after {late_s} s: it never gets through");
                }
            }
        };
        let is_in_time = late_s < waited_s;
        assert_eq!(
            placed.closed.len(),
            usize::from(is_in_time),
            "arrived after {late_s} s, {waited_s} s waited"
        );
        if let Some(older) = world.known(&key("T1")) {
            assert!(older.is_closed, "arrived after {late_s} s");
        }
        // Whenever it arrives, nobody was given it; and who asks for it again closes the new one first.
        world.wait(8000);
        let offer = world.record(&key("T1")).placing.and_then(|placing| placing.offer);
        assert!(offer.is_none(), "arrived after {late_s} s");
        let again = place(&world, &of_b("T1")).await;
        assert_eq!(again.is_err(), is_in_time, "arrived after {late_s} s");
        let stored = world.stored.lock().unwrap();
        let open = stored.books.values().filter(|known| !known.is_closed).count();
        assert!(open <= 1, "arrived after {late_s} s");
    }
}

#[tokio::test]
async fn what_became_of_closing_an_older_number_is_unknown_until_wechat_says_it() {
    for moods in [
        vec![Mood::Well, Mood::Mute],
        vec![Mood::Well, Mood::Well, Mood::Away],
        vec![Mood::Well, Mood::Well, Mood::NoSlot],
        vec![Mood::Well, Mood::Away, Mood::Well],
    ] {
        let world = with_an_older(600).await;
        moods.into_iter().rev().for_each(|mood| world.mood(mood));
        assert_eq!(refused_as(&world, &of_b("T2")).await, RefusalKind::OutcomeUnknown);
        assert_eq!((world.checks(), world.known(&key("T2"))), (vec![key("T1")], None));
        assert!(!world.record(&key("T2")).may_be_offered(world.now()), "nobody called for it");
        world.stored.lock().unwrap().moods.clear();
        placed(&world, &of_b("T2")).await;
        assert!(world.known(&key("T1")).unwrap().is_closed);
    }
}

#[tokio::test]
async fn an_offer_is_not_repeated_once_a_newer_number_was_offered_or_another_is_paid() {
    let world = with_an_older(600).await;
    placed(&world, &of_b("T2")).await;
    let refusal = refused(&world, &of_b("T1")).await;
    assert_eq!(refusal.kind, RefusalKind::BusinessSuperseded);
    assert_eq!(refusal.out_trade_no, Some(key("T2").out_trade_no));
    world.settle(&key("T2"), State::Paid);
    assert_eq!(refused_as(&world, &of_b("T1")).await, RefusalKind::BusinessPaid);
}

#[tokio::test]
async fn other_business_orders_are_left_alone() {
    let world = with_an_older(600).await;
    let other = Order { business_no: BusinessNo::new("C").ok(), ..native("T2") };
    assert_eq!(placed(&world, &other).await.closed, []);
    assert_eq!(placed(&world, &native("T3")).await.closed, []);
    assert!(!world.known(&key("T1")).unwrap().is_closed);
}

#[tokio::test]
async fn a_program_that_runs_wild_is_stopped() {
    let world = World::new();
    for number in 0..63 {
        let order = of_b(&format!("T{number}"));
        placed(&world, &order).await;
        world.settle(&order.key, State::Closed);
    }
    assert_eq!(refused_as(&world, &of_b("T63")).await, RefusalKind::BusinessTooManyNumbers);
}
