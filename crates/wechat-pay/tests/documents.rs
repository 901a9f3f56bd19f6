//! The vectors of refund notifications and bills.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails loudly")]

use std::io::Read;

use base64::Engine;
use serde_json::Value;
use wechat_pay::bill::{self, BillError, Entry, EntryKind, Opened, RefusalKind, Tally};
use wechat_pay::refund_notification::{RefundStatus, RequestSource, Sealed};
use wechat_pay::refund_query::RefundState;
use wechat_pay::sign::ApiKey;

fn vectors(list: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    all[list].as_array().unwrap().clone()
}

#[test]
fn refund_notifications() {
    let vectors = vectors("refund_notifications");
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let (id, expected) = (vector["id"].as_str().unwrap(), &vector["expected"]);
        let context = &vector["inputs"]["context"];
        let key = ApiKey::new(context["key"].as_str().unwrap()).unwrap();
        let other = ApiKey::new("00000000000000000000000000000000").unwrap();
        let body = vector["inputs"]["body"].as_str().unwrap();
        let sealed = Sealed::parse(body.as_bytes());
        let opened = sealed.as_ref().map_err(|error| *error).and_then(|sealed| sealed.open(&[&key]));
        if expected["verdict"] == "reject" {
            let error = opened.expect_err(id);
            // Which fault a wrong key shows is chance: padding, or what it decrypts to.
            let reason = expected["reason"].as_str().unwrap();
            let is_by_chance = reason == "bad_padding" && error.reason().starts_with("plaintext_");
            assert!(error.reason() == reason || is_by_chance, "{id}: {error:?}");
            continue;
        }
        let (sealed, refund) = (sealed.unwrap(), opened.expect(id));
        assert_eq!(sealed.mch_id(), context["mch_id"].as_str(), "{id}");
        assert_eq!(sealed.appid(), context["appid"].as_str(), "{id}");
        let fields = &expected["fields"];
        assert_eq!(refund.refund_id, fields["refund_id"], "{id}");
        assert_eq!(refund.out_refund_no, fields["out_refund_no"], "{id}");
        assert_eq!(refund.transaction_id, fields["transaction_id"], "{id}");
        assert_eq!(refund.out_trade_no, fields["out_trade_no"], "{id}");
        assert_eq!(refund.refund_fee, expected["parsed"]["refund_fee"].as_i64().unwrap(), "{id}");
        assert_eq!(refund.total_fee, expected["parsed"]["total_fee"].as_i64().unwrap(), "{id}");
        let status = match fields["refund_status"].as_str().unwrap() {
            "SUCCESS" => RefundStatus::Success,
            "CHANGE" => RefundStatus::Change,
            _ => RefundStatus::Closed,
        };
        assert_eq!(refund.status, status, "{id}");
        assert_eq!(RefundState::from(refund.status).as_str(), fields["refund_status"], "{id}");
        let text = |name: &str| fields[name].as_str();
        assert_eq!(refund.received_by.as_ref().map(|by| by.as_str()), text("refund_recv_accout"), "{id}");
        assert_eq!(refund.account.as_deref(), text("refund_account"), "{id}");
        let requested_by = match text("refund_request_source") {
            Some("API") => Some(RequestSource::Api),
            Some("VENDOR_PLATFORM") => Some(RequestSource::VendorPlatform),
            other => other.map(|other| RequestSource::Other(other.to_owned())),
        };
        assert_eq!(refund.requested_by, requested_by, "{id}");
        let settlement = expected["parsed"]["settlement_total_fee"].as_i64();
        assert_eq!(refund.settlement_total_fee, settlement, "{id}");
        let shown = refund.success_time_ms.and_then(wechat_pay::beijing::format_spaced);
        assert_eq!(shown.as_deref(), fields["success_time"].as_str(), "{id}");
        assert_eq!(sealed.open(&[&other, &key]), Ok(refund), "{id}: the previous key fits too");
        assert!(sealed.open(&[&other]).is_err(), "{id}");
    }
}

