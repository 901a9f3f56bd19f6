//! Bills as a merchant downloads them.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use hyper::{Method, StatusCode};
use simulator::{
    CallFaults, Coupon, Faults, NewOrder, NewRefund, OrderKey, Padding, Payment, RefundKey, RefundState,
    Settings, SimulatorConfig, TradeState,
};
use wechat_pay::bill::{self, Bill, BillError, EntryKind, Opened, RefusalKind, Tally};

use crate::support::{APP, MCH, Map, NOWHERE, OTHER_SUB, PROVIDER, SUB, Sim, config, map};

const PATH: &str = "/pay/downloadbill";
const DAY_S: u64 = 86_400;

/// Its clock is at real pace; bills are ready with the new day.
async fn sim_with(settings: Settings) -> Sim {
    let settings = Settings { bill_ready_s: 0, ..settings };
    Sim::start(SimulatorConfig { clock_scale: 1.0, settings, ..config(Faults::default()) }).await
}

/// Noon of the simulator's day, so that no test runs over midnight.
fn to_noon(sim: &Sim) -> String {
    let of_day_s = sim.control.clock().wall_ms.rem_euclid(86_400_000) / 1000 + 8 * 3600;
    let to_noon = (36 * 3600 - of_day_s).rem_euclid(86_400);
    sim.control.advance(Duration::from_secs(u64::try_from(to_noon).unwrap()));
    today(sim)
}

fn today(sim: &Sim) -> String {
    sim.control.clock().wall[..10].replace('-', "")
}

fn request(date: &str, more: &[(&str, &str)]) -> Map {
    let mut fields = map(&[("appid", APP), ("mch_id", MCH), ("bill_date", date)]);
    fields.extend(map(more));
    fields
}

fn pay(sim: &Sim, number: &str, payment: Payment) -> OrderKey {
    let mut new = NewOrder::new(MCH, number, 1999, NOWHERE);
    new.body = Some("Tea, green,`best`\n\"first\"".to_owned());
    new.attach = Some("order=77,till=2".to_owned());
    let order = sim.control.create_order(new).unwrap();
    sim.control.pay(&order, Payment { silent: true, ..payment }).unwrap();
    order
}

async fn text(sim: &Sim, fields: &Map) -> String {
    let (status, content_type, bytes) = sim.download(PATH, fields).await.unwrap();
    assert_eq!((status, content_type.starts_with("text/")), (StatusCode::OK, true), "{content_type}");
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn refusal(sim: &Sim, fields: &Map) -> bill::BillRefusal {
    let text = text(sim, fields).await;
    assert!(text.starts_with("<xml>") && !text.contains("<sign>"), "{text}");
    match bill::open(text.as_bytes()).unwrap() {
        Opened::Refused(refusal) => refusal,
        Opened::Bill(_) => panic!("{text}"),
    }
}

fn opened(bytes: &[u8]) -> Bill<'_> {
    match bill::open(bytes).unwrap() {
        Opened::Bill(bill) => bill,
        Opened::Refused(refusal) => panic!("{refusal}"),
    }
}

/// Kind, order number, amount, refund number and amount, fee of each row; the totals must agree.
fn entries(bytes: &[u8]) -> Vec<(String, String, i64, String, i64, i64)> {
    let (mut bill, mut tally, mut seen) = (opened(bytes), Tally::default(), Vec::new());
    while let Some(entry) = bill.next_entry().unwrap() {
        tally.add(&entry);
        let refund = entry.refund.as_ref();
        let back = refund.map_or((String::new(), 0), |refund| {
            (format!("{} {}", refund.out_refund_no, refund.status), refund.refund_fee)
        });
        let kind = match entry.kind {
            EntryKind::Paid => "paid",
            EntryKind::Refund => "refund",
            EntryKind::Revoked => "revoked",
            EntryKind::Other(other) => other,
        };
        let number = entry.out_trade_no.to_owned();
        seen.push((kind.to_owned(), number, entry.settlement_fee, back.0, back.1, entry.handling_fee));
    }
    assert_eq!(tally.differences(bill.summary().unwrap()), [], "{:?}", bill.summary());
    seen
}

