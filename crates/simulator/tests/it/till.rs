//! Payments at a till, reversing them, and closing.

use std::time::Duration;

use hyper::Method;
use simulator::{Certificate, Faults, OrderKey, PayCode, Payment, Settings, SimulatorConfig, TradeState};
use wechat_pay::sign::Algorithm::Md5;

use crate::support::{APP, MCH, Map, NOWHERE, PROVIDER, SUB, Sim, config, map, query_of, with, without};

const PAY: &str = "/pay/micropay";
const REVERSE: &str = "/secapi/pay/reverse";
const CODE: &str = "134567890123456789";

/// At real pace: only leaps let time pass.
async fn slow_sim() -> Sim {
    Sim::start(SimulatorConfig { clock_scale: 1.0, ..config(Faults::default()) }).await
}

fn till(number: &str, auth_code: &str) -> Map {
    map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("body", "茶"),
        ("out_trade_no", number),
        ("total_fee", "1999"),
        ("spbill_create_ip", "127.0.0.1"),
        ("auth_code", auth_code),
    ])
}

async fn code(sim: &Sim, path: &str, fields: &Map) -> String {
    let answer = sim.call(path, fields, Md5).await;
    answer
        .get("err_code")
        .or(answer.get("return_msg").filter(|_| answer["return_code"] == "FAIL"))
        .cloned()
        .unwrap_or_default()
}

async fn state(sim: &Sim, number: &str) -> String {
    sim.query(&sim.key(number), Md5).await["trade_state"].clone()
}

fn plan(sim: &Sim, auth_code: &str, result: &str, charged: bool) {
    sim.control.plan_code(auth_code, PayCode { result: result.to_owned(), charged }).unwrap();
}

#[tokio::test]
async fn a_code_is_charged_once() {
    let sim = slow_sim().await;
    let answer = sim.call(PAY, &till("T00001", CODE), Md5).await;
    assert_eq!((&*answer["result_code"], &*answer["trade_type"]), ("SUCCESS", "MICROPAY"));
    let query = sim.query(&sim.key("T00001"), Md5).await;
    for name in ["transaction_id", "total_fee", "cash_fee", "time_end", "openid", "bank_type"] {
        assert_eq!(answer[name], query[name], "{name}");
    }
    assert_eq!(code(&sim, PAY, &till("T00001", CODE)).await, "ORDERPAID");
    assert_eq!(code(&sim, PAY, &till("T00002", CODE)).await, "AUTHCODEEXPIRE", "the code was used");
    assert_eq!(code(&sim, PAY, &with(till("T00001", CODE), "total_fee", "1")).await, "OUT_TRADE_NO_USED");
    for wrong in ["", "13456789012345678", "1345678901234567890", "164567890123456789", "13456789012345678x"]
    {
        let expected = if wrong.is_empty() { "LACK_PARAMS" } else { "AUTH_CODE_INVALID" };
        assert_eq!(code(&sim, PAY, &till("T00003", wrong)).await, expected, "{wrong}");
    }
    assert_eq!(code(&sim, PAY, &without(till("T00003", CODE), "body")).await, "LACK_PARAMS");
    assert_eq!(code(&sim, PAY, &with(till("T00003", CODE), "total_fee", "0.1")).await, "invalid total_fee");
    assert_eq!(
        (sim.control.stats().payments, sim.control.posts(None, 9).len()),
        (1, 0),
        "nobody is notified"
    );
}

