//! Refund requests and answers, refund queries and their pages, through the public functions.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use wechat_pay::answer::AnswerError;
use wechat_pay::check::{Fault, FieldError};
use wechat_pay::refund::{RefundAccount, RefundAnswer, RefundRequest, RefundResult};
use wechat_pay::refund_query::{
    OrderRefunds, RefundQuery, RefundQueryAnswer, RefundQueryBy, RefundQueryResult, RefundState,
};
use wechat_pay::request::{OrderRef, Signer};
use wechat_pay::sign::{self, Algorithm, ApiKey};
use wechat_pay::xml;

fn key() -> ApiKey {
    ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap()
}

fn answer(fields: &[(String, String)]) -> String {
    let mut all: Vec<(&str, &str)> = vec![
        ("return_code", "SUCCESS"),
        ("appid", "wx1"),
        ("mch_id", "1900000109"),
        ("nonce_str", "n"),
        ("result_code", "SUCCESS"),
    ];
    for (name, value) in fields {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    let sign = sign::sign(all.iter().copied(), &key(), Algorithm::Md5);
    all.push(("sign", &sign));
    xml::write(all)
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The fields of a signed request, whose sign fits.
fn fields_of(body: &str, algorithm: Algorithm) -> Vec<(String, String)> {
    let document = xml::Document::parse(body.as_bytes()).unwrap();
    sign::verify(&document, &key(), algorithm).unwrap();
    let fields = document.iter().filter(|(name, _)| *name != "sign");
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_refund_request_sends_what_was_chosen_and_nothing_else() {
    let key = key();
    let signer = Signer { mch_id: "1900000109", key: &key, algorithm: Algorithm::Md5 };
    let plain = RefundRequest::new(OrderRef::new("wx1", "T1"), "R1", 1999, 500);
    let body = plain.body(signer, "n0nce").unwrap();
    let expected = [
        ("appid", "wx1"),
        ("mch_id", "1900000109"),
        ("out_trade_no", "T1"),
        ("out_refund_no", "R1"),
        ("total_fee", "1999"),
        ("refund_fee", "500"),
        ("nonce_str", "n0nce"),
    ];
    assert_eq!(fields_of(&body, Algorithm::Md5), owned(&expected), "no refund_account of our own making");

    let full = RefundRequest {
        order: OrderRef::new("wx1", "T1").for_sub_merchant("15", Some("wx2".to_owned())),
        refund_fee_type: "CNY".to_owned(),
        reason: "商品已售完".to_owned(),
        account: Some(RefundAccount::RechargeFunds),
        notify_url: "https://pay.example.com/notify/refund/1900000109".to_owned(),
        ..plain
    };
    let signer = Signer { algorithm: Algorithm::HmacSha256, ..signer };
    let fields = fields_of(&full.body(signer, "n0nce").unwrap(), Algorithm::HmacSha256);
    let expected = [
        ("refund_fee_type", "CNY"),
        ("refund_desc", "商品已售完"),
        ("sub_mch_id", "15"),
        ("sub_appid", "wx2"),
        ("refund_account", "REFUND_SOURCE_RECHARGE_FUNDS"),
        ("sign_type", "HMAC-SHA256"),
    ];
    for field in owned(&expected) {
        assert!(fields.contains(&field), "{field:?}");
    }
}

#[test]
fn what_would_be_refused_is_not_sent() {
    let bad = RefundRequest {
        order: OrderRef { sub_appid: Some("wx2".to_owned()), ..OrderRef::new("", "T&1") },
        reason: "因".repeat(27),
        notify_url: "https://x/?a=1".to_owned(),
        refund_fee_type: "yuan".to_owned(),
        ..RefundRequest::new(OrderRef::new("wx1", "T1"), "R".repeat(65), 100, 101)
    };
    let error = bad.check().unwrap_err();
    let expected = [
        ("appid", Fault::Missing),
        ("sub_mch_id", Fault::Missing),
        ("out_trade_no", Fault::Characters),
        ("out_refund_no", Fault::TooLong { bytes: 65, bytes_max: 64 }),
        ("refund_fee", Fault::MoreThanPaid),
        ("refund_fee_type", Fault::Currency),
        ("refund_desc", Fault::TooLong { bytes: 81, bytes_max: 80 }),
        ("notify_url", Fault::Url),
    ];
    let mut found = error.errors.clone();
    found.retain(|error| error.field != "sub_appid");
    assert_eq!(found, expected.map(|(field, fault)| FieldError { field, fault }));
    let zero = RefundRequest::new(OrderRef::new("wx1", "T1"), "R1", 0, -1).check().unwrap_err();
    assert_eq!(zero.errors.iter().filter(|error| error.fault == Fault::NotPositive).count(), 2);
}

#[test]
fn an_accepted_refund_has_its_numbers_and_coupons() {
    let fields = owned(&[
        ("transaction_id", "42"),
        ("out_trade_no", "T1"),
        ("refund_id", "50"),
        ("out_refund_no", "R1"),
        ("total_fee", "1999"),
        ("refund_fee", "500"),
        ("cash_refund_fee", "400"),
        ("coupon_refund_fee", "100"),
        ("coupon_refund_id_0", "C"),
        ("coupon_refund_fee_0", "100"),
        ("coupon_type_0", "CASH"),
    ]);
    let parse = |fields: &[(String, String)]| {
        RefundAnswer::parse(answer(fields).as_bytes(), &key(), Algorithm::Md5)
            .map(|answer| answer.into_inner().result)
    };
    let RefundResult::Accepted(refund) = parse(&fields).unwrap() else { panic!("refused") };
    assert_eq!((refund.refund_fee, refund.cash_refund_fee, &*refund.fee_type), (500, Some(400), "CNY"));
    assert_eq!((refund.coupons[0].fee, refund.coupons[0].kind.as_deref()), (100, Some("CASH")));
    for name in ["transaction_id", "out_trade_no", "refund_id", "out_refund_no", "total_fee", "refund_fee"] {
        let mut without = fields.clone();
        without.retain(|(known, _)| known != name);
        assert_eq!(parse(&without), Err(AnswerError::MalformedAnswer(name)));
    }
    let error = parse(&owned(&[("result_code", "FAIL"), ("err_code", "NOTENOUGH")])).unwrap();
    assert!(matches!(error, RefundResult::Error { code, .. } if code.as_str() == "NOTENOUGH"));
}

fn refund(n: usize, coupons: usize) -> Vec<(String, String)> {
    let mut fields = vec![
        (format!("refund_id_{n}"), format!("50{n}")),
        (format!("out_refund_no_{n}"), format!("R{n}")),
        (
            format!("refund_status_{n}"),
            ["SUCCESS", "PROCESSING", "CHANGE", "REFUNDCLOSE", "NEW"][n % 5].to_owned(),
        ),
        (format!("refund_fee_{n}"), "7".to_owned()),
        (format!("refund_channel_{n}"), "ORIGINAL".to_owned()),
        (format!("refund_recv_accout_{n}"), "招商银行信用卡0403".to_owned()),
        (format!("refund_success_time_{n}"), "2026-11-19 10:20:30".to_owned()),
    ];
    for m in 0..coupons {
        fields.push((format!("coupon_refund_id_{n}_{m}"), format!("C{m}")));
        fields.push((format!("coupon_refund_fee_{n}_{m}"), "1".to_owned()));
        fields.push((format!("coupon_type_{n}_{m}"), "NO_CASH".to_owned()));
    }
    fields
}

fn query(fields: &[(String, String)]) -> Result<RefundQueryAnswer, AnswerError> {
    RefundQueryAnswer::parse(answer(fields).as_bytes(), &key(), Algorithm::Md5)
        .map(|answer| answer.into_inner())
}

fn refunds(answer: &RefundQueryAnswer) -> &OrderRefunds {
    match &answer.result {
        RefundQueryResult::Refunds(found) => found,
        RefundQueryResult::Error { code, .. } => panic!("{code}"),
    }
}

#[test]
fn a_full_page_of_refunds_with_coupons_is_read_whatever_the_count_says() {
    let mut fields = owned(&[("out_trade_no", "T1"), ("transaction_id", "42"), ("refund_count", "99")]);
    // Backwards: the index orders them, not the document.
    for n in (0..10).rev() {
        fields.extend(refund(n, 12));
    }
    let answer = query(&fields).unwrap();
    let found = refunds(&answer);
    assert_eq!(found.refunds.len(), 10);
    for (n, refund) in found.refunds.iter().enumerate() {
        assert_eq!((&refund.out_refund_no, refund.coupons.len()), (&format!("R{n}"), 12));
        assert_eq!(refund.success_time_ms, wechat_pay::beijing::parse_spaced("2026-11-19 10:20:30"));
    }
    let states: Vec<&str> = found.refunds.iter().take(5).map(|refund| refund.state.as_str()).collect();
    assert_eq!(states, ["SUCCESS", "PROCESSING", "CHANGE", "REFUNDCLOSE", "NEW"]);
    assert_eq!(found.refunds[4].state, RefundState::Other("NEW".to_owned()));
    assert!(found.refunds[0].state.is_final() && !found.refunds[2].state.is_final());
    assert!(!format!("{found:?}").contains("招商银行"), "whose account it was is not shown");
    assert_eq!((answer.next_offset(0), answer.next_offset(10)), (Some(10), Some(20)));

    fields.push(("total_refund_count".to_owned(), "20".to_owned()));
    let answer = query(&fields).unwrap();
    assert_eq!((answer.next_offset(0), answer.next_offset(10)), (Some(10), None));
    let few = query(&[owned(&[("out_trade_no", "T1")]), refund(0, 0)].concat()).unwrap();
    assert_eq!(few.next_offset(0), None);
    let none = query(&owned(&[("result_code", "FAIL"), ("err_code", "REFUNDNOTEXIST")])).unwrap();
    assert_eq!(none.next_offset(0), None);
}

#[test]
fn a_refund_without_number_state_or_amount_is_no_answer() {
    for name in ["out_refund_no", "refund_status", "refund_fee", "refund_id"] {
        let mut fields = [owned(&[("out_trade_no", "T1")]), refund(0, 0)].concat();
        let field = fields.iter_mut().find(|(known, _)| *known == format!("{name}_0")).unwrap();
        field.1.clear();
        assert_eq!(query(&fields), Err(AnswerError::MalformedAnswer(name)));
    }
}

#[test]
fn a_refund_query_names_exactly_one_number() {
    let key = key();
    let signer = Signer { mch_id: "1900000109", key: &key, algorithm: Algorithm::Md5 };
    let order = OrderRef::new("wx1", "T1");
    let numbers = |by: RefundQueryBy| {
        let body = RefundQuery { order: order.clone(), by }.body(signer, "n").unwrap();
        let mut fields = fields_of(&body, Algorithm::Md5);
        fields.retain(|(name, _)| !["appid", "mch_id", "nonce_str"].contains(&name.as_str()));
        fields
    };
    assert_eq!(numbers(RefundQueryBy::Order { offset: 0 }), owned(&[("out_trade_no", "T1")]));
    let page = owned(&[("out_trade_no", "T1"), ("offset", "10")]);
    assert_eq!(numbers(RefundQueryBy::Order { offset: 10 }), page);
    assert_eq!(numbers(RefundQueryBy::OutRefundNo("R1".into())), owned(&[("out_refund_no", "R1")]));
    assert_eq!(numbers(RefundQueryBy::RefundId("50".into())), owned(&[("refund_id", "50")]));
    assert!(RefundQuery::one(order, "R 1").check().is_err());
}
