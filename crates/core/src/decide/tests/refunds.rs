//! Refunds: every state against every answer, what is told and how often, and when a refund is looked at again.

use crate::cadence::WECHAT_GAPS_S;
use crate::dead::DeadReason;
use crate::decide::tests::kinds;
use crate::decide::{REFUND_WATCH, STUCK_GAP};
use crate::event::{EventType, LearnedBy, event_id};
use crate::observation::{Answer, Observation, Payment};
use crate::record::{Cause, Due, State};
use crate::refund::{Refund, RefundAnswer, RefundStatus};
use crate::samples::*;
use crate::shadow::{Mode, Telling};
use crate::time::{Millis, Timestamp};

/// answer, state before, state after, what is told, when it is looked at again.
///
/// `new` was never sent, `asked` may have been, `doubt` was refused after it may have been taken. `notified` waits for an
/// answer that bears the notification out. `-` not at all, `@next` the next cadence point, `@retry` the transient backoff,
/// `@1s` the first quick look, `@6h` six hours on, `gone` the refund is forgotten, `dead` a dead letter. NOTENOUGH answers
/// the only sending under its lease, NOTENOUGH+ one of several.
const TABLE: &str = "
ACCEPTED      | asked      | processing            @next
ACCEPTED      | notified   | processing            @1s
ACCEPTED      | processing | processing            @next
ACCEPTED      | abnormal   | abnormal              @next
PROCESSING    | asked      | processing            @next
PROCESSING    | notified   | processing            @1s
PROCESSING    | processing | processing            @next
PROCESSING    | succeeded  | succeeded             -
PROCESSING    | abnormal   | abnormal              @next
PROCESSING    | closed     | closed                -
PROCESSING    | refused    | processing            @next
PROCESSING    | doubt      | processing            @next
SUCCESS       | asked      | succeeded succeeded   -
SUCCESS       | notified   | succeeded succeeded   -
SUCCESS       | processing | succeeded succeeded   -
SUCCESS       | succeeded  | succeeded             -
SUCCESS       | abnormal   | succeeded succeeded   -
SUCCESS       | closed     | succeeded succeeded   -
SUCCESS       | refused    | succeeded succeeded   -
SUCCESS       | doubt      | succeeded succeeded   -
CHANGE        | asked      | abnormal abnormal     @next
CHANGE        | notified   | abnormal abnormal     @next
CHANGE        | processing | abnormal abnormal     @next
CHANGE        | succeeded  | succeeded             -
CHANGE        | abnormal   | abnormal              @next
CHANGE        | closed     | closed                -
CHANGE        | refused    | abnormal abnormal     @next
CHANGE        | doubt      | abnormal abnormal     @next
REFUNDCLOSE   | asked      | closed closed         -
REFUNDCLOSE   | notified   | closed closed         -
REFUNDCLOSE   | processing | closed closed         -
REFUNDCLOSE   | succeeded  | succeeded             -
REFUNDCLOSE   | abnormal   | closed closed         -
REFUNDCLOSE   | closed     | closed                -
REFUNDCLOSE   | refused    | closed closed         -
REFUNDCLOSE   | doubt      | closed closed         -
PONDERING     | asked      | processing            @next
PONDERING     | notified   | processing            @1s
PONDERING     | processing | processing            @next
PONDERING     | succeeded  | succeeded             -
PONDERING     | abnormal   | abnormal              @next
PONDERING     | closed     | closed                -
PONDERING     | refused    | processing            @next
PONDERING     | doubt      | processing            @next
NOTEXIST      | asked      | asked                 @retry
NOTEXIST      | notified   | notified              @1s
NOTEXIST      | processing | processing            @retry
NOTEXIST      | succeeded  | succeeded             -
NOTEXIST      | abnormal   | abnormal              @retry
NOTEXIST      | closed     | closed                -
NOTEXIST      | refused    | refused               -
NOTEXIST      | doubt      | doubt                 @next
NOTENOUGH     | new        | refused               -
NOTENOUGH     | asked      | doubt                 @next
NOTENOUGH+    | new        | doubt                 @next
NOTENOUGH+    | asked      | doubt                 @next
time-out      | asked      | asked                 @retry
time-out      | notified   | notified              @retry
time-out      | processing | processing            @retry
time-out      | abnormal   | abnormal              @retry
time-out      | doubt      | doubt                 @retry
NOAUTH        | asked      | asked                 @6h dead
NOAUTH        | notified   | notified              @6h dead
NOAUTH        | processing | processing            @6h dead
NOAUTH        | abnormal   | abnormal              @6h dead
NOAUTH        | doubt      | doubt                 @6h dead
wrong order   | asked      | asked                 @6h dead
wrong order   | notified   | notified              @6h dead
wrong order   | processing | processing            @6h dead
wrong order   | abnormal   | abnormal              @6h dead
wrong order   | doubt      | doubt                 @6h dead
other order   | asked      | refused               -
other order   | notified   | gone                  - dead
other order   | processing | processing            @6h dead
other order   | abnormal   | abnormal              @6h dead
other order   | refused    | refused               -
other order   | doubt      | refused               -
";

