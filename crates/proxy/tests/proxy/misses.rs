//! The ledger away, slow or mute: the call goes through within the bound, and the registration is made up for.

use std::time::Duration;

use paybell_core::time::Millis;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Journal, Mood};
use crate::rig::{Rig, timed, until};
use crate::shop::{MCH_ID, order, post};
use crate::wechat::{Reply, Wechat, ok};

const UNIFIED: &str = "/pay/unifiedorder";

async fn rig(journal: &Journal, backlog_max: usize) -> (Wechat, Rig) {
    let wechat = Wechat::start(journal.clone(), |_| Reply::Send(ok(b"<xml/>"))).await;
    let rig = Rig::with(journal, &[&wechat.url], |config| config.limits.backlog_max = backlog_max).await;
    (wechat, rig)
}

#[tokio::test]
async fn a_slow_ledger_costs_a_call_no_more_than_its_bound() {
    let journal = Journal::default();
    let (wechat, rig) = rig(&journal, 10).await;
    rig.ledger.set(Mood::Hangs);
    for changes in [&[][..], &[("time_expire", "20261118230732")]] {
        let body = order("T1", "1", changes);
        let (answer, took) = timed(post(rig.address, UNIFIED, &body)).await;
        assert_eq!(answer.status, 200);
        assert!((300..15_000).contains(&took.as_millis()), "{took:?}");
    }
    assert_eq!((wechat.count(), rig.ledger.count()), (2, 0));
    assert_eq!((rig.registrations("missed"), rig.metric("paybell_proxy_waiting")), (2, 2));
}

#[tokio::test]
async fn a_registration_missed_in_an_outage_is_made_when_the_ledger_comes_back() {
    let journal = Journal::default();
    let (wechat, mut rig) = rig(&journal, 1_000).await;
    rig.run_retries(rig.drain.clone());
    rig.ledger.set(Mood::Away);
    let placed_at = rig.ledger.now();
    for number in 0..100 {
        post(rig.address, UNIFIED, &order(&format!("T{number}"), "7", &[])).await;
    }
    let placed_until = rig.ledger.now();
    assert_eq!((wechat.count(), rig.registrations("missed"), rig.ledger.count()), (100, 100, 0));
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.ledger.set(Mood::Well);
    until("all are registered", || rig.ledger.count() == 100).await;
    until("all are counted", || rig.registrations("retried") == 100).await;
    for number in 0..100 {
        let record = rig.ledger.record(MCH_ID, &format!("T{number}")).unwrap();
        let is_then = (placed_at - Millis(1_000)..placed_until + Millis(1_000)).contains(&record.created_at);
        assert!(is_then, "its cadence counts from the call, not from the attempt: {}", record.created_at);
    }
    assert_eq!((rig.registrations("dropped"), rig.metric("paybell_proxy_waiting")), (0, 0));
}

#[tokio::test]
async fn a_registration_that_was_stored_unheard_is_no_different_order() {
    let journal = Journal::default();
    let (_wechat, mut rig) = rig(&journal, 10).await;
    rig.ledger.set(Mood::Mute);
    post(rig.address, UNIFIED, &order("T1", "7", &[])).await;
    assert_eq!((rig.ledger.count(), rig.registrations("missed")), (1, 1));
    rig.ledger.skew(Millis::seconds(3));
    rig.ledger.set(Mood::Well);
    rig.run_retries(rig.drain.clone());
    until("it is counted", || rig.registrations("retried") == 1).await;
    assert_eq!(rig.registrations("different"), 0);
}

#[tokio::test]
async fn what_finds_no_room_is_counted_as_dropped() {
    let journal = Journal::default();
    let (wechat, rig) = rig(&journal, 2).await;
    rig.ledger.set(Mood::Away);
    for number in ["T1", "T2", "T3", "T4", "T5"] {
        post(rig.address, UNIFIED, &order(number, "7", &[])).await;
    }
    assert_eq!(wechat.count(), 5);
    assert_eq!((rig.registrations("missed"), rig.registrations("dropped")), (5, 3));
}

#[tokio::test]
async fn the_end_tries_again_and_counts_what_it_drops() {
    for (mood, result) in [(Mood::Well, "retried"), (Mood::Away, "dropped"), (Mood::Hangs, "dropped")] {
        let journal = Journal::default();
        let (_wechat, mut rig) = rig(&journal, 10).await;
        rig.ledger.set(Mood::Away);
        let end = CancellationToken::new();
        rig.run_retries(end.clone());
        post(rig.address, UNIFIED, &order("T1", "7", &[])).await;
        rig.ledger.set(mood);
        end.cancel();
        let ((), took) = timed(until("it is over", || rig.registrations(result) == 1)).await;
        assert!(took < Duration::from_secs(9), "{mood:?}: {took:?}");
        assert_eq!(rig.metric("paybell_proxy_waiting"), 0);
    }
}

#[tokio::test]
async fn the_end_waits_a_while_for_a_ledger_that_comes_back() {
    let journal = Journal::default();
    let (_wechat, mut rig) = rig(&journal, 10).await;
    rig.ledger.set(Mood::Away);
    let end = CancellationToken::new();
    rig.run_retries(end.clone());
    post(rig.address, UNIFIED, &order("T1", "7", &[])).await;
    end.cancel();
    let asked = rig.ledger.asked();
    until("it is tried after the end was told", || rig.ledger.asked() > asked).await;
    rig.ledger.set(Mood::Well);
    until("it is counted", || rig.registrations("retried") + rig.registrations("dropped") == 1).await;
    assert_eq!((rig.registrations("dropped"), rig.ledger.count()), (0, 1));
}
