//! Several numbers of one business order: the first payment is told as paid, every later one as a duplicate.

use super::kinds;
use crate::cadence::Cadence;
use crate::decide::{Decision, decide};
use crate::event::{EventType, event_id};
use crate::ids::{BusinessNo, OutTradeNo};
use crate::observation::{Answer, NotPaid};
use crate::place::{OFFER_MAX, Step, Stepped, TradeType, Wish, place};
use crate::record::{Record, State};
use crate::register::{Application, Registered};
use crate::samples::*;
use crate::shadow::Mode;
use crate::time::Millis;
use crate::verdict::Ruling;

const DAY_S: i64 = 86_640;

fn of_b(total_fee: i64) -> Application {
    Application { business_no: BusinessNo::new("B").ok(), ..application(total_fee) }
}

/// An order of the business order `B`, of which `first` was paid first, if any was.
fn of_business(first: Option<&str>) -> Desk {
    let mut desk = Desk::empty();
    assert_eq!(desk.register(&of_b(FEE)), Registered::Added);
    desk.first_paid = first.map(|number| OutTradeNo::new(number).unwrap());
    desk
}

fn decides(desk: &Desk, answer: &Answer) -> Decision {
    let check = manual();
    decide(desk.record(), answer, &look(&check, &desk.policy, desk.now))
}

#[test]
fn a_payment_is_claimed_before_it_is_told_and_nothing_else_is() {
    let desk = of_business(None);
    assert_eq!(decides(&desk, &success(TX, FEE)), Decision::ClaimFirst);
    assert_eq!(decides(&desk, &refund(TX, FEE)), Decision::ClaimFirst);
    for answer in [success(TX, WRONG), refund(TX, WRONG), not_paid(NotPaid::NotPay), closed(), failed()] {
        assert!(matches!(decides(&desk, &answer), Decision::Commit(_)), "{answer:?}");
    }
    let alone = Desk::registered();
    assert!(matches!(decides(&alone, &success(TX, FEE)), Decision::Commit(_)));
}

#[test]
fn the_first_payment_is_paid() {
    let change = of_business(None).look(&manual(), &success(TX, FEE));
    assert_eq!((change.state, kinds(&change)), (State::Paid, vec![EventType::Paid]));
    assert_eq!(change.events[0].order().unwrap().duplicate, None);
}

#[test]
fn the_second_payment_is_told_as_a_duplicate_instead() {
    let mut desk = of_business(Some("T0"));
    let change = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!((change.state, change.outcome), (State::Paid, "duplicate_payment"));
    assert_eq!(kinds(&change), [EventType::DuplicatePayment]);
    let event = &change.events[0];
    assert_eq!(event.id, event_id(&key(), EventType::DuplicatePayment, TX));
    let data = event.order().unwrap();
    assert_eq!(data.total_fee, Some(fen(FEE)), "as order.paid");
    let duplicate = data.duplicate.as_ref().unwrap();
    assert_eq!((duplicate.business_no.as_str(), duplicate.first_out_trade_no.as_str()), ("B", "T0"));
    assert_eq!(serde_json::from_str::<crate::Event>(&event.to_json()).unwrap(), *event);
    assert_eq!(desk.take(&notified(TX)), crate::lease::Taken::Duplicate, "I6 holds as for any paid order");
    desk.wait(5);
    assert_eq!(kinds(&desk.look(&manual(), &success(TX, FEE))), [], "once");
    desk.wait(5);
    let refunded = desk.look(&manual(), &refund(TX, FEE));
    assert_eq!((refunded.state, kinds(&refunded)), (State::Refunded, vec![EventType::Refunded]));
}

#[test]
fn a_duplicate_that_comes_late_says_so() {
    let mut desk = of_business(Some("T0"));
    desk.look(&manual(), &closed());
    desk.wait(5);
    let change = desk.look(&manual(), &success(TX, FEE));
    assert!(change.events[0].order().unwrap().late);
}

#[test]
fn i3_another_amount_is_a_mismatch_whoever_was_first() {
    let mut desk = of_business(Some("T0"));
    let change = desk.look(&manual(), &success(TX, WRONG));
    assert_eq!((change.state, kinds(&change)), (State::Mismatch, vec![EventType::Mismatch]));
    desk.judge(&judgement(Ruling::Accept));
    desk.wait(5);
    let accepted = desk.look(&manual(), &success(TX, WRONG));
    assert_eq!((accepted.state, kinds(&accepted)), (State::Paid, vec![EventType::DuplicatePayment]));
}

