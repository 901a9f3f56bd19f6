//! Notifications without faults: content, when they stop, the cadence.

use std::time::{Duration, Instant};

use simulator::{CADENCE_S, Faults, NewOrder, Outcome, Payment, SimulatorConfig, TradeState};
use wechat_pay::{
    sign::{self, Algorithm},
    xml::Document,
};

use crate::support::{MCH, NOWHERE, PROVIDER, Reply, SUB, Shop, Sim, config, key, to_map, until};

#[tokio::test]
async fn a_payment_is_announced_once_and_says_what_a_query_says() {
    let sim = Sim::plain().await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    for (algorithm, number) in [(Algorithm::Md5, "T00001"), (Algorithm::HmacSha256, "T00002")] {
        let mut new = NewOrder::new(MCH, number, 1999, &shop.notify_url);
        new.sign_type = algorithm.as_str().to_owned();
        new.attach = Some("till=7".to_owned());
        let order = sim.control.create_order(new).unwrap();
        sim.control.pay(&order, Payment::default()).unwrap();
        let posts = sim.posts(&order, 1).await;
        assert_eq!(posts[0].outcome, Outcome::Acknowledged);

        let (_, body) = shop.received().pop().unwrap();
        let document = Document::parse(body.as_bytes()).unwrap();
        sign::verify(&document, &key(), algorithm).unwrap();
        let (notified, queried) = (to_map(&document), sim.query(&order, algorithm).await);
        assert_eq!(notified.get("sign_type"), None);
        for name in [
            "return_code",
            "result_code",
            "appid",
            "mch_id",
            "out_trade_no",
            "transaction_id",
            "total_fee",
            "fee_type",
            "cash_fee",
            "time_end",
            "openid",
            "bank_type",
            "trade_type",
            "attach",
        ] {
            assert_eq!(notified[name], queried[name], "{name}");
        }
        let truth = sim.control.truth(&order).unwrap();
        assert_eq!((truth.notifications_sent, truth.notification_acknowledged), (1, true));
    }
    let stats = sim.control.stats();
    assert_eq!((stats.notifications_sent, stats.notifications_acknowledged, stats.forgeries_sent), (2, 2, 0));
    sim.stop().await;
}

#[tokio::test]
async fn a_providers_notification_names_the_sub_merchant() {
    let sim = Sim::plain().await;
    let shop = Shop::open(&[Reply::Acknowledge]).await;
    let mut new = NewOrder::new(PROVIDER, "T00001", 1, &shop.notify_url);
    new.sub_mch_id = Some(SUB.to_owned());
    let order = sim.control.create_order(new).unwrap();
    sim.control.pay(&order, Payment::default()).unwrap();
    let (_, body) = shop.wait_for(1).await.pop().unwrap();
    assert!(body.contains(&format!("<sub_mch_id><![CDATA[{SUB}]]></sub_mch_id>")), "{body}");
}

