//! Listings: pages, filters and the place to continue.

use paybell_core::dead::{DeadLetter, DeadReason};
use serde_json::Value;

use crate::desk::{Desk, key, not_paid, paid};
use crate::engine::START;

/// Follows `next` from the beginning and gives back what was in each page.
async fn pages(desk: &Desk, path: &str, list: &str, name: impl Fn(&Value) -> String) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = desk.ask(&format!("GET {path}&after={after}")).await.json();
        pages.push(page[list].as_array().unwrap().iter().map(&name).collect());
        after = page["next"].as_str().unwrap_or_default().to_owned();
        if page["has_more"] == false {
            return pages;
        }
        assert!(pages.len() < 10, "a listing ends");
    }
}

#[tokio::test(start_paused = true)]
async fn orders_come_by_pages_and_filters() {
    let desk = Desk::open();
    for (name, found) in
        [("A|1", Some(paid(100))), ("B", Some(not_paid())), ("C", None), ("D", Some(paid(100)))]
    {
        desk.order(name, found.as_ref()).await;
    }
    let name = |order: &Value| order["out_trade_no"].as_str().unwrap().to_owned();
    assert_eq!(pages(&desk, "/v1/orders?limit=3", "orders", name).await, [vec!["A|1", "B", "C"], vec!["D"]]);
    assert_eq!(pages(&desk, "/v1/orders?limit=2", "orders", name).await, [vec!["A|1", "B"], vec!["C", "D"]]);
    assert_eq!(pages(&desk, "/v1/orders?state=paid&limit=1", "orders", name).await, [vec!["A|1"], vec!["D"]]);
    let of_others: Vec<String> = Vec::new();
    assert_eq!(pages(&desk, "/v1/orders?mch_id=1", "orders", name).await, [of_others]);
    let first = desk.ask("GET /v1/orders?mch_id=1").await.json();
    assert_eq!(first["has_more"], false);
    let again = desk.ask(&format!("GET /v1/orders?after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(again.status, 200, "next is always the place to continue");
    assert_eq!(desk.ask("GET /v1/orders?after=zz").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_rows_unless_asked_otherwise() {
    let desk = Desk::open();
    for number in 0..101 {
        desk.order(&format!("T{number:03}"), None).await;
    }
    let page = desk.ask("GET /v1/orders").await.json();
    assert_eq!((page["orders"].as_array().unwrap().len(), &page["has_more"]), (100, &Value::Bool(true)));
}

#[tokio::test(start_paused = true)]
async fn events_come_by_pages_and_filters_and_next_is_always_a_place() {
    let desk = Desk::open();
    let empty = desk.ask("GET /v1/events").await.json();
    let start = empty["next"].as_str().unwrap().to_owned();
    for (name, fen) in [("A", 100), ("B", 90), ("C", 100)] {
        desk.order(name, Some(&paid(fen))).await;
    }
    let name = |row: &Value| row["event"]["subject"].as_str().unwrap().to_owned();
    assert_eq!(pages(&desk, "/v1/events?limit=2", "events", name).await, [vec!["A", "B"], vec!["C"]]);
    assert_eq!(pages(&desk, "/v1/events?type=order.mismatch", "events", name).await, [["B"]]);
    assert_eq!(pages(&desk, "/v1/events?mch_id=1900000109", "events", name).await, [["A", "B", "C"]]);
    let from_start = desk.ask(&format!("GET /v1/events?limit=1&after={start}")).await.json();
    assert_eq!(
        name(&from_start["events"][0]),
        "A",
        "the place of an empty log is where its first event comes"
    );
    assert_eq!(from_start["events"][0]["cursor"], from_start["next"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_in_shadow_is_shown_to_who_asks_for_it() {
    let desk = Desk::open();
    for name in ["A", "B", "C"] {
        desk.order(name, Some(&paid(100))).await;
    }
    desk.engine.stored.lock().unwrap().events[1].order_mut().unwrap().shadow = true;
    let name = |row: &Value| row["event"]["subject"].as_str().unwrap().to_owned();
    assert_eq!(pages(&desk, "/v1/events?limit=2", "events", name).await, [vec!["A"], vec!["C"]]);
    assert_eq!(pages(&desk, "/v1/events?shadow=include", "events", name).await, [["A", "B", "C"]]);
    assert_eq!(pages(&desk, "/v1/events?shadow=only", "events", name).await, [["B"]]);
    assert_eq!(desk.ask("GET /v1/events?shadow=yes").await.status, 400);
    assert_eq!(desk.ask("GET /").await.json()["mode"], "live");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_come_by_pages() {
    let desk = Desk::open();
    for number in 0..3 {
        let key = key(&format!("T{number}"));
        desk.engine.bury_now(DeadLetter::about(&key, DeadReason::Poison, "", START));
    }
    let name = |letter: &Value| letter["out_trade_no"].as_str().unwrap().to_owned();
    let pages = pages(&desk, "/v1/dead?limit=2", "dead_letters", name).await;
    let mut all = pages.concat();
    all.sort();
    assert_eq!((pages[0].len(), all), (2, vec!["T0".to_owned(), "T1".to_owned(), "T2".to_owned()]));
}
