//! What a merchant is told of the end of a refund, and what goes wrong with it.

use simulator::{
    Faults, Kind, NewRefund, Outcome, Payment, RefundKey, RefundState, Settings, SimulatorConfig,
};
use wechat_pay::{
    refund_notification::{Refund, RefundNotificationError, RefundStatus, RequestSource, Sealed},
    sign::ApiKey,
};

use crate::support::{MCH, NOWHERE, Reply, Shop, Sim, config, key, map, until};

fn open(body: &str) -> Result<Refund, RefundNotificationError> {
    Sealed::parse(body.as_bytes()).unwrap().open(&[&key()])
}

async fn refunded(sim: &Sim, shop: &Shop, state: RefundState) -> RefundKey {
    let order = sim.order("T00001", NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    let notify_url = Some(shop.notify_url.clone());
    let refund = NewRefund { out_refund_no: Some("R1".to_owned()), notify_url, state, ..NewRefund::new(500) };
    sim.control.refund_with(&order, refund).unwrap();
    RefundKey { mch_id: MCH.to_owned(), out_refund_no: "R1".to_owned() }
}

/// Waits until as many posts as `count` are logged.
async fn posts(sim: &Sim, count: usize) -> Vec<simulator::Post> {
    until(|| Some(sim.control.posts(None, 1000)).filter(|posts| posts.len() >= count)).await
}

#[tokio::test]
async fn the_end_of_a_refund_is_told_and_says_what_a_query_says() {
    for (state, told) in [
        (RefundState::Success, RefundStatus::Success),
        (RefundState::Change, RefundStatus::Change),
        (RefundState::RefundClose, RefundStatus::Closed),
    ] {
        let sim = Sim::plain().await;
        let shop = Shop::open(&[Reply::Acknowledge]).await;
        let name = refunded(&sim, &shop, state).await;
        let (_, body) = shop.wait_for(1).await.pop().unwrap();
        assert!(!body.contains("<sign>") && !body.contains("refund_id"), "{body}");
        let refund = open(&body).unwrap();
        let truth = sim.control.refund_truth(&name).unwrap();
        assert_eq!((refund.status, refund.refund_fee, refund.total_fee), (told, 500, 1999));
        assert_eq!((refund.refund_id, refund.transaction_id), (truth.refund_id, truth.transaction_id));
        assert_eq!(refund.requested_by, Some(RequestSource::VendorPlatform));
        assert_eq!(refund.success_time_ms.is_some(), state == RefundState::Success);
        let post = posts(&sim, 1).await.remove(0);
        assert_eq!((post.kind, &post.outcome), (Kind::Genuine, &Outcome::Acknowledged));
        assert_eq!(post.out_refund_no.as_deref(), Some("R1"));
        until(|| sim.control.refund_truth(&name).unwrap().notification_acknowledged.then_some(())).await;
        let stats = sim.control.stats();
        assert_eq!((stats.refund_notifications_sent, stats.refund_notifications_acknowledged), (1, 1));
        sim.stop().await;
    }
}

#[tokio::test]
async fn the_merchants_setting_is_used_where_a_refund_names_no_address() {
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    let refund_notify_urls = [(MCH.to_owned(), shop.notify_url.clone())].into();
    let settings = Settings { refund_notify_urls, ..Settings::default() };
    let sim = Sim::start(SimulatorConfig { settings, ..config(Faults::default()) }).await;
    let order = sim.order("T00001", NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    sim.control.refund(&order, 1999).unwrap();
    shop.wait_for(1).await;
    let own = Shop::open(&[Reply::Acknowledge]).await;
    let order = sim.order("T00002", NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    let fields = map(&[
        ("appid", crate::support::APP),
        ("mch_id", MCH),
        ("out_trade_no", "T00002"),
        ("out_refund_no", "R2"),
        ("total_fee", "1999"),
        ("refund_fee", "1"),
        ("notify_url", &own.notify_url),
    ]);
    sim.call("/secapi/pay/refund", &fields, wechat_pay::sign::Algorithm::Md5).await;
    let (_, body) = own.wait_for(1).await.pop().unwrap();
    let refund = open(&body).unwrap();
    assert_eq!((&*refund.out_refund_no, refund.requested_by), ("R2", Some(RequestSource::Api)));
    assert_eq!(shop.received().len(), 1);
}

#[tokio::test]
async fn it_comes_again_until_it_is_acknowledged() {
    let sim = Sim::plain().await;
    let shop = Shop::open(&[Reply::Say(500, ""), Reply::Say(200, "ok"), Reply::Acknowledge]).await;
    let name = refunded(&sim, &shop, RefundState::Success).await;
    let attempts: Vec<_> = posts(&sim, 3).await.iter().map(|post| post.attempt).collect();
    assert_eq!(attempts, [0, 1, 2]);
    sim.control.notify_refund_again(&name).unwrap();
    posts(&sim, 4).await;
    assert_eq!(shop.received().len(), 4);
}

#[tokio::test]
async fn faults_lose_repeat_and_forge() {
    let faults = Faults { refund_notification_lost: 1.0, ..Faults::default() };
    let sim = Sim::start(config(faults)).await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    refunded(&sim, &shop, RefundState::Success).await;
    let lost = posts(&sim, 1).await;
    assert_eq!((&lost[0].outcome, lost[0].fault), (&Outcome::Lost, Some("refund_notification_lost")));
    assert_eq!(shop.received().len(), 0);

    let faults = Faults {
        refund_late: 1.0,
        refund_late_ms: 1,
        refund_duplicate: 1.0,
        refund_duplicate_copies: 2,
        refund_garbage: 1.0,
        refund_forged: 1.0,
        ..Faults::default()
    };
    let sim = Sim::start(config(faults)).await;
    let shop = Shop::open(&[Reply::Say(400, ""), Reply::Say(400, ""), Reply::Acknowledge]).await;
    refunded(&sim, &shop, RefundState::Success).await;
    let kinds: Vec<_> = posts(&sim, 5).await.iter().map(|post| post.kind).collect();
    assert_eq!(kinds, [Kind::Garbage, Kind::Forged, Kind::Genuine, Kind::Genuine, Kind::Genuine]);
    let received = shop.received();
    assert!(open(&received[0].1).is_err());
    assert!(open(&received[1].1).is_err(), "not with the merchant's key");
    let stranger = ApiKey::new("ForeignKeyOfNobodyInParticular00").unwrap();
    assert!(Sealed::parse(received[1].1.as_bytes()).unwrap().open(&[&stranger]).is_ok());
    for (_, body) in &received[2..] {
        assert_eq!(open(body).unwrap().out_refund_no, "R1");
    }
    let stats = sim.control.stats();
    assert_eq!((stats.forgeries_sent, stats.forgeries_acknowledged), (2, 0));
    assert_eq!(stats.faults["refund_garbage"], 1);
}

#[tokio::test]
async fn lost_attempts_come_on_the_cadence() {
    let sim = Sim::start(config(Faults { seed: 2, refund_attempt_lost: 0.5, ..Faults::default() })).await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    refunded(&sim, &shop, RefundState::Success).await;
    shop.wait_for(1).await;
    let posts = until(|| {
        let posts = sim.control.posts(None, 1000);
        posts.iter().any(|post| post.outcome == Outcome::Acknowledged).then_some(posts)
    })
    .await;
    let (last, lost) = posts.split_last().unwrap();
    assert!(
        lost.iter().all(|post| post.outcome == Outcome::Lost && post.fault == Some("refund_attempt_lost"))
    );
    assert_eq!(usize::try_from(last.attempt).unwrap(), lost.len());
}