#[test]
fn an_order_whose_business_became_known_after_its_payment_claims_it_all_the_same() {
    let mut desk = Desk::empty();
    desk.look(&manual(), &success(TX, FEE));
    desk.register(&of_b(FEE));
    desk.wait(5);
    assert_eq!(decides(&desk, &success(TX, FEE)), Decision::ClaimFirst);
    let claimed = desk.look(&manual(), &success(TX, FEE));
    assert_eq!(kinds(&claimed), [], "it is the first, and was told");
    desk.first_paid = OutTradeNo::new("T0").ok();
    desk.wait(5);
    let change = desk.look(&manual(), &success(TX, FEE));
    assert_eq!(kinds(&change), [EventType::DuplicatePayment], "another was first");
}

#[test]
fn a_withheld_duplicate_is_told_once_its_telling_is_owed() {
    let mut desk = of_business(Some("T0"));
    desk.policy.mode = Mode::Shadow;
    let withheld = desk.look(&manual(), &success(TX, FEE));
    assert!(withheld.events[0].is_shadow());
    desk.wait(5);
    let told = desk.look(&notified(TX), &success(TX, FEE));
    assert_eq!(kinds(&told), [EventType::DuplicatePayment]);
    assert!(!told.events[0].is_shadow());
}

fn begun(desk: &mut Desk) {
    let wish = Wish { trade_type: TradeType::Native, parts: Default::default() };
    let (record, stepped) =
        place(desk.stored.as_ref(), &Step::Begin(wish, "https://pay.example.com".into()), desk.now);
    assert!(matches!(stepped, Stepped::Stored(_)));
    desk.stored = record;
}

fn due_after(desk: &mut Desk) -> Option<i64> {
    desk.look(&manual(), &not_paid(NotPaid::NotPay));
    desk.record().due.map(|due| due.at.since(T0).0 / 1000)
}

#[test]
fn the_cadence_of_an_order_that_is_placed_later_counts_from_there() {
    let mut desk = Desk::registered();
    desk.now = at(7200);
    begun(&mut desk);
    desk.now = at(7215);
    assert_eq!(due_after(&mut desk), Some(7230));
    desk.now = at(DAY_S);
    assert!(due_after(&mut desk).is_some(), "it can still be paid");
    desk.now = at(7200 + DAY_S);
    assert_eq!((due_after(&mut desk), desk.record().state), (None, State::Unpaid));
}

#[test]
fn the_cadence_alone_says_when_an_order_is_given_up_that_was_offered_once() {
    let mut desk = Desk::registered();
    begun(&mut desk);
    desk.policy.cadence = Cadence::from_gaps([Millis::seconds(60)]).unwrap();
    let mut again = desk.clone();
    desk.now = at(60);
    assert_eq!((due_after(&mut desk), desk.record().state), (None, State::Unpaid));
    again.now = at(5);
    begun(&mut again);
    again.now = at(60);
    assert_eq!(due_after(&mut again), Some(65), "the same again has as long as the first");
    again.now = at(65);
    assert_eq!((due_after(&mut again), again.record().state), (None, State::Unpaid));
}

#[test]
fn no_order_is_called_unpaid_while_an_offer_lives_that_was_made_once_more() {
    let mut desk = Desk::registered();
    begun(&mut desk);
    desk.now = at(DAY_S - 60);
    begun(&mut desk);
    desk.now = at(DAY_S);
    let until = DAY_S - 60 + OFFER_MAX.0 / 1000;
    assert_eq!(due_after(&mut desk), Some(until));
    desk.now = at(until);
    assert_eq!((due_after(&mut desk), desk.record().state), (None, State::Unpaid));
}

#[test]
fn close_unpaid_counts_its_five_minutes_from_the_placing() {
    let mut desk = Desk::empty();
    desk.register(&Application { expires_at: Some(at(600)), ..application(FEE) });
    desk.policy.close_unpaid = true;
    desk.now = at(500);
    begun(&mut desk);
    desk.now = at(600);
    let record: Record = desk.hold(&manual());
    let change = desk.decide(&record, &manual(), &not_paid(NotPaid::NotPay));
    assert_eq!((change.state, change.due.unwrap().at), (State::Pending, at(500) + Millis::seconds(300)));
}

#[test]
fn a_payment_that_disagrees_with_its_late_registration_is_no_duplicate_but_a_mismatch() {
    let mut desk = Desk::empty();
    desk.look(&manual(), &success(TX, FEE));
    desk.register(&of_b(WRONG));
    desk.first_paid = OutTradeNo::new("T0").ok();
    desk.wait(5);
    assert_eq!(kinds(&desk.look(&manual(), &success(TX, FEE))), [EventType::Mismatch]);
}

#[test]
fn an_order_that_was_placed_through_us_is_told_in_shadow_mode_too() {
    let mut desk = Desk::registered();
    desk.policy.mode = Mode::Shadow;
    begun(&mut desk);
    desk.wait(20);
    let change = desk.poll(&success(TX, FEE));
    assert_eq!(kinds(&change), [EventType::Paid]);
    assert!(!change.events[0].is_shadow(), "no other handler is notified of it");
}