fn answer_of(word: &str) -> RefundAnswer {
    let stuck = |reason, detail: &str| RefundAnswer::Stuck { reason, detail: detail.to_owned() };
    match word {
        "ACCEPTED" => refund_taken(),
        "PROCESSING" => refund_is(RefundStatus::Processing),
        "SUCCESS" => refund_is(RefundStatus::Success),
        "CHANGE" => refund_is(RefundStatus::Abnormal),
        "REFUNDCLOSE" => refund_is(RefundStatus::Closed),
        "PONDERING" => refund_is(RefundStatus::Unknown("PONDERING".into())),
        "NOTEXIST" => RefundAnswer::NotExist,
        "NOTENOUGH" => refund_refused(),
        "NOTENOUGH+" => refund_doubtful(),
        "time-out" => refund_unknown(),
        "NOAUTH" => stuck(DeadReason::RefusedByWechat, "NOAUTH"),
        "wrong order" => stuck(DeadReason::WrongOrder, "answered for appid wx9"),
        "other order" => match refund_refused() {
            RefundAnswer::Refused(refusal) => RefundAnswer::OtherOrder(refusal),
            other => other,
        },
        other => panic!("{other}"),
    }
}

fn word_of(refund: &Refund) -> &'static str {
    if refund.is_in_doubt() { "doubt" } else { refund.state.as_str() }
}

/// A paid order with a refund that stands so, looked at last a moment ago.
pub(super) fn desk_with(stands: &str) -> Desk {
    let mut desk = Desk::in_state(State::Paid, true);
    if stands == "notified" {
        desk.look_at_refund(&refund_notified("R1"), &refund_unknown());
        return desk;
    }
    desk.ask_refund(&wants("R1", 500));
    match stands {
        "new" => return desk,
        "asked" => drop(desk.poll_refund(&refund_unknown())),
        "processing" => drop(desk.poll_refund(&refund_taken())),
        "succeeded" => drop(desk.poll_refund(&refund_is(RefundStatus::Success))),
        "abnormal" => drop(desk.poll_refund(&refund_is(RefundStatus::Abnormal))),
        "closed" => drop(desk.poll_refund(&refund_is(RefundStatus::Closed))),
        "refused" => drop(desk.poll_refund(&refund_refused())),
        "doubt" => drop(desk.poll_refund(&refund_doubtful())),
        other => panic!("{other}"),
    }
    assert_eq!(word_of(desk.refund("R1")), stands);
    desk
}

/// Makes the refund due now, whatever its state, as a notification would.
fn due_now(desk: &mut Desk) {
    let now = desk.now;
    let record = desk.stored.as_mut().unwrap();
    record.refunds.iter_mut().for_each(|refund| refund.next_at = Some(now));
    record.rest_until(None);
}

