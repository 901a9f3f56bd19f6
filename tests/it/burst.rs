//! Many notifications at once: WeChat sends copies a second apart, and from two links at the same time.

use std::{
    net::SocketAddr,
    sync::{Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Notification, Request, SUCCESS, Say, Settings, Shop, Stalls, wait_for};

const COPIES: usize = 30;

/// So soon each of them is answered.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

#[test]
fn thirty_identical_notifications_at_once_are_30_successes_2_queries_and_1_event() {
    for (order, delay_ms) in [("FAST", 0), ("SLOW", 300)] {
        // A busy machine may keep a broker from confirming in time: what is true then is true, but once nobody is sent
        // away.
        let is_taken_at_once = (0..3).any(|_| refusals_of_thirty(order, delay_ms) == 0);
        assert!(is_taken_at_once, "{order}: somebody was told to come again three times");
    }
}

/// How often one of the thirty was told to come again.
fn refusals_of_thirty(order: &str, delay_ms: u64) -> usize {
    let shop = Shop::open(&Settings::default());
    shop.wechat.says(order, Say::paid(order, 1999));
    shop.wechat.takes(Duration::from_millis(delay_ms));
    let refusals = post_thirty(shop.service.address("ingress"), &Notification::of(order, 1999).signed());

    let paid = shop.event(order, "order.paid");
    assert_eq!(paid["data"]["learned_by"], "notification");
    // Every check that the copies caused is disposed of: nothing is under way, due or outgoing.
    let at_rest = wait_for("all is done", || {
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
    refusals
}

/// Each copy comes until it is answered SUCCESS, and has its answer in time. Gives how many came again.
fn post_thirty(ingress: SocketAddr, body: &str) -> usize {
    let (stalls, together, tries) = (Stalls::watch(ingress), Barrier::new(COPIES), Mutex::new(Vec::new()));
    let post = || {
        let request = Request::new("POST", "/notify/pay").xml(body);
        together.wait();
        wait_for("SUCCESS", || {
            let begun = Instant::now();
            let answer = request.send(ingress);
            tries.lock().unwrap().push((begun, Instant::now()));
            let is_taken = (answer.status, answer.body.as_str()) == (200, SUCCESS);
            assert!(is_taken || answer.is_to_come_again(), "{answer:?}");
            is_taken.then_some(())
        });
    };
    thread::scope(|scope| (0..COPIES).for_each(|_| drop(scope.spawn(post))));
    let (stalled, tries) = (stalls.end(), tries.into_inner().unwrap());
    for (begun, ended) in &tries {
        let took = stalled.own_time(*begun, *ended);
        assert!(
            took < ANSWER_MAX,
            "an answer took {took:?} without the machine's part, of {:?}",
            *ended - *begun
        );
    }
    tries.len() - COPIES
}
