//! refund and refundquery as a merchant calls them.

use std::time::Duration;

use hyper::{Method, StatusCode};
use simulator::{
    Certificate, Coupon, Faults, Funds, NewOrder, NewRefund, OrderKey, Payment, RefundKey, RefundState,
    Settings, SimulatorConfig,
};
use wechat_pay::{
    refund::{RefundAnswer, RefundResult},
    refund_query::{RefundQueryAnswer, RefundQueryResult},
    sign::Algorithm::{HmacSha256, Md5},
};

use crate::support::{
    APP, MCH, Map, NOWHERE, OTHER_SUB, PATIENCE, PROVIDER, SUB, Sim, config, key, map, query_of, until,
};

const REFUND: &str = "/secapi/pay/refund";
const QUERY: &str = "/pay/refundquery";

fn wish(number: &str, refund_no: &str, refund_fee: u64) -> Map {
    map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("out_trade_no", number),
        ("out_refund_no", refund_no),
        ("total_fee", "1999"),
        ("refund_fee", &refund_fee.to_string()),
    ])
}

fn ask(name: &str, value: &str) -> Map {
    map(&[("appid", APP), ("mch_id", MCH), (name, value)])
}

fn with(mut fields: Map, name: &str, value: &str) -> Map {
    fields.insert(name.to_owned(), value.to_owned());
    fields
}

/// By the clock nothing ends, only by hand or by a leap.
async fn slow_sim() -> Sim {
    let settings = Settings { refund_delay_s: 86_400, ..Settings::default() };
    Sim::start(SimulatorConfig { clock_scale: 1.0, settings, ..config(Faults::default()) }).await
}

fn paid(sim: &Sim, number: &str) -> OrderKey {
    let order = sim.order(number, NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    order
}

fn named(refund_no: &str) -> RefundKey {
    RefundKey { mch_id: MCH.to_owned(), out_refund_no: refund_no.to_owned() }
}

async fn refusal(sim: &Sim, fields: &Map) -> (String, String) {
    let answer = sim.call(REFUND, fields, Md5).await;
    assert_eq!(answer["result_code"], "FAIL", "{answer:?}");
    (answer["err_code"].clone(), answer["err_code_des"].clone())
}

#[tokio::test]
async fn a_refund_is_taken_once_and_the_order_says_refund() {
    let sim = slow_sim().await;
    let order = paid(&sim, "T00001");
    for algorithm in [Md5, HmacSha256] {
        let fields = wish("T00001", "R1", 500);
        let (_, body) = sim.post_signed(REFUND, &fields, algorithm).await.unwrap();
        let answer = RefundAnswer::parse(body.as_bytes(), &key(), algorithm).unwrap().into_inner();
        let RefundResult::Accepted(refund) = answer.result else { panic!("{body}") };
        let truth = sim.control.refund_truth(&named("R1")).unwrap();
        assert_eq!(
            (&*refund.refund_id, refund.refund_fee, refund.total_fee, refund.cash_refund_fee),
            (&*truth.refund_id, 500, 1999, Some(500))
        );
    }
    let truth = sim.control.refund_truth(&named("R1")).unwrap();
    assert_eq!((truth.requests, truth.refund_status), (2, RefundState::Processing));
    assert_eq!((sim.control.stats().refunds, sim.control.refund_truths().len()), (1, 1));
    assert_eq!(sim.control.truth(&order).unwrap().refunded_fee, 500);
    let answer = sim.query(&order, Md5).await;
    assert_eq!((&*answer["trade_state"], &*answer["total_fee"]), ("REFUND", "1999"));
    assert!(!answer["transaction_id"].is_empty() && !answer["time_end"].is_empty());

    let by_transaction = with(wish("T00001", "R2", 1499), "transaction_id", &answer["transaction_id"]);
    let mut by_transaction = by_transaction;
    by_transaction.remove("out_trade_no");
    assert_eq!(sim.call(REFUND, &by_transaction, Md5).await["result_code"], "SUCCESS");
    assert_eq!(sim.control.truth(&order).unwrap().refunded_fee, 1999);
    let all = refusal(&sim, &wish("T00001", "R3", 1)).await;
    assert_eq!(all, ("ERROR".to_owned(), "订单已全额退款".to_owned()));
    sim.stop().await;
}

#[tokio::test]
async fn copies_at_once_refund_once() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    let fields = wish("T00001", "R1", 1999);
    let call = || sim.call(REFUND, &fields, Md5);
    let answers = tokio::join!(call(), call(), call(), call());
    let ids = [&answers.0, &answers.1, &answers.2, &answers.3].map(|answer| answer["refund_id"].clone());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(sim.control.stats().refunds, 1);
}

