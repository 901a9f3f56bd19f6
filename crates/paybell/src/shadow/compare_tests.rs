//! Tests of the comparison: each kind of finding, its border, and what a bare access log can and cannot say.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_147_200_000 + seconds * 1_000)
}

fn paid(order: &str, seconds: i64) -> Payment {
    Payment {
        mch_id: "1900000109".to_owned(),
        out_trade_no: order.to_owned(),
        transaction_id: format!("42{order}"),
        total_fee: 100,
        paid_at: at(seconds),
        learned_at: at(seconds + 1),
        learned_by: "notification".to_owned(),
        mismatch: None,
    }
}

fn seen(order: &str, seconds: i64) -> Seen {
    Seen {
        line: 2,
        mch_id: None,
        out_trade_no: order.to_owned(),
        at: at(seconds),
        transaction_id: None,
        total_fee: None,
    }
}

fn hit(target: &str, seconds: i64, status: u16) -> Hit {
    Hit { line: 1, at: at(seconds), target: target.to_owned(), status }
}

const FRAME: Frame = Frame { period: Period { from: None, to: None }, late_ms: 60_000 };

fn kinds(report: &Report) -> Vec<(Kind, &str)> {
    report.findings.iter().map(|found| (found.kind, found.out_trade_no.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn a_handler_that_saw_everything_in_time_gives_no_finding() {
    let rows = [
        Seen { total_fee: Some(100), transaction_id: Some("42A".to_owned()), ..seen("A", 60) },
        Seen { mch_id: Some("1900000109".to_owned()), ..seen("B", 3) },
    ];
    let report = orders(&[paid("A", 0), paid("B", 2)], &rows, FRAME);
    assert_eq!(kinds(&report), []);
    assert_eq!((report.payments, report.total_fee, report.rows), (2, 200, 2));
    assert_eq!((report.handler.permille(500), report.handler.permille(1_000)), (Some(1_000), Some(60_000)));
    assert_eq!(report.paybell.permille(950), Some(1_000));
}

#[test]
fn every_disagreement_is_found_and_named() {
    let payments = [
        paid("missed", 0),
        paid("late", 0),
        paid("twice", 0),
        paid("fee", 0),
        paid("other", 0),
        Payment { mismatch: Some("amount".to_owned()), ..paid("held", 0) },
        paid("foreign", 0),
    ];
    let rows = [
        seen("late", 61),
        seen("twice", 20),
        seen("twice", 4),
        Seen { total_fee: Some(99), ..seen("fee", 1) },
        Seen { transaction_id: Some("7".to_owned()), ..seen("other", 1) },
        seen("held", 1),
        seen("forged", 1),
        Seen { mch_id: Some("2".to_owned()), ..seen("foreign", 1) },
    ];
    let report = orders(&payments, &rows, FRAME);
    let mut found = kinds(&report);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            (Kind::Missed, "foreign"),
            (Kind::Missed, "missed"),
            (Kind::NotPaid, "foreign"),
            (Kind::NotPaid, "forged"),
            (Kind::AmountDiffers, "fee"),
            (Kind::TransactionDiffers, "other"),
            (Kind::Mismatch, "held"),
            (Kind::Late, "late"),
            (Kind::Doubled, "twice"),
        ]
    );
    assert_eq!((report.count(Kind::Missed), report.fen(Kind::Missed)), (2, 200));
    let twice = report.findings.iter().find(|finding| finding.kind == Kind::Doubled).unwrap();
    assert_eq!(twice.seen.iter().map(|row| row.at).collect::<Vec<_>>(), [at(4), at(20)], "oldest first");
}

#[test]
fn the_period_is_about_payments_and_what_follows_it_still_counts_as_seen() {
    let period = Period { from: Some(at(100)), to: Some(at(200)) };
    let payments = [paid("before", 99), paid("first", 100), paid("last", 199), paid("after", 200)];
    let rows = [seen("last", 250), seen("before", 120), seen("old", 99), seen("strange", 150)];
    let report = orders(&payments, &rows, Frame { period, ..FRAME });
    assert_eq!(kinds(&report), [(Kind::Missed, "first"), (Kind::NotPaid, "strange")]);
    assert_eq!(report.payments, 2);
}

#[test]
fn a_log_whose_urls_name_the_orders_is_compared_order_by_order() {
    let log = [hit("/notify/A", 1, 200), hit("/notify?order=B", 1, 500), hit("/notify/none", 1, 200)];
    let report = hits(&[paid("A", 0), paid("B", 0)], &log, FRAME);
    assert_eq!(kinds(&report), [(Kind::Missed, "B"), (Kind::Refused, "B")]);
    assert_eq!((report.missed_at_least, report.rows), (None, 3));
}

#[test]
fn a_bare_log_gives_a_lower_bound_of_what_was_missed() {
    let payments = [paid("A", 0), paid("B", 10), paid("C", 20), paid("D", 30)];
    // Two accepted within the time of A: one of them is a repeat, and cannot stand for a later payment.
    let log = [hit("/n", 1, 200), hit("/n", 2, 200), hit("/n", 12, 502), hit("/n", 40, 200)];
    let report = hits(&payments, &log, FRAME);
    assert_eq!(report.missed_at_least, Some(2));
    assert_eq!(kinds(&report), [(Kind::Refused, "-")]);
    assert_eq!(hits(&payments, &[], FRAME).missed_at_least, Some(4));
}

#[test]
fn the_last_payment_of_a_period_is_not_missed_because_its_hit_came_after_it() {
    let payments = [paid("A", 100), paid("B", 199), paid("C", 230)];
    let frame = Frame { period: Period { from: Some(at(100)), to: Some(at(200)) }, ..FRAME };
    let missed =
        |second| hits(&payments, &[hit("/n", 101, 200), hit("/n", second, 200)], frame).missed_at_least;
    assert_eq!(missed(202), Some(0));
    assert_eq!(missed(300), Some(1), "that late it is somebody else's");
    assert_eq!(missed(99), Some(1), "before the period nothing of it was paid");
}
