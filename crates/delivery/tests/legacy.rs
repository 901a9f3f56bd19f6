//! Old handlers: a verified payment becomes a notification that a v2 handler accepts, until it says SUCCESS.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use delivery::desk::View;
use delivery::transport::{Answer, Post, Reply};
use delivery::{Desk, Endpoint, Kind, Refunded};
use paybell_core::event::{Event, EventType};
use paybell_core::observation::Openid;
use paybell_core::ports::{EventLog, Ledger, OrderFilter, OrderPage, PortError, Records, Tally};
use paybell_core::record::Record;
use paybell_core::{OrderKey, Payment, State};
use support::*;
use tokio_util::sync::CancellationToken;
use wechat_pay::notification::Unverified;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

const SUCCESS: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>";
const OPENID: &str = "oUpF8uMEb4qRXf22hE3X68TekukE";

/// A ledger that knows one thing of every order.
struct Known {
    state: State,
    payment: Payment,
}

#[async_trait]
impl Records for Known {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        let mut record = Record::new(key.clone(), START, START);
        record.state = self.state;
        record.payment = Some(self.payment.clone());
        Ok(Some(record))
    }
    async fn list(&self, _: &OrderFilter, _: Option<&str>, _: usize) -> Result<Option<OrderPage>, PortError> {
        Ok(None)
    }
    async fn tally(&self) -> Result<Tally, PortError> {
        Ok(Tally::default())
    }
}

fn known(state: State) -> Known {
    let text = format!(
        r#"{{"appid":"wx8888888888888888","transaction_id":"{TX}","total_fee":1999,
        "paid_at":"2026-11-20T12:00:03+08:00","openid":"{OPENID}"}}"#
    );
    Known { state, payment: serde_json::from_str(&text).unwrap() }
}

fn handler(refunded: Refunded) -> Endpoint {
    endpoint("old", "http://shop.test/notify.php", Kind::Legacy(refunded))
}

/// Serves the handler over a store with these events until the view is as wanted; gives the posts and the view.
async fn served(
    events: &[Event],
    state: State,
    endpoint: Endpoint,
    reply: impl Fn(&Post) -> Reply + Send + Sync + 'static,
    is_done: fn(&View) -> bool,
) -> (Vec<Post>, View) {
    let store = Store::open();
    store.engine.append(events).await.unwrap();
    let stage = Stage::new(reply);
    let mut deliveries = store.deliveries(std::slice::from_ref(&endpoint), stage.clone());
    deliveries.ports.records = Arc::new(known(state));
    let ports = store.ports();
    let desk = Desk::new(&[endpoint], ports.notes, ports.log);
    let drain = CancellationToken::new();
    let task = tokio::spawn(delivery::run(deliveries, drain.clone()));
    let view = async || {
        let now = store.engine.clock().await.unwrap().now;
        desk.list(now).await.unwrap().remove(0)
    };
    until("the view is as wanted", async || is_done(&view().await)).await;
    drain.cancel();
    task.await.unwrap().unwrap();
    (stage.posts().into_iter().map(|(_, post)| post).collect(), view().await)
}

