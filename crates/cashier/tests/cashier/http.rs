//! Over real HTTP: the worker's accounts, the simulator's WeChat, and the payer's device that pays by what it was given.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cashier::{CashierMetrics, Desk, Lives, Parts, Settings};
use paybell_core::observation::Openid;
use paybell_core::place::{CodeOf, Fields, Order, Pay, Payer, Placed, RefusalKind, Scene, Trade};
use paybell_core::ports::{AuthorizeWish, Cashier, Closed};
use paybell_core::{AppId, MchId, OrderKey};
use prometheus_client::registry::Registry;
use simulator::{
    AppConfig, CallFaults, Control, Device, Faults, MerchantConfig, SecretKey, Simulator, SimulatorConfig,
};
use tokio_util::sync::CancellationToken;
use wechat_pay::client::{Client, ClientConfig, KeyRing, MerchantAccount, OpenIdClient};
use wechat_pay::sign::{Algorithm, ApiKey};
use worker::{Account, Asker, KeyUsed, MerchantFacts, WorkerMetrics};

use crate::memory::{KEY, World};
use crate::shop::{key, native, order, refusal, settings};

const OLD_KEY: &str = "192006250b4c09247ec02edce69f6a2d";
const IP: [u8; 4] = [203, 0, 113, 9];

/// So long an answer is waited for, also on a busy machine that stands still for seconds now and then.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A desk, the world it stores in, and the WeChat that it calls.
struct Street {
    world: World,
    desk: Desk,
    wechat: Control,
    base: String,
    _stop: tokio_util::sync::DropGuard,
}

async fn street(algorithm: Algorithm) -> Street {
    street_with(algorithm, &[KEY], KEY).await
}

/// `ours` are the keys that we have, the current one first; `theirs` is the one that WeChat has.
async fn street_with(algorithm: Algorithm, ours: &[&str], theirs: &str) -> Street {
    let merchant = |mch_id: &str, sub_mch_ids: &[&str]| MerchantConfig {
        app_ids: vec!["wx1".into(), "wx2".into()],
        sub_mch_ids: sub_mch_ids.iter().map(|id| (*id).to_owned()).collect(),
        ..MerchantConfig::new(mch_id, "wx1", theirs).unwrap()
    };
    let app = AppConfig { appid: "wx1".into(), secret: "s3cret".into(), redirect_hosts: Vec::new() };
    let config = SimulatorConfig {
        merchants: vec![merchant("1900000109", &[]), merchant("1900000222", &["1573520957"])],
        apps: vec![app],
        ..SimulatorConfig::default()
    };
    let stop = CancellationToken::new();
    let simulator = Simulator::start(config, stop.clone()).await.unwrap();
    let world = World::new();
    let base = simulator.base_url();
    let desk = desk_over(&world, &base, algorithm, ours);
    Street { world, desk, wechat: simulator.control(), base, _stop: stop.drop_guard() }
}

fn desk_over(world: &World, base: &str, algorithm: Algorithm, ours: &[&str]) -> Desk {
    counting_desk_over(world, base, (algorithm, ours), CashierMetrics::default())
}

fn counting_desk_over(
    world: &World,
    base: &str,
    (algorithm, ours): (Algorithm, &[&str]),
    counts: CashierMetrics,
) -> Desk {
    let key = |text: &&str| ApiKey::new(text).unwrap();
    let account = |mch_id: &str| {
        let ring = KeyRing::new(ours.first().map(key).unwrap(), ours.get(1).map(key));
        let app_ids = vec!["wx1".to_owned(), "wx2".to_owned()];
        let facts = MerchantFacts { app_ids: app_ids.clone(), sub_mch_ids: Vec::new() };
        let rate = NonZeroU32::new(1000).unwrap();
        Account::new(MerchantAccount::new(mch_id, app_ids, ring, algorithm, rate), facts)
    };
    let config = ClientConfig {
        base_urls: vec![base.to_owned()],
        request_timeout: ANSWER_MAX,
        ..ClientConfig::default()
    };
    let metrics = WorkerMetrics::register(&mut Registry::default(), [], &KeyUsed::default());
    let accounts = [account("1900000109"), account("1900000222")];
    let all = Arc::new(world.clone());
    Desk::new(Parts {
        ledger: all.clone(),
        registry: all.clone(),
        records: all.clone(),
        businesses: all.clone(),
        queue: all,
        wechat: Arc::new(Asker::new(Client::new(config).unwrap(), accounts, metrics)),
        openids: OpenIdClient::new(base, ANSWER_MAX * 6).unwrap(),
        settings: Settings { ..settings() },
        lives: Lives::default(),
        metrics: counts,
        seed: [9; 32],
    })
}

