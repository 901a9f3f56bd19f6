//! Placing orders in all their ways, and the payer's device that pays by what came of it.

use std::{collections::BTreeMap, time::Duration};

use hyper::{Method, StatusCode};
use simulator::{Device, Faults, OrderKey, Settings, SimulatorConfig, TradeState};
use wechat_pay::sign::{
    self,
    Algorithm::{self, HmacSha256, Md5},
};

use crate::support::{
    APP, MCH, Map, PROVIDER, SCENE, SUB, Sim, config, key, map, query_of, unified, with, without,
};

const PATH: &str = "/pay/unifiedorder";
const SUB_APP: &str = "wx7777777777777777";

/// At real pace: only leaps let time pass.
async fn sim_with(settings: Settings) -> Sim {
    Sim::start(SimulatorConfig { clock_scale: 1.0, settings, ..config(Faults::default()) }).await
}

fn native(number: &str) -> Map {
    with(with(unified(number), "trade_type", "NATIVE"), "product_id", "12")
}

fn mweb(number: &str) -> Map {
    with(with(unified(number), "trade_type", "MWEB"), "scene_info", SCENE)
}

async fn code(sim: &Sim, fields: &Map) -> (String, String) {
    let answer = sim.call(PATH, fields, Md5).await;
    let of = |name: &str| answer.get(name).cloned().unwrap_or_default();
    (of("err_code"), of("err_code_des"))
}

fn signed(fields: &[(&str, &str)], name: &str, algorithm: Algorithm) -> BTreeMap<String, String> {
    let mut params = map(fields);
    params.insert(name.to_owned(), sign::sign(fields.iter().copied(), &key(), algorithm));
    params
}

fn said(outcome: Result<simulator::DeviceOutcome, simulator::Error>) -> String {
    outcome.map_or_else(|error| error.to_string(), |outcome| outcome.order.trade_state.to_string())
}

#[tokio::test]
async fn an_order_that_no_payer_opened_can_be_denied() {
    let hiding = Settings { hides_unopened: true, close_age_s: 0, ..Settings::default() };
    let sim = sim_with(hiding.clone()).await;
    sim.call(PATH, &native("T00001"), Md5).await;
    let order = sim.key("T00001");
    let code = async |path: &str| sim.call(path, &query_of(&order), Md5).await.get("err_code").cloned();
    for path in ["/pay/orderquery", "/pay/closeorder"] {
        assert_eq!(code(path).await.as_deref(), Some("ORDERNOTEXIST"), "{path}");
    }
    assert_eq!(sim.control.truth(&order).unwrap().trade_state, TradeState::NotPay, "nothing was closed");
    sim.control.set_state(&order, TradeState::UserPaying).unwrap();
    assert_eq!(code("/pay/orderquery").await, None);
    assert_eq!(code("/pay/closeorder").await.as_deref(), Some("TRADE_STATE_ERROR"));
    sim.control.set_state(&order, TradeState::NotPay).unwrap();
    sim.control.set_settings(Settings { hides_unopened: false, ..hiding }).unwrap();
    assert_eq!(code("/pay/orderquery").await, None);
    assert_eq!(code("/pay/closeorder").await, None);
    assert_eq!(sim.control.truth(&order).unwrap().trade_state, TradeState::Closed);
}

#[tokio::test]
async fn the_same_again_gives_the_same_for_two_hours() {
    let sim = sim_with(Settings::default()).await;
    let first = sim.call(PATH, &native("T00001"), Md5).await;
    let moved = with(native("T00001"), "spbill_create_ip", "2001:db8::7");
    let again = sim.call(PATH, &moved, HmacSha256).await;
    assert_eq!((&first["prepay_id"], &first["code_url"]), (&again["prepay_id"], &again["code_url"]));
    sim.control.advance(Duration::from_secs(7190));
    assert_eq!(sim.call(PATH, &native("T00001"), Md5).await["prepay_id"], first["prepay_id"]);
    sim.control.advance(Duration::from_secs(11));
    let fresh = sim.call(PATH, &native("T00001"), Md5).await;
    assert_ne!(first["prepay_id"], fresh["prepay_id"]);
    assert_ne!(first["code_url"], fresh["code_url"]);
    for (name, value) in [("total_fee", "2000"), ("body", "other"), ("time_expire", "20991231235959")] {
        let (code, text) = code(&sim, &with(native("T00001"), name, value)).await;
        assert_eq!((&*code, &*text), ("OUT_TRADE_NO_USED", "201 商户订单号重复"), "{name}");
    }
    let old = Device { code_url: Some(first["code_url"].clone()), ..Device::default() };
    assert!(said(sim.control.pay_by_device(old)).contains("二维码无效"));
    let new = Device { code_url: Some(fresh["code_url"].clone()), ..Device::default() };
    assert_eq!(said(sim.control.pay_by_device(new)), "SUCCESS");
    assert_eq!(code(&sim, &native("T00001")).await.0, "ORDERPAID");
}