#[tokio::test]
async fn a_bad_refund_is_refused_for_its_reason() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    paid(&sim, "T00002");
    sim.order("T00003", NOWHERE);
    assert_eq!(sim.call(REFUND, &wish("T00001", "R1", 500), Md5).await["result_code"], "SUCCESS");
    let cases = [
        (wish("T00001", "R1", 501), "REFUND_FEE_MISMATCH"),
        (wish("T00002", "R1", 500), "REFUND_FEE_MISMATCH"),
        (with(wish("T00001", "R2", 500), "total_fee", "2000"), "REFUND_FEE_MISMATCH"),
        (wish("T00001", "R2", 1500), "INVALID_REQUEST"),
        (wish("T00003", "R2", 500), "TRADE_STATE_ERROR"),
        (wish("T00004", "R2", 500), "ORDERNOTEXIST"),
        (wish("T00001", "R 2", 500), "PARAM_ERROR"),
        (wish("T00001", &"R".repeat(65), 500), "PARAM_ERROR"),
        (with(wish("T00001", "R2", 500), "refund_account", "MY_POCKET"), "PARAM_ERROR"),
        (with(wish("T00001", "R2", 500), "notify_url", "http://shop/?a=1"), "PARAM_ERROR"),
        (with(wish("T00001", "R2", 500), "refund_fee_type", "USD"), "PARAM_ERROR"),
        (with(wish("T00001", "R2", 500), "refund_desc", &"x".repeat(81)), "PARAM_ERROR"),
        (with(wish("T00001", "R2", 500), "appid", "wx0000000000000000"), "APPID_MCHID_NOT_MATCH"),
    ];
    for (fields, code) in cases {
        assert_eq!(refusal(&sim, &fields).await.0, code, "{fields:?}");
    }
    for fields in [wish("T00001", "R2", 2000), with(wish("T00001", "R2", 1), "refund_fee", "0.01")] {
        let answer = sim.call(REFUND, &fields, Md5).await;
        assert_eq!((&*answer["return_code"], &*answer["return_msg"]), ("FAIL", "invalid refund_fee"));
    }
    for name in ["out_refund_no", "total_fee", "refund_fee", "out_trade_no"] {
        let mut fields = wish("T00001", "R2", 500);
        fields.remove(name);
        assert_eq!(refusal(&sim, &fields).await.0, "LACK_PARAMS", "{name}");
    }
    assert_eq!(sim.control.stats().refunds, 1);
}

