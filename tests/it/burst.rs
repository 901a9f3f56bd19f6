//! Many notifications at once: WeChat sends copies a second apart, and from two links at the same time.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Notification, SUCCESS, Say, Settings, Shop, post_xml};

const COPIES: usize = 30;

/// So soon each of them is answered.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

#[test]
fn thirty_identical_notifications_at_once_are_30_successes_2_queries_and_1_event() {
    for (order, delay_ms) in [("FAST", 0), ("SLOW", 300)] {
        let shop = Shop::open(&Settings::default());
        shop.wechat.says(order, Say::paid(order, 1999));
        shop.wechat.takes(Duration::from_millis(delay_ms));
        let ingress = shop.service.address("ingress");
        let (body, together) = (Notification::of(order, 1999).signed(), Barrier::new(COPIES));
        let took: Vec<Duration> = thread::scope(|scope| {
            let post = || {
                together.wait();
                let begun = Instant::now();
                let answer = post_xml(ingress, "/notify/pay", body.clone());
                assert_eq!((answer.status, answer.body.as_str()), (200, SUCCESS), "{answer:?}");
                begun.elapsed()
            };
            let copies: Vec<_> = (0..COPIES).map(|_| scope.spawn(post)).collect();
            copies.into_iter().map(|copy| copy.join().unwrap()).collect()
        });
        let slowest = took.iter().max().unwrap();
        assert!(*slowest < ANSWER_MAX, "{order}: the slowest answer took {slowest:?}");

        let paid = shop.event(order, "order.paid");
        assert_eq!(paid["data"]["learned_by"], "notification");
        // Every check that the copies caused is disposed of: nothing is under way, due or outgoing.
        let at_rest = crate::harness::wait_for("all is done", || {
            let settled = shop.service.metrics();
            let checks: f64 = settled
                .lines()
                .filter(|line| line.starts_with("paybell_checks_total{reason=\"notified\""))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum();
            let record = shop.record(order).unwrap();
            let is_quiet = record["due"].is_null() && record["leased"] == false && record["outgoing"] == 0;
            (checks >= 30.0 && is_quiet).then_some(record)
        });
        assert_eq!(at_rest["state"], "paid");
        assert_eq!(shop.types_of(order), ["order.paid"], "{order}");
        let queries = shop.wechat.asked(order).len();
        assert!((1..=2).contains(&queries), "{order}: {queries} queries");
    }
}
