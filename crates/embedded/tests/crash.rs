//! Death and a full disk: this test binary starts itself again as a child, which is killed, or whose files may not grow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test drives a child process"
)]

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use embedded::{Engine, EngineConfig, SystemClock};
use paybell_core::check::{Check, Lane};
use paybell_core::ports::{
    CheckQueue, CheckSource, EventFilter, EventLog, LogRead, PortError, Records, Registry,
};
use tokio::task::JoinSet;

use common::{asks, event, key};

/// Tells the child its folder; without it the child's test has nothing to do.
const CHILD_DIR: &str = "PAYBELL_CRASH_CHILD_DIR";

fn open(dir: &Path) -> Engine {
    Engine::open(EngineConfig::in_dir(dir), Arc::new(SystemClock::new())).unwrap()
}

/// This binary as a child that runs one of the tests below, by a shell that prepares its limits.
fn child(test: &str, dir: &Path, limits: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
        .arg(program)
        .args([test, "--exact", "--nocapture", "--ignored"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether SQLite finds nothing wrong with the file.
fn is_whole(dir: &Path) -> bool {
    let connection = rusqlite::Connection::open(dir.join("paybell.db")).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap() == "ok"
}

#[test]
#[ignore = "the child of the test below"]
fn writing_child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = open(Path::new(&dir));
        let mut writers = JoinSet::new();
        for writer in 0..16_usize {
            let engine = engine.clone();
            writers.spawn(async move {
                for number in (writer..).step_by(16) {
                    engine.register(&key(number), &asks(1)).await.unwrap();
                    engine.publish(&[Check::manual(key(number))]).await.unwrap();
                    engine.append(&[event(number)]).await.unwrap();
                    // Only what is acknowledged is told.
                    writeln!(std::io::stdout(), "done {number}").unwrap();
                }
            });
        }
        writers.join_all().await;
    });
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 1..=3 {
        let mut child = child("writing_child", dir.path(), "");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = 0;
        for line in lines {
            let line = line.unwrap();
            let Some(number) = line.strip_prefix("done ") else { continue };
            acknowledged.insert(number.parse::<usize>().unwrap());
            told += 1;
            if told == 200 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(told >= 200 * round, "the child told {told}");
        let engine = open(dir.path());
        assert!(is_whole(dir.path()));
        let mut logged = HashSet::new();
        let mut after = None;
        while let LogRead::Page(page) = engine.read_page(after).await {
            after = Some(page.next);
            logged.extend(page.events.into_iter().map(|(_, event)| event.id));
            if !page.has_more {
                break;
            }
        }
        for number in &acknowledged {
            assert!(Records::read(&engine, &key(*number)).await.unwrap().is_some(), "order {number} is lost");
            assert!(logged.contains(&event(*number).id), "event {number} is lost");
        }
        let mut waiting = HashSet::new();
        while u64::try_from(waiting.len()).unwrap() < distinct_checks(dir.path()) {
            let deliveries = engine.receive(Lane::Urgent, 1000).await.unwrap();
            waiting.extend(deliveries.iter().map(|delivery| delivery.check.key.clone()));
            std::mem::forget(deliveries);
        }
        assert!(acknowledged.iter().all(|number| waiting.contains(&key(*number))), "a check is lost");
        engine.close().await;
    }
}

fn distinct_checks(dir: &Path) -> u64 {
    let connection = rusqlite::Connection::open(dir.join("paybell.db")).unwrap();
    let sql = "SELECT count(DISTINCT document) FROM checks";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
}

trait ReadPage {
    async fn read_page(&self, after: Option<paybell_core::ports::Cursor>) -> LogRead;
}

impl ReadPage for Engine {
    async fn read_page(&self, after: Option<paybell_core::ports::Cursor>) -> LogRead {
        EventLog::read(self, after, &EventFilter::default(), 1000).await.unwrap()
    }
}

#[test]
#[ignore = "the child of the test below"]
fn child_on_a_full_disk() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = open(Path::new(&dir));
        // With a reader's connection open, closing the writer's does not empty the log by itself.
        drop(engine.read_page(None).await);
        let (mut number, mut refusals_in_a_row, mut made_room) = (0, 0, 0);
        // At first room can be made by emptying the write-ahead log; then there is none.
        while refusals_in_a_row < 20 {
            match engine.append(&(number..number + 200).map(event).collect::<Vec<_>>()).await {
                Ok(()) => {
                    made_room += usize::from(refusals_in_a_row > 0);
                    (number, refusals_in_a_row) = (number + 200, 0);
                }
                Err(PortError::Unavailable { .. }) => refusals_in_a_row += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(made_room > 0, "emptying the write-ahead log makes room at least once");
        let LogRead::Page(page) = engine.read_page(None).await else { panic!("gone") };
        assert!(!page.events.is_empty(), "reading goes on");
        println!("full {number}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        let mut refusals = 0;
        while engine.append(&(number..number + 200).map(event).collect::<Vec<_>>()).await.is_err() {
            refusals += 1;
            assert!(refusals < 1000, "it never recovers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine.close().await;
        println!("recovered {}", number + 200);
    });
}

/// A limit on the size of its files is a disk that is full for one process only.
#[tokio::test]
async fn a_full_disk_refuses_writes_and_mends_itself() {
    let dir = tempfile::tempdir().unwrap();
    // A write past the limit shall fail, not kill.
    let mut child = child("child_on_a_full_disk", dir.path(), "trap '' XFSZ; ulimit -S -f 6000;");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = |word: &str| -> usize {
        let line =
            lines.find(|line| line.as_ref().unwrap().contains(word)).expect("the child goes on").unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let written = said("full ");
    assert!(written > 0);
    let raised = Command::new("prlimit")
        .args([&format!("--pid={}", child.id()), "--fsize=unlimited"])
        .status()
        .expect("prlimit of util-linux raises the child's limit");
    assert!(raised.success());
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let recovered = said("recovered ");
    assert!(child.wait().unwrap().success());
    assert_eq!(recovered, written + 200);
    assert!(is_whole(dir.path()));
    let connection = rusqlite::Connection::open(dir.path().join("paybell.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM events"), i64::try_from(recovered).unwrap());
}