#[tokio::test]
async fn a_payment_becomes_a_notification_that_our_own_reader_accepts() {
    let others = [EventType::Closed, EventType::Mismatch, EventType::Refunded, EventType::Unpaid];
    let mut events: Vec<Event> = others.into_iter().map(|kind| event("1900000109", 1, kind)).collect();
    events.push(paid(1));
    let reply = |_: &Post| answer(200, SUCCESS);
    let (posts, view) =
        served(&events, State::Paid, handler(Refunded::HoldBack), reply, |view| view.delivered_total == 1)
            .await;
    assert_eq!(posts.len(), 1, "order.paid only, once");
    assert_eq!(header(&posts[0], "content-type"), Some("text/xml; charset=utf-8"));
    let key = ApiKey::new(API_KEY).unwrap();
    let unverified = Unverified::parse(&posts[0].body).unwrap();
    let (authentic, _) = unverified.verify(&[&key], AcceptedAlgorithm::Only(Algorithm::Md5)).unwrap();
    let read = authentic.into_notification().unwrap();
    let payment = read.payment().unwrap();
    assert_eq!((payment.transaction_id, payment.total_fee, payment.fee_type), (TX, 1999, "CNY"));
    assert_eq!(read.out_trade_no(), "T2026112000000001");
    let document = read.document();
    let fields = [
        ("result_code", "SUCCESS"),
        ("appid", "wx8888888888888888"),
        ("mch_id", "1900000109"),
        ("openid", OPENID),
        ("trade_type", "JSAPI"),
        ("bank_type", "OTHERS"),
        ("cash_fee", "1899"),
        ("coupon_fee", "100"),
        ("coupon_count", "1"),
        ("coupon_id_0", "2000001"),
        ("coupon_type_0", "CASH"),
        ("coupon_fee_0", "100"),
        ("attach", "附加 <&>"),
        ("time_end", "20261120120003"),
    ];
    for (name, value) in fields {
        assert_eq!(document.get(name), Some(value), "{name}");
    }
    assert_eq!(document.get("nonce_str").unwrap().len(), 32);
    assert!(!serde_json::to_string(&view).unwrap().contains(OPENID));
}

#[tokio::test]
async fn an_answer_that_is_not_success_is_named_and_tried_again() {
    let mut answers: Vec<(&str, Reply)> = vec![
        ("bare word", answer(200, "success")),
        ("web page", answer(200, "<!DOCTYPE html><title>Shop</title>")),
        ("not status 200", answer(201, SUCCESS)),
        ("empty", answer(200, "")),
        ("FAIL", answer(200, "<xml><return_code>FAIL</return_code><return_msg>db</return_msg></xml>")),
        ("redirects are not followed", answer(302, "")),
        ("not status 200: 410", answer(410, "")),
    ];
    let cut = Answer { status: 200, retry_after: None, body: Bytes::from(SUCCESS), is_whole: false };
    answers.push(("did not end", Reply::Answered(cut)));
    for (words, reply) in answers {
        let reply = move |_: &Post| reply.clone();
        let is_tried = |view: &View| !view.attempts.is_empty();
        let (_, view) = served(&[paid(1)], State::Paid, handler(Refunded::HoldBack), reply, is_tried).await;
        let attempt = &view.attempts[0];
        assert!(attempt.words.contains(words), "{words}: {attempt:?}");
        assert_eq!((attempt.result.as_str(), view.waiting, view.state), ("refused", 1, "idle"), "{words}");
    }
}

#[tokio::test]
async fn a_payment_that_went_back_first_is_not_told_unless_somebody_wants_it() {
    let refunded = {
        let mut event = paid(1);
        event.order_mut().unwrap().trade_state = Some("REFUND".to_owned());
        event
    };
    let reply = |_: &Post| answer(200, SUCCESS);
    for (event, state) in [(refunded.clone(), State::Paid), (paid(1), State::Refunded)] {
        let is_held = |view: &View| view.given_up_total == 1;
        let (posts, view) =
            served(std::slice::from_ref(&event), state, handler(Refunded::HoldBack), reply, is_held).await;
        assert!(posts.is_empty(), "the handler would ship");
        assert!(view.given_up[0].why.contains("refunded") && view.given_up[0].event == event.id);
        assert_eq!(view.attempts[0].result, "held_back");
        let is_told = |view: &View| view.delivered_total == 1;
        let (posts, _) = served(&[event], state, handler(Refunded::Tell), reply, is_told).await;
        assert_eq!(posts.len(), 1);
    }
}

