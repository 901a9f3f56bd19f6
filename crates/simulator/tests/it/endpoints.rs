//! unifiedorder, orderquery and closeorder as a merchant calls them.

use hyper::{Method, StatusCode};
use simulator::{
    Coupon, MerchantConfig, NewOrder, OrderKey, Payment, SecretKey, SimulatorConfig, TradeState,
};
use wechat_pay::{
    sign::{
        self,
        Algorithm::{HmacSha256, Md5},
    },
    xml,
};

use crate::support::{
    APP, KEY, MCH, Map, NOWHERE, OTHER_SUB, PROVIDER, SCENE, SUB, Sim, config, key as key_of_all, map,
    query_of, unified, with, without,
};

async fn err_code(sim: &Sim, path: &str, fields: &Map) -> String {
    let answer = sim.call(path, fields, Md5).await;
    assert_eq!(answer["result_code"], "FAIL");
    assert!(!answer["err_code_des"].is_empty());
    answer["err_code"].clone()
}

fn order(number: &str) -> OrderKey {
    OrderKey { mch_id: MCH.to_owned(), out_trade_no: number.to_owned() }
}

#[tokio::test]
async fn an_order_is_placed_and_a_repeat_gets_the_same_prepay_id() {
    let sim = Sim::plain().await;
    for (algorithm, number) in [(Md5, "T00001"), (HmacSha256, "T00002")] {
        let first = sim.call("/pay/unifiedorder", &unified(number), algorithm).await;
        assert_eq!((&*first["result_code"], &*first["trade_type"]), ("SUCCESS", "JSAPI"));
        let again = sim.call("/pay/unifiedorder", &unified(number), algorithm).await;
        assert_eq!(first["prepay_id"], again["prepay_id"]);
        let truth = sim.control.truth(&order(number)).unwrap();
        assert_eq!((truth.total_fee, &*truth.fee_type, truth.paid), (1999, "CNY", false));
    }
    assert_eq!(sim.control.stats().orders, 2);
    let other = with(unified("T00001"), "total_fee", "2000");
    assert_eq!(err_code(&sim, "/pay/unifiedorder", &other).await, "OUT_TRADE_NO_USED");
    sim.control.pay(&order("T00001"), Payment { silent: true, ..Payment::default() }).unwrap();
    assert_eq!(err_code(&sim, "/pay/unifiedorder", &unified("T00001")).await, "ORDERPAID");
    sim.control.set_state(&order("T00002"), TradeState::Closed).unwrap();
    assert_eq!(err_code(&sim, "/pay/unifiedorder", &unified("T00002")).await, "ORDERCLOSED");
}

#[tokio::test]
async fn links_are_given_by_trade_type() {
    let sim = Sim::plain().await;
    let native = with(with(unified("T00001"), "trade_type", "NATIVE"), "product_id", "12");
    let answer = sim.call("/pay/unifiedorder", &native, Md5).await;
    assert!(answer["code_url"].starts_with("weixin://wxpay/bizpayurl?pr="));
    let mweb = with(with(unified("T00002"), "trade_type", "MWEB"), "scene_info", SCENE);
    let answer = sim.call("/pay/unifiedorder", &mweb, Md5).await;
    assert!(answer["mweb_url"].starts_with("https://") && !answer.contains_key("code_url"));
}

