//! Placing orders: what is sent, what is refused before sending, what the payer's device gets.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;
use wechat_pay::answer::AnswerError;
use wechat_pay::check::{Fault, FieldError};
use wechat_pay::pay_parameters::{
    AppParameters, DeviceSigner, JsapiParameters, mweb_url_with_redirect, native_link,
};
use wechat_pay::query::OpenId;
use wechat_pay::request::{OrderRef, Signer};
use wechat_pay::sign::{self, Algorithm, ApiKey};
use wechat_pay::unified_order::{
    H5Scene, LimitPay, Payer, ProfitSharing, Receipt, Store, Trade, UnifiedOrder, UnifiedOrderAnswer,
    UnifiedOrderResult,
};
use wechat_pay::xml;

const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";

fn jsapi() -> Trade {
    Trade::Jsapi { payer: Payer::OpenId(OpenId::from("oPayer".to_owned())) }
}

fn wap() -> Trade {
    let scene = H5Scene::Wap { wap_url: "https://shop.example.com".into(), wap_name: "店 \"1\"".into() };
    Trade::Mweb { scene }
}

fn native() -> Trade {
    Trade::Native { product_id: "88".to_owned() }
}

fn order(trade: Trade) -> UnifiedOrder {
    UnifiedOrder {
        notify_url: "https://pay.example.com/notify/1900000109".to_owned(),
        spbill_create_ip: IpAddr::from(Ipv4Addr::new(203, 0, 113, 9)),
        ..UnifiedOrder::new(OrderRef::new("wx1", "T2026112000000001"), trade, "店-茶", 1999)
    }
}