#[test]
fn every_state_against_every_answer() {
    let mut rows = 0;
    for row in TABLE.lines().filter(|row| !row.is_empty()) {
        rows += 1;
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let answer = answer_of(cells[0]);
        let mut desk = desk_with(cells[1]);
        due_now(&mut desk);
        desk.dead.clear();
        let change = desk.poll_refund(&answer);
        assert_eq!(desk.record().state, State::Paid, "{row}: a refund never moves an order that is known");
        let stored = desk.record().refund(&number("R1"));
        let mut said = stored.map_or("gone", word_of).to_owned();
        for kind in kinds(&change) {
            said.push_str(match kind {
                EventType::RefundSucceeded => " succeeded",
                EventType::RefundAbnormal => " abnormal",
                EventType::RefundClosed => " closed",
                other => panic!("{row}: {}", other.as_str()),
            });
        }
        let known_at = stored.map_or(desk.now, |refund| refund.known_at);
        let next = desk.policy.cadence.next_point(known_at, None, desk.now).unwrap();
        let at = |at: Timestamp| match at {
            at if at == desk.now + STUCK_GAP => "@6h",
            at if at == desk.now + RETRY => "@retry",
            at if at == desk.now + Millis::seconds(1) => "@1s",
            at if at == next => "@next",
            _ => "some other time",
        };
        said.push(' ');
        said.push_str(stored.and_then(|refund| refund.next_at).map_or("-", at));
        if !desk.dead.is_empty() {
            said.push_str(" dead");
        }
        let expected: Vec<&str> = cells[2].split_whitespace().collect();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), expected, "{row}");
        let refunds_due = stored.and_then(|refund| refund.next_at);
        let is_told = change.events.iter().any(|event| event.kind == EventType::RefundSucceeded);
        let expected_due = if is_told { Some(desk.now) } else { refunds_due };
        assert_eq!(desk.record().due.map(|due| due.at), expected_due, "{row}: the record is due for it");
    }
    // Each of the five words and REFUNDNOTEXIST meets all seven states and a doubt; the answer to a request meets the four
    // that wait for something, what says nothing a doubt, too; a refusal meets the request, and another order's number
    // what WeChat may not have.
    assert_eq!(rows, 6 * 8 + 4 + 3 * 5 + 4 + 6);
}

