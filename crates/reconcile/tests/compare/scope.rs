//! Which payments become checks: the first bill of a new installation must not ship yesterday's goods twice.

use std::collections::BTreeMap;

use paybell_core::record::State;
use reconcile::{Kind, OutOfScope, Pattern, Scope, Task};

use crate::support::*;

fn scoped(scope: Scope) -> Task {
    Task { scope: Some(scope), ..task() }
}

#[test]
fn the_first_bill_of_a_new_installation_ships_nothing_of_before() {
    let lines = [paid(1, "08:00:00", 100), paid(2, "15:59:59", 100), paid(3, "16:00:00", 100)];
    let task = scoped(Scope::since(at("2026-11-18 16:00:00")));
    let (result, heard) = run(&task, &lines, &mut Memory::default()).unwrap();
    assert_eq!(result.counts[&Kind::PaymentUnknownHere], 3, "all of them are reported");
    let asked: Vec<_> = checks(&heard).iter().map(|check| check.key.out_trade_no.to_string()).collect();
    assert_eq!(asked, ["T3"]);
    assert_eq!(result.reported_only, BTreeMap::from([(OutOfScope::BeforeActiveSince, 2)]));
    assert_eq!(heard[0].healing_word(), Some("before_active_since"));
}

#[test]
fn what_the_ledger_forgot_long_ago_is_reported_only() {
    let lines = [paid(1, "08:00:00", 100)];
    let mut scope = Scope::since(at("2026-01-01 00:00:00"));
    scope.remembered_since = at("2026-11-18 08:00:01");
    let (result, heard) = run(&scoped(scope), &lines, &mut Memory::default()).unwrap();
    assert_eq!((checks(&heard).len(), result.reported_only[&OutOfScope::TooOld]), (0, 1));
}

#[test]
fn other_apps_sub_merchants_and_numbers_are_reported_only() {
    let lines = [
        paid(1, "08:00:00", 100),
        Line { appid: "wx2", ..paid(2, "08:00:00", 100) },
        Line { sub_mch_id: "1900000202", ..paid(3, "08:00:00", 100) },
        Line { out_trade_no: "POS-4".to_owned(), ..paid(4, "08:00:00", 100) },
        Line { sub_mch_id: "1900000201", ..paid(5, "08:00:00", 100) },
    ];
    let mut scope = Scope::since(at("2026-11-01 00:00:00"));
    scope.appids = vec![APP.to_owned()];
    scope.pattern = Some(Pattern::parse("T*").unwrap());
    let (result, heard) = run(&scoped(scope.clone()), &lines, &mut Memory::default()).unwrap();
    assert_eq!(
        result.reported_only,
        BTreeMap::from([(OutOfScope::OtherApp, 1), (OutOfScope::OtherNumber, 1)])
    );
    assert_eq!(checks(&heard).len(), 3);
    scope.sub_mch_ids = vec!["1900000201".to_owned()];
    let (result, heard) = run(&scoped(scope), &lines, &mut Memory::default()).unwrap();
    assert_eq!(result.reported_only[&OutOfScope::OtherSubMerchant], 3);
    assert_eq!(checks(&heard)[0].key.out_trade_no.as_str(), "T5");
}

#[test]
fn an_order_that_is_known_here_is_ours_whatever_the_scope() {
    let lines = [Line { appid: "wx2", ..paid(1, "08:00:00", 100) }];
    let mut scope = Scope::since(at("2026-11-18 16:00:00"));
    scope.appids = vec![APP.to_owned()];
    let mut ledger = Memory::of([order(1, State::Pending, 100, "2026-11-18 08:00:00")]);
    ledger.orders[0].payment = None;
    let (_, heard) = run(&scoped(scope), &lines, &mut ledger).unwrap();
    assert_eq!((heard[0].kind, checks(&heard).len()), (Kind::PaymentBehindHere, 1));
}

#[test]
fn without_a_scope_nothing_is_asked() {
    let lines = [paid(1, "08:00:00", 100)];
    let task = Task { scope: None, ..task() };
    let (result, heard) = run(&task, &lines, &mut Memory::default()).unwrap();
    assert_eq!((heard.len(), checks(&heard).len(), result.checks), (1, 0, 0));
    assert_eq!(heard[0].healing_word(), None);
}
