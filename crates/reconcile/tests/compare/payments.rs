//! Payments: what agrees, and each way to differ.

use paybell_core::check::Reason;
use paybell_core::money::Fen;
use paybell_core::record::State;
use reconcile::Kind;

use crate::support::*;

const EIGHT: &str = "2026-11-18 08:00:00";

#[test]
fn a_bill_that_agrees_gives_its_sums_and_nothing_else() {
    let mut lines: Vec<Line> = (0..7).map(|number| paid(number, "08:35:41", 1999)).collect();
    lines.push(refunded(3, "R3", 500, "SUCCESS"));
    let mut ledger = Memory::like(&lines);
    ledger.orders[3].state = State::Refunded;
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!(heard, []);
    assert_eq!((result.rows, result.agreed, result.checks, result.differing()), (8, 8, 0, 0));
    let [sums] = result.sums.as_slice() else { panic!("{:?}", result.sums) };
    assert_eq!((sums.payments, sums.refunds_made), (7, 1));
    assert_eq!((sums.gross, sums.settled, sums.refunds), (13_993, 13_993, 500));
    assert_eq!((sums.fee_units, sums.fees), (7 * 11_994 - 3_000, 81));
    assert_eq!(sums.net, 13_993 - 500 - 81);
    assert_eq!(result.carry, reconcile::Carry::default());
}

#[test]
fn a_payment_that_nobody_here_knows_becomes_a_check() {
    let lines = [paid(1, "08:35:41", 1999), paid(2, "09:00:00", 7)];
    let (result, heard) = run(&task(), &lines, &mut Memory::like(&lines[1..])).unwrap();
    assert_eq!(found(&heard), [(Kind::PaymentUnknownHere, "T1")]);
    let [check] = checks(&heard)[..] else { panic!("{heard:?}") };
    assert_eq!((check.reason, check.key.to_string().as_str()), (Reason::Billed, "1900000109/T1"));
    assert_eq!(check.transaction_id.as_ref().unwrap().as_str(), tx(1));
    let seen_as = check.seen_as.as_ref().unwrap();
    assert_eq!((seen_as.appid.as_str(), seen_as.sub_mch_id.as_ref()), (APP, None));
    assert_eq!(heard[0].bill.as_ref().unwrap().fee, Fen::new(1999).ok());
    assert_eq!((heard[0].here.as_ref(), heard[0].at), (None, Some(at("2026-11-18 08:35:41"))));
    assert_eq!((result.checks, result.checks_fen, result.agreed), (1, 1999, 1));
    assert_eq!(result.counts[&Kind::PaymentUnknownHere], 1);
}

#[test]
fn an_order_that_is_behind_becomes_a_check() {
    let lines: Vec<Line> = (0..5).map(|number| paid(number, "08:00:00", 100)).collect();
    let states = [State::Pending, State::Unpaid, State::Closed, State::Failed];
    let mut ledger = Memory::like(&lines);
    for (order, state) in ledger.orders.iter_mut().zip(states) {
        order.state = state;
        order.payment = None;
    }
    // What a refund alone made known was never told as paid.
    ledger.orders[4].by_refund_only = true;
    ledger.orders[4].state = State::Refunded;
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    let kinds: Vec<Kind> = heard.iter().map(|one| one.kind).collect();
    let behind = Kind::PaymentBehindHere;
    assert_eq!(kinds, [behind, behind, behind, behind, Kind::PaymentUnknownHere]);
    assert_eq!((checks(&heard).len(), result.agreed), (5, 0));
    let words: Vec<_> = heard[..4].iter().map(|one| one.here.clone().unwrap().state.unwrap()).collect();
    assert_eq!(words, ["pending", "unpaid", "closed", "failed"]);
}