#[tokio::test]
async fn a_bad_order_is_refused_for_its_reason() {
    let sim = Sim::plain().await;
    let good = || unified("T00001");
    for name in [
        "body",
        "out_trade_no",
        "total_fee",
        "spbill_create_ip",
        "notify_url",
        "trade_type",
        "openid",
        "appid",
    ] {
        assert_eq!(
            err_code(&sim, "/pay/unifiedorder", &without(good(), name)).await,
            "LACK_PARAMS",
            "{name}"
        );
    }
    assert_eq!(
        err_code(&sim, "/pay/unifiedorder", &with(good(), "trade_type", "NATIVE")).await,
        "LACK_PARAMS"
    );
    assert_eq!(err_code(&sim, "/pay/unifiedorder", &with(good(), "trade_type", "MWEB")).await, "LACK_PARAMS");
    let malformed = [
        ("out_trade_no", "T 1"),
        ("out_trade_no", "T00000000000000000000000000000001"),
        ("notify_url", "https://shop.example.com/notify?x=1"),
        ("notify_url", "shop.example.com/notify"),
        ("trade_type", "CASH"),
    ];
    for (name, value) in malformed {
        let code = err_code(&sim, "/pay/unifiedorder", &with(good(), name, value)).await;
        assert_eq!(code, "PARAM_ERROR", "{name}={value}");
    }
    for (name, value) in [("total_fee", "19.99"), ("total_fee", "0"), ("spbill_create_ip", "300.1.1.1")] {
        let answer = sim.call("/pay/unifiedorder", &with(good(), name, value), Md5).await;
        let said = format!("invalid {name}");
        assert_eq!((&*answer["return_code"], &answer["return_msg"]), ("FAIL", &said));
    }
    assert_eq!(err_code(&sim, "/pay/unifiedorder", &with(good(), "appid", "77")).await, "APPID_NOT_EXIST");
    let code = err_code(&sim, "/pay/unifiedorder", &with(good(), "appid", "wx0000000000000000")).await;
    assert_eq!(code, "APPID_MCHID_NOT_MATCH");
    assert_eq!(sim.control.stats().orders, 0);

    let full = Sim::start(SimulatorConfig { orders_max: 1, ..config(simulator::Faults::default()) }).await;
    full.call("/pay/unifiedorder", &unified("T00001"), Md5).await;
    assert_eq!(err_code(&full, "/pay/unifiedorder", &unified("T00002")).await, "SYSTEMERROR");
}

#[tokio::test]
async fn a_query_tells_every_state() {
    let sim = Sim::plain().await;
    let key = sim.order("T00001", NOWHERE);
    for word in [
        "NOTPAY",
        "USERPAYING",
        "ACCEPT",
        "CLOSED",
        "REVOKED",
        "PAYERROR",
        "SOMETHINGNEW",
        "SUCCESS",
        "REFUND",
    ] {
        sim.control.set_state(&key, TradeState::from(word.to_owned())).unwrap();
        for algorithm in [Md5, HmacSha256] {
            let answer = sim.query(&key, algorithm).await;
            assert_eq!((&*answer["result_code"], &*answer["trade_state"]), ("SUCCESS", word));
            assert_eq!(
                (&*answer["out_trade_no"], &*answer["appid"], &*answer["mch_id"]),
                ("T00001", APP, MCH)
            );
            assert_eq!(answer.get("sign_type"), None);
            let paid = matches!(word, "SUCCESS" | "REFUND");
            assert_eq!(answer.contains_key("transaction_id"), paid, "{word}");
            assert_eq!(answer.contains_key("time_end"), paid, "{word}");
        }
    }
    assert_eq!(sim.control.truth(&key).unwrap().queries, 18);
}

#[tokio::test]
async fn a_paid_order_shows_its_payment_by_either_number() {
    let sim = Sim::plain().await;
    sim.call("/pay/unifiedorder", &unified("T00001"), Md5).await;
    let key = order("T00001");
    let coupon =
        |id: &str, fee, kind: Option<&str>| Coupon { id: id.to_owned(), fee, kind: kind.map(str::to_owned) };
    let coupons =
        vec![coupon("a", 100, Some("CASH")), coupon("b", 50, Some("NO_CASH")), coupon("c", 9, None)];
    let too_much = Payment { coupons: vec![coupon("a", 2000, None)], ..Payment::default() };
    assert!(sim.control.pay(&key, too_much).unwrap_err().to_string().contains("1999"));
    let truth = sim.control.pay(&key, Payment { coupons, silent: true, ..Payment::default() }).unwrap();
    let transaction_id = truth.transaction_id.clone().unwrap();
    assert_eq!(transaction_id.len(), 28);

    let answer = sim.query(&key, Md5).await;
    for (name, value) in [
        ("total_fee", "1999"),
        ("cash_fee", "1840"),
        ("settlement_total_fee", "1949"),
        ("coupon_fee", "159"),
        ("coupon_count", "3"),
        ("coupon_id_0", "a"),
        ("coupon_type_0", "CASH"),
        ("coupon_fee_0", "100"),
        ("coupon_type_1", "NO_CASH"),
        ("coupon_fee_2", "9"),
        ("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
        ("attach", "store=7&till=<2>"),
        ("transaction_id", &transaction_id),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
    assert_eq!(answer.get("coupon_type_2"), None);
    let paid_at = truth.paid_at.unwrap();
    let digits: String = paid_at.chars().take(19).filter(char::is_ascii_digit).collect();
    assert_eq!(answer["time_end"], digits, "time_end is {paid_at} in Beijing");

    let by_transaction = map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("transaction_id", &transaction_id),
        ("out_trade_no", "other"),
    ]);
    assert_eq!(sim.call("/pay/orderquery", &by_transaction, Md5).await["out_trade_no"], "T00001");
    assert!(sim.control.pay(&key, Payment::default()).unwrap_err().to_string().contains("SUCCESS"));
    let other = sim.order("T00002", NOWHERE);
    let stolen = Payment { transaction_id: Some(transaction_id.clone()), ..Payment::default() };
    assert!(sim.control.pay(&other, stolen).unwrap_err().to_string().contains(&transaction_id));
    assert_eq!(sim.query(&other, Md5).await["trade_state"], "NOTPAY", "a refused payment leaves nothing");
}