fn row(
    kind: &str,
    number: &str,
    fee: i64,
    (refund, back): (&str, i64),
    handling: i64,
) -> (String, String, i64, String, i64, i64) {
    (kind.to_owned(), number.to_owned(), fee, refund.to_owned(), back, handling)
}

#[tokio::test]
async fn a_day_has_its_payments_refunds_and_reversals() {
    let sim = sim_with(Settings { refund_delay_s: 10 * DAY_S, ..Settings::default() }).await;
    let day = to_noon(&sim);
    let coupon = |id: &str, fee, kind: &str| Coupon { id: id.to_owned(), fee, kind: Some(kind.to_owned()) };
    let coupons = vec![coupon("C1", 100, "CASH"), coupon("C2", 300, "NO_CASH")];
    let first = pay(&sim, "T00001", Payment { coupons, ..Payment::default() });
    let second =
        pay(&sim, "T00002", Payment { bank_type: Some("CMB_CREDIT".to_owned()), ..Payment::default() });
    let third = pay(&sim, "T00003", Payment::default());
    sim.order("T00004", NOWHERE);
    let refund = |order: &OrderKey, number: &str, fee, state| {
        let new = NewRefund { out_refund_no: Some(number.to_owned()), state, ..NewRefund::new(fee) };
        sim.control.refund_with(order, new).unwrap();
    };
    refund(&first, "R1", 999, RefundState::Success);
    refund(&first, "R2", 1000, RefundState::Processing);
    refund(&second, "R3", 500, RefundState::RefundClose);
    sim.control.set_state(&third, TradeState::Revoked).unwrap();
    sim.control.advance(Duration::from_secs(DAY_S));

    let (_, content_type, packed) =
        sim.download(PATH, &request(&day, &[("tar_type", "GZIP"), ("bill_type", "ALL")])).await.unwrap();
    assert_eq!(&packed[..2], [0x1f, 0x8b], "{content_type}");
    let plain = text(&sim, &request(&day, &[])).await;
    let mut unpacked = String::new();
    GzDecoder::new(&*packed).read_to_string(&mut unpacked).unwrap();
    assert_eq!(plain, unpacked);
    assert!(plain.starts_with('\u{feff}') && plain.ends_with("\r\n"));
    assert_eq!(plain.matches("\r\n").count(), plain.matches('\n').count());
    let mut seen = entries(plain.as_bytes());
    seen.sort();
    assert_eq!(
        seen,
        [
            row("paid", "T00001", 1699, ("", 0), 10_000),
            row("paid", "T00002", 1999, ("", 0), 12_000),
            row("paid", "T00003", 1999, ("", 0), 12_000),
            row("refund", "T00001", 0, ("R1 SUCCESS", 850), -5_000),
            row("refund", "T00001", 0, ("R2 PROCESSING", 849), -5_000),
            row("refund", "T00002", 0, ("R3 FAIL", 500), 0),
            row("revoked", "T00003", 0, ("T00003 SUCCESS", 1999), -12_000),
        ]
    );
    let mut bill = opened(plain.as_bytes());
    let row = bill.next_row().unwrap().unwrap();
    assert_eq!(row.get("商品名称"), Some("Tea, green, best  \"first\""));
    assert_eq!((row.get("商户数据包"), row.get("费率")), (Some("order=77,till=2"), Some("0.60%")));
    assert_eq!((row.get("特约商户号"), row.get("微信退款单号")), (Some("0"), Some("0")));

    for (kind, columns, rows) in
        [("SUCCESS", 20, 3), ("REFUND", 29, 3), ("REVOKED", 27, 1), ("RECHARGE_REFUND", 29, 0)]
    {
        let fields = request(&day, &[("bill_type", kind)]);
        if rows == 0 {
            assert_eq!(refusal(&sim, &fields).await.kind, RefusalKind::NoBill);
            continue;
        }
        let part = text(&sim, &fields).await;
        assert_eq!(
            (opened(part.as_bytes()).columns().len(), entries(part.as_bytes()).len()),
            (columns, rows)
        );
    }
    let totals = sim.control.bill_totals(MCH, &day).unwrap();
    assert_eq!((totals.rows, totals.settlement_fee, totals.total_fee), (7, 1699 + 2 * 1999, 3 * 1999));
    assert_eq!((totals.refund_fee, totals.requested_fee), (850 + 849 + 500 + 1999, 999 + 1000 + 500 + 1999));
    sim.stop().await;
}