#[test]
fn whatever_differs_in_a_payment_is_named_and_not_healed() {
    let lines: Vec<Line> = (0..5).map(|number| paid(number, "08:00:00", 100)).collect();
    let mut ledger = Memory::of([
        order(0, State::Paid, 101, EIGHT),
        order(1, State::Refunded, 100, EIGHT),
        order(2, State::Mismatch, 100, EIGHT),
        order(3, State::Rejected, 100, EIGHT),
        order(4, State::Paid, 100, EIGHT),
    ]);
    ledger.orders[1].payment.as_mut().unwrap().fee_type = paybell_core::money::Currency::new("HKD").unwrap();
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!(
        found(&heard),
        [
            (Kind::Amount, "T0"),
            (Kind::Currency, "T1"),
            (Kind::PaymentHeldHere, "T2"),
            (Kind::PaymentHeldHere, "T3")
        ],
        "and none of them is only here"
    );
    assert!(heard.iter().all(|one| one.healing.is_none()));
    assert_eq!(result.agreed, 1);
    assert_eq!(heard[0].here.as_ref().unwrap().fee, Fen::new(101).ok());
}

#[test]
fn a_second_payment_is_asked_about_until_it_is_told() {
    let second = Line { transaction_id: tx(99), ..paid(1, "08:01:00", 100) };
    let lines = [paid(1, "08:00:00", 100), second];
    let mut ledger = Memory::like(&lines[..1]);
    let (_, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::SecondPayment, "T1")]);
    assert_eq!(checks(&heard)[0].transaction_id.as_ref().unwrap().as_str(), tx(99));
    ledger.orders[0].second_transactions = vec![tx(99)];
    let (_, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!((found(&heard).len(), checks(&heard).len()), (1, 0));
}

#[test]
fn a_list_without_wechat_s_numbers_is_compared_by_order_and_sees_a_second_payment() {
    let second = Line { transaction_id: tx(99), ..paid(1, "08:01:00", 100) };
    let lines = [paid(1, "08:00:00", 100), paid(2, "08:00:00", 100), second];
    let mut ledger = Memory::like(&lines[..2]);
    ledger.orders.push(order(3, State::Paid, 100, EIGHT));
    for order in &mut ledger.orders {
        let payment = order.payment.as_mut().unwrap();
        (payment.transaction_id, payment.paid_at) = (None, Some(at(EIGHT)));
    }
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::SecondPayment, "T1"), (Kind::PaymentOnlyHere, "T3")]);
    assert_eq!(result.agreed, 2);
}

#[test]
fn a_payment_that_no_bill_shows_is_only_here() {
    let lines: Vec<Line> = (0..5).map(|number| paid(number, "08:00:00", 100)).collect();
    let mut ledger = Memory::like(&lines);
    ledger.orders[4].state = State::Mismatch;
    // Of other days, and not paid: no business of this bill.
    ledger.orders.push(order(7, State::Paid, 100, "2026-11-17 08:00:00"));
    ledger.orders.push(order(8, State::Paid, 100, "2026-11-19 08:00:00"));
    ledger.orders.push(order(9, State::Closed, 100, EIGHT));
    let (result, heard) = run(&task(), &lines[..3], &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::PaymentOnlyHere, "T3"), (Kind::PaymentOnlyHere, "T4")]);
    assert_eq!((heard[0].bill.as_ref(), heard[0].at), (None, Some(at(EIGHT))));
    assert_eq!(heard[1].here.as_ref().unwrap().state.as_deref(), Some("mismatch"));
    assert_eq!((result.agreed, result.checks), (3, 0));
}

#[test]
fn a_row_that_comes_twice_is_said_once_more() {
    let lines = [
        paid(1, "08:00:00", 100),
        paid(1, "08:00:00", 100),
        paid(2, "08:00:00", 100),
        paid(2, "08:00:00", 100),
        refunded(1, "R1", 10, "SUCCESS"),
        refunded(1, "R2", 10, "SUCCESS"),
        refunded(1, "R1", 10, "SUCCESS"),
    ];
    let mut ledger = Memory::of([order(1, State::Refunded, 100, EIGHT)]);
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!(result.counts[&Kind::DuplicateRow], 3);
    assert_eq!(result.counts[&Kind::PaymentUnknownHere], 1, "one order is asked about once");
    assert_eq!(checks(&heard).len(), 1);
}

