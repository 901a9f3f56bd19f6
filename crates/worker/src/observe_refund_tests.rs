//! What answers about refunds mean, through the real parsers: signed documents in, meanings out.

use paybell_core::{OrderKey, OutRefundNo};
use wechat_pay::sign::{Algorithm, ApiKey, sign};

use super::*;
use crate::wechat::Ask;

type Field = (&'static str, &'static str);

const COMMON: [Field; 6] = [
    ("return_code", "SUCCESS"),
    ("result_code", "SUCCESS"),
    ("appid", "wx1"),
    ("mch_id", "1900000109"),
    ("out_trade_no", "T1"),
    ("transaction_id", "4200000001"),
];

const ACCEPTED: [Field; 5] = [
    ("out_refund_no", "R1"),
    ("refund_id", "50000000001"),
    ("total_fee", "1999"),
    ("refund_fee", "500"),
    ("cash_refund_fee", "400"),
];

const FOUND: [Field; 8] = [
    ("total_fee", "1999"),
    ("refund_count", "1"),
    ("out_refund_no_0", "R1"),
    ("refund_id_0", "50000000001"),
    ("refund_fee_0", "500"),
    ("refund_status_0", "SUCCESS"),
    ("refund_recv_accout_0", "CMB debit card 0403"),
    ("refund_success_time_0", "2026-11-20 12:00:09"),
];

fn key() -> ApiKey {
    ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap()
}

/// A signed document with some fields changed, added, or (empty) left out.
fn body(fields: &[Field], changes: &[Field]) -> String {
    let mut fields: Vec<Field> = COMMON.iter().chain(fields).copied().collect();
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let signature = sign(fields.iter().copied(), &key(), Algorithm::Md5);
    let mut fields: Vec<(&str, &str)> = fields;
    fields.push(("sign", &signature));
    wechat_pay::xml::write(fields)
}

fn ask() -> RefundAsk {
    RefundAsk {
        order: Ask {
            key: OrderKey::new("1900000109", "T1").unwrap(),
            appid: None,
            sub_mch_id: None,
            must_be_appid: false,
            must_be_sub_mch_id: false,
            is_urgent: true,
        },
        out_refund_no: OutRefundNo::new("R1").unwrap(),
        request: None,
    }
}

fn merchant() -> MerchantFacts {
    MerchantFacts { app_ids: vec!["wx1".to_owned()], sub_mch_ids: Vec::new() }
}

fn requested(changes: &[Field]) -> RefundAnswer {
    let body = body(&ACCEPTED, changes);
    let answer = RequestAnswer::parse(body.as_bytes(), &key(), Algorithm::Md5).unwrap().into_inner();
    refund_answer(&ask(), &merchant(), &answer)
}

fn queried(changes: &[Field]) -> RefundAnswer {
    let body = body(&FOUND, changes);
    let answer = RefundQueryAnswer::parse(body.as_bytes(), &key(), Algorithm::Md5).unwrap().into_inner();
    observe_refund(&ask(), &merchant(), &answer)
}

fn is_wrong(answer: &RefundAnswer) -> bool {
    matches!(answer, RefundAnswer::Stuck { reason: DeadReason::WrongOrder, .. })
}

#[test]
fn what_wechat_took_is_taken_and_not_returned() {
    let RefundAnswer::Accepted(facts) = requested(&[]) else { panic!("not taken") };
    assert_eq!((facts.refund_fee.get(), facts.cash_refund_fee.map(Fen::get)), (500, Some(400)));
    assert_eq!(facts.refund_id.as_str(), "50000000001");
}

#[test]
fn a_refund_is_observed_with_everything_that_an_event_tells() {
    let RefundAnswer::Observed(RefundStatus::Success, facts) = queried(&[]) else { panic!("not observed") };
    assert_eq!((facts.refund_fee.get(), facts.total_fee.map(Fen::get)), (500, Some(1999)));
    assert_eq!(facts.succeeded_at.unwrap().rfc3339(), "2026-11-20T12:00:09+08:00");
    assert_eq!(facts.transaction_id.as_ref().unwrap().as_str(), "4200000001");
    assert!(!format!("{facts:?}").contains("0403"), "an account shows in debug output");
}