#[tokio::test]
async fn funds_times_and_counts_have_limits() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    sim.control.set_funds(MCH, Funds { unsettled_fee: Some(600), recharge_fee: Some(100) }).unwrap();
    assert_eq!(sim.call(REFUND, &wish("T00001", "R1", 500), Md5).await["result_code"], "SUCCESS");
    let short = refusal(&sim, &wish("T00001", "R2", 101)).await;
    assert_eq!((&*short.0, short.1.contains("未结算")), ("NOTENOUGH", true));
    let recharge = with(wish("T00001", "R2", 101), "refund_account", "REFUND_SOURCE_RECHARGE_FUNDS");
    let short = refusal(&sim, &recharge).await;
    assert_eq!((&*short.0, short.1.contains("基本账户")), ("NOTENOUGH", true));
    let recharge = with(wish("T00001", "R2", 100), "refund_account", "REFUND_SOURCE_RECHARGE_FUNDS");
    assert_eq!(sim.call(REFUND, &recharge, Md5).await["result_code"], "SUCCESS");
    let left = Funds { unsettled_fee: Some(100), recharge_fee: Some(0) };
    assert_eq!(sim.control.funds(MCH).unwrap(), left);
    sim.control.end_refund(&named("R1"), RefundState::RefundClose).unwrap();
    assert_eq!(sim.control.funds(MCH).unwrap().unsettled_fee, Some(600), "closed: the money is there again");

    let strict = Settings { refund_interval_s: 60, refunds_per_order_max: 3, ..sim.control.settings() };
    sim.control.set_settings(strict).unwrap();
    assert_eq!(refusal(&sim, &wish("T00001", "R3", 1)).await.0, "INVALID_REQ_TOO_MUCH");
    sim.control.advance(Duration::from_secs(61));
    assert_eq!(sim.call(REFUND, &wish("T00001", "R3", 1), Md5).await["result_code"], "SUCCESS");
    sim.control.advance(Duration::from_secs(61));
    assert_eq!(refusal(&sim, &wish("T00001", "R4", 1)).await.0, "ERROR");
    paid(&sim, "T00002");
    sim.control.advance(Duration::from_secs(366 * 86_400));
    assert_eq!(refusal(&sim, &wish("T00002", "R5", 1)).await.0, "TRADE_OVERDUE");
}

#[tokio::test]
async fn a_refund_ends_by_the_clock_or_by_hand() {
    let sim = slow_sim().await;
    let order = paid(&sim, "T00001");
    for number in ["R1", "R2", "R3"] {
        assert_eq!(sim.call(REFUND, &wish("T00001", number, 500), Md5).await["result_code"], "SUCCESS");
    }
    let state = |number: &str| sim.control.refund_truth(&named(number)).unwrap().refund_status;
    sim.control.end_refund(&named("R2"), RefundState::Change).unwrap();
    sim.control.end_refund(&named("R3"), RefundState::RefundClose).unwrap();
    assert!(sim.control.end_refund(&named("R3"), RefundState::Success).is_err(), "closed for good");
    assert_eq!((state("R1"), state("R2")), (RefundState::Processing, RefundState::Change));
    assert_eq!(sim.control.truth(&order).unwrap().refunded_fee, 1000);
    sim.control.advance(Duration::from_secs(86_401));
    until(|| (state("R1") == RefundState::Success).then_some(())).await;
    assert_eq!((state("R2"), state("R3")), (RefundState::Change, RefundState::RefundClose));
    sim.control.end_refund(&named("R2"), RefundState::Success).unwrap();

    let answer = sim.call(QUERY, &ask("out_trade_no", "T00001"), Md5).await;
    let said: Vec<_> = (0..3).map(|n| answer[&format!("refund_status_{n}")].as_str()).collect();
    assert_eq!(said, ["SUCCESS", "SUCCESS", "REFUNDCLOSE"]);
    assert_eq!((&*answer["refund_count"], &*answer["refund_fee"]), ("3", "1000"));
    assert_eq!(answer["refund_success_time_0"].len(), "2026-11-20 12:00:03".len());
    assert!(!answer.contains_key("refund_success_time_2"));
    assert_eq!(sim.query(&order, Md5).await["trade_state"], "REFUND");
    let outcomes = Faults { seed: 5, refund_change: 0.4, refund_closed: 0.5, ..Faults::default() };
    let sim = Sim::start(config(outcomes)).await;
    paid(&sim, "T00001");
    for number in 0..30 {
        sim.call(REFUND, &wish("T00001", &format!("R{number}"), 10), Md5).await;
    }
    sim.control.advance(Duration::from_secs(60));
    let ended = || {
        let truths = sim.control.refund_truths();
        truths.iter().all(|truth| truth.refund_status != RefundState::Processing).then_some(truths)
    };
    let truths = until(ended).await;
    for state in [RefundState::Success, RefundState::Change, RefundState::RefundClose] {
        assert!(truths.iter().any(|truth| truth.refund_status == state), "{state}");
    }
}

/// Longer than any test takes.
const HOUR_MS: u64 = 3_600_000;

