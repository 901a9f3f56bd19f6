//! Every state against every answer, written out: what the order becomes, what is told, when it is looked at again.
//!
//! The order is 100 s old (its next cadence point lies 240 s after its creation) or, in the second table, past its
//! last point. The check is a manual one, and no notification is waiting for its confirmation.

use crate::decide::STUCK_GAP;
use crate::event::EventType;
use crate::observation::{Answer, ClosedAs, NotPaid, Observation, Payment};
use crate::record::{Due, State};
use crate::samples::*;

/// answer, state before, what happens if the order is registered, and if it is not.
///
/// `-` no due time, `@next` the next cadence point, `@retry` the transient backoff, `@6h` six hours on, `dead` a dead
/// letter.
const YOUNG: &str = "
SUCCESS agrees    | pending  | paid paid               -      | paid paid               -
SUCCESS agrees    | unpaid   | paid paid               -      | paid paid               -
SUCCESS agrees    | closed   | paid paid               -      | paid paid               -
SUCCESS agrees    | failed   | paid paid               -      | paid paid               -
SUCCESS agrees    | mismatch | mismatch                -      | mismatch                -
SUCCESS agrees    | rejected | rejected                -      | rejected                -
SUCCESS agrees    | paid     | paid                    -      | paid                    -
SUCCESS agrees    | refunded | refunded                -      | refunded                -
SUCCESS differs   | pending  | mismatch mismatch       -      | paid paid               -
SUCCESS differs   | unpaid   | mismatch mismatch       -      | paid paid               -
SUCCESS differs   | closed   | mismatch mismatch       -      | paid paid               -
SUCCESS differs   | failed   | mismatch mismatch       -      | paid paid               -
SUCCESS differs   | mismatch | mismatch                -      | mismatch                -
SUCCESS differs   | rejected | rejected                -      | rejected                -
SUCCESS other tx  | pending  | paid paid               -      | paid paid               -
SUCCESS other tx  | unpaid   | paid paid               -      | paid paid               -
SUCCESS other tx  | closed   | paid paid               -      | paid paid               -
SUCCESS other tx  | failed   | paid paid               -      | paid paid               -
SUCCESS other tx  | mismatch | mismatch mismatch       -      | mismatch mismatch       -
SUCCESS other tx  | rejected | rejected mismatch       -      | rejected mismatch       -
SUCCESS other tx  | paid     | paid mismatch           -      | paid mismatch           -
SUCCESS other tx  | refunded | refunded mismatch       -      | refunded mismatch       -
REFUND agrees     | pending  | refunded paid refunded  -      | refunded paid refunded  -
REFUND agrees     | unpaid   | refunded paid refunded  -      | refunded paid refunded  -
REFUND agrees     | closed   | refunded paid refunded  -      | refunded paid refunded  -
REFUND agrees     | failed   | refunded paid refunded  -      | refunded paid refunded  -
REFUND agrees     | mismatch | refunded refunded       -      | refunded refunded       -
REFUND agrees     | rejected | refunded refunded       -      | refunded refunded       -
REFUND agrees     | paid     | refunded refunded       -      | refunded refunded       -
REFUND agrees     | refunded | refunded                -      | refunded                -
REFUND differs    | pending  | refunded mismatch refunded -   | refunded paid refunded  -
REFUND differs    | unpaid   | refunded mismatch refunded -   | refunded paid refunded  -
REFUND differs    | closed   | refunded mismatch refunded -   | refunded paid refunded  -
REFUND differs    | failed   | refunded mismatch refunded -   | refunded paid refunded  -
REFUND differs    | mismatch | refunded refunded       -      | refunded refunded       -
REFUND differs    | rejected | refunded refunded       -      | refunded refunded       -
REFUND other tx   | pending  | refunded paid refunded  -      | refunded paid refunded  -
REFUND other tx   | unpaid   | refunded paid refunded  -      | refunded paid refunded  -
REFUND other tx   | closed   | refunded paid refunded  -      | refunded paid refunded  -
REFUND other tx   | failed   | refunded paid refunded  -      | refunded paid refunded  -
REFUND other tx   | mismatch | mismatch mismatch       -      | mismatch mismatch       -
REFUND other tx   | rejected | rejected mismatch       -      | rejected mismatch       -
REFUND other tx   | paid     | paid mismatch           -      | paid mismatch           -
REFUND other tx   | refunded | refunded mismatch       -      | refunded mismatch       -
REFUND incomplete | pending  | pending                 @next  | pending                 @next
REFUND incomplete | unpaid   | unpaid                  @6h    | unpaid                  @6h
REFUND incomplete | closed   | closed                  @6h    | closed                  @6h
REFUND incomplete | failed   | failed                  @6h    | failed                  @6h
REFUND incomplete | mismatch | mismatch                @6h    | mismatch                @6h
REFUND incomplete | rejected | rejected                @6h    | rejected                @6h
REFUND incomplete | paid     | paid                    -      | paid                    -
REFUND incomplete | refunded | refunded                -      | refunded                -
NOTPAY            | pending  | pending                 @next  | pending                 @next
NOTPAY            | unpaid   | unpaid                  -      | unpaid                  -
NOTPAY            | closed   | closed                  -      | closed                  -
NOTPAY            | failed   | failed                  -      | failed                  -
NOTPAY            | mismatch | mismatch                -      | mismatch                -
NOTPAY            | rejected | rejected                -      | rejected                -
NOTPAY            | paid     | paid                    -      | paid                    -
NOTPAY            | refunded | refunded                -      | refunded                -
USERPAYING        | pending  | pending                 @next  | pending                 @next
USERPAYING        | unpaid   | unpaid                  -      | unpaid                  -
USERPAYING        | closed   | closed                  -      | closed                  -
USERPAYING        | failed   | failed                  -      | failed                  -
USERPAYING        | mismatch | mismatch                -      | mismatch                -
USERPAYING        | rejected | rejected                -      | rejected                -
USERPAYING        | paid     | paid                    -      | paid                    -
USERPAYING        | refunded | refunded                -      | refunded                -
ACCEPT            | pending  | pending                 @next  | pending                 @next
ACCEPT            | unpaid   | unpaid                  -      | unpaid                  -
ACCEPT            | closed   | closed                  -      | closed                  -
ACCEPT            | failed   | failed                  -      | failed                  -
ACCEPT            | mismatch | mismatch                -      | mismatch                -
ACCEPT            | rejected | rejected                -      | rejected                -
ACCEPT            | paid     | paid                    -      | paid                    -
ACCEPT            | refunded | refunded                -      | refunded                -
ORDERNOTEXIST     | pending  | pending                 @next  | forgotten               -
ORDERNOTEXIST     | unpaid   | unpaid                  -      | unpaid                  -
ORDERNOTEXIST     | closed   | closed                  -      | closed                  -
ORDERNOTEXIST     | failed   | failed                  -      | failed                  -
ORDERNOTEXIST     | mismatch | mismatch                -      | mismatch                -
ORDERNOTEXIST     | rejected | rejected                -      | rejected                -
ORDERNOTEXIST     | paid     | paid                    -      | paid                    -
ORDERNOTEXIST     | refunded | refunded                -      | refunded                -
CLOSED            | pending  | closed closed           -      | closed closed           -
CLOSED            | unpaid   | unpaid                  -      | unpaid                  -
CLOSED            | closed   | closed                  -      | closed                  -
CLOSED            | failed   | failed                  -      | failed                  -
CLOSED            | mismatch | mismatch                -      | mismatch                -
CLOSED            | rejected | rejected                -      | rejected                -
CLOSED            | paid     | paid                    -      | paid                    -
CLOSED            | refunded | refunded                -      | refunded                -
REVOKED           | pending  | closed closed           -      | closed closed           -
REVOKED           | unpaid   | unpaid                  -      | unpaid                  -
REVOKED           | closed   | closed                  -      | closed                  -
REVOKED           | failed   | failed                  -      | failed                  -
REVOKED           | mismatch | mismatch                -      | mismatch                -
REVOKED           | rejected | rejected                -      | rejected                -
REVOKED           | paid     | paid                    -      | paid                    -
REVOKED           | refunded | refunded                -      | refunded                -
PAYERROR          | pending  | failed failed           -      | failed failed           -
PAYERROR          | unpaid   | unpaid                  -      | unpaid                  -
PAYERROR          | closed   | closed                  -      | closed                  -
PAYERROR          | failed   | failed                  -      | failed                  -
PAYERROR          | mismatch | mismatch                -      | mismatch                -
PAYERROR          | rejected | rejected                -      | rejected                -
PAYERROR          | paid     | paid                    -      | paid                    -
PAYERROR          | refunded | refunded                -      | refunded                -
unknown           | pending  | pending                 @next  | pending                 @next
unknown           | unpaid   | unpaid                  @6h    | unpaid                  @6h
unknown           | closed   | closed                  @6h    | closed                  @6h
unknown           | failed   | failed                  @6h    | failed                  @6h
unknown           | mismatch | mismatch                @6h    | mismatch                @6h
unknown           | rejected | rejected                @6h    | rejected                @6h
unknown           | paid     | paid                    -      | paid                    -
unknown           | refunded | refunded                -      | refunded                -
transient         | pending  | pending                 @retry | pending                 @retry
transient         | unpaid   | unpaid                  @retry | unpaid                  @retry
transient         | closed   | closed                  @retry | closed                  @retry
transient         | failed   | failed                  @retry | failed                  @retry
transient         | mismatch | mismatch                @retry | mismatch                @retry
transient         | rejected | rejected                @retry | rejected                @retry
transient         | paid     | paid                    @retry | paid                    @retry
transient         | refunded | refunded                @retry | refunded                @retry
refused           | pending  | pending dead            @next  | pending dead            @next
refused           | unpaid   | unpaid dead             @6h    | unpaid dead             @6h
refused           | closed   | closed dead             @6h    | closed dead             @6h
refused           | failed   | failed dead             @6h    | failed dead             @6h
refused           | mismatch | mismatch dead           @6h    | mismatch dead           @6h
refused           | rejected | rejected dead           @6h    | rejected dead           @6h
refused           | paid     | paid dead               -      | paid dead               -
refused           | refunded | refunded dead           -      | refunded dead           -
";