#[tokio::test]
async fn every_result_of_a_code_can_be_had() {
    let sim = slow_sim().await;
    for (number, result, charged, after) in [
        ("T00001", "NOTENOUGH", false, "PAYERROR"),
        ("T00002", "USERPAYING", false, "USERPAYING"),
        ("T00003", "SYSTEMERROR", true, "SUCCESS"),
        ("T00004", "BANKERROR", false, "NOTPAY"),
    ] {
        let auth_code = format!("13{:016}", number[1..].parse::<u64>().unwrap());
        plan(&sim, &auth_code, result, charged);
        assert_eq!(code(&sim, PAY, &till(number, &auth_code)).await, result);
        assert_eq!(state(&sim, number).await, after, "{result}");
    }
    assert_eq!(code(&sim, PAY, &till("T00002", CODE)).await, "USERPAYING");
    assert_eq!(code(&sim, "/pay/closeorder", &query_of(&sim.key("T00002"))).await, "TRADE_STATE_ERROR");
    sim.control.pay(&sim.key("T00002"), Payment::default()).unwrap();
    assert_eq!(state(&sim, "T00002").await, "SUCCESS");
    assert_eq!(code(&sim, PAY, &till("T00004", CODE)).await, "", "tried again with another code");
    let nonsense = PayCode { result: "NONSENSE".to_owned(), charged: false };
    assert!(sim.control.plan_code(CODE, nonsense).is_err());
    let path = "/_sim/codes/130000000000000099";
    sim.request(Method::PUT, path, "application/json", r#"{"result":"BUYER_MISMATCH"}"#).await.unwrap();
    assert_eq!(code(&sim, PAY, &till("T00005", "130000000000000099")).await, "BUYER_MISMATCH");
}

#[tokio::test]
async fn a_payment_at_a_till_is_reversed_with_a_certificate() {
    let sim = slow_sim().await;
    sim.call(PAY, &till("T00001", CODE), Md5).await;
    let reverse = |number: &str| query_of(&sim.key(number));
    sim.control.set_settings(Settings { certificate: Certificate::Missing, ..Settings::default() }).unwrap();
    let (status, _) = sim.post_signed(REVERSE, &reverse("T00001"), Md5).await.unwrap();
    assert_eq!((status.as_u16(), &*state(&sim, "T00001").await), (400, "SUCCESS"));
    sim.control.set_settings(Settings::default()).unwrap();
    for _ in 0..2 {
        let answer = sim.call(REVERSE, &reverse("T00001"), Md5).await;
        assert_eq!((&*answer["result_code"], &*answer["recall"]), ("SUCCESS", "N"));
        assert_eq!(state(&sim, "T00001").await, "REVOKED");
    }
    assert_eq!(code(&sim, PAY, &till("T00001", CODE)).await, "ORDERREVERSED");
    let day = sim.control.clock().wall[..10].replace('-', "");
    let totals = sim.control.bill_totals(MCH, &day).unwrap();
    assert_eq!(
        (totals.rows, totals.settlement_fee, totals.refund_fee, totals.handling_fee),
        (2, 1999, 1999, 0)
    );

    plan(&sim, "130000000000000002", "USERPAYING", false);
    sim.call(PAY, &till("T00002", "130000000000000002"), Md5).await;
    assert_eq!(code(&sim, REVERSE, &reverse("T00002")).await, "");
    assert!(sim.control.pay(&sim.key("T00002"), Payment::default()).is_err(), "it was stopped");

    assert_eq!(code(&sim, REVERSE, &reverse("T00009")).await, "INVALID_TRANSACTIONID");
    let online = sim.order("T00003", NOWHERE);
    assert_eq!(code(&sim, REVERSE, &query_of(&online)).await, "PARAM_ERROR");
    sim.call(PAY, &till("T00004", "130000000000000004"), Md5).await;
    sim.call(PAY, &till("T00005", "130000000000000005"), Md5).await;
    sim.control.refund(&sim.key("T00005"), 1).unwrap();
    assert_eq!(code(&sim, REVERSE, &reverse("T00005")).await, "TRADE_STATE_ERROR");
    sim.control.advance(Duration::from_secs(7 * 86_400 + 1));
    assert_eq!(code(&sim, REVERSE, &reverse("T00004")).await, "REVERSE_EXPIRE");
}

#[tokio::test]
async fn a_provider_charges_and_reverses_for_its_sub_merchants() {
    let sim = slow_sim().await;
    let fields = with(with(till("T00001", CODE), "mch_id", PROVIDER), "sub_mch_id", SUB);
    assert_eq!(sim.call(PAY, &fields, Md5).await["sub_mch_id"], SUB);
    let order = OrderKey { mch_id: PROVIDER.to_owned(), out_trade_no: "T00001".to_owned() };
    assert_eq!(code(&sim, REVERSE, &query_of(&order)).await, "LACK_PARAMS");
    assert_eq!(code(&sim, REVERSE, &with(query_of(&order), "sub_mch_id", SUB)).await, "");
    assert_eq!(sim.control.truth(&order).unwrap().trade_state, TradeState::Revoked);
}

#[tokio::test]
async fn an_order_is_closed_when_it_is_old_enough() {
    let sim = slow_sim().await;
    let close = |number: &str| query_of(&sim.key(number));
    sim.order("T00001", NOWHERE);
    assert_eq!(code(&sim, "/pay/closeorder", &close("T00001")).await, "TRADE_STATE_ERROR");
    sim.control.advance(Duration::from_secs(301));
    assert_eq!(code(&sim, "/pay/closeorder", &close("T00001")).await, "");
    assert_eq!(code(&sim, "/pay/closeorder", &close("T00001")).await, "ORDERCLOSED");
    assert!(sim.control.pay(&sim.key("T00001"), Payment::default()).is_err());
    sim.control.set_settings(Settings { close_age_s: 0, ..Settings::default() }).unwrap();
    let paid = sim.order("T00002", NOWHERE);
    sim.control.pay(&paid, Payment { silent: true, ..Payment::default() }).unwrap();
    assert_eq!(code(&sim, "/pay/closeorder", &close("T00002")).await, "ORDERPAID");
    sim.order("T00003", NOWHERE);
    assert_eq!(code(&sim, "/pay/closeorder", &close("T00003")).await, "");
}