#[tokio::test]
async fn a_query_may_lag_behind_what_was_taken_and_behind_its_end() {
    let lagging =
        |refund_query_lag_ms| Faults { refund_query_lag: 1.0, refund_query_lag_ms, ..Faults::default() };
    let settings = Settings { refund_delay_s: 86_400, ..Settings::default() };
    let sim = Sim::start(SimulatorConfig { clock_scale: 1.0, settings, ..config(lagging(HOUR_MS)) }).await;
    paid(&sim, "T00001");
    let status = async |number: &str| {
        let answer = sim.call(QUERY, &ask("out_refund_no", number), Md5).await;
        let word = if answer["result_code"] == "FAIL" { "err_code" } else { "refund_status_0" };
        answer[word].clone()
    };
    sim.call(REFUND, &wish("T00001", "R1", 500), Md5).await;
    assert_eq!(status("R1").await, "REFUNDNOTEXIST");
    assert_eq!(sim.control.refund_truth(&named("R1")).unwrap().queries, 1, "it was asked about");
    sim.control.set_faults(Faults::default()).unwrap();
    assert_eq!(status("R1").await, "PROCESSING");
    sim.control.set_faults(lagging(HOUR_MS)).unwrap();
    sim.control.end_refund(&named("R1"), RefundState::Success).unwrap();
    assert_eq!(status("R1").await, "PROCESSING", "behind its end");
    sim.control.set_faults(Faults::default()).unwrap();
    assert_eq!(status("R1").await, "SUCCESS");

    sim.control.set_faults(lagging(300)).unwrap();
    let becomes = async |state: &str, since: tokio::time::Instant| {
        while status("R2").await != state {
            assert!(since.elapsed() < PATIENCE, "it is never {state}");
        }
        assert!(since.elapsed() >= Duration::from_millis(300), "{state} after {:?}", since.elapsed());
    };
    let taken = tokio::time::Instant::now();
    sim.call(REFUND, &wish("T00001", "R2", 500), Md5).await;
    becomes("PROCESSING", taken).await;
    let ended = tokio::time::Instant::now();
    sim.control.end_refund(&named("R2"), RefundState::Success).unwrap();
    becomes("SUCCESS", ended).await;
}

#[tokio::test]
async fn many_refunds_come_in_pages_and_single_ones_by_any_number() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    for number in 0..23 {
        sim.call(REFUND, &wish("T00001", &format!("R{number:02}"), 10 + number), Md5).await;
    }
    let (mut offset, mut seen) = (Some(0), Vec::new());
    while let Some(from) = offset {
        let fields = with(ask("out_trade_no", "T00001"), "offset", &from.to_string());
        let (_, body) = sim.post_signed(QUERY, &fields, Md5).await.unwrap();
        let answer = RefundQueryAnswer::parse(body.as_bytes(), &key(), Md5).unwrap().into_inner();
        let RefundQueryResult::Refunds(found) = &answer.result else { panic!("{body}") };
        assert_eq!(found.total_refund_count, Some(23));
        seen.extend(found.refunds.iter().map(|refund| (refund.out_refund_no.clone(), refund.refund_fee)));
        offset = answer.next_offset(from);
    }
    let expected: Vec<_> = (0..23).map(|number| (format!("R{number:02}"), 10 + number)).collect();
    assert_eq!(seen, expected);

    let truth = sim.control.refund_truth(&named("R07")).unwrap();
    for (name, value) in [("refund_id", &*truth.refund_id), ("out_refund_no", "R07")] {
        let answer = sim.call(QUERY, &with(ask(name, value), "out_trade_no", "T00001"), Md5).await;
        assert_eq!((&*answer["refund_count"], &*answer["out_refund_no_0"]), ("1", "R07"), "{name}");
        assert_eq!(answer["refund_id_0"], truth.refund_id);
    }
    let answer = sim.call(QUERY, &ask("transaction_id", &truth.transaction_id), Md5).await;
    assert_eq!((&*answer["refund_count"], &*answer["total_refund_count"]), ("10", "23"));
    paid(&sim, "T00002");
    let nothing = [
        ask("out_trade_no", "T00002"),
        ask("out_trade_no", "T00003"),
        ask("out_refund_no", "R99"),
        ask("refund_id", "50"),
        with(ask("out_trade_no", "T00001"), "offset", "23"),
    ];
    for fields in nothing {
        assert_eq!(sim.call(QUERY, &fields, Md5).await["err_code"], "REFUNDNOTEXIST", "{fields:?}");
    }
    assert!(sim.control.refund_truth(&named("R07")).unwrap().queries >= 3);
}