#[tokio::test]
async fn a_payment_is_in_the_bill_of_its_own_day_and_a_refund_in_that_of_its_own() {
    let sim = sim_with(Settings::default()).await;
    let day = to_noon(&sim);
    let at = |time: &str| Payment { time_end: Some(format!("{day}{time}")), ..Payment::default() };
    pay(&sim, "T00001", at("000000"));
    let late = pay(&sim, "T00002", at("235959"));
    sim.control.advance(Duration::from_secs(DAY_S));
    let next = today(&sim);
    sim.control.refund(&late, 1).unwrap();
    pay(&sim, "T00003", Payment { time_end: Some(format!("{next}000000")), ..Payment::default() });
    assert_eq!(
        refusal(&sim, &request(&next, &[])).await.kind,
        RefusalKind::BadRequest,
        "the day is not over"
    );
    sim.control.advance(Duration::from_secs(DAY_S));
    let numbers = |text: String| -> Vec<_> {
        entries(text.as_bytes()).into_iter().map(|entry| (entry.0, entry.1)).collect()
    };
    let pair = |kind: &str, number: &str| (kind.to_owned(), number.to_owned());
    let first = numbers(text(&sim, &request(&day, &[])).await);
    assert_eq!(first, [pair("paid", "T00001"), pair("paid", "T00002")]);
    let second = numbers(text(&sim, &request(&next, &[])).await);
    assert_eq!(second, [pair("paid", "T00003"), pair("refund", "T00002")]);
    assert_eq!(sim.control.bill_days(MCH).unwrap(), [day, next]);
}

#[tokio::test]
async fn a_bill_is_not_there_before_its_hour_and_bad_requests_are_told() {
    let sim = sim_with(Settings::default()).await;
    let day = to_noon(&sim);
    pay(&sim, "T00001", Payment::default());
    sim.control.set_settings(Settings::default()).unwrap();
    let mut kinds = Vec::new();
    for hours in [0, 13, 8, 1] {
        sim.control.advance(Duration::from_secs(hours * 3600 + 60));
        let text = text(&sim, &request(&day, &[])).await;
        kinds.push(match bill::open(text.as_bytes()).unwrap() {
            Opened::Refused(refusal) => Some((refusal.kind, refusal.error_code.unwrap())),
            Opened::Bill(_) => None,
        });
    }
    let no = |kind, code: &str| Some((kind, code.to_owned()));
    let expected = [
        no(RefusalKind::BadRequest, "20001"),
        no(RefusalKind::NoBill, "20002"),
        no(RefusalKind::Creating, "20002"),
        None,
    ];
    assert_eq!(kinds, expected);

    let cases = [
        (request("20260231", &[]), "invalid bill_date"),
        (request("2026-1-1", &[]), "invalid bill_date"),
        (request("20200101", &[]), "invalid bill_date"),
        (request(&day, &[("bill_type", "SOME")]), "invalid bill_type"),
        (request(&day, &[("tar_type", "ZIP")]), "data format error"),
        (map(&[("appid", APP), ("mch_id", MCH)]), "missing parameter"),
        (request(&day, &[("appid", "wx0000000000000000")]), "appid和mch_id不匹配"),
        (request(&day, &[("sub_mch_id", "1")]), "子商户号与服务商无受理关系，无权限"),
    ];
    for (fields, said) in cases {
        assert_eq!(refusal(&sim, &fields).await.return_msg, said, "{fields:?}");
    }
    let mut body = sim.signed(&request(&day, &[]), wechat_pay::sign::Algorithm::Md5);
    body = body.replace(&day, "20261119");
    let (_, text) = sim.request(Method::POST, PATH, "text/xml", body).await.unwrap();
    assert!(text.contains("SIGN ERROR"), "{text}");
    let empty = request(&today(&sim), &[]);
    sim.control.advance(Duration::from_secs(DAY_S));
    assert_eq!(refusal(&sim, &empty).await.kind, RefusalKind::NoBill);
    sim.control.set_settings(Settings { empty_bills: true, ..Settings::default() }).unwrap();
    assert_eq!(entries(crate::bills::text(&sim, &empty).await.as_bytes()), []);
}

