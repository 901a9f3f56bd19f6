//! What the same request again does: mostly nothing, and where the first was stuck, the way back.

use super::*;
use crate::lease::Committed;
use crate::record::{Cause, Due, SeenAs, State};
use crate::samples::*;

fn as_whose(appid: &str, sub_mch_id: Option<&str>) -> RefundApplication {
    let sub_mch_id = sub_mch_id.map(|id| crate::ids::MchId::new(id).unwrap());
    let seen_as = Some(SeenAs { appid: AppId::new(appid).unwrap(), sub_mch_id });
    RefundApplication { total_fee: Some(fen(FEE)), seen_as, ..wants("R1", 500) }
}

/// WeChat answers neither call in that name.
fn no_auth() -> RefundAnswer {
    RefundAnswer::Stuck { reason: DeadReason::RefusedByWechat, detail: "refundquery: NOAUTH".into() }
}

#[test]
fn a_request_that_could_not_be_accepted_may_name_the_right_appid() {
    let mut desk = Desk::empty();
    assert_eq!(desk.ask_refund(&as_whose("wx1", None)), RefundAsked::Added);
    desk.poll_refund(&no_auth());
    desk.wait(10);
    assert_eq!(desk.ask_refund(&as_whose("wx1", None)), RefundAsked::Same);
    assert_ne!(desk.record().due.unwrap().at, desk.now, "no sooner than a minute after the last look");
    assert_eq!(desk.ask_refund(&as_whose("wx2", None)), RefundAsked::Added);
    assert_eq!(desk.record().progress.seen_as, as_whose("wx2", None).seen_as);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    let refund = record.refund_in_hand().unwrap();
    assert!(refund.may_be_sent() && !refund.is_unsent(), "it is asked about first, in the right name");
    let change = desk.decide_refund(&record, &check, &refund_taken());
    assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
    let before = desk.stored.clone();
    assert_eq!(desk.ask_refund(&as_whose("wx3", None)), RefundAsked::Same, "WeChat bore it out");
    assert_eq!(desk.stored, before);
}

#[test]
fn a_sub_merchant_may_be_added_and_not_be_replaced() {
    let mut desk = Desk::empty();
    desk.ask_refund(&as_whose("wx1", None));
    desk.poll_refund(&no_auth());
    assert_eq!(desk.ask_refund(&as_whose("wx1", Some("19"))), RefundAsked::Added);
    for other in [Some("20"), None] {
        let asked = desk.ask_refund(&as_whose("wx1", other));
        let expected = RefundAsked::Different(vec!["sub_mch_id"]);
        assert_eq!(asked, expected, "under another one WeChat does not find what was taken");
    }
    assert_eq!(desk.record().progress.seen_as, as_whose("wx1", Some("19")).seen_as);
}

#[test]
fn what_was_denied_in_the_wrong_name_counts_for_nothing() {
    let mut desk = Desk::empty();
    desk.ask_refund(&as_whose("wx1", None));
    desk.poll_refund(&refund_unknown());
    desk.poll_refund(&refund_refused());
    assert!(desk.refund("R1").is_in_doubt());
    desk.wait(200);
    assert_eq!(desk.ask_refund(&as_whose("wx2", None)), RefundAsked::Added);
    desk.poll_refund(&RefundAnswer::NotExist);
    let refund = desk.refund("R1");
    assert!(refund.is_in_doubt() && refund.denied_at == Some(desk.now));
    assert!(!refund.may_be_sent(), "a corrected name sends nothing that is in doubt");
}

#[test]
fn a_correction_during_a_look_is_looked_at_in_its_own_name() {
    let mut desk = Desk::empty();
    desk.ask_refund(&as_whose("wx1", None));
    let check = desk.claim().unwrap();
    let record = desk.hold(&check);
    assert_eq!(desk.ask_refund(&as_whose("wx2", None)), RefundAsked::Added);
    let change = desk.decide_refund(&record, &check, &no_auth());
    let Committed::Changed(changed) = desk.commit(record.facts, &change) else {
        panic!("whose it is changed")
    };
    let found = crate::decide::RefundLook { number: &number("R1"), hints: 0, answer: &no_auth() };
    let policy = policy();
    let change = crate::decide::decide_refund(&changed, &found, &look(&check, &policy, desk.now));
    assert_eq!(desk.commit(changed.facts, &change), Committed::Ended);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
}

#[test]
fn a_stuck_request_is_looked_at_when_it_is_asked_again_or_its_letter_is_replayed() {
    for is_replayed in [false, true] {
        let mut desk = Desk::in_state(State::Paid, true);
        desk.ask_refund(&wants("R1", 500));
        let letter = desk.poll_refund(&no_auth()).dead.unwrap();
        assert_eq!(
            (letter.refund.clone(), desk.refund("R1").state),
            (Some(number("R1")), RefundState::Asked)
        );
        desk.wait(59);
        let before = desk.stored.clone();
        assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Same);
        assert_eq!(desk.stored, before, "a program that repeats itself does not hammer WeChat");
        desk.wait(1);
        let check = match is_replayed {
            true => letter.check().unwrap(),
            false => {
                assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Same);
                desk.claim().unwrap()
            }
        };
        let record = desk.hold(&check);
        assert!(record.refund_in_hand().unwrap().may_be_sent());
        let change = desk.decide_refund(&record, &check, &refund_taken());
        assert_eq!(desk.commit(record.facts, &change), Committed::Ended);
        assert_eq!(desk.refund("R1").state, RefundState::Processing);
    }
}

#[test]
fn a_request_that_was_given_up_after_30_days_is_taken_up_when_it_is_asked_again() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    while desk.record().due.is_some() {
        desk.poll_refund(&no_auth());
    }
    assert_eq!(desk.refund("R1").state, RefundState::Asked);
    desk.wait(86_400);
    assert_eq!(desk.ask_refund(&wants("R1", 500)), RefundAsked::Same);
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    assert_eq!(desk.refund("R1").known_at, desk.now, "it is watched anew");
}