fn sent(order: &UnifiedOrder, algorithm: Algorithm) -> BTreeMap<String, String> {
    let key = ApiKey::new(KEY).unwrap();
    let body = order.request_body(Signer { mch_id: "1900000109", key: &key, algorithm }, "n0nce").unwrap();
    let document = xml::Document::parse(body.as_bytes()).unwrap();
    sign::verify(&document, &key, algorithm).unwrap();
    document.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn each_way_of_paying_sends_what_it_needs_and_nothing_else() {
    let common = [
        "appid",
        "body",
        "mch_id",
        "nonce_str",
        "notify_url",
        "out_trade_no",
        "sign",
        "spbill_create_ip",
        "total_fee",
        "trade_type",
    ];
    for (trade, own) in [
        (jsapi(), Some("openid")),
        (native(), Some("product_id")),
        (Trade::App, None),
        (wap(), Some("scene_info")),
    ] {
        let name = trade.as_str();
        let fields = sent(&order(trade), Algorithm::Md5);
        let mut expected: Vec<&str> = common.into_iter().chain(own).collect();
        expected.sort_unstable();
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!((&*fields["trade_type"], &*fields["total_fee"]), (name, "1999"));
    }
    let scene: Value = serde_json::from_str(&sent(&order(wap()), Algorithm::Md5)["scene_info"]).unwrap();
    assert_eq!(
        scene["h5_info"],
        serde_json::json!({"type": "Wap", "wap_url": "https://shop.example.com", "wap_name": "店 \"1\""})
    );
}

#[test]
fn everything_that_can_be_said_is_sent_in_wechats_words() {
    let full = UnifiedOrder {
        order: OrderRef::new("wx1", "T2026112000000001").for_sub_merchant("15", Some("wx2".to_owned())),
        fee_type: "CNY".into(),
        detail: r#"{"goods_detail":[]}"#.into(),
        attach: "a b".into(),
        device_info: "WEB".into(),
        goods_tag: "G".into(),
        time_start_ms: Some(1_795_012_652_000),
        time_expire_ms: Some(1_795_012_652_000 + 600_000),
        limit_pay: Some(LimitPay::NoCredit),
        receipt: Some(Receipt::Offered),
        profit_sharing: Some(ProfitSharing::Yes),
        store: Some(Store { id: "S1".into(), ..Store::default() }),
        ..order(Trade::Jsapi { payer: Payer::SubOpenId(OpenId::from("oSub".to_owned())) })
    };
    let fields = sent(&full, Algorithm::HmacSha256);
    for (name, value) in [
        ("sub_appid", "wx2"),
        ("sub_mch_id", "15"),
        ("sub_openid", "oSub"),
        ("time_start", "20261118223732"),
        ("time_expire", "20261118224732"),
        ("limit_pay", "no_credit"),
        ("receipt", "Y"),
        ("profit_sharing", "Y"),
        ("sign_type", "HMAC-SHA256"),
        ("attach", "a b"),
        ("goods_tag", "G"),
        ("device_info", "WEB"),
        ("fee_type", "CNY"),
        ("detail", r#"{"goods_detail":[]}"#),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
    assert!(!fields.contains_key("openid"));
    assert!(fields["scene_info"].contains(r#""id":"S1""#));
    assert_eq!((full.device_appid(), full.device_partner("1900000109")), ("wx2", "15"));
    assert_eq!(order(jsapi()).device_appid(), "wx1");
    assert!(!format!("{full:?}").contains("oSub"), "openids are not shown");
}

#[test]
fn what_would_be_refused_is_refused_here_field_by_field() {
    let fault = |change: &dyn Fn(&mut UnifiedOrder)| {
        let mut order = order(jsapi());
        change(&mut order);
        let errors = order.check().unwrap_err().errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    };
    let wrong = |field, fault| FieldError { field, fault };
    let too_long = |bytes, bytes_max| Fault::TooLong { bytes, bytes_max };
    let openid = |text: &str| Trade::Jsapi { payer: Payer::OpenId(OpenId::from(text.to_owned())) };
    assert_eq!(order(jsapi()).check(), Ok(()));
    assert_eq!(fault(&|o| o.trade = openid("")), wrong("openid", Fault::Missing));
    assert_eq!(fault(&|o| o.trade = openid("a&b")), wrong("openid", Fault::Characters));
    let sub = || Trade::Jsapi { payer: Payer::SubOpenId(OpenId::from("o".to_owned())) };
    assert_eq!(fault(&|o| o.trade = sub()), wrong("sub_appid", Fault::Missing));
    let product = |id: &str| Trade::Native { product_id: id.to_owned() };
    assert_eq!(fault(&|o| o.trade = product("")), wrong("product_id", Fault::Missing));
    assert_eq!(fault(&|o| o.trade = product(&"p".repeat(33))), wrong("product_id", too_long(33, 32)));
    let scene =
        |name: &str| Trade::Mweb { scene: H5Scene::Ios { app_name: name.to_owned(), bundle_id: "b".into() } };
    assert_eq!(fault(&|o| o.trade = scene("")), wrong("scene_info", Fault::Missing));
    assert!(matches!(
        fault(&|o| o.trade = scene(&"n".repeat(256))),
        FieldError { field: "scene_info", fault: Fault::TooLong { .. } }
    ));
    assert_eq!(fault(&|o| o.total_fee = 0), wrong("total_fee", Fault::NotPositive));
    assert_eq!(fault(&|o| o.body = "茶".repeat(43)), wrong("body", too_long(129, 128)));
    assert_eq!(fault(&|o| o.body = " ".into()), wrong("body", Fault::Missing));
    assert_eq!(fault(&|o| o.body = "tea\n".into()), wrong("body", Fault::BlanksAround));
    assert_eq!(fault(&|o| o.attach = "\u{1}".into()), wrong("attach", Fault::Characters));
    assert_eq!(fault(&|o| o.attach = "a".repeat(128)), wrong("attach", too_long(128, 127)));
    assert_eq!(fault(&|o| o.order.out_trade_no = "T/1".into()), wrong("out_trade_no", Fault::Characters));
    assert_eq!(fault(&|o| o.order.out_trade_no = "T".repeat(33)), wrong("out_trade_no", too_long(33, 32)));
    assert_eq!(fault(&|o| o.notify_url.push_str("?a=1")), wrong("notify_url", Fault::Url));
    assert_eq!(fault(&|o| o.notify_url.clear()), wrong("notify_url", Fault::Missing));
    assert_eq!(fault(&|o| o.fee_type = "rmb".into()), wrong("fee_type", Fault::Currency));
    assert_eq!(
        fault(&|o| o.spbill_create_ip = Ipv4Addr::UNSPECIFIED.into()),
        wrong("spbill_create_ip", Fault::Missing)
    );
    assert_eq!(fault(&|o| o.time_expire_ms = Some(i64::MAX)), wrong("time_expire", Fault::Time));
    let short = |o: &mut UnifiedOrder| (o.time_start_ms, o.time_expire_ms) = (Some(0), Some(60_000));
    assert_eq!(fault(&short), wrong("time_expire", Fault::LifeTooShort));
}

#[test]
fn an_answer_brings_what_its_way_of_paying_needs() {
    let parse = |fields: &[(&str, &str)]| {
        let key = ApiKey::new(KEY).unwrap();
        let mut all = vec![("return_code", "SUCCESS"), ("appid", "wx1"), ("mch_id", "1900000109")];
        all.extend(fields);
        let sign = sign::sign(all.iter().copied(), &key, Algorithm::Md5);
        all.push(("sign", &sign));
        let body = xml::write(all);
        UnifiedOrderAnswer::parse(body.as_bytes(), &key, Algorithm::Md5)
            .map(|answer| answer.into_inner().result)
    };
    let placed = |trade_type, url: Option<(&'static str, &'static str)>| {
        let mut fields = vec![("result_code", "SUCCESS"), ("trade_type", trade_type), ("prepay_id", "wx20")];
        fields.extend(url);
        parse(&fields)
    };
    let UnifiedOrderResult::Placed(order) =
        placed("NATIVE", Some(("code_url", "weixin://wxpay/bizpayurl?pr=1"))).unwrap()
    else {
        panic!("refused")
    };
    assert_eq!(order.code_url.as_deref(), Some("weixin://wxpay/bizpayurl?pr=1"));
    assert!(placed("JSAPI", None).is_ok() && placed("APP", None).is_ok());
    assert_eq!(placed("NATIVE", None), Err(AnswerError::MalformedAnswer("code_url")));
    assert_eq!(placed("MWEB", None), Err(AnswerError::MalformedAnswer("mweb_url")));
    assert_eq!(
        parse(&[("result_code", "SUCCESS"), ("trade_type", "APP")]),
        Err(AnswerError::MalformedAnswer("prepay_id"))
    );
    let refused = parse(&[("result_code", "FAIL"), ("err_code", "OUT_TRADE_NO_USED")]).unwrap();
    assert!(
        matches!(refused, UnifiedOrderResult::Error { code, .. } if code.as_str() == "OUT_TRADE_NO_USED")
    );
}

/// Every published signature for devices, through the functions that make them.
#[test]
fn pay_sign_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let vectors = vectors["pay_signs"].as_array().unwrap();
    assert_eq!(vectors.len(), 7);
    for vector in vectors {
        let (id, inputs) = (vector["id"].as_str().unwrap(), &vector["inputs"]);
        let fields: BTreeMap<&str, &str> = inputs["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        let key = ApiKey::new(inputs["key"].as_str().unwrap()).unwrap();
        let signer = |time: &str, nonce| DeviceSigner {
            key: &key,
            algorithm: inputs["algorithm"].as_str().unwrap().parse().unwrap(),
            timestamp_s: fields[time].parse().unwrap(),
            nonce: fields[nonce],
        };
        let expected = vector["expected"]["sign"].as_str().unwrap();
        if let Some(app_id) = fields.get("appId") {
            let prepay_id = fields["package"].strip_prefix("prepay_id=").unwrap();
            let made = JsapiParameters::new(app_id, prepay_id, signer("timeStamp", "nonceStr"));
            let signed: BTreeMap<_, _> =
                made.bridge().into_iter().filter(|(name, _)| *name != "paySign").collect();
            assert_eq!((signed, made.pay_sign.as_str()), (fields.clone(), expected), "{id}");
            assert_eq!(made.jssdk()[0], ("timestamp", fields["timeStamp"]), "{id}");
            assert_eq!(made.jssdk()[1..], made.mini_program()[1..], "{id}: signed once");
            assert_eq!(made.bridge()[1..], made.mini_program(), "{id}");
        } else if let Some(partner) = fields.get("partnerid") {
            let made = AppParameters::new(
                fields["appid"],
                partner,
                fields["prepayid"],
                signer("timestamp", "noncestr"),
            );
            let signed: BTreeMap<_, _> =
                made.fields().into_iter().filter(|(name, _)| *name != "sign").collect();
            assert_eq!((signed, made.sign.as_str()), (fields.clone(), expected), "{id}");
        } else {
            let signer = signer("time_stamp", "nonce_str");
            let link = native_link(fields["appid"], fields["mch_id"], fields["product_id"], signer);
            assert!(link.starts_with(&format!("weixin://wxpay/bizpayurl?sign={expected}&")), "{id}: {link}");
            assert!(
                fields.iter().all(|(name, value)| link.contains(&format!("&{name}={value}"))),
                "{id}: {link}"
            );
        }
    }
}

#[test]
fn the_way_back_is_encoded_once_and_whole() {
    let mweb = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx20&package=1037687096";
    let with = mweb_url_with_redirect(mweb, "https://shop.example.com/订单?id=1&b=a+b%20c#top");
    let expected =
        "&redirect_url=https%3A%2F%2Fshop.example.com%2F%E8%AE%A2%E5%8D%95%3Fid%3D1%26b%3Da%2Bb%2520c%23top";
    assert_eq!(with, format!("{mweb}{expected}"));
    assert_eq!(mweb_url_with_redirect("https://x/y", "a"), "https://x/y?redirect_url=a");
}
