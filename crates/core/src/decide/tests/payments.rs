//! Payments: amounts (I3), ranks (I7), late truth (I9), a person's word, second transactions, late registrations.

use super::kinds;
use crate::event::{EventType, Mismatch};
use crate::money::Currency;
use crate::observation::{NotPaid, Payment};
use crate::record::State;
use crate::register::{Application, Registered};
use crate::samples::*;
use crate::verdict::{Judged, Ruling};

#[test]
fn i3_no_paid_event_unless_amount_and_currency_agree_in_any_row() {
    let dollars = |base: Payment| Payment { fee_type: Currency::new("USD").unwrap(), ..base };
    for (paid, mismatch) in [
        (payment(TX, FEE - 1), Mismatch::Amount),
        (payment(TX, FEE + 1), Mismatch::Amount),
        (dollars(payment(TX, FEE)), Mismatch::Currency),
        (dollars(payment(TX, WRONG)), Mismatch::Currency),
    ] {
        for refunded in [false, true] {
            for state in [State::Pending, State::Unpaid, State::Closed, State::Failed] {
                let answer = answer(Payment { refunded, ..paid.clone() });
                let change = Desk::in_state(state, true).look(&manual(), &answer);
                assert!(!kinds(&change).contains(&EventType::Paid), "{state:?} {paid:?}");
                let told = change.events[0].order().unwrap().disagreement.clone().unwrap();
                assert_eq!((change.events[0].kind, told.mismatch), (EventType::Mismatch, mismatch));
                assert_eq!(told.registered_fee_type, Some(Currency::CNY));
            }
        }
    }
}

#[test]
fn i3_the_registered_currency_counts_not_only_cny() {
    let mut desk = Desk::empty();
    let usd = Currency::new("USD").unwrap();
    desk.register(&Application { fee_type: Some(usd.clone()), ..application(FEE) });
    assert_eq!(kinds(&desk.clone().look(&manual(), &success(TX, FEE))), [EventType::Mismatch]);
    let paid = desk.look(&manual(), &answer(Payment { fee_type: usd, ..payment(TX, FEE) }));
    assert_eq!(kinds(&paid), [EventType::Paid]);
}

#[test]
fn i9_an_order_once_denied_that_turns_out_paid_is_late() {
    for state in [State::Unpaid, State::Closed, State::Failed] {
        let mut desk = Desk::in_state(state, true);
        let change = desk.look(&manual(), &success(TX, FEE));
        assert_eq!(kinds(&change), [EventType::Paid]);
        assert!(change.events[0].order().unwrap().late, "{state:?}");
        assert_eq!(change.events[0].order().unwrap().version, 2, "the denial was version 1");
    }
    assert!(!Desk::registered().look(&manual(), &success(TX, FEE)).events[0].order().unwrap().late);
}

#[test]
fn i9_it_is_still_late_when_a_person_had_to_accept_it() {
    let mut desk = Desk::in_state(State::Unpaid, true);
    desk.look(&manual(), &success(TX, WRONG));
    desk.judge(&judgement(Ruling::Accept));
    let change = desk.poll(&success(TX, WRONG));
    assert_eq!(kinds(&change), [EventType::Paid]);
    assert!(change.events[0].order().unwrap().late);
}

#[test]
fn i7_a_denial_after_the_payment_changes_nothing() {
    for state in [State::Mismatch, State::Rejected, State::Paid, State::Refunded] {
        for denial in [closed(), failed(), not_paid(NotPaid::NotPay), not_paid(NotPaid::NotExist)] {
            let mut desk = Desk::in_state(state, true);
            desk.now = at(900_000);
            let change = desk.look(&manual(), &denial);
            assert_eq!((change.state, kinds(&change), change.due), (state, vec![], None));
            assert_eq!(desk.record().transaction_id(), Some(&tx(TX)), "and forgets nothing");
        }
    }
}

#[test]
fn i7_one_denial_does_not_follow_another() {
    let denials =
        [(State::Unpaid, not_paid(NotPaid::NotPay)), (State::Closed, closed()), (State::Failed, failed())];
    for (state, _) in &denials {
        for (_, denial) in &denials {
            let mut desk = Desk::in_state(*state, true);
            desk.now = at(900_000);
            let change = desk.look(&manual(), denial);
            assert_eq!((change.state, kinds(&change), change.due), (*state, vec![], None));
        }
    }
}

#[test]
fn i7_from_mismatch_only_accept_leads_to_paid() {
    let mut desk = Desk::registered();
    desk.look(&manual(), &success(TX, WRONG));
    desk.wait(2);
    assert_eq!(
        desk.look(&manual(), &success(TX, FEE)).state,
        State::Mismatch,
        "though the amount agrees by now"
    );
    assert_eq!(desk.judge(&judgement(Ruling::Accept)), Judged::Stored);
    let change = desk.poll(&success(TX, WRONG));
    assert_eq!((change.state, kinds(&change)), (State::Paid, vec![EventType::Paid]));
    assert_eq!(change.events[0].order().unwrap().total_fee, Some(fen(WRONG)), "the accepted amount");
    assert_eq!(change.due, None);
}