#[tokio::test]
async fn coupons_go_back_in_proportion_and_altogether() {
    let sim = slow_sim().await;
    let order = sim.order("T00001", NOWHERE);
    let coupon = |id: &str, fee, kind: &str| Coupon { id: id.to_owned(), fee, kind: Some(kind.to_owned()) };
    let coupons = vec![coupon("C1", 100, "CASH"), coupon("C2", 333, "NO_CASH")];
    sim.control.pay(&order, Payment { coupons, silent: true, ..Payment::default() }).unwrap();
    let number =
        |answer: &Map, name: &str| -> u64 { answer.get(name).map_or(0, |text| text.parse().unwrap()) };
    let mut sums = [0; 5];
    for (refund_no, fee) in [("R1", 1), ("R2", 998), ("R3", 1000)] {
        let answer = sim.call(REFUND, &wish("T00001", refund_no, fee), Md5).await;
        assert_eq!((&*answer["cash_fee"], &*answer["settlement_total_fee"]), ("1566", "1666"));
        let (cash, coupon) = (number(&answer, "cash_refund_fee"), number(&answer, "coupon_refund_fee"));
        assert_eq!(cash + coupon, fee);
        let shares = (0..number(&answer, "coupon_refund_count")).map(|n| {
            (&answer[&format!("coupon_type_{n}")], number(&answer, &format!("coupon_refund_fee_{n}")))
        });
        let (mut prepaid, mut not_prepaid) = (0, 0);
        for (kind, fee) in shares {
            *(if kind == "CASH" { &mut prepaid } else { &mut not_prepaid }) += fee;
        }
        assert_eq!(prepaid + not_prepaid, coupon);
        let settled = answer.get("settlement_refund_fee").map_or(fee, |text| text.parse().unwrap());
        assert_eq!(settled, fee - not_prepaid);
        for (sum, part) in sums.iter_mut().zip([cash, coupon, prepaid, not_prepaid, settled]) {
            *sum += part;
        }
    }
    assert_eq!(sums, [1566, 433, 100, 333, 1666]);
    let answer = sim.call(QUERY, &ask("out_refund_no", "R2"), Md5).await;
    assert_eq!((&*answer["coupon_refund_id_0_1"], &*answer["coupon_refund_count_0"]), ("C2", "2"));
}

#[tokio::test]
async fn the_certificate_is_asked_for() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    let set = |certificate| {
        sim.control.set_settings(Settings { certificate, ..sim.control.settings() }).unwrap();
    };
    let fields = wish("T00001", "R1", 1);
    set(Certificate::Missing);
    let (status, body) = sim.post_signed(REFUND, &fields, Md5).await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("No required SSL certificate was sent"), "{body}");
    assert_eq!(sim.call(QUERY, &ask("out_refund_no", "R1"), Md5).await["err_code"], "REFUNDNOTEXIST");
    set(Certificate::Header);
    assert_eq!(sim.post_signed(REFUND, &fields, Md5).await.unwrap().0, StatusCode::BAD_REQUEST);
    let body = sim.signed(&fields, Md5);
    let (status, answer) = sim.post_as(PROVIDER, REFUND, body.clone()).await;
    assert!(status == StatusCode::OK && answer.contains("证书") && answer.contains("FAIL"), "{answer}");
    assert_eq!(sim.control.stats().refunds, 0);
    let (_, answer) = sim.post_as(MCH, REFUND, body).await;
    assert!(answer.contains("refund_id"), "{answer}");
}