#[tokio::test]
async fn a_person_can_have_a_refunded_payment_told() {
    let store = Store::open();
    let event = paid(1);
    store.engine.append(std::slice::from_ref(&event)).await.unwrap();
    let stage = Stage::new(|_| answer(200, SUCCESS));
    let endpoint = handler(Refunded::HoldBack);
    let mut deliveries = store.deliveries(std::slice::from_ref(&endpoint), stage.clone());
    deliveries.ports.records = Arc::new(known(State::Refunded));
    let drain = CancellationToken::new();
    let task = tokio::spawn(delivery::run(deliveries, drain.clone()));
    let ports = store.ports();
    let desk = Desk::new(&[endpoint], ports.notes, ports.log);
    let view = async || {
        let now = store.engine.clock().await.unwrap().now;
        desk.list(now).await.unwrap().remove(0)
    };
    until("it is held back", async || view().await.given_up_total == 1).await;
    desk.resend("old", event.id).await.unwrap();
    until("it is told", async || view().await.delivered_total == 1).await;
    drain.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(stage.posts().len(), 1);
}

#[tokio::test]
async fn a_merchant_without_a_key_is_told_as_such_and_not_posted() {
    let event = event("1900000777", 1, EventType::Paid);
    let reply = |_: &Post| answer(200, SUCCESS);
    let is_tried = |view: &View| !view.attempts.is_empty();
    let (posts, view) = served(&[event], State::Paid, handler(Refunded::HoldBack), reply, is_tried).await;
    assert!(posts.is_empty());
    assert_eq!(view.attempts[0].result, "unbuildable");
    assert!(view.attempts[0].words.contains("1900000777"), "{:?}", view.attempts[0]);
    assert_eq!(view.waiting, 1, "it waits for the configuration");
}

/// A handler that echoes what it got does not make the payer visible.
#[tokio::test]
async fn an_echoed_openid_is_not_shown() {
    let kept = Arc::new(Mutex::new(String::new()));
    let seen = kept.clone();
    let reply = move |post: &Post| {
        *seen.lock().unwrap() = String::from_utf8_lossy(&post.body).into_owned();
        answer(200, &format!("var_dump: {OPENID} {}", "x".repeat(20)))
    };
    let is_tried = |view: &View| !view.attempts.is_empty();
    let (_, view) = served(&[paid(1)], State::Paid, handler(Refunded::HoldBack), reply, is_tried).await;
    assert!(kept.lock().unwrap().contains(OPENID), "it was sent");
    let shown = serde_json::to_string(&view).unwrap();
    assert!(!shown.contains(OPENID) && shown.contains("var_dump"), "{shown}");
    assert_eq!(format!("{:?}", Openid(OPENID.to_owned())), "Openid(***)");
}

/// Nor does one that answers with the address show what its query holds.
#[tokio::test]
async fn an_echoed_token_of_the_address_is_not_shown() {
    let endpoint = endpoint(
        "old",
        "https://shop.example/notify.php?v=1&token=s3cret-token",
        Kind::Legacy(Refunded::HoldBack),
    );
    let reply = |_: &Post| answer(404, "Cannot POST /notify.php?v=1&token=s3cret-token (token s3cret-token)");
    let is_tried = |view: &View| !view.attempts.is_empty();
    let (_, view) = served(&[paid(1)], State::Paid, endpoint, reply, is_tried).await;
    let shown = serde_json::to_string(&view).unwrap();
    assert!(!shown.contains("s3cret") && shown.contains("Cannot POST"), "{shown}");
}

#[tokio::test]
async fn a_word_of_the_address_in_the_answer_is_still_read() {
    let endpoint =
        endpoint("old", "https://shop.example/notify.php?on=SUCCESS", Kind::Legacy(Refunded::HoldBack));
    let reply = |_: &Post| answer(200, SUCCESS);
    let is_tried = |view: &View| !view.attempts.is_empty();
    let (_, view) = served(&[paid(1)], State::Paid, endpoint, reply, is_tried).await;
    assert_eq!((view.delivered_total, view.attempts[0].result.as_str()), (1, "delivered"));
}