#[tokio::test]
async fn the_old_layout_and_bare_line_ends_can_be_had() {
    let old = Settings { bill_old_layout: true, bill_bom: false, bill_crlf: false, ..Settings::default() };
    let sim = sim_with(old).await;
    let day = to_noon(&sim);
    let order = pay(&sim, "T00001", Payment::default());
    sim.control.refund(&order, 5).unwrap();
    sim.control.advance(Duration::from_secs(DAY_S));
    let text = text(&sim, &request(&day, &[])).await;
    assert!(text.starts_with("交易时间,") && !text.contains('\r'));
    assert_eq!(opened(text.as_bytes()).columns().len(), 24);
    assert!(text.contains(",子商户号,") && text.contains(",总金额,") && text.contains("总交易额"));
    assert_eq!(entries(text.as_bytes()).len(), 2);
}

#[tokio::test]
async fn a_providers_bill_names_its_sub_merchants() {
    let sim = sim_with(Settings::default()).await;
    let day = to_noon(&sim);
    for (number, sub) in [("T00001", SUB), ("T00002", OTHER_SUB), ("T00003", SUB)] {
        let mut new = NewOrder::new(PROVIDER, number, 1999, NOWHERE);
        new.sub_mch_id = Some(sub.to_owned());
        let order = sim.control.create_order(new).unwrap();
        sim.control.pay(&order, Payment { silent: true, ..Payment::default() }).unwrap();
    }
    sim.control.advance(Duration::from_secs(DAY_S));
    let subs = |text: &str| {
        let (mut bill, mut subs) = (opened(text.as_bytes()), Vec::new());
        while let Some(entry) = bill.next_entry().unwrap() {
            assert_eq!(entry.mch_id, PROVIDER);
            subs.push(entry.sub_mch_id.unwrap().to_owned());
        }
        subs.sort();
        subs
    };
    let all = text(&sim, &request(&day, &[("mch_id", PROVIDER)])).await;
    assert_eq!(subs(&all), [SUB, SUB, OTHER_SUB]);
    let one = text(&sim, &request(&day, &[("mch_id", PROVIDER), ("sub_mch_id", SUB)])).await;
    assert_eq!(subs(&one), [SUB, SUB]);
    assert_eq!(refusal(&sim, &request(&day, &[])).await.kind, RefusalKind::NoBill, "the other merchant's");
}

