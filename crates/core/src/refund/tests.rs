//! Asking for refunds, what a notification of one does, and which of order and refunds a lease is for.

use super::*;
use crate::check::Check;
use crate::ids::OutRefundNo;
use crate::lease::{Committed, FRESH, Taken};
use crate::policy::Unregistered;
use crate::record::{Cause, Due, LookAgain, SeenAs, State};
use crate::samples::*;
use crate::time::Millis;

pub(super) fn denied(asked: &RefundAsked) -> Option<&RefundDenial> {
    match asked {
        RefundAsked::Denied(denial) => Some(denial),
        _ => None,
    }
}

#[test]
fn only_what_was_paid_goes_back() {
    for state in State::ALL {
        for is_registered in [true, false] {
            let mut desk = Desk::in_state(state, is_registered);
            let before = desk.stored.clone();
            let is_paid = matches!(state, State::Mismatch | State::Rejected | State::Paid | State::Refunded);
            let asked = desk.ask_refund(&wants("R1", 500));
            match is_paid {
                true => assert_eq!(asked, RefundAsked::Added, "{state:?}"),
                false => {
                    assert_eq!(denied(&asked), Some(&RefundDenial::NotPaid(state)));
                    assert_eq!(desk.stored, before, "a denial stores nothing");
                }
            }
        }
    }
}

#[test]
fn amounts_and_currency_are_those_of_the_payment() {
    let ask = |change: fn(&mut RefundApplication)| {
        let mut wish = wants("R1", 500);
        change(&mut wish);
        Desk::in_state(State::Paid, true).ask_refund(&wish)
    };
    assert_eq!(ask(|wish| wish.refund_fee = fen(FEE)), RefundAsked::Added, "the whole of it");
    let more = ask(|wish| wish.refund_fee = fen(FEE + 1));
    assert_eq!(denied(&more), Some(&RefundDenial::MoreThanPaid { paid: fen(FEE), other_refunds: 0 }));
    assert_eq!(denied(&ask(|wish| wish.refund_fee = fen(0))), Some(&RefundDenial::Nothing));
    assert_eq!(denied(&ask(|wish| wish.total_fee = Some(fen(5)))), Some(&RefundDenial::OtherTotal(fen(FEE))));
    let dollars = ask(|wish| wish.fee_type = Currency::new("USD").ok());
    assert_eq!(denied(&dollars), Some(&RefundDenial::OtherCurrency(Currency::CNY)));
    let mismatch = Desk::in_state(State::Mismatch, true).ask_refund(&wants("R1", WRONG + 1));
    assert!(denied(&mismatch).is_some(), "what was paid counts, not what was registered");
}

#[test]
fn live_refunds_together_never_exceed_what_was_paid() {
    let mut desk = Desk::in_state(State::Paid, true);
    assert_eq!(desk.ask_refund(&wants("R1", 1500)), RefundAsked::Added);
    let asked = desk.ask_refund(&wants("R2", 500));
    let expected = RefundDenial::MoreThanPaid { paid: fen(FEE), other_refunds: 1500 };
    assert_eq!(denied(&asked), Some(&expected));
    desk.poll_refund(&refund_refused());
    assert_eq!(desk.ask_refund(&wants("R2", 500)), RefundAsked::Added, "what was refused holds no money");
    let again = desk.ask_refund(&wants("R1", 1500));
    assert!(denied(&again).is_some(), "and has no claim to it any more: {again:?}");
}

#[test]
fn wechat_takes_fifty_refunds_of_an_order() {
    let mut desk = Desk::in_state(State::Paid, true);
    for nth in 0..REFUNDS_PER_ORDER_MAX {
        assert_eq!(desk.ask_refund(&wants(&format!("R{nth}"), 1)), RefundAsked::Added);
    }
    assert_eq!(denied(&desk.ask_refund(&wants("R50", 1))), Some(&RefundDenial::TooMany));
    let before = desk.stored.clone();
    assert_eq!(desk.take(&refund_notified("R50")), Taken::Duplicate, "nor is one more heard of");
    assert_eq!(desk.stored, before);
}

