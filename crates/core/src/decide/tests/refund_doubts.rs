//! What an answer that lags behind may say of a refund: nothing moved only after two denials, and a notification gets its
//! quick looks.

use crate::decide::tests::kinds;
use crate::decide::{REFUND_DENIAL_SPAN, UNSTEADY_GAP, decide_refund};
use crate::event::EventType;
use crate::lease::{Committed, Taken};
use crate::record::{Cause, Due, State};
use crate::refund::{RefundAnswer, RefundAsked, RefundState, RefundStatus};
use crate::samples::*;
use crate::time::Millis;

/// WeChat may have taken it, a repeat was refused, and refundquery knows of nothing.
fn in_doubt() -> Desk {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", FEE));
    desk.poll_refund(&refund_unknown());
    desk.poll_refund(&refund_refused());
    assert!(desk.refund("R1").is_in_doubt());
    desk
}

#[test]
fn a_refusal_after_a_lost_answer_counts_only_after_a_second_denial_five_minutes_later() {
    let mut desk = in_doubt();
    let denied_at = desk.now;
    let mut looks = 0;
    while desk.refund("R1").state == RefundState::Asked {
        let refund = desk.refund("R1");
        assert_eq!(refund.refusal.as_ref().unwrap().code, "NOTENOUGH", "what WeChat said is shown meanwhile");
        assert!(!refund.may_be_sent() && refund.state.holds_money(), "neither sent again nor given up");
        let another = desk.ask_refund(&wants("R2", 1));
        assert!(matches!(another, RefundAsked::Denied(_)), "the money may be gone: {another:?}");
        desk.poll_refund(&RefundAnswer::NotExist);
        looks += 1;
    }
    assert_eq!(desk.now, denied_at + REFUND_DENIAL_SPAN);
    assert!(looks >= 3, "a copy that lags by seconds is found out before: {looks}");
    assert_eq!((desk.refund("R1").state, desk.record().due), (RefundState::Refused, None));
    assert_eq!(desk.refund("R1").refusal.as_ref().unwrap().code, "NOTENOUGH");
    assert_eq!(desk.ask_refund(&wants("R2", FEE)), RefundAsked::Added);
    assert!(desk.dead.is_empty());
}

#[test]
fn a_person_who_asks_early_hastens_no_denial() {
    let mut desk = in_doubt();
    for _ in 0..20 {
        desk.wait(2);
        desk.look(&manual(), &success(TX, FEE));
        desk.poll_refund(&RefundAnswer::NotExist);
        assert!(desk.refund("R1").is_in_doubt());
    }
}

#[test]
fn a_refund_that_turns_up_in_doubt_is_what_it_is() {
    for (status, state) in [
        (RefundStatus::Processing, RefundState::Processing),
        (RefundStatus::Success, RefundState::Succeeded),
        (RefundStatus::Closed, RefundState::Closed),
    ] {
        let mut desk = in_doubt();
        desk.poll_refund(&RefundAnswer::NotExist);
        desk.poll_refund(&refund_is(status));
        let refund = desk.refund("R1");
        assert_eq!((refund.state, &refund.refusal, refund.denied_at), (state, &None, None));
    }
}

#[test]
fn a_clock_that_jumped_denies_nothing() {
    let mut desk = in_doubt();
    desk.now = desk.now + REFUND_DENIAL_SPAN;
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    let number = number("R1");
    let found = crate::decide::RefundLook { number: &number, hints: 0, answer: &RefundAnswer::NotExist };
    let policy = policy();
    let unsteady = crate::decide::Look { is_clock_steady: false, ..look(&check, &policy, desk.now) };
    let change = decide_refund(&record, &found, &unsteady);
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert!(desk.refund("R1").is_in_doubt());
    assert_eq!(desk.refund("R1").next_at, Some(desk.now + UNSTEADY_GAP));
    desk.poll_refund(&RefundAnswer::NotExist);
    assert_eq!(desk.refund("R1").state, RefundState::Refused);
}

#[test]
fn what_speaks_against_a_denial_begins_the_span_anew() {
    let mut desk = in_doubt();
    let denied_at = desk.refund("R1").denied_at.unwrap();
    desk.wait(200);
    desk.look_at_refund(&refund_notified("R1"), &RefundAnswer::NotExist);
    let again = desk.refund("R1").denied_at.unwrap();
    assert_eq!((again, desk.refund("R1").next_at), (desk.now, Some(desk.now + Millis::seconds(1))));
    while desk.refund("R1").state == RefundState::Asked {
        desk.poll_refund(&RefundAnswer::NotExist);
    }
    assert_eq!(desk.now, again + REFUND_DENIAL_SPAN);
    assert!(desk.now > denied_at + REFUND_DENIAL_SPAN);
}

