//! What only this engine promises: one process per folder, a bounded write-ahead log, retention, and that one bad row
//! or one failed job harms nobody else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails loudly")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use embedded::{Engine, EngineConfig, OpenError, Pruned};
use paybell_core::check::{Check, Lane};
use paybell_core::dead::{DeadLetter, DeadReason, Removed};
use paybell_core::lease::{Cleared, Commit, LeaseRequest, Taken};
use paybell_core::ports::{
    Businesses, CheckQueue, CheckSource, Cursor, DeadLetters, EventFilter, EventLog, Ledger, LogRead,
    OrderFilter, PortError, Records, Registry,
};
use paybell_core::record::{Entry, State};
use paybell_core::register::{Application, Registered};
use paybell_core::time::Millis;
use paybell_core::{BusinessNo, LeaseToken};
use tokio::time::timeout;

use common::{Hands, asks, event, key};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Millis = Millis::seconds(86_400);

fn open(dir: &Path, hands: &Arc<Hands>) -> Engine {
    Engine::open(EngineConfig::in_dir(dir), hands.clone()).unwrap()
}

fn sqlite(dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(dir.join("paybell.db")).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection
}

/// Brings an order into a state with nothing outgoing and no due time.
async fn settle(engine: &Engine, number: usize, state: State) {
    let token = LeaseToken(1);
    let check = Check::manual(key(number));
    let request = LeaseRequest {
        check,
        token,
        length: Millis::seconds(30),
        given_up: None,
        lost_delays: [Millis(0); 7],
    };
    let Taken::Leased(record) = engine.take(&request).await.unwrap() else { panic!("not leased") };
    let change = paybell_core::decide::Change {
        state,
        version: 1,
        events: vec![event(number)],
        due: None,
        progress: record.progress.clone(),
        payment: None,
        entry: Entry::new(record.updated_at, "observed", "SUCCESS"),
        dead: None,
        refund: None,
        forget: false,
        outcome: "paid",
    };
    engine.commit(&Commit { key: key(number), token, facts: record.facts, change }).await.unwrap();
    assert_eq!(engine.clear(&key(number), token).await.unwrap(), Cleared::Done);
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_folder() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    let error = Engine::open(EngineConfig::in_dir(dir.path()), hands.clone()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Locked { holder, .. } if holder.contains(&std::process::id().to_string()))
    );
    engine.close().await;
    open(dir.path(), &hands).close().await;
}

#[tokio::test]
async fn a_closed_engine_lets_everybody_go_and_did_what_waited() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    let (receiver, follower) = (engine.clone(), engine.clone());
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move { receiver.receive(Lane::Urgent, 1).await.map(drop) });
    waiting.spawn(async move { follower.grown(Cursor::START).await });
    tokio::task::yield_now().await;
    let (registrations, ()) = tokio::join!(
        futures_util::future::join_all((0..100).map(|number| {
            let engine = engine.clone();
            async move { engine.register(&key(number), &asks(1)).await }
        })),
        engine.close()
    );
    for outcome in timeout(PATIENCE, waiting.join_all()).await.expect("nobody waits for ever") {
        assert!(matches!(outcome, Err(PortError::Unavailable { .. })), "{outcome:?}");
    }
    assert!(matches!(engine.register(&key(999), &asks(1)).await, Err(PortError::Unavailable { .. })));
    assert!(matches!(Records::read(&engine, &key(1)).await, Err(PortError::Unavailable { .. })));
    let acknowledged = registrations.iter().filter(|outcome| outcome.is_ok()).count();
    let rows: usize = sqlite(dir.path())
        .query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((acknowledged, rows), (100, 100), "they were asked for before the close");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_name() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    std::fs::write(dir.path().join("paybell.db"), "x".repeat(5000)).unwrap();
    let error = Engine::open(EngineConfig::in_dir(dir.path()), hands).unwrap_err();
    assert!(
        matches!(error, OpenError::Database { .. }) && error.to_string().contains("paybell.db"),
        "{error}"
    );
}

