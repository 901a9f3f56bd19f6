//! Every fault, alone and certain; then all of them by a seed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hyper::StatusCode;
use simulator::{Faults, Kind, OrderKey, Outcome, Payment, Post, SimulatorConfig};
use wechat_pay::{
    sign::{self, Algorithm::Md5},
    xml::Document,
};

use crate::support::{KEY, NOWHERE, PATIENCE, Reply, Shop, Sim, config, key, query_of, to_map};

async fn paid(faults: Faults, replies: &[Reply]) -> (Sim, Shop, OrderKey) {
    let sim = Sim::start(config(faults)).await;
    let shop = Shop::open(replies).await;
    let order = sim.order("T00001", &shop.notify_url);
    sim.control.pay(&order, Payment::default()).unwrap();
    (sim, shop, order)
}

fn verifies(body: &str) -> bool {
    let document = Document::parse(body.as_bytes()).unwrap();
    sign::verify(&document, &key(), Md5).is_ok()
}

fn count(sim: &Sim, fault: &str) -> u64 {
    sim.control.stats().faults.get(fault).copied().unwrap_or(0)
}

#[tokio::test]
async fn a_lost_notification_is_never_sent() {
    let faults = Faults { notification_lost: 1.0, ..Faults::default() };
    let (sim, shop, order) = paid(faults, &[Reply::Acknowledge]).await;
    let posts = sim.posts(&order, 1).await;
    assert_eq!((&posts[0].outcome, posts[0].fault), (&Outcome::Lost, Some("notification_lost")));
    assert_eq!((shop.received().len(), count(&sim, "notification_lost")), (0, 1));
    assert_eq!(sim.query(&order, Md5).await["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn a_lost_attempt_is_followed_by_the_next() {
    // A seed under which the first attempt is lost and the second is not.
    let order = OrderKey { mch_id: crate::support::MCH.to_owned(), out_trade_no: "T00001".to_owned() };
    let struck = |faults: &Faults, attempt| faults.strikes(simulator::Fault::AttemptLost, &order, attempt);
    let mut seeds = (0..1000).map(|seed| Faults { seed, attempt_lost: 0.5, ..Faults::default() });
    let faults = seeds.find(|faults| struck(faults, 0) && !struck(faults, 1)).expect("one of a thousand");
    let (sim, shop, order) = paid(faults, &[Reply::Acknowledge]).await;
    let posts = sim.posts(&order, 2).await;
    assert_eq!((&posts[0].outcome, posts[0].fault), (&Outcome::Lost, Some("attempt_lost")));
    assert_eq!((posts[1].attempt, posts[1].outcome.is_acknowledged()), (1, true));
    assert_eq!(shop.received().len(), 1);
}

#[tokio::test]
async fn duplicates_follow_an_acknowledgement() {
    let faults = Faults { duplicate: 1.0, duplicate_copies: 3, ..Faults::default() };
    let (sim, shop, order) = paid(faults, &[Reply::Acknowledge]).await;
    let posts = sim.posts(&order, 4).await;
    let named: Vec<_> = posts.iter().map(|post| post.fault).collect();
    assert_eq!(named, [None, Some("duplicate"), Some("duplicate"), Some("duplicate")]);
    let bodies = shop.received();
    assert!(bodies.iter().all(|(_, body)| verifies(body)));
    let ids: Vec<_> = bodies
        .iter()
        .map(|(_, body)| to_map(&Document::parse(body.as_bytes()).unwrap())["transaction_id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(sim.control.stats().notifications_sent, 4);
}

#[tokio::test]
async fn two_copies_come_at_the_same_time() {
    let faults = Faults { simultaneous: 1.0, ..Faults::default() };
    // Neither is answered: the second can only come because it does not wait for the first.
    let (sim, shop, order) = paid(faults, &[Reply::Hang]).await;
    let received = shop.wait_for(2).await;
    assert!(sim.control.posts(Some(&order), 2).is_empty(), "neither has come to its end");
    assert!(received.iter().all(|(_, body)| verifies(body)));
    assert_eq!(count(&sim, "simultaneous"), 1);
}

#[tokio::test]
async fn a_late_notification_is_late() {
    let began = Instant::now();
    let faults = Faults { late: 1.0, late_ms: 300, ..Faults::default() };
    let (sim, shop, order) = paid(faults, &[Reply::Acknowledge]).await;
    assert!(shop.wait_for(1).await[0].0.duration_since(began) >= Duration::from_millis(300));
    assert_eq!(sim.posts(&order, 1).await[0].fault, Some("late"));
}

#[tokio::test]
async fn a_reordered_notification_is_overtaken() {
    let faults = Faults { reordered: 1.0, reordered_ms_max: 60_000, ..Faults::default() };
    let (sim, shop, first) = paid(faults, &[Reply::Acknowledge]).await;
    let control = sim.control.clone();
    crate::support::until(|| (control.stats().faults.get("reordered") == Some(&1)).then_some(())).await;
    sim.control.set_faults(Faults::default()).unwrap();
    let second = sim.order("T00002", &shop.notify_url);
    sim.control.pay(&second, Payment::default()).unwrap();
    sim.posts(&first, 1).await;
    let arrived: Vec<_> = shop.received().iter().map(|(_, body)| body.contains("T00002")).collect();
    assert_eq!(arrived, [true, false]);
}

#[tokio::test]
async fn nobody_need_come_for_a_reordered_notification_to_go() {
    let faults = Faults { reordered: 1.0, reordered_ms_max: 50, ..Faults::default() };
    let (sim, _, order) = paid(faults, &[Reply::Acknowledge]).await;
    assert!(sim.posts(&order, 1).await[0].outcome.is_acknowledged());
}

#[tokio::test]
async fn tampered_and_unsigned_copies_come_before_the_genuine_one() {
    let faults = Faults { tampered: 1.0, unsigned: 1.0, ..Faults::default() };
    let (sim, shop, order) =
        paid(faults, &[Reply::Say(401, ""), Reply::Say(401, ""), Reply::Acknowledge]).await;
    let posts = sim.posts(&order, 3).await;
    assert_eq!(
        [posts[0].kind, posts[1].kind, posts[2].kind],
        [Kind::Tampered, Kind::Unsigned, Kind::Genuine]
    );
    let bodies: Vec<String> = shop.received().into_iter().map(|(_, body)| body).collect();
    assert!(bodies[0].contains("<total_fee><![CDATA[2000]]>") && !verifies(&bodies[0]));
    assert!(!bodies[1].contains("<sign>") && bodies[1].contains("1999"));
    assert!(verifies(&bodies[2]));
    let stats = sim.control.stats();
    assert_eq!((stats.forgeries_sent, stats.forgeries_acknowledged, stats.notifications_sent), (2, 0, 1));
}

#[tokio::test]
async fn a_forger_claims_payment_of_an_unpaid_order() {
    let sim = Sim::start(config(Faults { forged: 1.0, ..Faults::default() })).await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    let order = sim.order("T00001", &shop.notify_url);
    let posts = sim.posts(&order, 1).await;
    assert_eq!(posts[0].kind, Kind::Forged);
    let (_, body) = shop.received().pop().unwrap();
    assert!(body.contains("<sign>") && !verifies(&body));
    let claimed = to_map(&Document::parse(body.as_bytes()).unwrap());
    assert_eq!((&*claimed["total_fee"], &*claimed["out_trade_no"]), ("1999", "T00001"));
    assert_eq!(sim.query(&order, Md5).await["trade_state"], "NOTPAY");
    assert_eq!(sim.control.stats().forgeries_acknowledged, 1, "this shop believes everybody");
    let paid = sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    assert_ne!(paid.transaction_id.as_ref(), claimed.get("transaction_id"));
}

/// An order, one raw query under these faults, and the fault's count.
async fn query_under(faults: Faults, fault: &str) -> Result<(StatusCode, String), String> {
    let (sim, _, order) = paid(faults, &[Reply::Acknowledge]).await;
    let answer = sim.post_signed("/pay/orderquery", &query_of(&order), Md5).await;
    assert!(count(&sim, fault) >= 1, "{fault}");
    answer
}

#[tokio::test]
async fn queries_fail_as_they_do_in_the_field() {
    let answer = query_under(Faults { query_http_500: 1.0, ..Faults::default() }, "query_http_500").await;
    assert_eq!(answer.unwrap(), (StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    let answer = query_under(Faults { query_html: 1.0, ..Faults::default() }, "query_html").await.unwrap();
    assert!(answer.0 == StatusCode::BAD_GATEWAY && answer.1.starts_with("<html>"), "{answer:?}");
    let answer = query_under(Faults { query_reset: 1.0, ..Faults::default() }, "query_reset").await;
    assert!(answer.is_err(), "{answer:?}");
    let answer =
        query_under(Faults { query_unsigned_fail: 1.0, ..Faults::default() }, "query_unsigned_fail").await;
    let (_, body) = answer.unwrap();
    assert!(body.contains("<return_code><![CDATA[FAIL]]>") && !body.contains("<sign>"), "{body}");
    let coded = [
        (Faults { query_system_error: 1.0, ..Faults::default() }, "query_system_error", "SYSTEMERROR"),
        (
            Faults { query_frequency_limited: 1.0, ..Faults::default() },
            "query_frequency_limited",
            "FREQUENCY_LIMITED",
        ),
    ];
    for (faults, fault, code) in coded {
        let (_, body) = query_under(faults, fault).await.unwrap();
        assert!(verifies(&body) && body.contains(&format!("<err_code><![CDATA[{code}]]>")), "{body}");
    }
    let answer = query_under(Faults { query_wrong_sign: 1.0, ..Faults::default() }, "query_wrong_sign").await;
    let (_, body) = answer.unwrap();
    assert!(!verifies(&body) && body.contains("<sign>") && body.contains("SUCCESS"), "{body}");
    assert!(!body.contains(KEY));
}

#[tokio::test]
async fn a_slow_query_is_slow() {
    let began = Instant::now();
    let faults = Faults { query_slow: 1.0, query_slow_ms: 300, ..Faults::default() };
    let (_, body) = query_under(faults, "query_slow").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300) && verifies(&body));
}

#[tokio::test]
async fn a_lagging_query_sees_the_payment_later() {
    let lagging = |query_lag_ms| Faults { query_lag: 1.0, query_lag_ms, ..Faults::default() };
    let (sim, _, order) = paid(lagging(3_600_000), &[Reply::Acknowledge]).await;
    let first = sim.query(&order, Md5).await;
    assert_eq!((&*first["trade_state"], first.get("transaction_id")), ("NOTPAY", None));
    assert!(sim.control.truth(&order).unwrap().paid, "the truth does not lag");
    sim.control.set_faults(Faults::default()).unwrap();
    assert_eq!(sim.query(&order, Md5).await["trade_state"], "SUCCESS", "healed");

    sim.control.set_faults(lagging(400)).unwrap();
    let later = sim.order("T00002", NOWHERE);
    let began = Instant::now();
    sim.control.pay(&later, Payment { silent: true, ..Payment::default() }).unwrap();
    while sim.query(&later, Md5).await["trade_state"] != "SUCCESS" {
        assert!(began.elapsed() < PATIENCE, "it lags for ever");
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

/// What struck each order, in the order of its posts: copies that went out together may end in any order.
async fn struck_by(seed: u64, numbers: impl Iterator<Item = u32>) -> BTreeMap<String, Vec<String>> {
    let faults = Faults {
        seed,
        notification_lost: 0.2,
        attempt_lost: 0.3,
        simultaneous: 0.3,
        duplicate: 0.3,
        duplicate_copies: 2,
        tampered: 0.3,
        unsigned: 0.3,
        forged: 0.3,
        ..Faults::default()
    };
    let sim = Sim::start(SimulatorConfig { clock_scale: 1_000_000.0, ..config(faults) }).await;
    let shop = Shop::open(&[Reply::Say(500, "")]).await;
    let orders: Vec<OrderKey> =
        numbers.map(|number| sim.order(&format!("T{number:05}"), &shop.notify_url)).collect();
    for order in &orders {
        sim.control.pay(order, Payment::default()).unwrap();
    }
    let control = sim.control.clone();
    crate::support::until(|| {
        let stats = control.stats();
        let over =
            stats.notifications_exhausted + stats.faults.get("notification_lost").copied().unwrap_or(0);
        let forged = stats.faults.get("forged").copied().unwrap_or(0);
        let forgeries =
            control.posts(None, usize::MAX).iter().filter(|post| post.kind == Kind::Forged).count();
        (over == 40 && u64::try_from(forgeries).unwrap() == forged).then_some(())
    })
    .await;
    let tell = |post: &Post| format!("{}:{:?}:{:?}", post.attempt, post.kind, post.fault);
    orders
        .iter()
        .map(|order| {
            let mut told: Vec<String> = control.posts(Some(order), 1000).iter().map(tell).collect();
            told.sort();
            (order.out_trade_no.clone(), told)
        })
        .collect()
}

#[tokio::test]
async fn the_same_seed_strikes_the_same_orders_whatever_their_order() {
    let once = struck_by(42, 0..40).await;
    assert_eq!(once, struck_by(42, (0..40).rev()).await);
    assert_ne!(once, struck_by(43, 0..40).await);
}