#[test]
fn rows_that_are_no_payment_of_ours_are_named() {
    let lines = [
        paid(1, "08:00:00", 100),
        Line { mch_id: "1900000110", ..paid(2, "08:00:00", 100) },
        Line { out_trade_no: "T 3".to_owned(), ..paid(3, "08:00:00", 100) },
        Line { state: "FROZEN", ..paid(4, "08:00:00", 100) },
        Line { state: "REVOKED", ..paid(5, "08:00:00", 100) },
        Line { state: "REVOKED", ..paid(6, "08:00:00", 100) },
        paid(8, "08:00:00", 100),
        Line { state: "REVOKED", ..paid(8, "08:05:00", 100) },
        Line { time: "2026-11-16 08:00:00".to_owned(), ..paid(7, "", 100) },
    ];
    let mut ledger = Memory::like(&lines[..1]);
    ledger.orders.push(order(5, State::Paid, 100, EIGHT));
    ledger.orders.push(order(8, State::Paid, 100, EIGHT));
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    let mut kinds = found(&heard);
    kinds.sort_unstable_by_key(|(_, number)| number.to_owned());
    assert_eq!(
        kinds,
        [
            (Kind::ForeignRow, "T 3"),
            (Kind::ForeignRow, "T2"),
            (Kind::UnknownState, "T4"),
            (Kind::Reversed, "T5"),
            (Kind::OtherDay, "T7"),
            (Kind::PaymentUnknownHere, "T7"),
            (Kind::Reversed, "T8"),
        ]
    );
    assert_eq!(result.agreed, 3, "T1, T8's payment, and the reversal of what is not here");
}

#[test]
fn a_provider_is_summed_per_sub_merchant_and_asked_with_it() {
    let lines = [
        Line { sub_mch_id: "1900000201", ..paid(1, "08:00:00", 100) },
        Line { sub_mch_id: "1900000202", ..paid(2, "08:00:00", 250) },
        Line { sub_mch_id: "1900000201", ..refunded(1, "R1", 40, "SUCCESS") },
    ];
    let (result, heard) = run(&task(), &lines, &mut Memory::default()).unwrap();
    let parts: Vec<_> = result
        .by_sub_merchant
        .iter()
        .map(|one| (one.sub_mch_id.as_str(), one.sums.gross, one.sums.refunds))
        .collect();
    assert_eq!(parts, [("1900000201", 100, 40), ("1900000202", 250, 0)]);
    assert_eq!(result.sums[0].gross, 350);
    let sub_of = |check: &&paybell_core::Check| check.seen_as.clone().unwrap().sub_mch_id.unwrap();
    let subs: Vec<String> = checks(&heard).iter().map(|check| sub_of(check).to_string()).collect();
    assert_eq!(subs, ["1900000201", "1900000202"]);
}

#[test]
fn other_currencies_are_summed_apart() {
    let lines = [
        Line { fee_type: "HKD", ..paid(1, "08:00:00", 100) },
        paid(2, "08:00:00", 250),
        Line { fee_type: "HKD", ..paid(3, "08:00:00", 11) },
    ];
    let (result, _) = run(&task(), &lines, &mut Memory::default()).unwrap();
    let sums: Vec<_> = result.sums.iter().map(|one| (one.fee_type.as_str(), one.gross)).collect();
    assert_eq!(sums, [("CNY", 250), ("HKD", 111)]);
}

#[test]
fn what_the_walk_did_not_show_is_counted_and_still_agrees() {
    let lines = [paid(1, "08:00:00", 100), paid(2, "08:00:00", 100)];
    let mut ledger = Memory::like(&lines);
    ledger.hidden = vec!["T2".to_owned()];
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!((heard.len(), result.agreed, result.missed_by_walk), (0, 2, 1));
    // What was learned after the walk began could not be met by it.
    ledger.orders[1].updated_at = task().now;
    assert_eq!(run(&task(), &lines, &mut ledger).unwrap().0.missed_by_walk, 0);
}