#[test]
fn a_refund_s_event_says_what_wechat_said_and_what_is_known_of_the_order() {
    let mut desk = desk_with("processing");
    let change = desk.poll_refund(&refund_is(RefundStatus::Success));
    let event = &change.events[0];
    assert_eq!(event.id, event_id(&key(), EventType::RefundSucceeded, "50000000382019052709732678859"));
    let data: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
    let data = &data["data"];
    for (name, value) in [
        ("out_refund_no", serde_json::json!("R1")),
        ("refund_id", serde_json::json!("50000000382019052709732678859")),
        ("refund_fee", serde_json::json!(500)),
        ("settlement_refund_fee", serde_json::json!(500)),
        ("cash_refund_fee", serde_json::json!(null)),
        ("refund_status", serde_json::json!("SUCCESS")),
        ("refund_account", serde_json::json!("REFUND_SOURCE_UNSETTLED_FUNDS")),
        ("refund_recv_accout", serde_json::json!("CMB debit card 0403")),
        ("refund_success_time", serde_json::json!("2026-11-20T12:00:09+08:00")),
        ("total_fee", serde_json::json!(FEE)),
        ("transaction_id", serde_json::json!(TX)),
        ("trade_state", serde_json::json!("SUCCESS")),
        ("learned_by", serde_json::json!("poll")),
        ("registered", serde_json::json!(true)),
        ("version", serde_json::json!(2)),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    let read: crate::Event = serde_json::from_str(&event.to_json()).unwrap();
    assert_eq!(&read, event, "and it comes back");
    assert!(!format!("{event:?}").contains("0403"), "an account shows in debug output");
}

#[test]
fn an_order_s_event_has_no_word_of_refunds() {
    let mut desk = Desk::registered();
    let change = desk.look(&manual(), &success(TX, FEE));
    assert!(!change.events[0].to_json().contains("refund"), "{}", change.events[0].to_json());
}

#[test]
fn each_word_is_told_once_whoever_finds_it_and_however_often() {
    let mut desk = desk_with("processing");
    for answer in [RefundStatus::Abnormal, RefundStatus::Abnormal, RefundStatus::Processing] {
        desk.poll_refund(&refund_is(answer));
    }
    desk.look_at_refund(&refund_notified("R1"), &refund_is(RefundStatus::Success));
    assert_eq!(
        desk.take(&refund_notified("R1")),
        crate::lease::Taken::Duplicate,
        "what is told is not asked again"
    );
    due_now(&mut desk);
    desk.poll_refund(&refund_is(RefundStatus::Success));
    let told: Vec<EventType> = desk.published.iter().map(|event| event.kind).collect();
    assert_eq!(told, [EventType::Paid, EventType::RefundAbnormal, EventType::RefundSucceeded]);
    let versions: Vec<u64> = desk.published.iter().map(|event| event.order().unwrap().version).collect();
    assert_eq!(versions, [1, 2, 3]);
    let by = |nth: usize| desk.published[nth].order().unwrap().learned_by;
    assert_eq!((by(1), by(2)), (LearnedBy::Poll, LearnedBy::Notification));
}

#[test]
fn what_went_back_makes_the_order_itself_look_until_orderquery_says_so() {
    let mut desk = desk_with("processing");
    desk.poll_refund(&refund_is(RefundStatus::Success));
    assert_eq!(desk.record().due, Some(Due { at: desk.now, cause: Cause::Refund }));
    let since = desk.now;
    let lagging = desk.poll(&success(TX, FEE));
    assert_eq!((kinds(&lagging), desk.record().state), (vec![], State::Paid));
    assert_eq!(desk.record().due.unwrap().at, since + Millis::seconds(15), "one of WeChat's copies lags");
    assert_eq!(kinds(&desk.poll(&refund(TX, FEE))), [EventType::Refunded]);
    assert_eq!((desk.record().state, desk.record().due), (State::Refunded, None));
}

/// WeChat promises no more than the state of an order that is not `SUCCESS`.
#[test]
fn an_order_that_says_only_that_it_was_refunded_is_told_by_what_its_refund_says() {
    let bare = |transaction_id| {
        let payment = Payment { refunded: true, transaction_id, total_fee: None, ..payment(TX, FEE) };
        Answer::Observed(Observation::Payment(Box::new(payment)))
    };
    let mut desk = desk_with("processing");
    desk.poll_refund(&refund_is(RefundStatus::Success));
    assert_eq!(kinds(&desk.poll(&bare(Some(tx("4200009999"))))), [], "another payment's refund");
    let mut desk = desk_with("processing");
    desk.poll_refund(&refund_is(RefundStatus::Success));
    assert_eq!(kinds(&desk.poll(&bare(None))), [EventType::Refunded]);
    let told = desk.published.last().unwrap().order().unwrap();
    assert_eq!((told.transaction_id.clone(), told.total_fee), (Some(tx(TX)), Some(fen(FEE))));
    assert_eq!((desk.record().state, desk.record().due), (State::Refunded, None));
    assert_eq!(
        desk.record().payment.as_ref().unwrap().paid_at,
        payment(TX, FEE).paid_at,
        "nothing is forgotten"
    );
}

#[test]
fn a_payment_that_disagreed_is_refunded_like_any_other() {
    for state in [State::Mismatch, State::Rejected] {
        let mut desk = Desk::in_state(state, true);
        desk.ask_refund(&wants("R1", 500));
        desk.poll_refund(&refund_is(RefundStatus::Success));
        assert_eq!(kinds(&desk.poll(&success(TX, WRONG))), [], "one of WeChat's copies lags");
        assert_eq!(kinds(&desk.poll(&refund(TX, WRONG))), [EventType::Refunded], "{state:?}");
        assert_eq!(desk.record().state, State::Refunded);
    }
}

#[test]
fn an_unsettled_refund_follows_the_cadence_then_six_hours_then_rests_after_30_days_with_a_letter() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    let asked_at = desk.now;
    desk.poll_refund(&refund_taken());
    let mut gaps = Vec::new();
    let mut last = asked_at;
    while let Some(due) = desk.record().due {
        gaps.push(due.at.since(last).0 / 1000);
        last = due.at;
        assert_eq!(due.cause, Cause::Cadence, "a poll delays no notification");
        desk.poll_refund(&refund_is(RefundStatus::Processing));
        assert!(gaps.len() < 200);
    }
    assert_eq!(gaps[..WECHAT_GAPS_S.len()], WECHAT_GAPS_S);
    assert!(gaps[WECHAT_GAPS_S.len()..gaps.len() - 1].iter().all(|gap| *gap == STUCK_GAP.0 / 1000));
    assert_eq!(last, asked_at + REFUND_WATCH);
    assert_eq!(desk.dead.len(), 1);
    assert_eq!(desk.dead[0].reason, DeadReason::RefundStuck);
    assert!(desk.dead[0].detail.contains("R1"), "{}", desk.dead[0].detail);
    desk.look(&manual(), &success(TX, FEE));
    assert_eq!(desk.record().due.unwrap().at, desk.now, "a person asks, and it is looked at once more");
    desk.poll_refund(&refund_is(RefundStatus::Processing));
    assert_eq!(desk.record().due.unwrap().at, desk.now + Millis::seconds(15), "from its beginning");
    assert_eq!(kinds(&desk.poll_refund(&refund_is(RefundStatus::Success))), [EventType::RefundSucceeded]);
}