/// The same, at the last cadence point of an order that is still pending.
const AT_THE_LAST_POINT: &str = "
SUCCESS agrees    | pending  | paid paid               -      | paid paid               -
SUCCESS differs   | pending  | mismatch mismatch       -      | paid paid               -
REFUND agrees     | pending  | refunded paid refunded  -      | refunded paid refunded  -
REFUND incomplete | pending  | pending dead            @6h    | pending dead            @6h
NOTPAY            | pending  | unpaid unpaid           -      | unpaid unpaid           -
USERPAYING        | pending  | unpaid unpaid           -      | unpaid unpaid           -
ACCEPT            | pending  | unpaid unpaid           -      | unpaid unpaid           -
ORDERNOTEXIST     | pending  | unpaid unpaid           -      | forgotten               -
CLOSED            | pending  | closed closed           -      | closed closed           -
REVOKED           | pending  | closed closed           -      | closed closed           -
PAYERROR          | pending  | failed failed           -      | failed failed           -
unknown           | pending  | pending dead            @6h    | pending dead            @6h
transient         | pending  | pending                 @retry | pending                 @retry
refused           | pending  | pending dead            @6h    | pending dead            @6h
";

#[test]
fn every_state_against_every_answer() {
    assert_table(YOUNG, 100);
}

