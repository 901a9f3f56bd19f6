//! Ending in order: what a service manager and a hasty operator do.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::harness::{
    Notification, SUCCESS, Say, Service, Settings, Shop, eventually, get, http::connect, is_full, skip,
};

#[test]
fn sigterm_finishes_what_is_in_hand_and_exits_with_0() {
    let mut shop = Shop::open(&Settings::default());
    shop.wechat.takes(Duration::from_millis(800));
    shop.wechat.says("HAND", Say::paid("HAND", 1999));
    shop.notify(Notification::of("HAND", 1999).signed()).expect(200);
    eventually("the query is under way", || !shop.wechat.asked("HAND").is_empty());
    // A second notification is half received when the signal comes.
    let body = Notification::of("HALF", 1999).signed();
    let mut stream = connect(shop.service.address("ingress")).unwrap();
    write!(
        stream,
        "POST /notify/pay HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "the request is in hand");
    let admin = shop.service.address("admin");
    let begun = Instant::now();
    shop.service.process.signal("TERM");
    eventually("it says that it drains", || get(admin, "/readyz").status == 503);
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Either is safe: SUCCESS means that it is on disk, 503 that WeChat comes again.
    let was_taken = answer.contains(SUCCESS);
    assert!(was_taken || answer.starts_with("HTTP/1.1 503"), "{answer}");
    let (status, log) = shop.service.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(20), "bounded: {:?}", begun.elapsed());

    shop.wechat.takes(Duration::ZERO);
    shop.wechat.says("HALF", Say::paid("HALF", 1999));
    shop.start_again();
    assert_eq!(shop.types_of("HAND"), ["order.paid"], "finished before the end, not after the start");
    if was_taken {
        shop.event("HALF", "order.paid");
    }
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_nothing() {
    // A query is given up after 6 s, and then nothing is in hand: a busy machine is given several chances.
    assert!((0..3).any(|_| two_sigterms_meet_a_query()), "its query was over three times");
}

/// Whether the second signal came while the query was under way.
fn two_sigterms_meet_a_query() -> bool {
    let mut shop = Shop::open(&Settings::default());
    shop.wechat.holds();
    shop.wechat.says("T1", Say::paid("T1", 1999));
    shop.notify(Notification::of("T1", 1999).signed()).expect(200);
    eventually("the query is under way", || !shop.wechat.asked("T1").is_empty());
    let begun = Instant::now();
    let admin = shop.service.address("admin");
    shop.service.process.signal("TERM");
    eventually("it drains", || get(admin, "/readyz").status == 503);
    shop.service.process.signal("TERM");
    let is_under_way = begun.elapsed() < Duration::from_secs(4);
    // Who waited for the query would end with 0.
    let (status, _) = shop.service.process.ended();
    if !is_under_way {
        return false;
    }
    assert_eq!(status.code(), Some(130));
    shop.start_again();
    let record = shop.record("T1").unwrap();
    assert_eq!((&record["state"], record["due"].is_object()), (&"pending".into(), true), "{record}");
    true
}

#[test]
fn a_restart_keeps_orders_due_times_events_and_cursors() {
    // Looks that a busy machine has before the restart find nothing.
    let cadence = &["6s", "3s", "3s", "3s", "3s", "3s", "3s", "3s", "1h"];
    let mut shop = Shop::open(&Settings { cadence, ..Settings::default() });
    shop.pay_and_notify("T1", 1999);
    shop.event("T1", "order.paid");
    let cursor = shop.log()[0]["cursor"].as_str().unwrap().to_owned();
    shop.register_fee("T2", 1999);
    shop.service.process.signal("TERM");
    shop.service.process.ended();
    shop.wechat.says("T2", Say::paid("T2", 1999));
    shop.start_again();
    assert_eq!(shop.event("T2", "order.paid")["data"]["learned_by"], "poll");
    let page = shop.get(&format!("/v1/events?after={cursor}")).expect(200).json();
    assert_eq!(shop.rows(&page).len(), 1, "{page}");
}

#[test]
fn acknowledged_notifications_whose_queries_died_with_the_process_are_told_once_their_leases_end() {
    if !is_full() {
        skip("a lease is a minute of real time, and the kill test waits for it too");
        return;
    }
    let mut shop = Shop::open(&Settings::default());
    shop.wechat.takes(Duration::from_millis(300));
    for number in 0..5 {
        let order = format!("T{number}");
        shop.wechat.says(&order, Say::paid(&order, 1999));
        shop.notify(Notification::of(&order, 1999).signed()).expect(200);
    }
    shop.service.process.kill();
    shop.wechat.takes(Duration::ZERO);
    shop.start_again();
    let patience = Duration::from_secs(90);
    crate::harness::wait_within(patience, "all five", || (shop.log().len() == 5).then_some(()));
    for number in 0..5 {
        assert_eq!(shop.types_of(&format!("T{number}")), ["order.paid"]);
    }
}

#[test]
fn nothing_listens_after_the_end() {
    let shop = Shop::open(&Settings::default());
    let Service { mut process, .. } = shop.service;
    process.signal("INT");
    let (status, log) = process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    if crate::ENGINE.is_cluster() {
        return;
    }
    let lock = shop.folder.path().join("data");
    let files: Vec<_> = std::fs::read_dir(lock).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().any(|name| name == "paybell.db"), "{files:?}");
    assert!(
        !files.iter().any(|name| name == "paybell.db-wal"),
        "an ended process leaves one file: {files:?}"
    );
}