#[test]
fn a_refused_refund_takes_no_place_from_another() {
    let mut desk = Desk::in_state(State::Paid, true);
    for nth in 0..REFUNDS_PER_ORDER_MAX {
        assert_eq!(desk.ask_refund(&wants(&format!("R{nth}"), 1)), RefundAsked::Added);
    }
    desk.poll_refund(&refund_refused());
    desk.poll_refund(&refund_refused());
    assert_eq!(desk.ask_refund(&wants("R50", 1)), RefundAsked::Added);
    assert_eq!(desk.record().refunds.len(), REFUNDS_PER_ORDER_MAX);
    assert_eq!(desk.record().refund(&number("R0")), None, "the oldest that was refused went");
    assert_eq!(desk.refund("R1").state, RefundState::Refused);
    assert_eq!(desk.ask_refund(&wants("R1", 1)), RefundAsked::Added, "and the other may be asked for again");
    assert_eq!(denied(&desk.ask_refund(&wants("R51", 1))), Some(&RefundDenial::TooMany));
}

#[test]
fn whose_order_it_is_may_be_said_again_until_wechat_bears_it_out() {
    let as_whose = |appid: &str| {
        let seen_as = Some(SeenAs { appid: AppId::new(appid).unwrap(), sub_mch_id: None });
        RefundApplication { total_fee: Some(fen(FEE)), seen_as, ..wants("R1", 500) }
    };
    let mut desk = Desk::empty();
    desk.ask_refund(&as_whose("wx1"));
    desk.poll_refund(&refund_refused());
    assert_eq!(desk.ask_refund(&as_whose("wx2")), RefundAsked::Added);
    assert_eq!(desk.record().progress.seen_as, as_whose("wx2").seen_as);
    desk.poll_refund(&refund_is(RefundStatus::Processing));
    desk.ask_refund(&RefundApplication { out_refund_no: number("R2"), ..as_whose("wx3") });
    assert_eq!(desk.record().progress.seen_as, as_whose("wx2").seen_as);
}

#[test]
fn the_same_again_is_the_same_and_every_differing_field_is_named() {
    let wish = RefundApplication {
        total_fee: Some(fen(FEE)),
        fee_type: Some(Currency::CNY),
        refund_account: Some(RefundAccount::RechargeFunds),
        refund_desc: Some("broken".into()),
        ..wants("R1", 500)
    };
    let mut desk = Desk::in_state(State::Paid, true);
    assert_eq!(desk.ask_refund(&wish), RefundAsked::Added);
    let before = desk.stored.clone();
    assert_eq!(desk.ask_refund(&wish), RefundAsked::Same);
    assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Same, "absent means equal");
    let mut differs = |change: fn(&mut RefundApplication), field| {
        let mut other = wish.clone();
        change(&mut other);
        assert_eq!(desk.ask_refund(&other), RefundAsked::Different(vec![field]));
    };
    differs(|wish| wish.refund_fee = fen(501), "refund_fee");
    differs(|wish| wish.total_fee = Some(fen(5)), "total_fee");
    differs(|wish| wish.fee_type = Currency::new("USD").ok(), "fee_type");
    differs(|wish| wish.refund_account = Some(RefundAccount::UnsettledFunds), "refund_account");
    differs(|wish| wish.refund_desc = Some("late".into()), "refund_desc");
    assert_eq!(desk.stored, before);
    for answer in [refund_taken(), refund_is(RefundStatus::Success)] {
        desk.poll_refund(&answer);
        assert_eq!(desk.ask_refund(&wish), RefundAsked::Same, "a number refunds once");
    }
}

#[test]
fn after_a_refusal_the_same_number_asks_again_and_only_the_account_may_differ() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_refused());
    assert_eq!(desk.refund("R1").refusal.as_ref().unwrap().code, "NOTENOUGH");
    assert_eq!(desk.record().due, None, "nothing switches the account by itself");
    assert_eq!(desk.ask_refund(&wants("R1", 400)), RefundAsked::Different(vec!["refund_fee"]));
    desk.wait(60);
    let recharged =
        RefundApplication { refund_account: Some(RefundAccount::RechargeFunds), ..wants("R1", 500) };
    assert_eq!(desk.ask_refund(&recharged), RefundAsked::Added);
    let refund = desk.refund("R1");
    assert_eq!((refund.state, refund.known_at, &refund.refusal), (RefundState::Asked, desk.now, &None));
    assert_eq!(refund.request.as_ref().unwrap().refund_account, Some(RefundAccount::RechargeFunds));
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    assert!(record.refund_in_hand().unwrap().is_unsent(), "WeChat said for sure that it has none");
}

