//! For every scene a subscriber that makes the mistake which the scene is about, and no other: `broken.py`. It fails
//! that scene, and only those others that the same mistake must fail.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::language::{Language, Subscriber, root};
use crate::rehearsal::{SMALL, rehearse_webhook};

/// Rehearsals at once: most of their time is waiting.
const WORKERS: usize = 8;

/// The mistake, which has the name of its scene, and what else it must fail.
const MISTAKES: [(&str, &[&str]); 22] = [
    (
        "paid",
        &[
            "duplicate",
            "at-once",
            "late",
            "accepted",
            "second-payment",
            "denied-after-paid",
            "nulls",
            "unknown-field",
            "raw-body",
            "rotation",
            "lost-answer",
            "burst",
        ],
    ),
    ("duplicate", &["at-once", "lost-answer"]),
    ("at-once", &["lost-answer"]),
    ("late", &[]),
    ("mismatch", &[]),
    ("accepted", &[]),
    ("second-payment", &[]),
    ("refunded", &[]),
    ("refunded-first", &[]),
    ("found-refunded", &[]),
    ("denied-after-paid", &[]),
    ("denied", &[]),
    ("nulls", &[]),
    ("unknown-type", &[]),
    ("unknown-field", &[]),
    ("unregistered", &[]),
    // Written again, a body with a blank at its end is the right one.
    ("raw-body", &["wrong-signature"]),
    ("wrong-signature", &[]),
    ("stale", &[]),
    ("rotation", &[]),
    ("lost-answer", &[]),
    ("burst", &[]),
];

pub fn broken(mistake: &str) -> Vec<String> {
    let mut command = Language::Python.command("webhook");
    command.pop();
    command.push(root().join("tests/examples/broken.py").display().to_string());
    command.push(mistake.to_owned());
    command
}

/// What is wrong with what the rehearsal found; `None` if it found the mistake and nothing else.
fn overlooked(mistake: &str, others: &[&str]) -> Option<String> {
    let subscriber = Subscriber::start(&broken(mistake), &[]);
    let ended = rehearse_webhook(&subscriber.base(), &[&SMALL[..], &["--json"]].concat());
    let expected: BTreeSet<String> =
        others.iter().chain([&mistake]).map(|scene| (*scene).to_owned()).collect();
    let failed = ended.scenes("failed");
    (failed != expected || ended.code != Some(1))
        .then(|| format!("{mistake}: exit {:?}, failed {failed:?}, expected {expected:?}", ended.code))
}

#[test]
fn every_mistake_fails_its_scene_and_no_other() {
    if !Language::Python.is_here() {
        return;
    }
    let (left, wrong) = (Mutex::new(MISTAKES.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let next = left.lock().unwrap().next();
            let Some((mistake, others)) = next else { break };
            if let Some(words) = overlooked(mistake, others) {
                wrong.lock().unwrap().push(words);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn the_example_without_a_mistake_passes() {
    if Language::Python.is_here() {
        assert_eq!(
            overlooked("none", &[]).map(|words| words.contains("exit Some(0), failed {}")),
            Some(true)
        );
    }
}

#[test]
fn what_was_refused_is_told_again() {
    if !Language::Python.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&broken("flaky"), &[]);
    let only = ["--only", "paid,duplicate,late,burst", "--json"];
    let ended = rehearse_webhook(&subscriber.base(), &[&SMALL[..], &only].concat());
    assert_eq!((ended.code, ended.scenes("passed").len()), (Some(0), 4), "{ended:?}");
    let repeated = |scene: &Value| scene["repeated"].as_u64().unwrap();
    let report = ended.json();
    let repeats: Vec<u64> = report["scenes"].as_array().unwrap().iter().map(repeated).collect();
    assert_eq!(repeats, [1, 1, 2, 24]);
}