#[tokio::test]
async fn a_provider_refunds_for_its_sub_merchants_only() {
    let sim = slow_sim().await;
    let mut new = NewOrder::new(PROVIDER, "T00001", 1999, NOWHERE);
    new.sub_mch_id = Some(SUB.to_owned());
    let order = sim.control.create_order(new).unwrap();
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    let fields = with(with(wish("T00001", "R1", 500), "mch_id", PROVIDER), "sub_mch_id", OTHER_SUB);
    assert_eq!(refusal(&sim, &fields).await.0, "ORDERNOTEXIST");
    let fields = with(fields, "sub_mch_id", SUB);
    let answer = sim.call(REFUND, &fields, Md5).await;
    assert_eq!((&*answer["result_code"], &*answer["sub_mch_id"]), ("SUCCESS", SUB));
    let by_order = with(with(query_of(&order), "sub_mch_id", SUB), "mch_id", PROVIDER);
    assert_eq!(sim.call(QUERY, &by_order, Md5).await["out_refund_no_0"], "R1");
    let by_other = with(with(ask("out_refund_no", "R1"), "mch_id", PROVIDER), "sub_mch_id", OTHER_SUB);
    assert_eq!(sim.call(QUERY, &by_other, Md5).await["err_code"], "REFUNDNOTEXIST");
    let truth = &sim.control.refund_truths()[0];
    assert_eq!((truth.sub_mch_id.as_deref(), truth.refund_request_source), (Some(SUB), "API"));
}

#[tokio::test]
async fn refunds_are_made_and_ended_over_the_control_api() {
    let sim = slow_sim().await;
    paid(&sim, "T00001");
    let json = |method: Method, path: &str, body: &str| {
        let (path, body) = (path.to_owned(), body.to_owned());
        let sim = &sim;
        async move {
            let (status, text) = sim.request(method, &path, "application/json", body).await.unwrap();
            (status, serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default())
        }
    };
    let path = format!("/_sim/orders/{MCH}/T00001/refund");
    let body = r#"{"refund_fee":5,"out_refund_no":"R1","state":"PROCESSING"}"#;
    assert_eq!(json(Method::POST, &path, body).await.1["refunded_fee"], 5);
    let one = format!("/_sim/refunds/{MCH}/R1");
    let (_, truth) = json(Method::GET, &one, "").await;
    assert_eq!(
        (&truth["refund_status"], &truth["refund_request_source"]),
        (&"PROCESSING".into(), &"VENDOR_PLATFORM".into())
    );
    let (status, truth) = json(Method::POST, &format!("{one}/end"), r#"{"state":"CHANGE"}"#).await;
    assert_eq!((status, &truth["refund_status"]), (StatusCode::OK, &"CHANGE".into()));
    assert_eq!(
        json(Method::POST, &format!("{one}/end"), r#"{"state":"CHANGE"}"#).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(json(Method::POST, &format!("{one}/notify"), "{}").await.0, StatusCode::ACCEPTED);
    assert_eq!(json(Method::GET, &format!("/_sim/refunds/{MCH}/R2"), "").await.0, StatusCode::NOT_FOUND);
    sim.control.refund_with(&sim.key("T00001"), NewRefund::new(3)).unwrap();
    let (_, page) = json(Method::GET, "/_sim/refunds?after=1&limit=5", "").await;
    assert_eq!((&page["refunds"][0]["refund_fee"], &page["has_more"]), (&3.into(), &false.into()));
    let (_, before) = json(Method::GET, "/_sim/clock", "").await;
    let (_, after) = json(Method::POST, "/_sim/clock", r#"{"advance_s":3600}"#).await;
    assert!(after["wall_ms"].as_i64().unwrap() - before["wall_ms"].as_i64().unwrap() >= 3_600_000);
    let funds = format!("/_sim/merchants/{MCH}/funds");
    let (_, said) = json(Method::PUT, &funds, r#"{"unsettled_fee":7}"#).await;
    assert_eq!((&said["unsettled_fee"], &said["recharge_fee"]), (&7.into(), &serde_json::Value::Null));
    let (_, said) = json(Method::PUT, "/_sim/settings", r#"{"refund_delay_s":5}"#).await;
    assert_eq!((&said["refund_delay_s"], &said["bill_ready_s"]), (&5.into(), &36_000.into()));
    assert_eq!(json(Method::PUT, "/_sim/settings", r#"{"refund":5}"#).await.0, StatusCode::BAD_REQUEST);
}