#[tokio::test]
async fn copies_at_once_place_one_order() {
    let sim = sim_with(Settings::default()).await;
    let fields = unified("T00001");
    let call = || sim.call(PATH, &fields, Md5);
    let answers = tokio::join!(call(), call(), call(), call());
    let ids = [&answers.0, &answers.1, &answers.2, &answers.3].map(|answer| answer["prepay_id"].clone());
    assert!(ids.iter().all(|id| *id == ids[0] && id.starts_with("wx")), "{ids:?}");
    assert_eq!(sim.control.stats().orders, 1);
}

#[tokio::test]
async fn fields_are_refused_for_their_reason() {
    let sim = sim_with(Settings::default()).await;
    let good = || unified("T00001");
    let long = |bytes: usize| "长".repeat(bytes / 3 + 1);
    let cases = [
        (with(good(), "body", &long(128)), "body超过"),
        (with(good(), "detail", &long(6144)), "detail超过"),
        (with(good(), "goods_tag", &long(32)), "goods_tag超过"),
        (with(good(), "limit_pay", "no_debit"), "limit_pay"),
        (with(good(), "profit_sharing", "maybe"), "profit_sharing"),
        (with(good(), "receipt", "N"), "receipt"),
        (with(good(), "fee_type", "RMBY"), "fee_type"),
        (with(good(), "time_expire", "2099"), "交易有效截止时间非法"),
        (with(good(), "time_expire", "20200101000000"), "交易有效截止时间非法"),
        (with(mweb("T00001"), "scene_info", "{}"), "scene_info"),
        (with(mweb("T00001"), "scene_info", r#"{"h5_info":{"type":"Wap","wap_url":"x"}}"#), "scene_info"),
        (with(mweb("T00001"), "scene_info", r#"{"h5_info":{"type":"Toaster"}}"#), "scene_info"),
    ];
    for (fields, text) in cases {
        let (code, said) = code(&sim, &fields).await;
        assert!(code == "PARAM_ERROR" && said.contains(text), "{code} {said}: {fields:?}");
    }
    let (missing, text) = code(&sim, &without(good(), "openid")).await;
    assert_eq!((&*missing, &*text), ("LACK_PARAMS", "JSAPI支付必须传openid"));
    let closed_products = [(MCH.to_owned(), vec!["MWEB".to_owned()])].into();
    sim.control.set_settings(Settings { closed_products, ..Settings::default() }).unwrap();
    assert_eq!(code(&sim, &mweb("T00001")).await.0, "NOAUTH");
    assert_eq!(sim.control.stats().orders, 0);
    assert_eq!(code(&sim, &good()).await.0, "", "the others are open");
}

#[tokio::test]
async fn an_openid_belongs_to_its_app() {
    let sim = sim_with(Settings::default()).await;
    let own = sim.control.openid(APP, "alice");
    let other = sim.control.openid(SUB_APP, "alice");
    assert_ne!(own, other);
    let (wrong, text) = code(&sim, &with(unified("T00001"), "openid", &other)).await;
    assert_eq!((&*wrong, &*text), ("PARAM_ERROR", "appid和openid不匹配"));
    assert_eq!(code(&sim, &with(unified("T00001"), "openid", &own)).await.0, "");
    let query = sim.query(&sim.key("T00001"), Md5).await;
    assert_eq!(query["trade_state"], "NOTPAY");
}

#[tokio::test]
async fn an_order_has_its_time() {
    let sim = sim_with(Settings::default()).await;
    let at = |seconds: i64| {
        let ms = sim.control.clock().wall_ms + seconds * 1000;
        wechat_pay::beijing::format_compact(ms).unwrap()
    };
    let (short, text) = code(&sim, &with(unified("T00001"), "time_expire", &at(200))).await;
    assert_eq!((&*short, &*text), ("PARAM_ERROR", "time_expire时间过短，刷卡至少1分钟，其他5分钟"));
    let fields = with(native("T00001"), "time_expire", &at(400));
    let answer = sim.call(PATH, &fields, Md5).await;
    sim.control.advance(Duration::from_secs(402));
    assert_eq!(code(&sim, &fields).await.1, "交易有效截止时间非法", "its time is over");
    let device = || Device { code_url: Some(answer["code_url"].clone()), ..Device::default() };
    assert!(said(sim.control.pay_by_device(device())).contains("订单已失效"));
    let order = sim.key("T00001");
    assert_eq!(sim.query(&order, Md5).await["trade_state"], "NOTPAY", "not closed by itself");
    let again = with(native("T00002"), "time_start", &at(900));
    assert_eq!(code(&sim, &with(again, "time_expire", &at(600))).await.1, "交易有效截止时间非法");
}

#[tokio::test]
async fn a_device_pays_by_parameters_only_if_they_are_signed_right() {
    let sim = sim_with(Settings::default()).await;
    for (algorithm, number) in [(Md5, "T00001"), (HmacSha256, "T00002")] {
        let prepay_id = sim.call(PATH, &unified(number), algorithm).await["prepay_id"].clone();
        let package = format!("prepay_id={prepay_id}");
        let fields = [
            ("appId", APP),
            ("timeStamp", "1795147203"),
            ("nonceStr", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
            ("package", &*package),
            ("signType", algorithm.as_str()),
        ];
        let pay = |params| said(sim.control.pay_by_device(Device { params, ..Device::default() }));
        let good = signed(&fields, "paySign", algorithm);
        let other = if algorithm == Md5 { HmacSha256 } else { Md5 };
        let with = |name: &str, value: &str| {
            let mut params = good.clone();
            params.insert(name.to_owned(), value.to_owned());
            params
        };
        assert!(pay(signed(&fields, "paySign", other)).contains("支付验证签名失败"));
        assert!(pay(with("timeStamp", "1795147204")).contains("支付验证签名失败"));
        assert!(pay(with("signType", other.as_str())).contains("支付验证签名失败"));
        assert!(pay(with("package", "prepay_id=wx0")).contains("prepay_id"));
        assert!(pay(with("appId", SUB_APP)).contains("appid"));
        let pay_directories = [(MCH.to_owned(), vec!["https://shop.example.com/pay/".to_owned()])].into();
        sim.control.set_settings(Settings { pay_directories, ..Settings::default() }).unwrap();
        let page = Some("https://shop.example.com/payment".to_owned());
        let device = Device { params: good.clone(), page, ..Device::default() };
        assert!(said(sim.control.pay_by_device(device)).contains("当前页面的URL未注册"));
        // A mini program signs the appId but does not pass it on.
        let mut mini = good.clone();
        mini.remove("appId");
        assert_eq!(pay(mini), "SUCCESS");
        assert!(pay(good).contains("SUCCESS"), "a paid order cannot be paid again");
    }

    let app = with(without(unified("T00003"), "openid"), "trade_type", "APP");
    let prepay_id = sim.call(PATH, &app, Md5).await["prepay_id"].clone();
    let fields = [
        ("appid", APP),
        ("partnerid", MCH),
        ("prepayid", &*prepay_id),
        ("package", "Sign=WXPay"),
        ("noncestr", "n"),
        ("timestamp", "1795147203"),
    ];
    let params = signed(&fields, "sign", Md5);
    assert_eq!(said(sim.control.pay_by_device(Device { params, ..Device::default() })), "SUCCESS");
}

#[tokio::test]
async fn a_link_lives_five_minutes_and_is_opened_from_the_right_page() {
    let h5_domains = [(MCH.to_owned(), vec!["shop.example.com".to_owned()])].into();
    let sim = sim_with(Settings { h5_domains, ..Settings::default() }).await;
    let first = sim.call(PATH, &mweb("T00001"), Md5).await;
    let open = |url: &str, referer: &str| Device {
        mweb_url: Some(url.to_owned()),
        referer: Some(referer.to_owned()).filter(|referer| !referer.is_empty()),
        ..Device::default()
    };
    let shop = "https://shop.example.com/cart";
    let url = first["mweb_url"].clone();
    assert!(said(sim.control.pay_by_device(open(&url, ""))).contains("商家参数格式有误"));
    assert!(said(sim.control.pay_by_device(open(&url, "https://evil.example.com/"))).contains("未配置"));
    let from_elsewhere = Device { ip: Some([10, 0, 0, 9].into()), ..open(&url, shop) };
    assert!(said(sim.control.pay_by_device(from_elsewhere)).contains("网络环境未能通过安全验证"));
    sim.control.advance(Duration::from_secs(301));
    assert!(said(sim.control.pay_by_device(open(&url, shop))).contains("支付请求已失效"));
    let second = sim.call(PATH, &mweb("T00001"), Md5).await;
    assert_eq!(first["prepay_id"], second["prepay_id"]);
    assert_ne!(first["mweb_url"], second["mweb_url"]);
    let back =
        format!("{}&redirect_url=https%3A%2F%2Fshop.example.com%2Fdone%3Fa%3D1%26b%3D2", second["mweb_url"]);
    let outcome = sim.control.pay_by_device(open(&back, shop)).unwrap();
    assert_eq!(outcome.redirect_url.as_deref(), Some("https://shop.example.com/done?a=1&b=2"));
    assert_eq!(outcome.order.trade_state, TradeState::Success);
}

#[tokio::test]
async fn a_provider_places_for_its_sub_merchants() {
    let sim = sim_with(Settings::default()).await;
    let fields = with(with(unified("T00001"), "mch_id", PROVIDER), "sub_mch_id", SUB);
    let lacks = with(without(fields.clone(), "openid"), "sub_openid", "oSUB");
    assert_eq!(code(&sim, &lacks).await.0, "LACK_PARAMS", "sub_openid needs sub_appid");
    assert_eq!(code(&sim, &without(fields.clone(), "sub_mch_id")).await.0, "LACK_PARAMS");
    assert_eq!(code(&sim, &with(fields, "sub_mch_id", "1")).await.0, "MCHID_NOT_EXIST");
    let good = with(lacks, "sub_appid", SUB_APP);
    let answer = sim.call(PATH, &good, Md5).await;
    assert_eq!((&*answer["sub_mch_id"], &*answer["sub_appid"]), (SUB, SUB_APP));
    let package = format!("prepay_id={}", answer["prepay_id"]);
    let fields = |appid| {
        [("appId", appid), ("timeStamp", "1"), ("nonceStr", "n"), ("package", &*package), ("signType", "MD5")]
    };
    let pay = |params| said(sim.control.pay_by_device(Device { params, ..Device::default() }));
    assert!(pay(signed(&fields(APP), "paySign", Md5)).contains("appid"));
    assert_eq!(pay(signed(&fields(SUB_APP), "paySign", Md5)), "SUCCESS");
    let order = OrderKey { mch_id: PROVIDER.to_owned(), out_trade_no: "T00001".to_owned() };
    let query = sim.call("/pay/orderquery", &with(query_of(&order), "sub_mch_id", SUB), Md5).await;
    assert_eq!((&*query["sub_openid"], &*query["trade_state"]), ("oSUB", "SUCCESS"));
}

#[tokio::test]
async fn devices_and_parameters_over_the_control_api() {
    let sim = sim_with(Settings::default()).await;
    let answer = sim.call(PATH, &native("T00001"), Md5).await;
    let path = format!("/_sim/orders/{MCH}/T00001/parameters");
    let (_, text) = sim.request(Method::GET, &path, "application/json", "").await.unwrap();
    assert!(
        text.contains("out_trade_no=T00001&product_id=12&total_fee=1999") && !text.contains("nonce_str"),
        "{text}"
    );
    let device = |code_url: &str| {
        let body = serde_json::json!({"code_url": code_url, "payment": {"silent": true}}).to_string();
        sim.request(Method::POST, "/_sim/device", "application/json", body)
    };
    let (status, text) = device("weixin://wxpay/bizpayurl?pr=nothing").await.unwrap();
    assert!(status == StatusCode::CONFLICT && text.contains("二维码无效"), "{text}");
    let (status, text) = device(&answer["code_url"]).await.unwrap();
    assert!(status == StatusCode::OK && text.contains("\"trade_state\":\"SUCCESS\""), "{text}");
}