impl Street {
    async fn place(&self, order: &Order) -> Placed {
        self.desk.place(order).await.unwrap()
    }

    async fn refused_as(&self, order: &Order) -> RefusalKind {
        refusal(self.desk.place(order).await).kind
    }

    fn trouble(&self, unified_order: CallFaults) {
        self.wechat.set_faults(Faults { unified_order, ..Faults::default() }).unwrap();
    }

    fn payer(&self, appid: &str) -> Openid {
        Openid(self.wechat.openid(appid, "alice"))
    }

    /// Time passes here and there.
    fn pass(&self, seconds: i64) {
        self.world.wait(seconds);
        self.wechat.advance(Duration::from_secs(seconds.unsigned_abs()));
    }

    fn is_paid(&self, of: &OrderKey) -> bool {
        self.wechat.truth(&at_wechat(of)).unwrap().paid
    }

    fn pay(&self, device: Device) -> Result<(), String> {
        self.wechat.pay_by_device(device).map(drop).map_err(|error| error.to_string())
    }
}

fn at_wechat(key: &OrderKey) -> simulator::OrderKey {
    simulator::OrderKey { mch_id: key.mch_id.to_string(), out_trade_no: key.out_trade_no.to_string() }
}

fn params(fields: &Fields) -> BTreeMap<String, String> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// As the payer's device takes it up.
fn device(pay: &Pay) -> Device {
    match pay {
        Pay::Jsapi { bridge: fields, .. } | Pay::MiniProgram(fields) | Pay::App(fields) => {
            Device { params: params(fields), ..Device::default() }
        }
        Pay::Native { code_url } => Device { code_url: Some(code_url.clone()), ..Device::default() },
        Pay::Mweb { mweb_url } => Device {
            mweb_url: Some(mweb_url.clone()),
            referer: Some("https://shop.example.com/pay".to_owned()),
            ip: Some(IP.into()),
            ..Device::default()
        },
    }
}

fn mweb(redirect_url: &str) -> Trade {
    let scene = Scene::Wap { wap_url: "https://shop.example.com".into(), wap_name: "shop".into() };
    Trade::Mweb { scene, redirect_url: Some(redirect_url.to_owned()) }
}

#[tokio::test]
async fn the_payer_s_device_takes_what_each_way_of_paying_gives_it() {
    for algorithm in [Algorithm::Md5, Algorithm::HmacSha256] {
        let street = street(algorithm).await;
        let payer = || Payer::OpenId(street.payer("wx1"));
        for (number, trade) in [
            ("T1", Trade::Jsapi { payer: payer() }),
            ("T2", Trade::MiniProgram { payer: payer() }),
            ("T3", Trade::Native { product_id: None }),
            ("T4", Trade::App),
            ("T5", mweb("https://shop.example.com/done?a=1&b=店")),
        ] {
            let order = order(number, trade);
            let placed = street.place(&order).await;
            let again = street.place(&order).await;
            assert!(again.is_repeat && again.prepay_id == placed.prepay_id, "{number}");
            street.pay(device(&again.pay)).unwrap_or_else(|said| panic!("{number}: {said}"));
            assert!(street.is_paid(&order.key));
        }
    }
}