#[test]
fn a_request_wakes_the_order_urgently_and_a_decision_on_older_facts_is_refused() {
    let mut desk = Desk::in_state(State::Paid, true);
    let held = desk.hold(&Check { reason: crate::Reason::Billed, ..notified(OTHER_TX) });
    assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Added);
    assert_eq!(desk.record().look_again.as_ref().unwrap().cause, Cause::Refund);
    let change = desk.decide(&held, &billed(OTHER_TX), &success(TX, FEE));
    let Committed::Changed(changed) = desk.commit(held.facts, &change) else { panic!("on older facts") };
    assert_eq!(changed.refund_in_hand(), None, "this lease was not counted for it: nothing is sent under it");
    let change = desk.decide(&changed, &billed(OTHER_TX), &success(TX, FEE));
    assert_eq!(desk.commit(changed.facts, &change), Committed::Ended);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    assert_eq!(desk.claim().unwrap().lane(), crate::Lane::Urgent);
}

#[test]
fn a_request_is_counted_before_it_can_be_sent_and_asked_about_ever_after() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    let check = desk.claim().unwrap();
    let first = desk.hold(&check);
    assert!(first.refund_in_hand().unwrap().is_unsent());
    assert_eq!(desk.refund("R1").tries, 1, "stored before anything is sent");
    // The holder dies.
    desk.wait(60);
    let check = desk.claim().unwrap();
    let second = desk.hold(&check);
    assert!(!second.refund_in_hand().unwrap().is_unsent(), "it may have been sent");
    desk.put_off(desk.now);
    let check = desk.claim().unwrap();
    assert!(!desk.hold(&check).refund_in_hand().unwrap().is_unsent(), "and no put-off forgets that");
}

#[test]
fn a_lease_is_for_the_order_or_for_the_refund_that_waits_longest() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    desk.wait(1);
    desk.ask_refund(&wants("R2", 500));
    let in_hand = |desk: &mut Desk, check: &Check| {
        let record = desk.hold(check);
        let number = record.refund_in_hand().map(|refund| refund.out_refund_no.as_str().to_owned());
        desk.put_off(desk.now);
        number
    };
    let check = desk.claim().unwrap();
    assert_eq!(in_hand(&mut desk, &check).as_deref(), Some("R1"));
    desk.wait(2);
    assert_eq!(in_hand(&mut desk, &manual()), None, "a person asks about the order");
    assert_eq!(in_hand(&mut desk, &notified(OTHER_TX)), None);
    let tries: Vec<u32> = desk.record().refunds.iter().map(|refund| refund.tries).collect();
    assert_eq!(tries, [1, 0], "only what may be sent is counted");
}

#[test]
fn the_record_is_due_at_the_earlier_of_order_and_refunds() {
    let mut desk = Desk::registered();
    desk.look(&manual(), &success(TX, FEE));
    desk.policy.unregistered = Unregistered::Emit;
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_taken());
    let refund_at = desk.refund("R1").next_at.unwrap();
    assert_eq!(desk.record().due.unwrap().at, refund_at);
    // A notification of another payment begins quick looks at the order.
    desk.wait(2);
    desk.look(&notified(OTHER_TX), &success(TX, FEE));
    let order_at = desk.record().order_due.unwrap().at;
    assert_eq!(order_at, desk.now + Millis::seconds(1));
    assert_eq!(desk.record().due, Some(Due { at: order_at.min(refund_at), cause: Cause::Notified }));
    desk.poll(&success(TX, FEE));
    desk.poll(&success(TX, FEE));
    assert_eq!(desk.record().due.unwrap().at, refund_at.min(desk.record().order_due.unwrap().at));
}

