//! `paybell demo` as a person runs it: the same seed gives the same table, and a broken promise an exit code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod support;

use std::{collections::HashMap, net::SocketAddr, thread};

use support::{Folder, Ran, Running, http, run};

/// The table's lines, without the spaces between the columns.
fn table(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = lines.into_iter().map(|line| words(line.as_ref()));
    let mut rows: Vec<String> = lines.skip_while(|line| !line.starts_with("paid at WeChat")).collect();
    let end = rows.iter().position(|row| row.starts_with("lost ")).unwrap_or_else(|| panic!("{rows:?}"));
    rows.truncate(end + 1);
    rows
}

fn table_of(ran: &Ran) -> Vec<String> {
    table(ran.stdout.lines())
}

/// The number at the end of a label.
fn number(table: &[String], label: &str) -> usize {
    let row = table.iter().find_map(|row| row.strip_prefix(label)).unwrap_or_else(|| panic!("{table:?}"));
    row.split_whitespace().next().unwrap().parse().unwrap()
}

/// Lines of events: orders with the word of their event and how it was learned.
fn events(ran: &Ran) -> HashMap<&str, Vec<&str>> {
    let lines = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let events = lines.filter(|words| words.get(1).is_some_and(|word| word.starts_with("DEMO")));
    events.map(|words| (words[1], words[2..].to_vec())).collect()
}

#[test]
fn the_same_seed_gives_the_same_table() {
    let demo = |seed: &str| run(&["demo", "--exit", "--orders", "40", "--seed", seed, "--scale", "1"]);
    // Side by side: what else the machine does must change no number. At WeChat's own pace, so that no poll overtakes a
    // notification on a machine that stands still for seconds.
    let (first, second, other) = thread::scope(|scope| {
        let others = [scope.spawn(|| demo("7")), scope.spawn(|| demo("8"))];
        let first = demo("7");
        let [second, other] = others.map(|other| other.join().unwrap());
        (first, second, other)
    });
    first.expect(0, &["Every payment became exactly one event, and nothing else did."]);
    assert_eq!(first.stderr, "", "no progress and no log when nobody watches");
    let rows = table_of(&first);
    let paid = number(&rows, "paid at WeChat");
    assert_eq!(number(&rows, "order.paid events"), paid);
    let (notified, polled) = (number(&rows, "learned by notification"), number(&rows, "learned by poll"));
    assert!(notified > 0 && polled > 0 && notified + polled == paid, "{rows:?}");
    for label in ["repeated notifications", "forged notifications", "not paid"] {
        assert!(number(&rows, label) > 0, "{label} in {rows:?}");
    }
    assert_eq!(number(&rows, "lost"), 0);
    let lines = events(&first);
    assert_eq!(lines.len(), 40, "each order has its line");
    let with_end = |end: &str| lines.values().filter(|words| words.last() == Some(&end)).count();
    assert_eq!((with_end("notification"), with_end("poll")), (notified, polled));
    assert!(lines.values().all(|words| words[0] == "unpaid" || words[0].starts_with('\u{a5}')));

    assert_eq!(table_of(&second), rows, "once more");
    assert_ne!(table_of(other.expect(0, &[])), rows, "another seed");
}

#[test]
fn with_every_notification_lost_the_polls_find_all() {
    let ran = run(&["demo", "--exit", "--orders", "30", "--drop", "1.0", "--scale", "7.5"]);
    let rows = table_of(ran.expect(0, &["100% of the notifications are lost"]));
    let paid = number(&rows, "paid at WeChat");
    assert!(paid > 20, "{rows:?}");
    assert_eq!((number(&rows, "learned by notification"), number(&rows, "learned by poll")), (0, paid));
}