#[tokio::test]
async fn a_malformed_row_becomes_a_dead_letter_and_blocks_nothing() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    engine.publish(&[Check::manual(key(1))]).await.unwrap();
    engine.close().await;
    let bad = "INSERT INTO checks (lane, document) VALUES ('urgent', 'no json'), ('urgent', '{\"v\":9}'), ('urgent', x'ff')";
    sqlite(dir.path()).execute_batch(bad).unwrap();
    let engine = open(dir.path(), &hands);
    engine.publish(&[Check::manual(key(2))]).await.unwrap();
    let mut keys = Vec::new();
    while keys.len() < 2 {
        for delivery in timeout(PATIENCE, engine.receive(Lane::Urgent, 10)).await.unwrap().unwrap() {
            keys.push(delivery.check.key.clone());
            delivery.done().await.unwrap();
        }
    }
    assert_eq!(keys, [key(1), key(2)]);
    let waits = engine.receive(Lane::Urgent, 1);
    let buried = async {
        while engine.backlog(Lane::Urgent).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        received = waits => panic!("{received:?}"),
        () = async { timeout(PATIENCE, buried).await.unwrap() } => {}
    }
    let letters = DeadLetters::list(&engine, None, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.clone(), letters[0].count), (1, DeadReason::Malformed, 3));
    assert_eq!((letters[0].mch_id.as_str(), letters[0].key()), ("", None));
    engine.close().await;
}

#[tokio::test]
async fn one_unreadable_record_fails_alone() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    engine.register(&key(7), &asks(1)).await.unwrap();
    sqlite(dir.path()).execute_batch("UPDATE orders SET detail = '{broken'").unwrap();
    let outcomes = futures_util::future::join_all((0..20).map(|number| {
        let engine = engine.clone();
        async move { engine.register(&key(number), &asks(1)).await }
    }))
    .await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            7 => assert!(matches!(outcome, Err(PortError::Corrupt { .. })), "{outcome:?}"),
            _ => assert_eq!(outcome.unwrap(), Registered::Added, "{number}"),
        }
    }
    assert!(matches!(Records::read(&engine, &key(7)).await, Err(PortError::Corrupt { .. })));
    let pending = engine.tally().await.unwrap().orders[0];
    assert_eq!(pending, (State::Pending, 20), "what was rolled back is not counted");
    engine.close().await;
}

#[tokio::test]
async fn retention_forgets_what_rests_and_nothing_else() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    engine.register(&key(0), &asks(1999)).await.unwrap();
    settle(&engine, 1, State::Paid).await;
    settle(&engine, 2, State::Mismatch).await;
    settle(&engine, 3, State::Rejected).await;
    hands.pass(Millis(35 * DAY.0));
    assert_eq!(engine.prune().await.unwrap(), Pruned::default(), "not older than 35 days yet");
    hands.pass(Millis(1));
    settle(&engine, 4, State::Paid).await;
    assert_eq!(engine.prune().await.unwrap(), Pruned { orders: 1, events: 0, ..Pruned::default() });
    assert_eq!(Records::read(&engine, &key(1)).await.unwrap(), None);
    hands.pass(Millis(65 * DAY.0));
    assert_eq!(engine.prune().await.unwrap(), Pruned { orders: 3, events: 0, ..Pruned::default() });
    assert!(Records::read(&engine, &key(0)).await.unwrap().is_some(), "pending: it has a due time");
    let orders: Vec<_> =
        engine.tally().await.unwrap().orders.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(orders, [(State::Pending, 1)]);
    engine.close().await;
}

#[tokio::test]
async fn a_pruned_log_begins_after_the_newest_that_went() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    let old: Vec<_> = (0..1200).map(event).collect();
    engine.append(&old).await.unwrap();
    let everything = EventFilter::default();
    let LogRead::Page(first) = EventLog::read(&engine, None, &everything, 1000).await.unwrap() else {
        panic!("gone")
    };
    let newest_old = engine.end().await.unwrap();
    hands.pass(Millis(35 * DAY.0 + 1));
    engine.append(&[event(2000)]).await.unwrap();
    assert_eq!(engine.prune().await.unwrap(), Pruned { orders: 0, events: 1200, ..Pruned::default() });
    for round in 0..2 {
        let engine = if round == 0 { engine.clone() } else { open(dir.path(), &hands) };
        for stale in [Cursor::START, first.events[3].0] {
            let read = EventLog::read(&engine, Some(stale), &everything, 10).await.unwrap();
            assert_eq!(read, LogRead::Gone { oldest: newest_old });
        }
        for fresh in [None, Some(newest_old)] {
            let LogRead::Page(page) = EventLog::read(&engine, fresh, &everything, 10).await.unwrap() else {
                panic!("gone")
            };
            assert_eq!(page.events.iter().map(|(_, event)| event.id).collect::<Vec<_>>(), [event(2000).id]);
        }
        engine.close().await;
    }
    let engine = open(dir.path(), &hands);
    hands.pass(Millis(36 * DAY.0));
    engine.prune().await.unwrap();
    let end = engine.end().await.unwrap();
    engine.append(&[event(3000)]).await.unwrap();
    let LogRead::Page(page) = EventLog::read(&engine, Some(end), &everything, 10).await.unwrap() else {
        panic!("gone")
    };
    assert_eq!(page.events.len(), 1, "the end of an emptied log is a place");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_bounded_under_load() {
    const BOUND: u64 = 4 * 1024 * 1024;
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let config = EngineConfig { wal_bytes_max: BOUND, ..EngineConfig::in_dir(dir.path()) };
    let engine = Engine::open(config, hands).unwrap();
    let (mut written, mut longest) = (0, 0);
    for round in 0..60_usize {
        let events: Vec<_> = (round * 1000..round * 1000 + 1000).map(event).collect();
        engine.append(&events).await.unwrap();
        written += events.iter().map(|event| event.to_json().len()).sum::<usize>();
        longest = longest.max(dir.path().join("paybell.db-wal").metadata().unwrap().len());
    }
    assert!(written > 9 * 4 * 1024 * 1024, "the load is many times the bound: {written}");
    assert!(longest < 2 * BOUND, "the log grew to {longest} bytes");
    engine.close().await;
    let rest = dir.path().join("paybell.db-wal").metadata().map_or(0, |found| found.len());
    assert_eq!(rest, 0, "a closed file stands alone");
}