#[tokio::test]
async fn a_large_bill_is_streamed_and_sums_up() {
    let sim = sim_with(Settings::default()).await;
    let day = to_noon(&sim);
    pay(&sim, "T00001", Payment::default());
    sim.control.advance(Duration::from_secs(DAY_S));
    let padding = Padding { rows: 20_000, prefix: "X".to_owned(), refund_every: 100 };
    sim.control.pad_bill(MCH, &day, padding).unwrap();
    let (_, _, packed) = sim.download(PATH, &request(&day, &[("tar_type", "GZIP")])).await.unwrap();
    let (mut bill, mut tally) = (opened(&packed), Tally::default());
    let mut last_ms = 0;
    while let Some(entry) = bill.next_entry().unwrap() {
        tally.add(&entry);
        last_ms = entry.time_ms;
    }
    assert_eq!(tally.differences(bill.summary().unwrap()), []);
    assert_eq!(tally.entries, 1 + 20_000 + 200);
    let totals = sim.control.bill_totals(MCH, &day).unwrap();
    assert_eq!((totals.rows, i64::try_from(totals.total_fee)), (20_201, Ok(tally.total_fee)));
    assert_eq!(i64::try_from(totals.refund_fee), Ok(tally.refund_fee));
    assert_eq!(i64::try_from(totals.requested_fee), Ok(tally.requested_fee));
    assert_eq!(totals.handling_fee * 1_000, tally.handling_fee);
    assert!(tally.refund_fee > 0);
    let end = wechat_pay::bill::BillDate::parse(&day).unwrap().end_ms();
    assert!((end - 10_000..end).contains(&last_ms), "rows fill the day");
    let path = format!("/_sim/bills/{MCH}/{day}");
    let (status, text) = sim.request(Method::GET, &path, "application/json", "").await.unwrap();
    assert!(status == StatusCode::OK && text.contains("\"rows\":20201"), "{text}");
    let body = r#"{"rows":3}"#;
    let padding = format!("{path}/padding");
    let (_, text) = sim.request(Method::PUT, &padding, "application/json", body).await.unwrap();
    assert!(text.contains("\"rows\":4"), "{text}");
    let body = r#"{"rows":3,"prefix":"a,b"}"#;
    assert_eq!(
        sim.request(Method::PUT, &padding, "application/json", body).await.unwrap().0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_download_goes_wrong_on_demand() {
    let sim = sim_with(Settings::default()).await;
    let day = to_noon(&sim);
    pay(&sim, "T00001", Payment::default());
    sim.control.advance(Duration::from_secs(DAY_S));
    sim.control
        .pad_bill(MCH, &day, Padding { rows: 5_000, prefix: "X".to_owned(), refund_every: 0 })
        .unwrap();
    let set = |download_bill: CallFaults| {
        sim.control.set_faults(Faults { download_bill, ..Faults::default() }).unwrap();
    };
    let packed = request(&day, &[("tar_type", "GZIP")]);
    set(CallFaults { answer_lost: 1.0, ..CallFaults::default() });
    assert!(sim.download(PATH, &packed).await.is_err());
    set(CallFaults { wrong_sign: 1.0, ..CallFaults::default() });
    for fields in [&packed, &request(&day, &[])] {
        let (_, _, bytes) = sim.download(PATH, fields).await.unwrap();
        let mut bill = opened(&bytes);
        let error = loop {
            match bill.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("half a bill is no bill"),
                Err(error) => break error,
            }
        };
        assert!(!matches!(error, BillError::AfterSummary(_)), "{error}");
    }
    set(CallFaults { html: 1.0, ..CallFaults::default() });
    assert_eq!(sim.download(PATH, &packed).await.unwrap().0, StatusCode::BAD_GATEWAY);
    set(CallFaults { system_error: 1.0, ..CallFaults::default() });
    assert_eq!(refusal(&sim, &packed).await.kind, RefusalKind::Busy);
    let refuse_code = "20007".to_owned();
    let refuse_text = "当前商户号账单API权限已经关闭".to_owned();
    set(CallFaults { refuse: 1.0, refuse_code, refuse_text, ..CallFaults::default() });
    assert_eq!(refusal(&sim, &packed).await.kind, RefusalKind::NotAllowed);
    assert_eq!(sim.control.stats().bill_downloads, 6);
}

#[tokio::test]
async fn a_closed_refund_does_not_stay_in_the_fees() {
    let sim = sim_with(Settings { refund_delay_s: 10 * DAY_S, ..Settings::default() }).await;
    let day = to_noon(&sim);
    let order = pay(&sim, "T00001", Payment::default());
    for (number, fee) in [("R1", 700), ("R2", 700), ("R3", 599)] {
        let out_refund_no = Some(number.to_owned());
        let new = NewRefund { out_refund_no, state: RefundState::Processing, ..NewRefund::new(fee) };
        sim.control.refund_with(&order, new).unwrap();
    }
    let totals = || sim.control.bill_totals(MCH, &day).unwrap();
    assert_eq!(totals().handling_fee, 0, "all parts give back the whole fee");
    let name = RefundKey { mch_id: MCH.to_owned(), out_refund_no: "R2".to_owned() };
    sim.control.end_refund(&name, RefundState::RefundClose).unwrap();
    assert!(totals().handling_fee > 0);
}