#[tokio::test]
async fn strangers_are_told_apart() {
    let sim = Sim::plain().await;
    let key = sim.order("T00001", NOWHERE);
    let unknown = query_of(&order("T00002"));
    assert_eq!(err_code(&sim, "/pay/orderquery", &unknown).await, "ORDERNOTEXIST");
    assert_eq!(err_code(&sim, "/pay/orderquery", &without(unknown, "out_trade_no")).await, "LACK_PARAMS");
    sim.control.forget(&key).unwrap();
    assert_eq!(err_code(&sim, "/pay/orderquery", &query_of(&key)).await, "ORDERNOTEXIST");

    let undeclared = [("mch_id", MCH), ("nonce_str", "1")];
    let hmac_sign = sign::sign(undeclared, &key_of_all(), HmacSha256);
    let refusals = [
        (xml::write(undeclared.into_iter().chain([("sign", &*hmac_sign)])), "签名错误"),
        (format!("<xml><mch_id>{MCH}</mch_id><sign>{}</sign></xml>", "A".repeat(32)), "签名错误"),
        (format!("<xml><mch_id>{MCH}</mch_id></xml>"), "签名错误"),
        (format!("<xml><mch_id>{MCH}</mch_id><sign_type>RSA</sign_type><sign>A</sign></xml>"), "签名错误"),
        ("<xml><mch_id>1</mch_id></xml>".to_owned(), "商户号mch_id或sub_mch_id不存在"),
        ("{}".to_owned(), "XML格式错误"),
        (String::new(), "post数据为空"),
    ];
    for (body, message) in refusals {
        let (status, answer) = sim.request(Method::POST, "/pay/orderquery", "text/xml", body).await.unwrap();
        let expected = format!(
            "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[{message}]]></return_msg></xml>"
        );
        assert_eq!((status, answer), (StatusCode::OK, expected));
    }
    let (_, answer) = sim.request(Method::GET, "/pay/orderquery", "text/xml", "").await.unwrap();
    assert!(answer.contains("FAIL") && answer.contains("POST"), "{answer}");
    let (status, _) = sim.request(Method::POST, "/pay/nothing", "text/xml", "").await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) =
        sim.request(Method::POST, "/pay/orderquery", "text/xml", vec![b' '; 70_000]).await.unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_provider_names_one_of_its_sub_merchants() {
    let sim = Sim::plain().await;
    let provider = with(with(unified("T00001"), "mch_id", PROVIDER), "sub_mch_id", SUB);
    let answer = sim.call("/pay/unifiedorder", &provider, Md5).await;
    assert_eq!((&*answer["result_code"], &*answer["sub_mch_id"]), ("SUCCESS", SUB));
    let key = OrderKey { mch_id: PROVIDER.to_owned(), out_trade_no: "T00001".to_owned() };
    let query = with(query_of(&key), "sub_mch_id", SUB);
    let answer = sim.call("/pay/orderquery", &query, HmacSha256).await;
    assert_eq!((&*answer["trade_state"], &*answer["sub_mch_id"]), ("NOTPAY", SUB));
    assert_eq!(err_code(&sim, "/pay/orderquery", &query_of(&key)).await, "LACK_PARAMS");
    assert_eq!(
        err_code(&sim, "/pay/orderquery", &with(query_of(&key), "sub_mch_id", "1")).await,
        "MCHID_NOT_EXIST"
    );
    let foreign = with(query_of(&key), "sub_mch_id", OTHER_SUB);
    assert_eq!(
        err_code(&sim, "/pay/orderquery", &foreign).await,
        "ORDERNOTEXIST",
        "a sub merchant sees its own"
    );
    assert_eq!(err_code(&sim, "/pay/closeorder", &foreign).await, "ORDERNOTEXIST");
    let elsewhere = query_of(&order("T00001"));
    assert_eq!(
        err_code(&sim, "/pay/orderquery", &elsewhere).await,
        "ORDERNOTEXIST",
        "another merchant's number"
    );
}