#[test]
fn the_words_of_a_refund_are_told_apart() {
    for (word, status) in [
        ("SUCCESS", RefundStatus::Success),
        ("PROCESSING", RefundStatus::Processing),
        ("CHANGE", RefundStatus::Abnormal),
        ("REFUNDCLOSE", RefundStatus::Closed),
        ("PONDERING", RefundStatus::Unknown("PONDERING".to_owned())),
    ] {
        let RefundAnswer::Observed(observed, _) = queried(&[("refund_status_0", word)]) else {
            panic!("{word}")
        };
        assert_eq!(observed, status);
    }
}

#[test]
fn i2_an_authentic_answer_about_something_else_is_a_wrong_order() {
    for change in [("mch_id", "1900000110"), ("appid", "wx3"), ("out_refund_no_0", "R2")] {
        assert!(is_wrong(&queried(&[change])), "{change:?}");
    }
    let RefundAnswer::OtherOrder(refusal) = queried(&[("out_trade_no", "T2")]) else { panic!("not T2's") };
    assert!(refusal.said.contains("T2") && !refusal.remedy_zh.is_ascii(), "{refusal:?}");
    for change in
        [("mch_id", "1900000110"), ("appid", "wx3"), ("out_trade_no", "T2"), ("out_refund_no", "R2")]
    {
        let answer = requested(&[change]);
        assert!(is_wrong(&answer), "{change:?}: {answer:?}");
    }
    let sub = Ask { sub_mch_id: MchId::new("77").ok(), must_be_sub_mch_id: true, ..ask().order };
    let body = body(&FOUND, &[("sub_mch_id", "78")]);
    let answer = RefundQueryAnswer::parse(body.as_bytes(), &key(), Algorithm::Md5).unwrap().into_inner();
    assert!(is_wrong(&observe_refund(&RefundAsk { order: sub, ..ask() }, &merchant(), &answer)));
}

#[test]
fn a_no_is_a_refusal_with_its_way_out_and_later_is_none() {
    let refused =
        |code| requested(&[("result_code", "FAIL"), ("err_code", code), ("err_code_des", "余额不足")]);
    for code in ["SYSTEMERROR", "BIZERR_NEED_RETRY", "FREQUENCY_LIMITED"] {
        let expected = RefundAnswer::Transient { cause: "busy", at_least: Millis(0) };
        assert_eq!(refused(code), expected, "{code}");
    }
    let peace = RefundAnswer::Transient { cause: "busy", at_least: Millis::seconds(60) };
    assert_eq!(refused("INVALID_REQ_TOO_MUCH"), peace);
    for code in
        ["NOTENOUGH", "TRADE_OVERDUE", "USER_ACCOUNT_ABNORMAL", "ORDERNOTEXIST", "NOAUTH", "SIGNERROR"]
    {
        let RefundAnswer::Refused(refusal) = refused(code) else { panic!("{code}") };
        assert_eq!((refusal.code.as_str(), refusal.said.as_str()), (code, "余额不足"));
        assert!(!refusal.remedy.is_empty() && !refusal.remedy_zh.is_ascii());
    }
    for code in ["ERROR", "PARAM_ERROR", "INVALID_REQUEST", "REFUND_FEE_MISMATCH", "BRAND_NEW", "ORDERPAID"] {
        assert!(matches!(refused(code), RefundAnswer::Refused(_)), "{code}: refundquery says what it means");
    }
    let RefundAnswer::Refused(refusal) = refused("NOTENOUGH") else { panic!("refused") };
    assert!(refusal.remedy.contains("REFUND_SOURCE_RECHARGE_FUNDS"), "the way out is named");
}

#[test]
fn an_error_of_refundquery_settles_nothing() {
    let failed = |code| queried(&[("result_code", "FAIL"), ("err_code", code)]);
    assert_eq!(failed("REFUNDNOTEXIST"), RefundAnswer::NotExist);
    assert!(matches!(failed("SYSTEMERROR"), RefundAnswer::Transient { .. }));
    for code in ["NOAUTH", "SIGNERROR", "BRAND_NEW"] {
        let RefundAnswer::Stuck { reason: DeadReason::RefusedByWechat, detail } = failed(code) else {
            panic!("{code}")
        };
        assert!(detail.contains(code) && !detail.is_ascii(), "{detail}");
    }
}
