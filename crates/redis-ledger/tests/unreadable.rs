//! One record that this process cannot read, as after going back to a version that does not know its format, keeps no
//! other from coming due or being listed, and loses nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::sync::atomic::Ordering;

use common::*;
use paybell_core::check::{Check, Lane};
use paybell_core::dead::{DeadLetter, DeadReason, Removed};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{DeadLetters, DueSet, Ledger, OrderFilter, PortError, Records};
use redis_ledger::RedisLedger;
use testkit::servers::Redis;

/// The name of the record in Redis.
async fn name_of(server: &Redis, key: &OrderKey) -> String {
    let found = server.cli(&["--scan", "--pattern", &format!("*{}", key.out_trade_no)]).await;
    found.trim().to_owned()
}

/// Gives the record a format: 9 is one that nobody knows.
async fn set_format(server: &Redis, key: &OrderKey, format: u8) {
    let name = name_of(server, key).await;
    let script = "return redis.call('SETRANGE', KEYS[1], 0, string.char(tonumber(ARGV[1])))";
    server.cli(&["EVAL", script, "1", &name, &format.to_string()]).await;
}

async fn claimed(ledger: &RedisLedger) -> Vec<OrderKey> {
    let checks = ledger.claim(Lane::Cadence, 10).await.unwrap();
    let mut keys: Vec<_> = checks.into_iter().map(|check| check.key).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn an_unreadable_record_is_passed_over_and_told_and_comes_again_when_it_can_be_read() {
    let server = Redis::start().await;
    let (ledger, shift) = open_shifted(&server).await;
    for number in 0..4 {
        register(&ledger, &key(number), &asks(1)).await;
    }
    set_format(&server, &key(0), 9).await;
    let name = name_of(&server, &key(0)).await;
    let bytes = server.cli(&["GET", &name]).await;
    shift.store(20_000, Ordering::SeqCst);
    assert_eq!(claimed(&ledger).await, [key(1), key(2), key(3)]);
    assert_eq!(ledger.lag_ms().await.unwrap(), 0, "it is not due all the time");
    let letters = letters_of(&ledger).await;
    assert_eq!(letters, [(Some(key(0)), DeadReason::Unreadable, 1)]);
    assert_eq!(server.cli(&["GET", &name]).await, bytes, "a newer version can read it as it was");
    shift.store(81_000, Ordering::SeqCst);
    assert_eq!(claimed(&ledger).await, [key(1), key(2), key(3)]);
    assert_eq!(letters_of(&ledger).await, [(Some(key(0)), DeadReason::Unreadable, 2)]);
    set_format(&server, &key(0), 1).await;
    shift.store(142_000, Ordering::SeqCst);
    // The first look finds where it belongs.
    let mut again = claimed(&ledger).await;
    again.extend(claimed(&ledger).await);
    assert!(again.contains(&key(0)), "{again:?}");
}

#[tokio::test]
async fn listings_give_the_rest_and_say_which_one_is_left_out() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    for number in 0..40 {
        register(&ledger, &key(number), &asks(1)).await;
    }
    set_format(&server, &key(7), 9).await;
    for limit in [1, 5, 100] {
        let (mut met, mut left_out, mut after) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let page = ledger_page(&ledger, after.as_deref(), limit).await;
            assert!(page.records.len() + page.unreadable.len() <= limit);
            met.extend(page.records.into_iter().map(|record| record.key));
            left_out.extend(page.unreadable);
            if !page.has_more {
                break;
            }
            after = Some(page.next);
        }
        met.sort();
        met.dedup();
        left_out.dedup();
        assert_eq!((met.len(), left_out), (39, vec![key(7)]), "in pages of {limit}");
    }
    let many = ledger.get_many(&[key(6), key(7), key(8)]).await.unwrap();
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert!(
        matches!(ledger.read(&key(7)).await, Err(PortError::Corrupt { .. })),
        "alone it is no record that is absent"
    );
    let taken = ledger.take(&request(Check::manual(key(7)), 1)).await;
    assert!(matches!(taken, Err(PortError::Corrupt { .. })), "{taken:?}");
}