#[tokio::test]
async fn the_way_back_of_a_link_arrives_as_it_was_given() {
    let street = street(Algorithm::Md5).await;
    let back = "https://shop.example.com/done?order=T1&name=茶 壶+1%";
    let refused = refusal(street.desk.place(&order("T1", mweb(back))).await);
    assert_eq!(refused.fields, ["redirect_url"], "a blank is no part of an address");
    let back = back.replace(' ', "");
    let placed = street.place(&order("T1", mweb(&back))).await;
    let outcome = street.wechat.pay_by_device(device(&placed.pay)).unwrap();
    assert_eq!(outcome.redirect_url, Some(back));
}

#[tokio::test]
async fn a_provider_places_for_its_sub_merchant_and_the_sub_merchant_s_app_pays() {
    let street = street(Algorithm::Md5).await;
    let of_sub = |number: &str, trade: Trade| Order {
        key: OrderKey::new("1900000222", number).unwrap(),
        sub_mch_id: MchId::new("1573520957").ok(),
        sub_appid: AppId::new("wx5ub").ok(),
        ..order(number, trade)
    };
    let payer = Payer::SubOpenId(street.payer("wx5ub"));
    for order in [of_sub("T1", Trade::Jsapi { payer }), of_sub("T2", Trade::App)] {
        let placed = street.place(&order).await;
        let given = device(&placed.pay);
        let appid = given.params.get("appId").or(given.params.get("appid"));
        assert_eq!(appid.map(String::as_str), Some("wx5ub"));
        street.pay(given).unwrap();
        let registration = street.world.record(&order.key).registration.unwrap();
        assert_eq!(registration.sub_mch_id, order.sub_mch_id, "queries name it, too");
    }
}