#[test]
fn a_notification_that_comes_during_a_look_is_answered_by_another_look() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_taken());
    let due = desk.record().due.unwrap();
    desk.now = due.at;
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    assert_eq!(desk.take(&refund_notified("R1")), Taken::Busy);
    assert_eq!(desk.record().look_again, Some(LookAgain { cause: Cause::Refund, notified: None }));
    let change = desk.decide_refund(&record, &check, &refund_is(RefundStatus::Processing));
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    assert!(desk.refund("R1").notified);
    desk.poll_refund(&refund_is(RefundStatus::Processing));
    assert!(desk.record().due.unwrap().at > desk.now, "answered once, it is answered");
}

#[test]
fn a_due_check_that_finds_the_lease_taken_wakes_nothing_of_its_own() {
    for mut desk in [Desk::empty(), Desk::in_state(State::Paid, true)] {
        desk.look_at_refund(&refund_notified("R1"), &refund_is(RefundStatus::Processing));
        desk.now = desk.record().due.unwrap().at;
        let check = desk.claim().unwrap();
        let record = desk.hold(&check);
        assert_eq!(desk.take(&check), Taken::Busy);
        let change = desk.decide_refund(&record, &check, &refund_is(RefundStatus::Processing));
        assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
        assert!(desk.record().due.unwrap().at > desk.now, "a loop without a pause");
        assert_eq!(desk.record().order_due, None);
    }
}

#[test]
fn a_number_that_only_a_notification_named_is_asked_about_before_it_is_sent() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.look_at_refund(&refund_notified("R1"), &refund_unknown());
    assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Added);
    let check = desk.claim().unwrap();
    assert!(!desk.hold(&check).refund_in_hand().unwrap().is_unsent());
}

#[test]
fn a_refund_survives_its_json_and_an_order_without_one_has_no_word_of_it() {
    let mut desk = Desk::in_state(State::Paid, true);
    let before = crate::detail::Detail::json_of(desk.record()).unwrap().unwrap();
    assert!(!["refunds", "refund_only", "order_due"].iter().any(|word| before.contains(word)), "{before}");
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_is(RefundStatus::Abnormal));
    let json = crate::detail::Detail::json_of(desk.record()).unwrap().unwrap();
    let detail = crate::detail::Detail::of_json(json.as_bytes()).unwrap();
    assert_eq!((&detail.refunds, detail.order_due), (&desk.record().refunds, desk.record().order_due));
    assert_eq!(OutRefundNo::new("R1").ok(), Some(detail.refunds[0].out_refund_no.clone()));
}

#[test]
fn a_manual_check_within_a_second_of_a_look_at_the_order_wishes_for_its_refunds_all_the_same() {
    for is_given_up in [true, false] {
        let mut desk = Desk::in_state(State::Paid, true);
        desk.ask_refund(&wants("R1", 500));
        desk.poll_refund(&refund_taken());
        while is_given_up && desk.record().due.is_some() {
            desk.poll_refund(&refund_is(RefundStatus::Processing));
        }
        // It says nothing of refunds, and wishes nothing for them.
        desk.look(&billed(OTHER_TX), &success(TX, FEE));
        let looked_at = desk.now;
        desk.now = desk.now + Millis(400);
        assert_eq!(desk.take(&manual()), Taken::Fresh);
        let due = Some(Due { at: looked_at + FRESH, cause: Cause::Refund });
        assert_eq!((desk.record().due, desk.record().order_due), (due, None), "the order needs no look");
        if is_given_up {
            assert_eq!(desk.refund("R1").known_at, desk.now, "it is watched anew");
        }
        let before = desk.stored.clone();
        desk.now = desk.now + Millis(100);
        assert_eq!(desk.take(&manual()), Taken::Fresh);
        assert_eq!(desk.stored, before, "a program that repeats itself has it looked at once a second");
        let told = desk.poll_refund(&refund_is(RefundStatus::Success)).events;
        assert_eq!(told.len(), 1);
        desk.look(&billed(OTHER_TX), &refund(TX, FEE));
        let before = desk.stored.clone();
        assert_eq!(desk.take(&manual()), Taken::Fresh);
        assert_eq!(desk.stored, before, "what is at its end is not looked at again");
    }
}