#[tokio::test]
async fn an_order_is_closed_after_five_scaled_minutes() {
    let close = |number: &str| query_of(&order(number));
    let real_time =
        Sim::start(SimulatorConfig { clock_scale: 1.0, ..config(simulator::Faults::default()) }).await;
    real_time.order("T00001", NOWHERE);
    assert_eq!(err_code(&real_time, "/pay/closeorder", &close("T00001")).await, "TRADE_STATE_ERROR");

    let fast = SimulatorConfig { clock_scale: 1_000_000.0, ..config(simulator::Faults::default()) };
    let sim = Sim::start(fast).await;
    for number in ["T00001", "T00002"] {
        sim.order(number, NOWHERE);
    }
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let answer = sim.call("/pay/closeorder", &close("T00001"), HmacSha256).await;
    assert_eq!((&*answer["result_code"], &*answer["result_msg"]), ("SUCCESS", "OK"));
    assert_eq!(sim.query(&order("T00001"), Md5).await["trade_state"], "CLOSED");
    assert_eq!(err_code(&sim, "/pay/closeorder", &close("T00001")).await, "ORDERCLOSED");
    let not_payable = sim.control.pay(&order("T00001"), Payment::default()).unwrap_err();
    assert!(not_payable.to_string().contains("CLOSED"));
    sim.control.pay(&order("T00002"), Payment { silent: true, ..Payment::default() }).unwrap();
    assert_eq!(err_code(&sim, "/pay/closeorder", &close("T00002")).await, "ORDERPAID");
    assert_eq!(err_code(&sim, "/pay/closeorder", &close("T00003")).await, "ORDERNOTEXIST");
}

#[tokio::test]
async fn both_keys_of_a_rotation_work_and_answers_use_the_requests() {
    let sim = Sim::plain().await;
    let key = sim.order("T00001", NOWHERE);
    let (new, old) = (SecretKey::new(&"n".repeat(32)).unwrap(), SecretKey::new(KEY).unwrap());
    sim.control.set_keys(MCH, new.clone(), Some(old)).unwrap();
    assert_eq!(sim.query(&key, Md5).await["trade_state"], "NOTPAY", "the old key still works");
    sim.control.set_keys(MCH, new, None).unwrap();
    assert_eq!(sim.query(&key, Md5).await["return_msg"], "签名错误");
}

#[tokio::test]
async fn starting_tells_what_is_wrong() {
    let stop = tokio_util::sync::CancellationToken::new();
    let sim = Sim::plain().await;
    let (_, stats) = sim.request(Method::GET, "/_sim/stats", "", "").await.unwrap();
    assert!(stats.contains("\"orders\":0"), "{stats}");
    let none = simulator::Simulator::start(SimulatorConfig::default(), stop.clone()).await;
    assert!(none.err().unwrap().to_string().contains("at least one merchant"));
    let merchants = vec![MerchantConfig::new(MCH, APP, KEY).unwrap()];
    let bad = SimulatorConfig { merchants, listen: "nowhere".to_owned(), ..SimulatorConfig::default() };
    assert!(simulator::Simulator::start(bad, stop).await.err().unwrap().to_string().contains("nowhere"));
    let unknown = sim.control.create_order(NewOrder::new("1", "T00001", 1, NOWHERE)).unwrap_err();
    assert!(unknown.to_string().contains("no merchant 1"));
    sim.stop().await;
}