#[tokio::test]
async fn a_stranger_reads_the_file_while_we_run() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    engine.register(&key(1), &asks(1999)).await.unwrap();
    settle(&engine, 2, State::Paid).await;
    engine.append(&[event(2)]).await.unwrap();
    let stranger = sqlite(dir.path());
    let text = |sql: &str| stranger.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        text("SELECT due_at FROM orders_readable WHERE registered_fen = 1999"),
        "2026-11-20 12:00:15 +08:00"
    );
    assert_eq!(text("SELECT state FROM orders_readable WHERE registered_fen IS NULL"), "paid");
    assert_eq!(text("SELECT type || ' ' || total_fen FROM events_readable"), "order.paid 1999");
    assert!(text("SELECT group_concat(text) FROM readme").contains("orders_readable"));
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    engine.close().await;
}

#[tokio::test]
async fn a_restart_frees_the_leases_of_the_dead_once() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Arc::new(Hands::new());
    let mut engine = open(dir.path(), &hands);
    assert_eq!(engine.register(&key(1), &asks(1)).await.unwrap(), Registered::Added);
    let request = |token| {
        let check = Check::manual(key(1));
        LeaseRequest {
            check,
            token: LeaseToken(token),
            length: Millis::seconds(60),
            given_up: None,
            lost_delays: [Millis(0); 7],
        }
    };
    for (token, is_free) in [(1, true), (2, false)] {
        assert!(matches!(engine.take(&request(token)).await.unwrap(), Taken::Leased(_)), "lease {token}");
        engine.close().await;
        engine = open(dir.path(), &hands);
        engine.free_leases().await.unwrap();
        let record = Records::read(&engine, &key(1)).await.unwrap().unwrap();
        let now = engine.clock().await.unwrap().now;
        assert_eq!(record.due.unwrap().at <= now, is_free, "lost {} before: {record:#?}", record.leases_lost);
        assert!(record.keeps_its_due_time());
    }
    assert_eq!(
        engine.take(&request(3)).await.unwrap(),
        Taken::Busy,
        "an order that kills must not be tried at once"
    );
    engine.close().await;
}

#[tokio::test]
async fn a_probe_writes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &Arc::new(Hands::new()));
    let wal = dir.path().join("paybell.db-wal");
    let before = std::fs::metadata(&wal).map_or(0, |meta| meta.len());
    engine.probe().await.unwrap();
    assert!(std::fs::metadata(&wal).unwrap().len() > before, "nothing was written");
    engine.close().await;
}

#[tokio::test]
async fn a_business_order_is_remembered_for_100_days_after_its_last_change() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    let of = |text: &str| BusinessNo::new(text).unwrap();
    for (number, business) in [(1, "A"), (2, "B")] {
        let application = Application { business_no: Some(of(business)), ..asks(1) };
        engine.register(&key(number), &application).await.unwrap();
    }
    let first = key(1).out_trade_no;
    hands.pass(Millis(100 * DAY.0));
    assert_eq!(engine.claim(&key(1).mch_id, &of("A"), &first).await.unwrap(), first, "a change");
    assert_eq!(engine.prune().await.unwrap().businesses, 0);
    hands.pass(Millis(1));
    assert_eq!(engine.prune().await.unwrap().businesses, 1);
    assert_eq!(engine.numbers(&key(1).mch_id, &of("A")).await.unwrap(), [first]);
    assert_eq!(engine.numbers(&key(2).mch_id, &of("B")).await.unwrap(), []);
    engine.close().await;
}

