//! The events: their JSON as published, ids, `learned_by`, openid.

use super::kinds;
use crate::check::Reason;
use crate::event::{Event, EventType, LearnedBy, event_id};
use crate::ids::{AppId, MchId};
use crate::observation::{Answer, NotPaid, Payment};
use crate::policy::{OpenidPolicy, Unregistered};
use crate::record::State;
use crate::register::Application;
use crate::samples::*;
use crate::verdict::Ruling;

fn assert_json(event: &Event, expected: &str) {
    let expected: String = expected.lines().map(str::trim).collect();
    assert_eq!(event.to_json(), expected);
    assert_eq!(serde_json::from_str::<Event>(&expected).unwrap(), *event, "it reads back as it was");
}

#[test]
fn a_paid_event_is_the_published_document() {
    let mut desk = Desk::registered();
    desk.now = at(5);
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_json(
        &change.events[0],
        r#"{"specversion":"1.0","id":"8803801d-9ff3-598c-bbfa-290c72a9eb8c","source":"/paybell/1900000109",
        "type":"order.paid","subject":"T2026112000000001","time":"2026-11-20T12:00:05+08:00",
        "datacontenttype":"application/json","data":{"version":1,"mch_id":"1900000109","sub_mch_id":null,
        "appid":"wx8888888888888888","out_trade_no":"T2026112000000001",
        "transaction_id":"4200001234202611200123456789","total_fee":1999,"fee_type":"CNY","cash_fee":1999,
        "settlement_total_fee":null,"coupon_fee":null,"coupons":[{"id":"c1","type":"CASH","fee":100}],
        "trade_state":"SUCCESS","trade_type":"JSAPI","bank_type":"OTHERS","attach":null,
        "paid_at":"2026-11-20T12:00:03+08:00","learned_by":"notification","late":false,"registered":true}}"#,
    );
}

#[test]
fn a_denial_carries_null_payment_fields() {
    let mut desk = Desk::registered();
    desk.now = at(86_640);
    let change = desk.poll(&not_paid(NotPaid::NotExist));
    assert_json(
        &change.events[0],
        r#"{"specversion":"1.0","id":"50d4c9ca-b173-57c1-bd61-49086e049084","source":"/paybell/1900000109",
        "type":"order.unpaid","subject":"T2026112000000001","time":"2026-11-21T12:04:00+08:00",
        "datacontenttype":"application/json","data":{"version":1,"mch_id":"1900000109","sub_mch_id":null,
        "appid":null,"out_trade_no":"T2026112000000001","transaction_id":null,"total_fee":null,"fee_type":null,
        "cash_fee":null,"settlement_total_fee":null,"coupon_fee":null,"coupons":[],"trade_state":null,
        "trade_type":null,"bank_type":null,"attach":null,"paid_at":null,"learned_by":"poll","late":false,
        "registered":true}}"#,
    );
}

#[test]
fn a_mismatch_adds_what_was_registered() {
    let change = Desk::registered().look(&manual(), &success(TX, WRONG));
    let json = change.events[0].to_json();
    let tail = r#""registered":true,"mismatch":"amount","registered_fee":1999,"registered_fee_type":"CNY"}}"#;
    assert!(json.ends_with(tail), "{json}");
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), change.events[0]);
}

#[test]
fn a_mismatch_of_an_unregistered_order_says_so_with_nulls() {
    let mut desk = Desk::empty();
    desk.policy.unregistered = Unregistered::Hold;
    desk.look(&manual(), &success(TX, FEE));
    let change = desk.poll(&success(TX, FEE));
    let json = change.events[0].to_json();
    let tail =
        r#""registered":false,"mismatch":"unregistered","registered_fee":null,"registered_fee_type":null}}"#;
    assert!(json.ends_with(tail), "{json}");
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), change.events[0]);
}

#[test]
fn every_mismatch_has_its_published_word() {
    use crate::event::Mismatch::{Amount, Currency, SecondTransaction, Unregistered};
    for (mismatch, word) in [
        (Amount, "amount"),
        (Currency, "currency"),
        (Unregistered, "unregistered"),
        (SecondTransaction, "second_transaction"),
    ] {
        assert_eq!(serde_json::to_value(mismatch).unwrap(), word);
    }
}

