//! What happens to calls on demand: whether they were carried out is what matters.

use hyper::StatusCode;
use simulator::{CallFaults, Faults, Payment};
use wechat_pay::{
    sign::{self, Algorithm::Md5},
    xml::Document,
};

use crate::support::{APP, MCH, Map, NOWHERE, PATIENCE, Sim, config, key, map, unified};

const REFUND: &str = "/secapi/pay/refund";

fn wish() -> Map {
    map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("out_trade_no", "T00001"),
        ("out_refund_no", "R1"),
        ("total_fee", "1999"),
        ("refund_fee", "500"),
    ])
}

async fn sim_with(refund: CallFaults) -> Sim {
    let sim = Sim::start(config(Faults { refund, ..Faults::default() })).await;
    let order = sim.order("T00001", NOWHERE);
    sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    sim
}

#[tokio::test]
async fn before_a_call_is_carried_out_nothing_happened() {
    let refused = CallFaults {
        refuse: 1.0,
        refuse_code: "USER_ACCOUNT_ABNORMAL".to_owned(),
        refuse_text: "用户账户异常".to_owned(),
        ..CallFaults::default()
    };
    for (faults, code) in [
        (refused, "USER_ACCOUNT_ABNORMAL"),
        (CallFaults { system_error: 1.0, ..CallFaults::default() }, "SYSTEMERROR"),
        (CallFaults { frequency_limited: 1.0, ..CallFaults::default() }, "FREQUENCY_LIMITED"),
    ] {
        let sim = sim_with(faults).await;
        let answer = sim.call(REFUND, &wish(), Md5).await;
        assert_eq!((&*answer["result_code"], &*answer["err_code"]), ("FAIL", code));
        assert_eq!(sim.control.stats().refunds, 0);
    }
    let sim = sim_with(CallFaults { unsigned_fail: 1.0, ..CallFaults::default() }).await;
    assert_eq!(sim.call(REFUND, &wish(), Md5).await["return_code"], "FAIL");
    assert_eq!(sim.control.stats().refunds, 0);
    let sim = sim_with(CallFaults { http_500: 1.0, ..CallFaults::default() }).await;
    let (status, body) = sim.post_signed(REFUND, &wish(), Md5).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert_eq!(sim.control.stats().refunds, 0);
    let sim = sim_with(CallFaults { lost: 1.0, ..CallFaults::default() }).await;
    assert!(sim.post_signed(REFUND, &wish(), Md5).await.is_err());
    assert_eq!(sim.control.stats().refunds, 0);
    assert_eq!(sim.control.stats().call_faults["refund.lost"], 1);
}

#[tokio::test]
async fn after_it_was_carried_out_the_answer_does_not_say_so_and_a_repeat_finds_it() {
    let sim = sim_with(CallFaults { answer_lost: 1.0, ..CallFaults::default() }).await;
    assert!(sim.post_signed(REFUND, &wish(), Md5).await.is_err());
    assert_eq!(sim.control.stats().refunds, 1);
    sim.control.set_faults(Faults::default()).unwrap();
    let id = sim.control.refund_truths()[0].refund_id.clone();
    assert_eq!(sim.call(REFUND, &wish(), Md5).await["refund_id"], id);
    assert_eq!(sim.control.stats().refunds, 1);

    let sim = sim_with(CallFaults { html: 1.0, ..CallFaults::default() }).await;
    let (status, body) = sim.post_signed(REFUND, &wish(), Md5).await.unwrap();
    assert_eq!((status, sim.control.stats().refunds), (StatusCode::BAD_GATEWAY, 1));
    assert!(body.contains("502 Bad Gateway"), "{body}");
    let sim = sim_with(CallFaults { system_error_after: 1.0, ..CallFaults::default() }).await;
    assert_eq!(sim.call(REFUND, &wish(), Md5).await["err_code"], "SYSTEMERROR");
    assert_eq!(sim.control.stats().refunds, 1);
    let sim = sim_with(CallFaults { wrong_sign: 1.0, ..CallFaults::default() }).await;
    let (_, body) = sim.post_signed(REFUND, &wish(), Md5).await.unwrap();
    let document = Document::parse(body.as_bytes()).unwrap();
    assert!(sign::verify(&document, &key(), Md5).is_err() && document.get("refund_id").is_some());
    assert_eq!(sim.control.stats().refunds, 1);
}

#[tokio::test]
async fn a_request_arrives_when_nobody_waits_for_it_any_more() {
    let sim = sim_with(CallFaults { late: 1.0, late_ms: 4_000, ..CallFaults::default() }).await;
    let began = std::time::Instant::now();
    assert!(sim.post_signed(REFUND, &wish(), Md5).await.is_err());
    assert_eq!(sim.control.stats().refunds, 0);
    assert_eq!(sim.control.stats().call_faults["refund.late"], 1);
    // Healing does not call it back.
    sim.control.set_faults(Faults::default()).unwrap();
    while sim.control.stats().refunds == 0 {
        assert!(began.elapsed() < PATIENCE, "it never arrives");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(began.elapsed().as_millis() >= 4_000);
    assert_eq!(sim.call(REFUND, &wish(), Md5).await["result_code"], "SUCCESS", "the same refund");
    assert_eq!(sim.control.stats().refunds, 1);
}

#[tokio::test]
async fn an_answer_comes_late() {
    let sim = sim_with(CallFaults { slow: 1.0, slow_ms: 300, ..CallFaults::default() }).await;
    let began = std::time::Instant::now();
    assert_eq!(sim.call(REFUND, &wish(), Md5).await["result_code"], "SUCCESS");
    assert!(began.elapsed().as_millis() >= 300);
}

#[tokio::test]
async fn every_call_has_faults_of_its_own() {
    let till = map(&[("auth_code", "134567890123456789")]);
    let calls = [
        ("unified_order", "/pay/unifiedorder", unified("T00009")),
        ("close_order", "/pay/closeorder", wish()),
        ("micropay", "/pay/micropay", unified("T00010").into_iter().chain(till).collect()),
        ("reverse", "/secapi/pay/reverse", wish()),
        ("refund", REFUND, wish()),
        ("refund_query", "/pay/refundquery", wish()),
    ];
    for (name, path, fields) in calls {
        let sim = sim_with(CallFaults::default()).await;
        let set = |fault: &str| {
            let text = format!(r#"{{"{name}":{{"{fault}":1.0}}}}"#);
            sim.control.set_faults(serde_json::from_str(&text).unwrap()).unwrap();
        };
        set("system_error");
        assert_eq!(sim.call(path, &fields, Md5).await["err_code"], "SYSTEMERROR", "{name}");
        set("lost");
        assert!(sim.post_signed(path, &fields, Md5).await.is_err(), "{name}");
        set("wrong_sign");
        let (_, body) = sim.post_signed(path, &fields, Md5).await.unwrap();
        let document = Document::parse(body.as_bytes()).unwrap();
        assert!(sign::verify(&document, &key(), Md5).is_err(), "{name}: {body}");
        assert_eq!(document.get("result_code"), Some(if done(name) { "SUCCESS" } else { "FAIL" }), "{name}");
        let struck = sim.control.stats().call_faults;
        assert_eq!(
            struck.into_keys().filter(|key| key.starts_with(&format!("{name}."))).count(),
            3,
            "{name}"
        );
    }
}

/// Those that find what they need; the others are refused as always.
fn done(name: &str) -> bool {
    matches!(name, "unified_order" | "micropay" | "refund")
}
