//! Refunds: what agrees, and each way to differ. None of them is healed.

use paybell_core::money::Fen;
use paybell_core::record::State;
use reconcile::{Kind, RefundStanding, RefundState, Standing};

use crate::support::*;

/// Order 1 of the day before, with one refund.
fn with_refund(state: RefundState, fee: i64) -> Standing {
    let refund = RefundStanding {
        out_refund_no: "R1".to_owned(),
        refund_id: Some("5R1".to_owned()),
        fee: Fen::new(fee).ok(),
        state,
        word: "processing",
    };
    Standing { refunds: Some(vec![refund]), ..order(1, State::Refunded, 100, "2026-11-17 08:00:00") }
}

fn kinds_of(standing: Option<Standing>, status: &'static str, fee: i64) -> Vec<Kind> {
    let lines = [refunded(1, "R1", fee, status)];
    let (result, heard) = run(&task(), &lines, &mut Memory::of(standing)).unwrap();
    assert_eq!(checks(&heard).len(), 0, "a refund heals nothing");
    assert_eq!(result.agreed, u64::from(heard.is_empty()));
    heard.iter().map(|one| one.kind).collect()
}

#[test]
fn a_refund_is_compared_with_ours() {
    use RefundState::{Done, NotMade, Open};
    for (state, status, fee, kinds) in [
        (Done, "SUCCESS", 40, vec![]),
        (Open, "PROCESSING", 40, vec![]),
        (Open, "CHANGE", 40, vec![]),
        (Done, "PROCESSING", 40, vec![]),
        (NotMade, "FAIL", 40, vec![]),
        (Open, "SUCCESS", 40, vec![Kind::RefundBehindHere]),
        (NotMade, "SUCCESS", 40, vec![Kind::RefundState]),
        (Done, "FAIL", 40, vec![Kind::RefundState]),
        (Done, "SUCCESS", 41, vec![Kind::RefundAmount]),
        (Open, "SUCCESS", 41, vec![Kind::RefundAmount, Kind::RefundBehindHere]),
    ] {
        assert_eq!(kinds_of(Some(with_refund(state, 40)), status, fee), kinds, "{state:?} {status} {fee}");
    }
}

#[test]
fn a_refund_is_found_by_either_number() {
    let mut ours = with_refund(RefundState::Open, 40);
    ours.refunds.as_mut().unwrap()[0].refund_id = None;
    assert_eq!(kinds_of(Some(ours.clone()), "PROCESSING", 40), []);
    ours.refunds.as_mut().unwrap()[0].refund_id = Some("5R1".to_owned());
    ours.refunds.as_mut().unwrap()[0].out_refund_no = "elsewhere".to_owned();
    assert_eq!(kinds_of(Some(ours.clone()), "PROCESSING", 40), []);
    ours.refunds.as_mut().unwrap()[0].refund_id = Some("another".to_owned());
    assert_eq!(kinds_of(Some(ours), "PROCESSING", 40), [Kind::RefundUnknownHere]);
}

#[test]
fn a_refund_that_nobody_here_knows_is_named_with_its_numbers() {
    let unknown = vec![Kind::RefundUnknownHere];
    assert_eq!(kinds_of(None, "SUCCESS", 40), unknown);
    assert_eq!(kinds_of(Some(order(1, State::Paid, 100, "2026-11-17 08:00:00")), "SUCCESS", 40), unknown);
    let told = order(1, State::Refunded, 100, "2026-11-17 08:00:00");
    assert_eq!(kinds_of(Some(told), "SUCCESS", 40), [], "that part went back is known, and no more");
    let (_, heard) = run(&task(), &[refunded(1, "R1", 40, "SUCCESS")], &mut Memory::default()).unwrap();
    let numbers = heard[0].refund.clone().unwrap();
    assert_eq!((numbers.refund_id.as_deref(), numbers.out_refund_no.as_str()), (Some("5R1"), "R1"));
    let bill = heard[0].bill.clone().unwrap();
    assert_eq!((bill.fee, bill.state.as_deref()), (Fen::new(40).ok(), Some("SUCCESS")));
}

#[test]
fn where_nothing_is_known_of_refunds_none_is_compared() {
    let lines = [paid(1, "08:00:00", 100), refunded(1, "R1", 40, "SUCCESS")];
    let mut ledger = Memory { knows_no_refunds: true, ..Memory::like(&lines) };
    let (result, heard) = run(&task(), &lines, &mut ledger).unwrap();
    assert_eq!((heard.len(), result.agreed, result.not_compared), (0, 1, 1));
}
