//! One order: repeats, refusals, lives, what each way of paying gets.

use cashier::CashierMetrics;
use paybell_core::place::{Order, Pay, RefusalKind, Scene, Trade, TradeType};
use paybell_core::ports::Cashier;
use paybell_core::{AppId, Fen, State};

use crate::driver::Driver;
use crate::memory::{Mood, NOON, World, minutes};
use crate::shop::*;

fn mweb(redirect_url: Option<&str>) -> Trade {
    let scene = Scene::Wap { wap_url: "https://shop.example.com".into(), wap_name: "shop".into() };
    Trade::Mweb { scene, redirect_url: redirect_url.map(str::to_owned) }
}

#[tokio::test]
async fn the_same_again_brings_the_same_while_it_is_good_and_then_a_fresh_one() {
    let world = World::new();
    let first = placed(&world, &native("T1")).await;
    assert!(!first.is_repeat);
    assert_eq!(first.good_until, NOON + minutes(120));
    world.wait(100 * 60);
    let again = placed(&world, &native("T1")).await;
    assert!(again.is_repeat && again.prepay_id == first.prepay_id && again.pay == first.pay);
    world.wait(20 * 60);
    let fresh = placed(&world, &native("T1")).await;
    assert!(!fresh.is_repeat && fresh.prepay_id != first.prepay_id);
    assert_eq!(world.known(&key("T1")).unwrap().times_placed, 2);
}

#[tokio::test]
async fn nothing_is_good_beyond_the_order_s_own_end() {
    let world = World::new();
    let order = Order { expires_at: Some(NOON + minutes(30)), ..native("T1") };
    assert_eq!(placed(&world, &order).await.good_until, NOON + minutes(30));
    world.wait(29 * 60);
    assert!(placed(&world, &order).await.is_repeat);
    world.wait(60);
    assert_eq!(refused(&world, &order).await.fields, ["expires_at"]);
}

#[tokio::test]
async fn an_mweb_link_lives_five_minutes_for_one_address_and_knows_the_way_back() {
    let world = World::new();
    let order = order("T1", mweb(Some("https://shop.example.com/done?a=1&b=店")));
    let first = placed(&world, &order).await;
    assert_eq!(first.good_until, NOON + minutes(5));
    let Pay::Mweb { mweb_url } = &first.pay else { panic!("no link") };
    let back = "&redirect_url=https%3A%2F%2Fshop.example.com%2Fdone%3Fa%3D1%26b%3D%E5%BA%97";
    assert!(mweb_url.ends_with(back), "{mweb_url}");
    world.wait(240);
    assert!(placed(&world, &order).await.is_repeat);
    let elsewhere = Order { payer_ip: Some([203, 0, 113, 10].into()), ..order.clone() };
    assert!(!placed(&world, &elsewhere).await.is_repeat, "the payer has another address by now");
    world.wait(300);
    assert!(!placed(&world, &elsewhere).await.is_repeat, "asked again after five minutes, a fresh one");
    let other_way_back = Order { trade: mweb(None), ..elsewhere };
    let Pay::Mweb { mweb_url } = placed(&world, &other_way_back).await.pay else { panic!("no link") };
    assert!(!mweb_url.contains("redirect_url"));
}