#[test]
fn bills() {
    let vectors = vectors("bills");
    assert_eq!(vectors.len(), 11);
    for vector in vectors {
        let (id, expected) = (vector["id"].as_str().unwrap(), &vector["expected"]);
        let encoded = vector["inputs"]["body_base64"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        // A byte at a time, as the slowest of networks would bring it.
        for whole in [true, false] {
            let input: Box<dyn Read> = match whole {
                true => Box::new(bytes.as_slice()),
                false => Box::new(Trickle(bytes.as_slice())),
            };
            compare(id, expected, bill::open(input).unwrap());
        }
    }
}

fn compare(id: &str, expected: &Value, opened: Opened<'_>) {
    let mut bill = match opened {
        Opened::Refused(refusal) => {
            assert_eq!(refusal.return_msg, expected["error"]["return_msg"], "{id}");
            assert_ne!(refusal.kind, RefusalKind::Unknown, "{id}");
            assert_eq!(refusal.error_code.as_deref(), expected["error"]["error_code"].as_str(), "{id}");
            return;
        }
        Opened::Bill(bill) => bill,
    };
    assert!(!expected["error"].is_object(), "{id} is an error document");
    let mut rows = Vec::new();
    let end = loop {
        match bill.next_row() {
            Ok(Some(row)) => rows
                .push(row.iter().map(|(k, v)| (k.to_owned(), v.into())).collect::<serde_json::Map<_, _>>()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match (end, expected["error"].as_str()) {
        (Ok(()), None) => {}
        (Err(BillError::ColumnCount { line, found, expected }), Some(text)) => {
            assert_eq!(text, format!("column_count line {line}: {found} != {expected}"), "{id}");
            return;
        }
        (Err(BillError::MissingSummary), Some("missing_summary")) => return,
        (end, text) => panic!("{id}: {end:?}, expected {text:?}"),
    }
    let columns: Vec<&str> =
        expected["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(bill.columns(), columns, "{id}");
    assert_eq!(
        Value::from(rows.iter().cloned().map(Value::Object).collect::<Vec<_>>()),
        expected["rows"],
        "{id}"
    );
    let summary: serde_json::Map<String, Value> =
        bill.summary().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    assert_eq!(Value::Object(summary), expected["summary"], "{id}");
    assert!(bill.next_row().unwrap().is_none(), "{id}: the end stays the end");
}

struct Trickle<'b>(&'b [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_hostile_bill_is_refused_within_bounds() {
    let endless = std::io::repeat(b'a');
    assert!(matches!(bill::open(endless), Err(BillError::TooLong(1))));
    assert!(matches!(bill::open(&b""[..]), Err(BillError::Empty)));
    assert!(matches!(bill::open(&b"\xff\xfe"[..]), Err(BillError::Encoding(1))));
    assert!(matches!(bill::open(&b"\x1f\x8bxx"[..]), Err(BillError::Io(_))));
}

/// The same rows as values: the sums of every whole vector are those that it states.
#[test]
fn entries_add_up_to_the_summary() {
    let mut whole = 0;
    for vector in vectors("bills") {
        let (id, expected) = (vector["id"].as_str().unwrap(), &vector["expected"]);
        if !expected["error"].is_null() {
            continue;
        }
        let mut bill = opened(&vector);
        let mut tally = Tally::default();
        let mut rows = expected["rows"].as_array().unwrap().iter();
        while let Some(entry) = bill.next_entry().unwrap() {
            tally.add(&entry);
            agree(id, &entry, rows.next().unwrap());
        }
        assert!(rows.next().is_none(), "{id}");
        assert_eq!(tally.differences(bill.summary().unwrap()), [], "{id}");
        let mut wrong = tally.clone();
        wrong.settlement_fee += 1;
        let difference = wrong.differences(bill.summary().unwrap()).pop().unwrap();
        assert_eq!(difference.stated, Some(tally.settlement_fee), "{id}");
        whole += 1;
    }
    assert_eq!(whole, 7);
}

fn agree(id: &str, entry: &Entry<'_>, row: &Value) {
    let text = |names: &[&str]| names.iter().find_map(|name| row[name].as_str());
    let yuan = |fen: i64| format!("{}.{:02}", fen / 100, fen % 100);
    let kind = match entry.kind {
        EntryKind::Paid => "SUCCESS",
        EntryKind::Refund => "REFUND",
        EntryKind::Revoked => "REVOKED",
        EntryKind::Other(other) => other,
    };
    assert_eq!(Some(kind), text(&["交易状态"]), "{id}");
    assert_eq!(Some(entry.transaction_id), text(&["微信订单号"]), "{id}");
    assert_eq!(Some(entry.out_trade_no), text(&["商户订单号"]), "{id}");
    assert_eq!(Some(entry.sub_mch_id.unwrap_or("0")), text(&["特约商户号", "子商户号"]), "{id}");
    assert_eq!(Some(yuan(entry.settlement_fee)).as_deref(), text(&["应结订单金额", "总金额"]), "{id}");
    assert_eq!(entry.total_fee.map(yuan).as_deref(), text(&["订单金额"]), "{id}");
    let time = wechat_pay::beijing::format_spaced(entry.time_ms);
    assert_eq!(time.as_deref(), text(&["交易时间"]), "{id}");
    assert_eq!(entry.attach, text(&["商户数据包"]).unwrap(), "{id}");
    let id_there = text(&["微信退款单号"]).filter(|id| *id != "0");
    assert_eq!(entry.refund.map(|refund| refund.refund_id), id_there, "{id}");
    if let Some(refund) = &entry.refund {
        assert_eq!(Some(yuan(refund.refund_fee)).as_deref(), text(&["退款金额"]), "{id}");
        assert_eq!(refund.requested_fee.map(yuan).as_deref(), text(&["申请退款金额"]), "{id}");
        let succeeded = refund.success_time_ms.and_then(wechat_pay::beijing::format_spaced);
        assert_eq!(succeeded.as_deref(), text(&["退款成功时间"]), "{id}");
    }
}

fn opened(vector: &Value) -> bill::Bill<'static> {
    let encoded = vector["inputs"]["body_base64"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    match bill::open(std::io::Cursor::new(bytes)).unwrap() {
        Opened::Bill(bill) => bill,
        Opened::Refused(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn a_value_that_cannot_be_read_is_named_by_line_and_column() {
    let bill = |header: &str, row: &str| {
        let text = format!("{header}\r\n{row}\r\n总交易单数\r\n`1\r\n");
        match bill::open(std::io::Cursor::new(text)).unwrap() {
            Opened::Bill(mut bill) => bill.next_entry().map(|entry| entry.is_some()).unwrap_err(),
            Opened::Refused(refusal) => panic!("{refusal}"),
        }
    };
    let header = "交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,应结订单金额,手续费";
    let error = bill(header, "`2026-11-18 08:35:41,`wx1,`19,`42,`T1,`SUCCESS,`1.999,`0.1");
    assert!(matches!(error, BillError::Value { line: 2, column: "应结订单金额" }), "{error}");
    let error = bill(header, "`2026-11-31 08:35:41,`wx1,`19,`42,`T1,`SUCCESS,`1.99,`0.1");
    assert!(matches!(error, BillError::Value { line: 2, column: "交易时间" }), "{error}");
    let error = bill("交易时间,交易状态", "`2026-11-18 08:35:41,`SUCCESS");
    assert!(matches!(error, BillError::MissingColumn("公众账号ID")), "{error}");
}