#[tokio::test]
async fn anything_but_the_right_answer_brings_it_again() {
    let wrong = [
        Reply::Say(200, ""),
        Reply::Say(200, "success"),
        Reply::Say(200, "{\"code\":\"SUCCESS\"}"),
        Reply::Say(200, "<html><body>OK</body></html>"),
        Reply::Say(200, "<xml><return_code><![CDATA[FAIL]]></return_code></xml>"),
        Reply::Say(200, "<xml><return_msg>OK</return_msg></xml>"),
        Reply::Say(201, crate::support::ACKNOWLEDGEMENT),
        Reply::Say(503, crate::support::ACKNOWLEDGEMENT),
        Reply::Say(302, ""),
        Reply::Hang,
    ];
    // Only who is never answered is given up soon: a machine that stands still delays the others' answers.
    let waiting = |notification_timeout_ms| {
        let plain = config(Faults::default());
        Sim::start(SimulatorConfig { clock_scale: 1_000_000.0, notification_timeout_ms, ..plain })
    };
    let (patient, hasty) = (waiting(60_000).await, waiting(1_000).await);
    for (number, reply) in wrong.into_iter().enumerate() {
        let sim = if matches!(reply, Reply::Hang) { &hasty } else { &patient };
        let shop = Shop::open(&[reply, reply, Reply::Acknowledge]).await;
        let order = sim.order(&format!("T0000{number}"), &shop.notify_url);
        sim.control.pay(&order, Payment::default()).unwrap();
        let posts = sim.posts(&order, 3).await;
        assert!(
            !posts[0].outcome.is_acknowledged() && !posts[1].outcome.is_acknowledged(),
            "{number}: {posts:?}"
        );
        assert_eq!((posts[2].attempt, &posts[2].outcome), (2, &Outcome::Acknowledged));
        assert_eq!(matches!(reply, Reply::Hang), posts[0].outcome == Outcome::TimedOut);
    }
    patient.stop().await;
    hasty.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_ends_it() {
    let settings = SimulatorConfig { clock_scale: 100_000.0, ..config(Faults::default()) };
    let sim = Sim::start(settings).await;
    let (deaf, shop) = (Shop::open(&[Reply::Say(500, "")]).await, Shop::open(&[Reply::Acknowledge]).await);
    let (unheard, heard) = (sim.order("T00001", &deaf.notify_url), sim.order("T00002", &shop.notify_url));
    sim.control.pay(&heard, Payment::default()).unwrap();
    sim.posts(&heard, 1).await;
    sim.control.pay(&unheard, Payment::default()).unwrap();
    // The deaf shop's whole cadence passes after the other's acknowledgement.
    sim.posts(&unheard, 16).await;
    assert_eq!(shop.received().len(), 1);
}

#[tokio::test]
async fn the_cadence_is_wechats_and_ends() {
    let scale = 20_000.0;
    let sim = Sim::start(SimulatorConfig { clock_scale: scale, ..config(Faults::default()) }).await;
    let shop = Shop::open(&[Reply::Say(500, "")]).await;
    let order = sim.order("T00001", &shop.notify_url);
    let paid = Instant::now();
    sim.control.pay(&order, Payment::default()).unwrap();
    let received = shop.wait_for(16).await;
    let mut expected = Duration::ZERO;
    for (wait_s, (at, _)) in [0].into_iter().chain(CADENCE_S).zip(&received) {
        expected += Duration::from_secs(wait_s).div_f64(scale);
        let after = at.duration_since(paid);
        // How late it may be is the machine's; waiting has an end.
        assert!(after >= expected, "{after:?}, not {expected:?}");
    }
    let control = &sim.control;
    until(|| (control.stats().notifications_exhausted == 1).then_some(())).await;
    assert_eq!(shop.received().len(), 16);
    assert_eq!(sim.posts(&order, 16).await.last().unwrap().attempt, 15);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_silence_is_kept_on_demand() {
    let sim = Sim::start(SimulatorConfig { clock_scale: 1_000_000.0, ..config(Faults::default()) }).await;
    let order = sim.order("T00001", NOWHERE);
    sim.control.pay(&order, Payment::default()).unwrap();
    let posts = sim.posts(&order, 2).await;
    assert!(matches!(&posts[0].outcome, Outcome::Unreachable(why) if why.contains("refused")), "{posts:?}");

    let shop = Shop::open(&[Reply::Acknowledge]).await;
    let (silent, marked, loud) = (
        sim.order("T00002", &shop.notify_url),
        sim.order("T00003", &shop.notify_url),
        sim.order("T00004", &shop.notify_url),
    );
    sim.control.pay(&silent, Payment { silent: true, ..Payment::default() }).unwrap();
    sim.control.set_state(&marked, TradeState::Success).unwrap();
    assert!(sim.control.notify_again(&loud).is_err(), "not paid");
    sim.control.pay(&loud, Payment::default()).unwrap();
    sim.posts(&loud, 1).await;
    assert_eq!(shop.received().len(), 1);
    sim.control.notify_again(&silent).unwrap();
    assert!(sim.posts(&silent, 1).await[0].outcome.is_acknowledged());
    assert!(sim.control.truth(&marked).unwrap().paid);
}