#[tokio::test]
async fn a_changed_order_is_refused_with_what_differs() {
    let world = World::new();
    placed(&world, &native("T1")).await;
    let dearer = Order { total_fee: Fen::new(2000).unwrap(), ..native("T1") };
    let other_text = Order { body: "shop-coffee".to_owned(), ..native("T1") };
    let other_app = Order { appid: AppId::new("wx2").ok(), ..native("T1") };
    for (order, fields) in [
        (dearer, vec!["total_fee"]),
        (other_text, vec!["body"]),
        (other_app, vec!["appid"]),
        (order("T1", jsapi()), vec!["trade_type", "product_id", "openid"]),
    ] {
        let refusal = refused(&world, &order).await;
        assert_eq!(
            (refusal.kind, refusal.fields),
            (RefusalKind::DifferentOrder, fields.into_iter().map(str::to_owned).collect())
        );
    }
    assert!(placed(&world, &native("T1")).await.is_repeat, "what was placed stands");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown_and_the_same_again_finds_it() {
    let world = World::new();
    world.mood(Mood::Mute);
    let refusal = refused(&world, &native("T1")).await;
    assert_eq!(refusal.kind, RefusalKind::OutcomeUnknown);
    let record = world.record(&key("T1"));
    assert_eq!(record.state, State::Pending);
    assert!(record.due.is_some() && record.placing.unwrap().offer.is_none());
    let changed = Order { body: "shop-coffee".to_owned(), ..native("T1") };
    assert_eq!(refused_as(&world, &changed).await, RefusalKind::NumberUsed, "WeChat knows the first");
    assert!(!placed(&world, &native("T1")).await.is_repeat);
    assert_eq!(world.known(&key("T1")).unwrap().total_fee, 1999);
}

#[tokio::test]
async fn an_order_is_placed_again_with_the_address_that_wechat_knows() {
    let world = World::new();
    placed(&world, &native("T1")).await;
    world.mood(Mood::Mute);
    refused(&world, &native("T2")).await;
    world.mood(Mood::Refuses("NOAUTH", ""));
    refused(&world, &native("T3")).await;
    let desk = desk(&world);
    let mut moved = settings();
    moved.shops[0].notify_url = Some("https://new.example.com/notify/pay/1900000109".to_owned());
    desk.replace(moved);
    world.wait(7200);
    for (number, host) in [("T1", "pay"), ("T2", "pay"), ("T3", "new"), ("T4", "new")] {
        assert!(!desk.place(&native(number)).await.unwrap().is_repeat, "{number}");
        let url = world.known(&key(number)).unwrap().notify_url;
        assert!(url.starts_with(&format!("https://{host}.example.com/")), "{number}: {url}");
    }
}

#[tokio::test]
async fn an_answer_that_came_too_late_or_cannot_be_kept_is_given_to_nobody() {
    // Register, read and begin are six steps, the call's first effect the seventh.
    let until_wechat_answered = 8;
    for (is_away, expected) in [(false, RefusalKind::OutcomeUnknown), (true, RefusalKind::OutcomeUnknown)] {
        let world = World::new();
        let driver = Driver::allowing(until_wechat_answered);
        let process = desk(&world.driven_by(driver.clone()));
        let order = native("T1");
        let Err(rest) = driver.run(process.place(&order)).await else { panic!("it stands still") };
        assert!(
            world.known(&order.key).is_some() && world.record(&order.key).placing.unwrap().offer.is_none()
        );
        if is_away {
            world.stored.lock().unwrap().is_ledger_away = true;
        } else {
            world.wait(31);
        }
        driver.free_now();
        assert_eq!(refusal(rest.await).kind, expected);
        world.stored.lock().unwrap().is_ledger_away = false;
        assert!(world.record(&order.key).placing.unwrap().offer.is_none());
        let placed = placed(&world, &order).await;
        assert_eq!((placed.is_repeat, world.known(&order.key).unwrap().times_placed), (false, 2));
    }
}

#[tokio::test]
async fn an_order_that_is_over_before_the_answer_comes_is_given_to_nobody() {
    let world = World::new();
    let driver = Driver::allowing(8);
    let process = desk(&world.driven_by(driver.clone()));
    let order = native("T1");
    let Err(rest) = driver.run(process.place(&order)).await else { panic!("it stands still") };
    world.settle(&order.key, State::Paid);
    driver.free_now();
    assert_eq!(refusal(rest.await).kind, RefusalKind::OrderPaid);
}

#[tokio::test]
async fn a_number_that_somebody_else_placed_stays_somebody_else_s() {
    let world = World::new();
    world.register(&native("T1")).await;
    world.at_wechat(&key("T1"), |known| known.body = "by the SDK".to_owned());
    assert_eq!(refused_as(&world, &native("T1")).await, RefusalKind::NumberUsed);
    assert_eq!(world.record(&key("T1")).placing, None);
    assert!(world.record(&key("T1")).may_be_offered(world.now()), "its SDK may have offered it");
}

#[tokio::test]
async fn what_wechat_refuses_is_refused_with_cause_and_remedy_and_may_be_corrected() {
    for (mood, kind, word) in [
        (Mood::Refuses("NOAUTH", "商户无此接口权限"), RefusalKind::RefusedByWechat, "product"),
        (Mood::Refuses("INVALID_REQUEST", "201 商户订单号重复"), RefusalKind::NumberUsed, "out_trade_no"),
        (Mood::Refuses("OUT_TRADE_NO_USED", ""), RefusalKind::NumberUsed, "number"),
        (Mood::Refuses("PARAM_ERROR", "appid和openid不匹配"), RefusalKind::RefusedByWechat, "openid"),
        (Mood::Refuses("SYSTEMERROR", ""), RefusalKind::OutcomeUnknown, "WeChat"),
        (Mood::Refuses("FREQUENCY_LIMITED", ""), RefusalKind::WechatBusy, "calls"),
        (Mood::Refuses("ORDERCLOSED", ""), RefusalKind::OrderClosed, "closed"),
        (Mood::Refuses("ORDERPAID", ""), RefusalKind::OrderPaid, "paid"),
        (Mood::Refuses("NEW_CODE", ""), RefusalKind::RefusedByWechat, "WeChat"),
        (Mood::Unsigned("缺少参数openid"), RefusalKind::RefusedUnsigned, "openid"),
        (Mood::Unsigned("what"), RefusalKind::RefusedUnsigned, "signature"),
        (Mood::Unsigned("频率限制"), RefusalKind::WechatBusy, "calls"),
        (Mood::NoSlot, RefusalKind::WechatBusy, "rate"),
        (Mood::KeysRefused, RefusalKind::KeysRefused, "keys"),
        (Mood::OfAnother, RefusalKind::OutcomeUnknown, "unknown"),
    ] {
        let world = World::new();
        world.mood(mood.clone());
        let refusal = refused(&world, &native("T1")).await;
        assert_eq!(refusal.kind, kind, "{mood:?}");
        assert!(refusal.words.cause.contains(word), "{mood:?}: {}", refusal.words.cause);
        assert!(!refusal.words.remedy_zh.is_ascii());
        let asks_to_look = matches!(kind, RefusalKind::OrderPaid | RefusalKind::OrderClosed);
        assert_eq!(world.checks().len(), usize::from(asks_to_look), "{mood:?}");
        if !matches!(mood, Mood::OfAnother) {
            // WeChat took nothing, so what was wrong may be corrected under the same number.
            placed(&world, &Order { body: "shop-coffee".to_owned(), ..native("T1") }).await;
        }
    }
}

#[tokio::test]
async fn what_wechat_would_refuse_is_neither_registered_nor_sent() {
    let world = World::new();
    let wrong = |change: fn(&mut Order)| {
        let mut order = native("T1");
        change(&mut order);
        order
    };
    for (order, field) in [
        (wrong(|order| order.body = String::new()), "body"),
        (wrong(|order| order.total_fee = Fen::new(0).unwrap()), "total_fee"),
        (wrong(|order| order.appid = AppId::new("wx9").ok()), "appid"),
        (wrong(|order| order.expires_at = Some(NOON)), "expires_at"),
        (wrong(|order| order.attach = Some("x".repeat(200))), "attach"),
        (wrong(|order| order.key = paybell_core::OrderKey::new("1900000222", "T1").unwrap()), "sub_mch_id"),
        (Order { payer_ip: None, ..order("T1", Trade::App) }, "payer_ip"),
        (order("T1", mweb(Some("done"))), "redirect_url"),
    ] {
        let refusal = refused(&world, &order).await;
        assert_eq!((refusal.kind, &*refusal.fields), (RefusalKind::InvalidRequest, &[field.to_owned()][..]));
        assert!(refusal.words.cause.contains(field) && !refusal.words.cause_zh.is_ascii());
    }
    let of = |mch_id: &str| Order { key: paybell_core::OrderKey::new(mch_id, "T1").unwrap(), ..native("T1") };
    assert_eq!(refused_as(&world, &of("1900000333")).await, RefusalKind::NoNotifyUrl);
    assert_eq!(refused_as(&world, &of("1900000444")).await, RefusalKind::UnknownMerchant);
    assert!(world.stored.lock().unwrap().records.is_empty());
}

#[tokio::test]
async fn each_way_of_paying_gets_what_its_device_needs() {
    let world = World::new();
    let names = |fields: &[(&'static str, String)]| fields.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let Pay::Jsapi { bridge, jssdk } = placed(&world, &order("T1", jsapi())).await.pay else { panic!() };
    assert_eq!(names(&bridge), ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"]);
    assert_eq!(names(&jssdk), ["timestamp", "nonceStr", "package", "signType", "paySign"]);
    let Trade::Jsapi { payer } = jsapi() else { panic!() };
    let mini = placed(&world, &order("T2", Trade::MiniProgram { payer })).await;
    assert_eq!(mini.trade_type, TradeType::MiniProgram);
    let Pay::MiniProgram(fields) = mini.pay else { panic!() };
    assert_eq!(names(&fields), ["timeStamp", "nonceStr", "package", "signType", "paySign"]);
    let Pay::App(fields) = placed(&world, &order("T3", Trade::App)).await.pay else { panic!() };
    assert_eq!(fields[1], ("partnerid", "1900000109".to_owned()));
    let Pay::Native { code_url } = placed(&world, &native("T4")).await.pay else { panic!() };
    assert!(code_url.starts_with("weixin://"));
}

#[tokio::test]
async fn an_order_that_is_over_is_not_placed_again() {
    for (state, kind) in [
        (State::Paid, RefusalKind::OrderPaid),
        (State::Refunded, RefusalKind::OrderPaid),
        (State::Mismatch, RefusalKind::OrderPaid),
        (State::Closed, RefusalKind::OrderClosed),
        (State::Unpaid, RefusalKind::OrderOver),
        (State::Failed, RefusalKind::OrderOver),
    ] {
        let world = World::new();
        placed(&world, &native("T1")).await;
        world.settle(&key("T1"), state);
        let refusal = refused(&world, &native("T1")).await;
        assert_eq!((refusal.kind, refusal.state), (kind, Some(state)));
        assert_eq!(world.known(&key("T1")).unwrap().times_placed, 1);
    }
}

#[tokio::test]
async fn nothing_is_sent_while_the_ledger_is_away() {
    let world = World::new();
    world.stored.lock().unwrap().is_ledger_away = true;
    assert!(matches!(place(&world, &native("T1")).await, Err(paybell_core::place::CashierError::Engine(_))));
    assert_eq!(world.known(&key("T1")), None);
}

#[tokio::test]
async fn every_demand_is_counted_by_what_came_of_it() {
    let world = World::new();
    let mut registry = prometheus_client::registry::Registry::default();
    let desk = counting_desk(&world, CashierMetrics::register(&mut registry));
    let counted = |registry: &prometheus_client::registry::Registry| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let line = |mch_id: &str, call: &str, outcome: &str, count: u32| {
        format!(
            "paybell_cashier_calls_total{{mch_id=\"{mch_id}\",call=\"{call}\",outcome=\"{outcome}\"}} {count}"
        )
    };
    // A failure that an alert counts shows as a rise from its first time on.
    let words = ["placed", "outcome-unknown", "wechat-away", "keys-refused", "refused-by-wechat"];
    for word in words.into_iter().chain(["refused-unsigned", "no-notify-url"]) {
        let begun = line("1900000109", "place", word, 0);
        assert!(counted(&registry).contains(&begun), "{begun}: {:?}", counted(&registry));
    }
    desk.place(&native("T1")).await.unwrap();
    desk.place(&native("T1")).await.unwrap();
    desk.close(&key("T1")).await.unwrap_err();
    let stranger = Order { key: paybell_core::OrderKey::new("666", "T1").unwrap(), ..native("T1") };
    desk.place(&stranger).await.unwrap_err();
    let lines = counted(&registry);
    for expected in [
        line("1900000109", "place", "placed", 1),
        line("1900000109", "place", "repeated", 1),
        line("1900000109", "close", "too-young", 1),
        line("unknown", "place", "unknown-merchant", 1),
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {lines:#?}");
    }
}