#[test]
fn a_pending_order_at_its_last_point_against_every_answer() {
    assert_table(AT_THE_LAST_POINT, 86_640);
}

#[test]
fn the_table_names_every_state_under_every_answer() {
    let cells: Vec<_> = YOUNG.trim().lines().map(|line| cut(line)[..2].join(" ")).collect();
    for answer in ["SUCCESS agrees", "SUCCESS other tx", "REFUND agrees", "REFUND other tx"]
        .into_iter()
        .chain(["REFUND incomplete", "NOTPAY", "USERPAYING", "ACCEPT", "ORDERNOTEXIST", "CLOSED"])
        .chain(["REVOKED", "PAYERROR", "unknown", "transient", "refused"])
    {
        for state in State::ALL {
            let cell = format!("{answer} {}", state.as_str());
            assert_eq!(cells.iter().filter(|known| **known == cell).count(), 1, "{cell}");
        }
    }
}

fn assert_table(table: &str, age_s: i64) {
    for line in table.trim().lines() {
        let columns = cut(line);
        for (is_registered, expected) in [(true, columns[2]), (false, columns[3])] {
            let happened = happens(columns[0], State::parse(columns[1]).unwrap(), is_registered, age_s);
            let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(happened, expected, "{line}\nregistered: {is_registered}");
        }
    }
}