#[test]
fn every_type_and_state_reads_back_from_its_word() {
    for kind in EventType::ALL {
        assert_eq!(EventType::parse(kind.as_str()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn openid_is_in_events_and_records_only_if_configured() {
    let mut desk = Desk::registered();
    let change = desk.look(&manual(), &success(TX, FEE));
    assert!(!change.events[0].to_json().contains("openid"));
    assert_eq!(desk.record().payment.as_ref().unwrap().openid, None, "nor kept");

    let mut desk = Desk::registered();
    desk.policy.openid = OpenidPolicy::Keep;
    let change = desk.look(&manual(), &success(TX, FEE));
    assert!(!change.events[0].to_json().contains("openid"));
    assert!(desk.record().payment.as_ref().unwrap().openid.is_some(), "kept for an old handler");

    let mut desk = Desk::registered();
    desk.policy.openid = OpenidPolicy::Include;
    let change = desk.look(&manual(), &success(TX, FEE));
    assert!(
        change.events[0]
            .to_json()
            .ends_with(r#""registered":true,"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}}"#)
    );
}

#[test]
fn i10_openid_is_in_no_debug_output() {
    let mut desk = Desk::registered();
    desk.policy.openid = OpenidPolicy::Include;
    let answer = success(TX, FEE);
    desk.look(&manual(), &answer);
    for text in [format!("{answer:?}"), format!("{:?}", desk.record()), format!("{:?}", desk.published)] {
        assert!(!text.contains("oUpF8"), "{text}");
    }
}

#[test]
fn i4_references_are_the_transaction_for_payments_and_empty_for_denials() {
    let id = |kind, reference| event_id(&key(), kind, reference);
    let mut desk = Desk::registered();
    let paid = desk.look(&manual(), &refund(TX, FEE));
    assert_eq!(paid.events[0].id, id(EventType::Paid, TX));
    assert_eq!(paid.events[1].id, id(EventType::Refunded, TX));
    desk.wait(2);
    assert_eq!(desk.look(&manual(), &success(OTHER_TX, FEE)).events[0].id, id(EventType::Mismatch, OTHER_TX));
    for (answer, kind) in [(closed(), EventType::Closed), (failed(), EventType::Failed)] {
        assert_eq!(Desk::registered().look(&manual(), &answer).events[0].id, id(kind, ""));
    }
}

#[test]
fn i4_a_ledger_that_lost_the_record_repeats_the_same_id() {
    let first = Desk::registered().look(&notified(TX), &success(TX, FEE));
    let mut emptied = Desk::empty();
    emptied.wait(500);
    let again = emptied.look(&notified(TX), &success(TX, FEE));
    assert_eq!(first.events[0].id, again.events[0].id);
}

#[test]
fn versions_rise_over_the_whole_life_of_an_order() {
    let mut desk = Desk::in_state(State::Unpaid, true);
    desk.look(&manual(), &success(TX, WRONG));
    desk.wait(2);
    desk.look(&manual(), &success(OTHER_TX, FEE));
    desk.judge(&judgement(Ruling::Accept));
    desk.poll(&refund(TX, WRONG));
    let told: Vec<_> =
        desk.published.iter().map(|event| (event.kind, event.order().unwrap().version)).collect();
    assert_eq!(
        told,
        [
            (EventType::Unpaid, 1),
            (EventType::Mismatch, 2),
            (EventType::Mismatch, 3),
            (EventType::Paid, 4),
            (EventType::Refunded, 5),
        ]
    );
}

#[test]
fn learned_by_is_the_check_that_found_it() {
    let mut polled = Desk::registered();
    assert_eq!(polled.poll(&success(TX, FEE)).events[0].order().unwrap().learned_by, LearnedBy::Poll);
    for (check, learned_by) in [
        (notified(TX), LearnedBy::Notification),
        (billed(TX), LearnedBy::Bill),
        (manual(), LearnedBy::Manual),
    ] {
        let at_once = Desk::registered().look(&check, &success(TX, FEE));
        assert_eq!(at_once.events[0].order().unwrap().learned_by, learned_by);
        let mut desk = Desk::registered();
        desk.look(&check, &Answer::Transient("time-out"));
        let retried = desk.poll(&success(TX, FEE));
        assert_eq!(retried.events[0].order().unwrap().learned_by, learned_by, "also when a retry finds it");
    }
}

#[test]
fn learned_by_is_notification_once_any_notification_was_accepted() {
    for finder in [Reason::Manual, Reason::Billed, Reason::Due] {
        let mut desk = Desk::registered();
        desk.look(&notified(OTHER_TX), &not_paid(NotPaid::NotPay));
        desk.now = at(2);
        let change = match finder {
            Reason::Manual => desk.look(&manual(), &success(TX, FEE)),
            Reason::Billed => desk.look(&billed(TX), &success(TX, FEE)),
            _ => desk.poll(&success(TX, FEE)),
        };
        assert_eq!(change.events[0].order().unwrap().learned_by, LearnedBy::Notification, "{finder:?}");
    }
}

#[test]
fn the_order_s_own_attributes_are_the_payment_s_else_the_registered() {
    let mut desk = Desk::empty();
    desk.register(&Application {
        appid: Some(AppId::new("wxREGISTERED").unwrap()),
        sub_mch_id: Some(MchId::new("1900000999").unwrap()),
        ..application(FEE)
    });
    let mut denied = desk.clone();
    let data = denied.look(&manual(), &closed()).events[0].order().unwrap().clone();
    assert_eq!(
        (data.appid.unwrap().as_str(), data.sub_mch_id.unwrap().as_str()),
        ("wxREGISTERED", "1900000999")
    );
    let sub_mch_id = Some(MchId::new("1900000888").unwrap());
    let paid = desk.look(&manual(), &answer(Payment { sub_mch_id, ..payment(TX, FEE) }));
    assert_eq!(kinds(&paid), [EventType::Paid]);
    let data = paid.events[0].order().unwrap().clone();
    assert_eq!(
        (data.appid.unwrap().as_str(), data.sub_mch_id.unwrap().as_str()),
        ("wx8888888888888888", "1900000888")
    );
}