#[tokio::test]
async fn an_unreadable_record_keeps_no_other_from_coming_due_or_being_listed() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    for number in 0..5 {
        engine.register(&key(number), &asks(1)).await.unwrap();
    }
    let spoil = "UPDATE orders SET due_cause = 'newer' WHERE out_trade_no IN (?1, ?2)";
    let spoiled = [key(1), key(3)].map(|key| key.out_trade_no.to_string());
    sqlite(dir.path()).execute(spoil, spoiled).unwrap();
    hands.pass(Millis::seconds(20));
    let claimed = |lane| {
        let engine = engine.clone();
        async move {
            paybell_core::ports::DueSet::claim(&engine, lane, 10)
                .await
                .unwrap()
                .into_iter()
                .map(|check| check.key)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(claimed(Lane::Urgent).await, []);
    assert_eq!(claimed(Lane::Cadence).await, [key(0), key(2), key(4)]);
    assert_eq!(claimed(Lane::Urgent).await, [], "for as long as a claim lasts");
    let letters = DeadLetters::list(&engine, None, 10).await.unwrap();
    let mut told: Vec<_> =
        letters.iter().map(|letter| (letter.key().unwrap(), letter.reason.clone(), letter.count)).collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(told, [(key(1), DeadReason::Unreadable, 1), (key(3), DeadReason::Unreadable, 1)]);
    let page = Records::list(&engine, &OrderFilter::default(), None, 10).await.unwrap().unwrap();
    assert_eq!((page.records.len(), page.unreadable, page.has_more), (3, vec![key(1), key(3)], false));
    let page = Records::list(&engine, &OrderFilter::default(), None, 4).await.unwrap().unwrap();
    assert_eq!((page.records.len(), page.unreadable.len(), page.has_more), (2, 2, true));
    let page = Records::list(&engine, &OrderFilter::default(), Some(&page.next), 4).await.unwrap().unwrap();
    assert_eq!(page.records.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), [key(4)]);
    let many = engine.get_many(&[key(0), key(1), key(2)]).await.unwrap();
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    sqlite(dir.path())
        .execute("UPDATE orders SET due_cause = 'cadence' WHERE due_cause = 'newer'", [])
        .unwrap();
    hands.pass(Millis::seconds(60));
    assert!(claimed(Lane::Cadence).await.contains(&key(1)), "whoever can read it finds it due");
    engine.close().await;
}

#[tokio::test]
async fn an_unreadable_letter_is_shown_among_the_others_and_keeps_nothing_from_being_stored() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::new()));
    let engine = open(dir.path(), &hands);
    let now = engine.clock().await.unwrap().now;
    let about = |number| DeadLetter::about(&key(number), DeadReason::WrongOrder, "appid", now);
    let mut ids = Vec::new();
    for number in 0..5 {
        engine.bury(&about(number)).await.unwrap();
        ids.push(about(number).id);
    }
    ids.sort();
    let spoiled = (0..5).map(about).find(|letter| letter.id == ids[1]).unwrap();
    let spoil = || {
        let sql = "UPDATE dead_letters SET count = 'many' WHERE id = ?1";
        assert_eq!(sqlite(dir.path()).execute(sql, [spoiled.id.to_string()]).unwrap(), 1);
    };
    spoil();
    let (mut met, mut after) = (Vec::new(), None);
    loop {
        let page = DeadLetters::list(&engine, after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        met.extend(page.into_iter().map(|letter| letter.id));
    }
    assert_eq!(met, ids, "page by page, behind it too");
    let shown = DeadLetters::get(&engine, spoiled.id).await.unwrap().unwrap();
    assert_eq!((shown.id, shown.key(), shown.reason.as_str()), (spoiled.id, spoiled.key(), "unknown"));
    assert_eq!(shown.last_at, spoiled.last_at);
    assert!(shown.detail.contains(r#""count":"many""#), "{}", shown.detail);
    assert_eq!(shown.check(), None, "and is never replayed");
    // A person drops it; or the same problem comes again, whose letter can be read.
    assert_eq!(DeadLetters::remove(&engine, &shown).await.unwrap(), Removed::Gone);
    engine.bury(&spoiled).await.unwrap();
    spoil();
    engine.bury(&spoiled).await.unwrap();
    assert_eq!(DeadLetters::get(&engine, spoiled.id).await.unwrap(), Some(spoiled.clone()));
    engine.close().await;
}