fn cut(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

/// Plays one cell, and checks what holds in all of them.
fn happens(answer: &str, state: State, is_registered: bool, age_s: i64) -> String {
    let mut desk = Desk::in_state(state, is_registered);
    desk.now = at(age_s);
    let before = desk.hold(&manual());
    let change = desk.decide(&before, &manual(), &named(answer));

    assert!(change.state.rank() >= before.state.rank(), "I7: the rank never falls");
    for (event, version) in change.events.iter().zip(before.version + 1..) {
        assert_eq!(event.order().unwrap().version, version, "versions rise by one with every event");
        assert!(!before.has_event(event.id), "I7: no id twice");
        assert_eq!(event.order().unwrap().registered, is_registered);
        let was_denied = matches!(state, State::Unpaid | State::Closed | State::Failed);
        assert_eq!(event.order().unwrap().late, was_denied && event.kind == EventType::Paid, "I9");
    }
    assert_eq!(change.version, before.version + u64::try_from(change.events.len()).unwrap());
    let is_settled = change.state.rank() >= State::Mismatch.rank();
    let holds_a_payment = change.payment.is_some() || before.payment.is_some();
    assert_eq!(is_settled, holds_a_payment, "a payment is remembered exactly where one decided the state");

    let mut words = vec![if change.forget { "forgotten" } else { change.state.as_str() }];
    words.extend(change.events.iter().map(|event| event.kind.as_str().trim_start_matches("order.")));
    words.extend(change.dead.iter().map(|_| "dead"));
    words.push(due_word(change.due, age_s));
    words.join(" ")
}

fn due_word(due: Option<Due>, age_s: i64) -> &'static str {
    match due.map(|due| due.at) {
        None => "-",
        Some(due) if due == at(240) => "@next",
        Some(due) if due == at(age_s) + RETRY => "@retry",
        Some(due) if due == at(age_s) + STUCK_GAP => "@6h",
        Some(_) => "@unexpected",
    }
}

fn named(word: &str) -> Answer {
    match word {
        "SUCCESS agrees" => success(TX, FEE),
        "SUCCESS differs" => success(TX, WRONG),
        "SUCCESS other tx" => success(OTHER_TX, FEE),
        "REFUND agrees" => refund(TX, FEE),
        "REFUND differs" => refund(TX, WRONG),
        "REFUND other tx" => refund(OTHER_TX, FEE),
        "REFUND incomplete" => answer(Payment { refunded: true, transaction_id: None, ..payment(TX, FEE) }),
        "NOTPAY" => not_paid(NotPaid::NotPay),
        "USERPAYING" => not_paid(NotPaid::UserPaying),
        "ACCEPT" => not_paid(NotPaid::Accept),
        "ORDERNOTEXIST" => not_paid(NotPaid::NotExist),
        "CLOSED" => closed(),
        "REVOKED" => Answer::Observed(Observation::Closed(ClosedAs::Revoked)),
        "PAYERROR" => failed(),
        "unknown" => unknown(),
        "transient" => Answer::Transient("time-out"),
        "refused" => refused(),
        _ => panic!("no answer is called {word}"),
    }
}
