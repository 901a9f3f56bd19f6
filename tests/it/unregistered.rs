//! Payments of orders that nobody registered: told, held or ignored, as the merchant wishes; and orders that do not
//! exist at all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Notification, Say, Settings, Shop, eventually, is_full, skip, wait_for, wait_within};

#[test]
fn they_are_told_as_unregistered_by_default() {
    let shop = Shop::open(&Settings::default());
    shop.pay_and_notify("T1", 1999);
    let paid = shop.event("T1", "order.paid");
    assert_eq!((&paid["data"]["registered"], &paid["data"]["total_fee"]), (&false.into(), &1999.into()));
}

#[test]
fn they_are_held_until_the_registration_comes_and_judged_by_it() {
    let shop = Shop::open(&Settings { merchant: "unregistered = \"hold\"", ..Settings::default() });
    for (order, fee, kind) in [("SAME", 1999, "order.paid"), ("OTHER", 2000, "order.mismatch")] {
        shop.pay_and_notify(order, 1999);
        let held = wait_for("held", || shop.record(order).filter(|record| record["held_until"].is_string()));
        assert_eq!(held["state"], "pending");
        assert_eq!(shop.types_of(order), Vec::<String>::new());
        shop.register_fee(order, fee);
        assert_eq!(shop.event(order, kind)["data"]["registered"], true);
        assert_eq!(shop.types_of(order), [kind]);
    }
}

#[test]
fn a_held_payment_that_nobody_registers_is_a_mismatch_after_a_minute() {
    if !is_full() {
        skip("it takes a minute of real time; PAYBELL_TEST_FULL=1 runs it");
        return;
    }
    let shop = Shop::open(&Settings { merchant: "unregistered = \"hold\"", ..Settings::default() });
    shop.pay_and_notify("T1", 1999);
    let told = wait_within(Duration::from_secs(90), "order.mismatch", || shop.events_of("T1").pop());
    assert_eq!(
        (&told["type"], &told["data"]["mismatch"]),
        (&"order.mismatch".into(), &"unregistered".into())
    );
}

#[test]
fn they_are_ignored_where_the_merchant_wants_only_its_own() {
    let shop = Shop::open(&Settings { merchant: "unregistered = \"ignore\"", ..Settings::default() });
    shop.pay_and_notify("T1", 1999);
    eventually("asked and forgotten", || !shop.wechat.asked("T1").is_empty() && shop.record("T1").is_none());
    shop.register_fee("T2", 1999);
    shop.pay_and_notify("T2", 1999);
    shop.event("T2", "order.paid");
    assert_eq!(shop.types_of("T1"), Vec::<String>::new());
}

#[test]
fn an_order_that_wechat_does_not_know_is_forgotten() {
    let shop = Shop::open(&Settings::default());
    // Nobody notified it: at the first query.
    let answer = shop.order_verb("NEVER", "check?wait=10s", &json!({}));
    // Where other processes take checks, nothing tells one that left no record from one that is still in a hand: only
    // who saw the record while it was looked at knows.
    let may_wait = crate::ENGINE.is_cluster() && answer.status == 202;
    assert!(answer.status == 404 || may_wait, "{answer:?}");
    let asked = shop.wechat.asked("NEVER").len();
    assert!(asked == 1 || answer.came_again, "{asked}");
    assert!(shop.record("NEVER").is_none());
    // Notified: after the quick looks, 15 s later.
    let notified = shop.notify(Notification::of("GHOST", 1999).signed()).expect(200);
    wait_for("a record", || shop.record("GHOST"));
    eventually("the ghost is forgotten", || shop.record("GHOST").is_none());
    let asked = shop.wechat.asked("GHOST").len();
    assert!(asked == 5 || (asked > 5 && notified.came_again), "one at once, and four quick looks: {asked}");
    assert_eq!(shop.log(), Vec::<Value>::new());
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
    // A registered one is not forgotten, and the notification that comes at last pays it.
    shop.register_fee("SOON", 1999);
    shop.look("SOON");
    assert_eq!(shop.record("SOON").unwrap()["state"], "pending");
    shop.wechat.says("SOON", Say::paid("SOON", 1999));
    shop.look("SOON");
    shop.event("SOON", "order.paid");
}