/// Places an order at the simulator that Paybell never hears of, and pays it.
fn pay_behind_its_back(simulator: SocketAddr) {
    let order =
        r#"{"mch_id":"1900000109","out_trade_no":"SECRET","total_fee":1,"notify_url":"http://127.0.0.1:9/"}"#;
    assert_eq!(http(simulator, "POST", "/_sim/orders", order).0, 201);
    let path = "/_sim/orders/1900000109/SECRET/pay";
    assert_eq!(http(simulator, "POST", path, r#"{"silent":true}"#).0, 200);
}

/// A demo of which the head was read.
fn started(args: &[&str]) -> (Running, SocketAddr, SocketAddr) {
    let mut demo = Running::start(args);
    let simulator = address(&mut demo, "simulator");
    let console = address(&mut demo, "console");
    (demo, simulator, console)
}

/// Reads up to the line of this listener.
fn address(demo: &mut Running, listener: &str) -> SocketAddr {
    loop {
        let line = demo.line();
        let mut words = line.split_whitespace();
        if words.next() == Some(listener) {
            return words.next().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        }
    }
}

/// Reads up to a line with these words, and gives everything before.
fn read_to(demo: &mut Running, words: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = demo.line();
        if line.contains(words) {
            return lines;
        }
        lines.push(line);
    }
}

#[test]
fn a_payment_that_becomes_no_event_is_a_failure() {
    let (mut demo, simulator, _) = started(&["demo", "--exit", "--orders", "5", "--scale", "7.5"]);
    pay_behind_its_back(simulator);
    let rows = table(read_to(&mut demo, "Took "));
    assert_eq!(number(&rows, "paid at WeChat"), number(&rows, "order.paid events") + 1, "{rows:?}");
    assert_eq!(number(&rows, "lost"), 1);
    let (status, log) = demo.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("SECRET: paid, but there is no event"), "{log}");
}

#[test]
fn it_stays_up_until_a_signal_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let temporary = folder.path("").display().to_string();
    let mut demo = support::paybell(&["demo", "--orders", "5", "--scale", "7.5"]);
    let mut demo = Running::spawn(demo.env("TMPDIR", &temporary));
    let console = address(&mut demo, "console");
    let lines = read_to(&mut demo, "Still running; Ctrl-C ends it");
    assert_eq!(number(&table(&lines), "lost"), 0);
    assert!(demo.line().contains(&format!("paybell events list --api http://{console}")));
    support::eventually(|| http(console, "GET", "/readyz", "").0 == 200);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1, "its data");
    demo.signal("INT");
    let (status, log) = demo.ended();
    assert_eq!((status.code(), log.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the folder is gone");
}

#[test]
fn what_happens_while_it_stays_up_counts_too() {
    let (mut demo, simulator, _) = started(&["demo", "--orders", "3", "--drop", "0", "--scale", "7.5"]);
    read_to(&mut demo, "_sim/stats");
    pay_behind_its_back(simulator);
    demo.signal("INT");
    let mut rows = Vec::new();
    while rows.last().is_none_or(|row: &String| !row.trim_start().starts_with("lost ")) {
        rows.push(demo.line());
    }
    assert_eq!(number(&table(rows), "lost"), 1, "the table is printed again");
    let (status, log) = demo.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("SECRET: paid, but there is no event"), "{log}");
}

#[test]
fn an_early_signal_still_gives_the_table() {
    let (mut demo, ..) = started(&["demo", "--orders", "100", "--rate", "20", "--drop", "1"]);
    read_to(&mut demo, " poll");
    demo.signal("TERM");
    let lines = read_to(&mut demo, "not known yet");
    assert!(lines.iter().any(|line| line.contains("still open")), "{lines:?}");
    let (status, log) = demo.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("interrupted:") && log.contains("were no events yet"), "{log}");
}

#[test]
fn impossible_wishes_are_refused() {
    for (option, value, words) in [
        ("--drop", "1.1", "0 to 1"),
        ("--duplicate", "often", "0 to 1"),
        ("--scale", "1000", "from 1 to 7.5"),
        ("--orders", "0", "1..=100000"),
        ("--rate", "0", "1..=10000"),
    ] {
        run(&["demo", "--exit", option, value]).expect(2, &[words]);
    }
}

#[test]
fn a_day_with_a_kill_refunds_and_a_till_nobody_hears_of_ends_in_accounts_that_agree() {
    let ran = run(&["demo", "--day", "--exit", "--orders", "40", "--seed", "3", "--scale", "5"]);
    ran.expect(0, &["The accounts agree to the fen", "Paybell is back."]);
    assert_eq!(ran.stderr, "", "no progress and no log when nobody watches");
    let rows: Vec<String> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let count = |label: &str| number(&rows, label);
    let paid = count("paid at WeChat");
    assert_eq!(count("order.paid events"), paid);
    let learned = ["learned by notification", "learned by poll", "learned by the bill"].map(count);
    assert!(learned.iter().all(|count| *count > 0) && learned.iter().sum::<usize>() == paid, "{learned:?}");
    let back = count("went back at WeChat");
    assert!(back > 0 && count("refund.succeeded events") == back, "{rows:?}");
    assert_eq!((count("rows of the bill"), count("differences left")), (paid + back, 0));
}