#[test]
fn accept_holds_for_the_amount_currency_and_transaction_that_the_person_saw() {
    let usd = Currency::new("USD").unwrap();
    for other in [
        payment(TX, WRONG + 1),
        payment(TX, FEE),
        Payment { fee_type: usd, ..payment(TX, WRONG) },
        payment(OTHER_TX, WRONG),
    ] {
        let mut desk = Desk::in_state(State::Mismatch, true);
        desk.judge(&judgement(Ruling::Accept));
        let change = desk.poll(&answer(other.clone()));
        assert_eq!(change.state, State::Mismatch, "{other:?}");
        assert!(!kinds(&change).contains(&EventType::Paid), "{other:?}");
    }
}

#[test]
fn an_accepted_payment_that_wechat_denies_is_looked_at_again() {
    let mut desk = Desk::in_state(State::Mismatch, true);
    assert_eq!(desk.judge(&judgement(Ruling::Accept)), Judged::Stored);
    for answer in [not_paid(NotPaid::NotPay), closed(), failed()] {
        let change = desk.poll(&answer);
        assert_eq!(change.state, State::Mismatch);
        assert!(change.due.is_some(), "nobody else would make it due again: {answer:?}");
        desk.wait(6 * 3600);
    }
}

#[test]
fn accept_of_a_payment_that_meanwhile_went_back_tells_both() {
    let mut desk = Desk::in_state(State::Mismatch, true);
    desk.judge(&judgement(Ruling::Accept));
    let change = desk.poll(&refund(TX, WRONG));
    assert_eq!((change.state, kinds(&change)), (State::Refunded, vec![EventType::Paid, EventType::Refunded]));
}

#[test]
fn a_rejected_payment_stays_rejected_until_it_is_accepted_after_all() {
    let mut desk = Desk::in_state(State::Rejected, true);
    let again = desk.look(&manual(), &success(TX, WRONG));
    assert_eq!((again.state, kinds(&again)), (State::Rejected, vec![]));
    desk.judge(&judgement(Ruling::Accept));
    assert_eq!(desk.record().state, State::Rejected, "the check emits, not the ruling");
    assert_eq!(desk.poll(&success(TX, WRONG)).state, State::Paid);
}

#[test]
fn reject_takes_back_an_accept_that_no_check_has_used() {
    let mut desk = Desk::in_state(State::Mismatch, true);
    desk.judge(&judgement(Ruling::Accept));
    desk.judge(&judgement(Ruling::Reject));
    let change = desk.poll(&success(TX, WRONG));
    assert_eq!((change.state, kinds(&change)), (State::Rejected, vec![]));
}

#[test]
fn a_second_transaction_is_a_mismatch_once_and_never_a_second_paid() {
    for state in [State::Mismatch, State::Rejected, State::Paid, State::Refunded] {
        let mut desk = Desk::in_state(state, true);
        let change = desk.look(&manual(), &success(OTHER_TX, FEE));
        assert_eq!((change.state, kinds(&change)), (state, vec![EventType::Mismatch]), "the state stays");
        let told = change.events[0].order().unwrap();
        assert_eq!(told.disagreement.as_ref().unwrap().mismatch, Mismatch::SecondTransaction);
        assert_eq!(told.transaction_id, Some(tx(OTHER_TX)));
        assert_eq!(desk.record().transaction_id(), Some(&tx(TX)), "the first one keeps the order");
        desk.wait(2);
        assert_eq!(kinds(&desk.look(&manual(), &success(OTHER_TX, FEE))), [], "told once");
        desk.wait(2);
        assert_eq!(kinds(&desk.look(&manual(), &success(TX, FEE))), [], "nor is the first one told again");
    }
}

#[test]
fn a_differing_registration_after_paid_is_a_mismatch_and_the_state_stays() {
    for (state, paid) in [(State::Paid, success(TX, FEE)), (State::Refunded, refund(TX, FEE))] {
        let mut desk = Desk::in_state(state, false);
        assert_eq!(desk.register(&application(WRONG)), Registered::Added);
        let change = desk.poll(&paid);
        assert_eq!((change.state, kinds(&change)), (state, vec![EventType::Mismatch]));
        let told = change.events[0].order().unwrap().disagreement.clone().unwrap();
        assert_eq!((told.mismatch, told.registered_fee), (Mismatch::Amount, Some(fen(WRONG))));
        desk.wait(2);
        assert_eq!(kinds(&desk.look(&manual(), &paid)), [], "told once");
    }
}

#[test]
fn an_equal_registration_after_paid_tells_nothing() {
    let mut desk = Desk::in_state(State::Paid, false);
    desk.register(&application(FEE));
    let change = desk.poll(&success(TX, FEE));
    assert_eq!((change.state, kinds(&change), change.due), (State::Paid, vec![], None));
}

#[test]
fn a_refund_and_a_differing_registration_come_out_of_one_look() {
    let mut desk = Desk::in_state(State::Paid, false);
    desk.register(&application(WRONG));
    let change = desk.poll(&refund(TX, FEE));
    assert_eq!(
        (change.state, kinds(&change)),
        (State::Refunded, vec![EventType::Mismatch, EventType::Refunded])
    );
    assert_eq!(change.events.iter().map(|event| event.order().unwrap().version).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_refund_without_its_transaction_or_amount_emits_nothing() {
    for bare in [
        Payment { refunded: true, transaction_id: None, ..payment(TX, FEE) },
        Payment { refunded: true, total_fee: None, ..payment(TX, FEE) },
    ] {
        for state in State::ALL {
            let mut desk = Desk::in_state(state, true);
            let change = desk.look(&manual(), &answer(bare.clone()));
            assert_eq!((change.state, kinds(&change)), (state, vec![]));
        }
    }
}