#[tokio::test]
async fn a_link_is_good_for_five_minutes_and_a_fresh_one_comes_after_them() {
    let street = street(Algorithm::Md5).await;
    let order = order("T1", mweb("https://shop.example.com/done"));
    let first = street.place(&order).await;
    street.pass(300);
    assert!(street.pay(device(&first.pay)).unwrap_err().contains("支付请求已失效"));
    let fresh = street.place(&order).await;
    assert!(!fresh.is_repeat && fresh.prepay_id == first.prepay_id && fresh.pay != first.pay);
    street.pay(device(&fresh.pay)).unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_same_again_finds_the_one_order() {
    for trouble in [
        CallFaults { answer_lost: 1.0, ..CallFaults::default() },
        CallFaults { html: 1.0, ..CallFaults::default() },
        CallFaults { wrong_sign: 1.0, ..CallFaults::default() },
        CallFaults { system_error_after: 1.0, ..CallFaults::default() },
        CallFaults {
            slow: 1.0,
            slow_ms: 2 * u64::try_from(ANSWER_MAX.as_millis()).unwrap(),
            ..CallFaults::default()
        },
    ] {
        let street = street(Algorithm::Md5).await;
        street.trouble(trouble.clone());
        let kind = street.refused_as(&native("T1")).await;
        let expected =
            if trouble.wrong_sign > 0.0 { RefusalKind::KeysRefused } else { RefusalKind::OutcomeUnknown };
        assert_eq!(kind, expected, "{trouble:?}");
        assert!(street.world.record(&key("T1")).due.is_some(), "it is known here, and looked at");
        street.trouble(CallFaults::default());
        let placed = street.place(&native("T1")).await;
        assert_eq!(street.wechat.truths().len(), 1);
        street.pay(device(&placed.pay)).unwrap();
    }
}

#[tokio::test]
async fn what_wechat_refuses_says_so() {
    let street = street(Algorithm::Md5).await;
    let refuse = |code: &str, text: &str| CallFaults {
        refuse: 1.0,
        refuse_code: code.to_owned(),
        refuse_text: text.to_owned(),
        ..CallFaults::default()
    };
    let unsigned_fail = CallFaults { unsigned_fail: 1.0, ..CallFaults::default() };
    let too_often = CallFaults { frequency_limited: 1.0, ..CallFaults::default() };
    for (trouble, kind) in [
        (refuse("NOAUTH", "商户号该产品权限未开通"), RefusalKind::RefusedByWechat),
        (refuse("OUT_TRADE_NO_USED", "201 商户订单号重复"), RefusalKind::NumberUsed),
        (refuse("ORDERCLOSED", "该订单已关闭"), RefusalKind::OrderClosed),
        (too_often, RefusalKind::WechatBusy),
    ] {
        street.trouble(trouble);
        let refused = refusal(street.desk.place(&native("T1")).await);
        assert_eq!(refused.kind, kind);
        assert!(refused.err_code.is_some() && !refused.words.cause_zh.is_ascii());
    }
    street.trouble(unsigned_fail);
    let refused = refusal(street.desk.place(&native("T1")).await);
    assert!(matches!(refused.kind, RefusalKind::RefusedUnsigned | RefusalKind::WechatBusy));
    assert!(refused.err_code_des.is_some(), "what it said is told");
}

#[tokio::test]
async fn somebody_else_s_openid_is_refused_with_what_to_do() {
    let street = street(Algorithm::Md5).await;
    let payer = Payer::OpenId(street.payer("wx2"));
    let refused = refusal(street.desk.place(&order("T1", Trade::Jsapi { payer })).await);
    assert!(refused.words.remedy.contains("openid"), "{refused:?}");
    let payer = Payer::OpenId(street.payer("wx1"));
    let placed = street.place(&order("T1", Trade::Jsapi { payer })).await;
    street.pay(device(&placed.pay)).unwrap();
}

#[tokio::test]
async fn while_a_key_is_changed_the_device_gets_a_signature_that_wechat_takes() {
    let street = street_with(Algorithm::Md5, &[KEY, OLD_KEY], OLD_KEY).await;
    let payer = || Payer::OpenId(street.payer("wx1"));
    let order = order("T1", Trade::Jsapi { payer: payer() });
    street.place(&order).await;
    // Another process knows of two keys, and not which of them WeChat has: it asks rather than guesses.
    let fresh = desk_over(&street.world, &street.base, Algorithm::Md5, &[KEY, OLD_KEY]);
    let placed = fresh.place(&order).await.unwrap();
    assert!(!placed.is_repeat);
    street.pay(device(&placed.pay)).unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_the_merchant_s_alarm() {
    let street = street_with(Algorithm::Md5, &[KEY], OLD_KEY).await;
    for _ in 0..5 {
        assert_eq!(street.refused_as(&native("T1")).await, RefusalKind::KeysRefused);
    }
    street.wechat.set_keys("1900000109", SecretKey::new(KEY).unwrap(), None).unwrap();
    assert_eq!(street.refused_as(&native("T1")).await, RefusalKind::KeysRefused, "it backs off");
}

#[tokio::test]
async fn an_order_is_closed_after_five_minutes_or_turns_out_paid() {
    let street = street(Algorithm::Md5).await;
    let (one, other) = (street.place(&native("T1")).await, street.place(&native("T2")).await);
    street.pass(301);
    street.pay(device(&other.pay)).unwrap();
    assert_eq!(street.desk.close(&key("T1")).await.unwrap(), Closed::Now);
    assert!(street.pay(device(&one.pay)).is_err(), "a closed order cannot be paid");
    assert_eq!(refusal(street.desk.close(&key("T2")).await).kind, RefusalKind::OrderPaid);
    assert_eq!(street.world.checks(), [key("T1"), key("T2")], "the worker tells both");
}

#[tokio::test]
async fn a_code_brings_its_openid_once() {
    let street = street(Algorithm::Md5).await;
    let app = AppId::new("wx1").unwrap();
    let code = street.wechat.login("wx1", "alice").unwrap();
    let who = street.desk.who_pays(&app, CodeOf::MiniProgram, &code).await.unwrap();
    assert_eq!(who.openid, street.payer("wx1"));
    let refused = refusal(street.desk.who_pays(&app, CodeOf::MiniProgram, &code).await);
    assert_eq!((refused.kind, refused.err_code.as_deref()), (RefusalKind::CodeRefused, Some("40163")));
    let refused = refusal(street.desk.who_pays(&app, CodeOf::Page, "nonsense").await);
    assert_eq!((refused.kind, refused.err_code.as_deref()), (RefusalKind::CodeRefused, Some("40029")));
    let other = AppId::new("wx2").unwrap();
    let refused = refusal(street.desk.who_pays(&other, CodeOf::Page, "c").await);
    assert_eq!(refused.kind, RefusalKind::NoAppSecret);
    let lost = CallFaults { answer_lost: 1.0, ..CallFaults::default() };
    street.wechat.set_faults(Faults { openid: lost, ..Faults::default() }).unwrap();
    let code = street.wechat.login("wx1", "bob").unwrap();
    let refused = refusal(street.desk.who_pays(&app, CodeOf::MiniProgram, &code).await);
    assert_eq!(refused.kind, RefusalKind::WechatAway);
    for text in [format!("{refused:?}"), format!("{:?}", street.desk)] {
        assert!(!text.contains("s3cret") && !text.contains(&code), "{text}");
    }
}

#[tokio::test]
async fn every_exchange_of_a_code_is_counted_by_what_came_of_it() {
    let mut street = street(Algorithm::Md5).await;
    let mut registry = Registry::default();
    let metrics = CashierMetrics::register(&mut registry);
    street.desk = counting_desk_over(&street.world, &street.base, (Algorithm::Md5, &[KEY]), metrics);
    let (ours, other) = (AppId::new("wx1").unwrap(), AppId::new("wx2").unwrap());
    let code = street.wechat.login("wx1", "alice").unwrap();
    street.desk.who_pays(&ours, CodeOf::MiniProgram, &code).await.unwrap();
    street.desk.who_pays(&ours, CodeOf::MiniProgram, &code).await.unwrap_err();
    street.desk.who_pays(&ours, CodeOf::Page, "nonsense").await.unwrap_err();
    street.desk.who_pays(&other, CodeOf::Page, "c").await.unwrap_err();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for (appid, call, outcome) in [
        ("wx1", "jscode", "given"),
        ("wx1", "jscode", "code-refused"),
        ("wx1", "code", "code-refused"),
        ("unknown", "code", "no-app-secret"),
    ] {
        let line = format!(
            "paybell_openid_calls_total{{appid=\"{appid}\",call=\"{call}\",outcome=\"{outcome}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    // What did not happen yet is there all the same: its first time is a rise.
    for outcome in ["code-refused", "wechat-busy", "wechat-away", "given"] {
        let line = format!("appid=\"wx1\",call=\"code\",outcome=\"{outcome}\"");
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    assert!(!text.contains(&code), "a code is a secret while it is good");
}

#[tokio::test]
async fn the_way_to_a_code_is_an_address_of_wechat_s() {
    let street = street(Algorithm::Md5).await;
    let wish = |appid: &str, redirect_uri: &str, state: &str| AuthorizeWish {
        appid: AppId::new(appid).unwrap(),
        redirect_uri: redirect_uri.to_owned(),
        state: state.to_owned(),
        with_profile: false,
    };
    let url = street.desk.authorize_url(&wish("wx1", "https://shop.example.com/back?a=1", "s1")).unwrap();
    assert!(
        url.starts_with(
            "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A"
        )
    );
    assert!(url.ends_with("&response_type=code&scope=snsapi_base&state=s1#wechat_redirect"));
    for (wish, field) in [
        (wish("wx9", "https://shop.example.com", "s1"), "appid"),
        (wish("wx1", "shop.example.com", "s1"), "redirect_uri"),
        (wish("wx1", "https://shop.example.com", "a b"), "state"),
    ] {
        let refused = refusal(street.desk.authorize_url(&wish));
        assert_eq!((refused.kind, &*refused.fields), (RefusalKind::InvalidRequest, &[field.to_owned()][..]));
    }
}
