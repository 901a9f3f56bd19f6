//! Notes: small documents that are replaced by compare-and-set.

use std::sync::Arc;

use paybell_core::ports::{NOTE_BYTES_MAX, Note, Notes};
use paybell_core::time::Millis;
use tokio::task::JoinSet;

use super::Case;
use super::desk::*;

const TASKS: u64 = 32;

pub const CASES: &[Case] = &[
    Case { name: "a note comes back as it was written", run: |desk| Box::pin(comes_back(desk)) },
    Case { name: "a note is replaced only by who read it last", run: |desk| Box::pin(compare_and_set(desk)) },
    Case { name: "a note is created once", run: |desk| Box::pin(created_once(desk)) },
    Case { name: "no replacement of many is lost", run: |desk| Box::pin(many_writers(desk)) },
    Case { name: "notes are listed by the beginning of their names", run: |desk| Box::pin(listed(desk)) },
    Case { name: "a large note is kept, a larger one refused", run: |desk| Box::pin(bounded(desk)) },
    Case { name: "no time takes a note away", run: |desk| Box::pin(stays(desk)) },
];

fn note(version: u64, text: &str) -> Option<Note> {
    Some(Note { version, text: text.to_owned() })
}

async fn comes_back(mut desk: Desk) {
    let text = "{\"a\":'附加 \u{1f514}',\n\"b\":null}";
    assert_eq!(desk.on.notes.read("role/one").await.unwrap(), None);
    assert!(desk.on.notes.write("role/one", None, text).await.unwrap());
    assert!(desk.on.notes.write("role/two", None, "").await.unwrap());
    desk.reopen().await;
    assert_eq!(desk.on.notes.read("role/one").await.unwrap(), note(1, text));
    assert_eq!(desk.on.notes.read("role/two").await.unwrap(), note(1, ""));
}

async fn compare_and_set(mut desk: Desk) {
    assert!(!desk.on.notes.write("a", Some(1), "of no note").await.unwrap());
    assert_eq!(desk.on.notes.read("a").await.unwrap(), None);
    assert!(desk.on.notes.write("a", None, "first").await.unwrap());
    assert!(!desk.on.notes.write("a", None, "again").await.unwrap());
    assert!(desk.on.notes.write("a", Some(1), "second").await.unwrap());
    assert!(!desk.on.notes.write("a", Some(1), "stale").await.unwrap());
    assert!(!desk.on.notes.write("a", Some(3), "of the future").await.unwrap());
    desk.reopen().await;
    assert_eq!(desk.on.notes.read("a").await.unwrap(), note(2, "second"));
    assert!(
        desk.on.notes.write("a", Some(2), "third").await.unwrap(),
        "the same text or not, it is a new version"
    );
    assert!(desk.on.notes.write("a", Some(3), "third").await.unwrap());
    assert_eq!(desk.on.notes.read("a").await.unwrap(), note(4, "third"));
}

async fn created_once(desk: Desk) {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let notes = desk.on.notes.clone();
        tasks.spawn(async move { notes.write("a", None, &task.to_string()).await.unwrap().then_some(task) });
    }
    let winners: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(desk.on.notes.read("a").await.unwrap(), note(1, &winners[0].to_string()));
}

/// Each adds itself to a list until it succeeds.
async fn many_writers(desk: Desk) {
    desk.on.notes.write("a", None, "").await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(add(desk.on.notes.clone(), task));
    }
    tasks.join_all().await;
    let stored = desk.on.notes.read("a").await.unwrap().unwrap();
    assert_eq!(stored.version, TASKS + 1);
    let mut added: Vec<u64> = stored.text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    added.sort_unstable();
    assert_eq!(added, (0..TASKS).collect::<Vec<_>>());
}

async fn add(notes: Arc<dyn Notes>, task: u64) {
    loop {
        let Note { version, text } = notes.read("a").await.unwrap().unwrap();
        if notes.write("a", Some(version), &format!("{text} {task}")).await.unwrap() {
            return;
        }
    }
}

async fn listed(desk: Desk) {
    for name in ["b/2", "b/1", "a/1", "b%", "b_", "b", "c", "b/10", "B/1", "b/é"] {
        assert!(desk.on.notes.write(name, None, name).await.unwrap());
    }
    let names = |prefix: &'static str| {
        let notes = desk.on.notes.clone();
        async move { notes.list(prefix).await.unwrap() }
    };
    assert_eq!(names("b/").await, ["b/1", "b/10", "b/2", "b/é"]);
    assert_eq!(names("b%").await, ["b%"]);
    assert_eq!(names("b_").await, ["b_"]);
    assert_eq!(names("nothing").await, Vec::<String>::new());
    assert_eq!(names("").await, ["B/1", "a/1", "b", "b%", "b/1", "b/10", "b/2", "b/é", "b_", "c"]);
}

async fn bounded(mut desk: Desk) {
    let largest = "x".repeat(NOTE_BYTES_MAX);
    assert!(desk.on.notes.write("a", None, &largest).await.unwrap());
    desk.on.notes.write("a", Some(1), &format!("{largest}x")).await.unwrap_err();
    desk.reopen().await;
    assert!(desk.on.notes.read("a").await.unwrap() == note(1, &largest));
}

async fn stays(mut desk: Desk) {
    desk.on.notes.write("a", None, "text").await.unwrap();
    desk.advance(Millis::seconds(400 * 86_400)).await;
    desk.settle(&key(1), paybell_core::record::State::Paid).await;
    desk.reopen().await;
    assert_eq!(desk.on.notes.read("a").await.unwrap(), note(1, "text"));
}