#[test]
fn a_refusal_is_in_doubt_again_once_a_notification_or_the_bill_names_the_refund() {
    let billed = crate::Check { reason: crate::Reason::Billed, ..refund_notified("R1") };
    for check in [refund_notified("R1"), billed] {
        let mut desk = Desk::in_state(State::Paid, true);
        desk.ask_refund(&wants("R1", 500));
        desk.poll_refund(&refund_refused());
        assert_eq!(desk.refund("R1").state, RefundState::Refused, "its only sending was refused");
        desk.wait(2);
        desk.look_at_refund(&check, &RefundAnswer::NotExist);
        assert!(desk.refund("R1").is_in_doubt() && !desk.refund("R1").may_be_sent());
        let change = desk.poll_refund(&refund_is(RefundStatus::Success));
        assert_eq!(kinds(&change), [EventType::RefundSucceeded]);
    }
}

#[test]
fn a_notification_that_comes_during_the_last_denial_undoes_it() {
    let mut desk = in_doubt();
    desk.now = desk.now + REFUND_DENIAL_SPAN;
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    assert_eq!(desk.take(&refund_notified("R1")), Taken::Busy);
    let change = desk.decide_refund(&record, &check, &RefundAnswer::NotExist);
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    assert!(desk.refund("R1").is_in_doubt());
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    desk.poll_refund(&RefundAnswer::NotExist);
    assert!(desk.refund("R1").is_in_doubt(), "the first denial since");
}

#[test]
fn a_notification_that_no_answer_bears_out_yet_gets_quick_looks() {
    let lagging = [
        ("processing", refund_is(RefundStatus::Processing)),
        ("processing", refund_is(RefundStatus::Unknown("PONDERING".into()))),
        ("processing", RefundAnswer::NotExist),
        ("abnormal", refund_is(RefundStatus::Abnormal)),
        ("abnormal", RefundAnswer::NotExist),
        ("new", RefundAnswer::NotExist),
    ];
    for (state, answer) in lagging {
        let mut desk = super::refunds::desk_with(state);
        if state != "new" {
            desk.wait(3600);
        }
        desk.look_at_refund(&refund_notified("R1"), &answer);
        let mut gaps = Vec::new();
        while desk.refund("R1").quick.is_some() {
            let due = desk.record().due.unwrap();
            assert_eq!(due.cause, Cause::Refund, "{state}: in the lane of notifications");
            gaps.push(due.at.since(desk.now).0 / 1000);
            desk.poll_refund(&answer);
        }
        assert_eq!(gaps, [1, 2, 4, 8], "{state} {answer:?}");
        assert!(desk.record().due.unwrap().at > desk.now, "{state}: and then the usual way");
        assert!(desk.dead.is_empty());
        let change = desk.poll_refund(&refund_is(RefundStatus::Success));
        assert_eq!(kinds(&change), [EventType::RefundSucceeded], "{state}");
        assert_eq!(desk.refund("R1").quick, None);
    }
}

#[test]
fn quick_looks_neither_shorten_nor_lengthen_the_cadence() {
    let mut quick = super::refunds::desk_with("processing");
    let mut plain = quick.clone();
    quick.wait(1);
    quick.look_at_refund(&refund_notified("R1"), &refund_is(RefundStatus::Processing));
    while quick.refund("R1").quick.is_some() {
        quick.poll_refund(&refund_is(RefundStatus::Processing));
    }
    while plain.now < quick.now {
        plain.poll_refund(&refund_is(RefundStatus::Processing));
    }
    assert_eq!(quick.refund("R1").next_at, plain.refund("R1").next_at);
}

#[test]
fn a_word_that_the_notification_may_be_about_ends_the_quick_looks() {
    for status in [RefundStatus::Success, RefundStatus::Closed, RefundStatus::Abnormal] {
        let mut desk = super::refunds::desk_with("processing");
        desk.look_at_refund(&refund_notified("R1"), &refund_is(status));
        assert_eq!(desk.refund("R1").quick, None);
    }
}

#[test]
fn nothing_is_sent_while_a_notification_says_that_wechat_has_it() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.look_at_refund(&refund_notified("R1"), &RefundAnswer::NotExist);
    desk.ask_refund(&wants("R1", 500));
    let mut looks = 0;
    loop {
        desk.now = desk.now.max(desk.record().due.unwrap().at);
        let check = desk.claim().unwrap();
        let record = desk.hold(&check);
        if record.refund_in_hand().unwrap().may_be_sent() {
            break;
        }
        let change = desk.decide_refund(&record, &check, &RefundAnswer::NotExist);
        assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
        looks += 1;
    }
    assert_eq!(
        looks, 4,
        "somebody may have put a notification together: the shop's wish is not lost over it"
    );
    assert!(!desk.record().refund_in_hand().unwrap().is_unsent());
}