#[test]
fn too_many_wrong_requests_mean_a_minute_of_peace() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 500));
    let busy = RefundAnswer::Transient { cause: "busy", at_least: Millis::seconds(60) };
    desk.poll_refund(&busy);
    assert_eq!(desk.refund("R1").next_at, Some(desk.now + Millis::seconds(60)));
    assert_eq!(desk.record().due.unwrap().cause, Cause::Refund, "the shop still waits");
}

#[test]
fn a_refund_that_only_a_notification_named_is_forgotten_after_four_quick_looks() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.look_at_refund(&refund_notified("R1"), &RefundAnswer::NotExist);
    let mut gaps = Vec::new();
    while let Some(due) = desk.record().due {
        gaps.push(due.at.since(desk.now).0 / 1000);
        desk.poll_refund(&RefundAnswer::NotExist);
    }
    assert_eq!(gaps, [1, 2, 4, 8]);
    assert_eq!((desk.record().refunds.len(), desk.record().state), (0, State::Paid));
    assert!(desk.published.len() == 1 && desk.dead.is_empty());
}

#[test]
fn another_amount_under_the_same_number_is_told_as_it_is_and_leaves_a_letter() {
    let mut desk = Desk::in_state(State::Paid, true);
    desk.ask_refund(&wants("R1", 400));
    let change = desk.poll_refund(&refund_is(RefundStatus::Success));
    assert_eq!(change.events[0].order().unwrap().refund.as_ref().unwrap().refund_fee, fen(500));
    assert_eq!(desk.dead[0].reason, DeadReason::RefundDiffers);
}

#[test]
fn in_shadow_a_refund_is_told_only_where_somebody_relies_on_it() {
    let copied = refund_notified("R1").with_telling(Telling::Copied);
    let shadowed = |check: &crate::Check| {
        let mut desk = Desk::in_state(State::Paid, true);
        desk.policy.mode = Mode::Shadow;
        desk.look_at_refund(check, &refund_is(RefundStatus::Success));
        desk
    };
    let mut desk = shadowed(&copied);
    assert!(desk.published[1].is_shadow());
    // The order itself is due, because money went back.
    desk.poll(&success(TX, FEE));
    desk.look_at_refund(&refund_notified("R1"), &refund_is(RefundStatus::Success));
    let events: Vec<bool> = desk.published[1..].iter().map(|event| event.is_shadow()).collect();
    assert_eq!(events, [true, false], "WeChat was answered by us: what was withheld is told");
    assert_ne!(desk.published[1].id, desk.published[2].id);
    let desk = shadowed(&refund_notified("R1"));
    assert!(
        !desk.published[1].is_shadow() && !desk.record().progress.owed,
        "the order's telling is not owed by it"
    );
    let mut desk = Desk::in_state(State::Paid, true);
    desk.policy.mode = Mode::Shadow;
    desk.ask_refund(&wants("R1", 500));
    desk.poll_refund(&refund_is(RefundStatus::Success));
    assert!(!desk.published[1].is_shadow(), "it was asked for here");
}
