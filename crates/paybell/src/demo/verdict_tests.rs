//! Each way to break the promise is found, and nothing else is.

use paybell_core::{
    Fen, OrderKey, TransactionId,
    event::{ContentType, OrderData, SpecVersion, event_id, source_of},
};
use simulator::TradeState;

use super::*;

fn truth(number: u32, paid: bool) -> Truth {
    Truth {
        mch_id: "1900000109".to_owned(),
        out_trade_no: format!("T{number}"),
        sub_mch_id: None,
        appid: "wx8888888888888888".to_owned(),
        trade_state: if paid { TradeState::Success } else { TradeState::NotPay },
        paid,
        transaction_id: paid.then(|| format!("4200{number}")),
        total_fee: 1999,
        fee_type: "CNY".to_owned(),
        refunded_fee: 0,
        created_at: String::new(),
        paid_at: None,
        paid_at_ms: None,
        queries: 0,
        notifications_sent: 0,
        notification_acknowledged: false,
    }
}

fn event(number: u32, kind: EventType, learned_by: LearnedBy) -> Event {
    let key = OrderKey::new("1900000109", format!("T{number}")).unwrap();
    let is_payment = kind != EventType::Unpaid;
    let transaction_id = is_payment.then(|| TransactionId::new(format!("4200{number}")).unwrap());
    let reference = transaction_id.as_ref().map_or("", |id| id.as_str());
    Event {
        specversion: SpecVersion::V1,
        id: event_id(&key, kind, reference),
        source: source_of(&key.mch_id),
        kind,
        subject: key.out_trade_no.to_string(),
        time: paybell_core::Timestamp::from_millis(0),
        datacontenttype: ContentType::Json,
        data: OrderData {
            version: 1,
            mch_id: key.mch_id,
            sub_mch_id: None,
            appid: None,
            out_trade_no: key.out_trade_no,
            transaction_id,
            total_fee: is_payment.then(|| Fen::new(1999).unwrap()),
            fee_type: None,
            cash_fee: None,
            settlement_total_fee: None,
            coupon_fee: None,
            coupons: Vec::new(),
            trade_state: None,
            trade_type: None,
            bank_type: None,
            attach: None,
            paid_at: None,
            learned_by,
            late: false,
            registered: true,
            shadow: false,
            openid: None,
            disagreement: None,
            refund: None,
            duplicate: None,
        }
        .into(),
    }
}

/// Three orders: notified, found by a poll, not paid.
fn evidence() -> Evidence {
    let mut notified = truth(1, true);
    notified.notification_acknowledged = true;
    Evidence {
        truths: vec![notified, truth(2, true), truth(3, false)],
        stats: Stats { notifications_acknowledged: 3, forgeries_sent: 4, ..Stats::default() },
        log: vec![
            event(1, EventType::Paid, LearnedBy::Notification),
            event(2, EventType::Paid, LearnedBy::Poll),
            event(3, EventType::Unpaid, LearnedBy::Poll),
        ],
        streamed: Some(2),
    }
}

#[test]
fn what_is_as_promised_is_counted() {
    let tally = Tally {
        paid: 2,
        events: 2,
        by_notification: 1,
        by_poll: 1,
        otherwise: 0,
        repeats: 2,
        repeats_dropped: 2,
        forgeries: 4,
        forgeries_refused: 4,
        not_paid: 1,
        told_unpaid: 1,
        lost: 0,
    };
    assert_eq!(evidence().judge(), Verdict { tally, lost: Vec::new(), problems: Vec::new() });
}

type Breakage = fn(&mut Evidence);

#[test]
fn each_broken_promise_is_found_by_name() {
    let broken: [(Breakage, &str); 9] = [
        (|e| e.log.push(event(3, EventType::Paid, LearnedBy::Poll)), "T3: order.paid, but nobody paid"),
        (|e| e.log.push(event(9, EventType::Paid, LearnedBy::Poll)), "T9: order.paid, but WeChat knows no"),
        (|e| e.log.push(event(1, EventType::Paid, LearnedBy::Poll)), "came twice"),
        (
            |e| e.log[0].order_mut().unwrap().total_fee = Some(Fen::new(1998).unwrap()),
            "says 1998 fen, paid were 1999",
        ),
        (|e| e.log[0].order_mut().unwrap().transaction_id = None, "T1: order.paid names another transaction"),
        (|e| e.log.push(event(2, EventType::Unpaid, LearnedBy::Poll)), "T2: order.unpaid, but it is paid"),
        (|e| e.log.push(event(2, EventType::Mismatch, LearnedBy::Poll)), "T2: order.mismatch"),
        (|e| e.stats.forgeries_acknowledged = 1, "1 forged notifications were taken"),
        (|e| e.streamed = Some(1), "the subscriber saw 1"),
    ];
    for (break_it, named) in broken {
        let mut evidence = evidence();
        break_it(&mut evidence);
        let problems = evidence.judge().problems;
        assert!(problems.iter().any(|problem| problem.contains(named)), "{named:?} in {problems:?}");
    }
}

#[test]
fn payments_without_an_event_are_lost() {
    let mut evidence = evidence();
    evidence.truths.push(truth(4, true));
    evidence.log.remove(1);
    let verdict = Evidence { streamed: None, ..evidence }.judge();
    assert_eq!((verdict.lost, verdict.tally.lost), (vec!["T2".to_owned(), "T4".to_owned()], 2));
    assert_eq!(verdict.problems, [""; 0]);
}

#[test]
fn two_ids_of_one_payment_are_found_and_no_repeat_was_dropped() {
    let mut evidence = evidence();
    let mut second = event(1, EventType::Paid, LearnedBy::Notification);
    second.id = event(1, EventType::Refunded, LearnedBy::Notification).id;
    evidence.log.push(second);
    let verdict = evidence.judge();
    assert_eq!(verdict.problems, ["T1: two order.paid events with different ids"]);
    assert_eq!((verdict.tally.events, verdict.tally.repeats_dropped), (2, 1));
}

#[test]
fn a_taken_forgery_is_not_refused() {
    let mut evidence = evidence();
    evidence.stats.forgeries_acknowledged = 1;
    assert_eq!(evidence.judge().tally.forgeries_refused, 3);
}