#[tokio::test]
async fn a_walk_over_a_restart_of_redis_misses_nothing() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let ours = &ledger;
    let registrations = (0..4_000).map(async |number| register(ours, &key(number), &asks(1)).await);
    futures_util::future::join_all(registrations).await;
    let (mut met, mut after, mut restarts) = (std::collections::BTreeSet::new(), None::<String>, 0);
    loop {
        let page = ledger_page(&ledger, after.as_deref(), 200).await;
        met.extend(page.records.into_iter().map(|record| record.key));
        if !page.has_more {
            break;
        }
        after = Some(page.next);
        if restarts < 2 && met.len() > 1_500 + restarts * 1_000 {
            restarts += 1;
            server.stop().await;
            server.start_again().await;
            eventually("the ledger is back", || async { ledger.probe().await.is_ok() }).await;
        }
    }
    assert_eq!((met.len(), restarts), (4_000, 2));
}

async fn ledger_page(
    ledger: &RedisLedger,
    after: Option<&str>,
    limit: usize,
) -> paybell_core::ports::OrderPage {
    let filter = OrderFilter::default();
    let page = at_last("a page", async || Records::list(ledger, &filter, after, limit).await).await;
    page.expect("a place of this listing")
}

async fn letters_of(ledger: &RedisLedger) -> Vec<(Option<OrderKey>, DeadReason, u64)> {
    let letters = at_last("the letters", async || DeadLetters::list(ledger, None, 10).await).await;
    letters.into_iter().map(|letter| (letter.key(), letter.reason.clone(), letter.count)).collect()
}

/// Gives a letter a text that no version of ours reads.
async fn spoil_letter(server: &Redis, letter: &DeadLetter) -> String {
    let (mch_id, out_trade_no) = (&letter.mch_id, &letter.out_trade_no);
    let text = format!(r#"{{"mch_id":"{mch_id}","out_trade_no":"{out_trade_no}","count":{{"since":1}}}}"#);
    for name in server.cli(&["--scan", "--pattern", "*dead"]).await.split_whitespace() {
        if server.cli(&["HEXISTS", name, &letter.id.to_string()]).await.trim() == "1" {
            server.cli(&["HSET", name, &letter.id.to_string(), &text]).await;
            return text;
        }
    }
    panic!("the letter is nowhere");
}

#[tokio::test]
async fn an_unreadable_letter_is_shown_among_the_others_and_keeps_nothing_from_being_stored() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let now = ledger.clock().await.unwrap().now;
    let about = |number| DeadLetter::about(&key(number), DeadReason::WrongOrder, "appid", now);
    let mut ids = Vec::new();
    for number in 0..5 {
        ledger.bury(&about(number)).await.unwrap();
        ids.push(about(number).id);
    }
    ids.sort();
    let spoiled = (0..5).map(about).find(|letter| letter.id == ids[1]).unwrap();
    let text = spoil_letter(&server, &spoiled).await;
    let (mut met, mut after) = (Vec::new(), None);
    loop {
        let page = DeadLetters::list(&ledger, after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        met.extend(page.into_iter().map(|letter| letter.id));
    }
    assert_eq!(met, ids, "page by page, behind it too");
    let shown = DeadLetters::get(&ledger, spoiled.id).await.unwrap().unwrap();
    assert_eq!((shown.id, shown.key(), shown.reason.as_str()), (spoiled.id, spoiled.key(), "unknown"));
    assert!(shown.detail.contains(&text), "{}", shown.detail);
    assert_eq!(shown.check(), None, "and is never replayed");
    // A person drops it; or the same problem comes again, whose letter can be read.
    assert_eq!(DeadLetters::remove(&ledger, &shown).await.unwrap(), Removed::Gone);
    ledger.bury(&spoiled).await.unwrap();
    spoil_letter(&server, &spoiled).await;
    ledger.bury(&spoiled).await.unwrap();
    let stored = DeadLetters::get(&ledger, spoiled.id).await.unwrap().unwrap();
    assert_eq!((stored.reason, stored.count), (DeadReason::WrongOrder, 1));
}
