//! The judgement of notifications, without sockets: which answer, which word, and which check.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use http_server::Peer;
use hyper::{Method, Request, StatusCode};
use ingress::{Answer, Ingress, IngressLimits, IngressMetrics, IsDraining, KeyUsed, Merchant, Merchants};
use paybell_core::ports::{CheckQueue, PortError};
use paybell_core::{Check, Lane, Mode, Reason};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey, sign};

const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
const PREVIOUS: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
/// Known to nobody here, yet.
const NEXT: &str = "0123456789abcdef0123456789abcdef";
const SUCCESS: &[u8] =
    b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

/// How the queue behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Stores,
    Fails,
    Hangs,
}

struct Queue {
    mood: Mood,
    stored: Mutex<Vec<Check>>,
}

#[async_trait]
impl CheckQueue for Queue {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        match self.mood {
            Mood::Stores => self.stored.lock().unwrap().extend_from_slice(checks),
            Mood::Fails => return Err(PortError::Unavailable { part: "queue", cause: "away".to_owned() }),
            Mood::Hangs => std::future::pending().await,
        }
        Ok(())
    }

    async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
        Ok(0)
    }
}

struct Desk {
    ingress: Ingress,
    queue: Arc<Queue>,
    registry: Registry,
}

fn desk(mood: Mood) -> Desk {
    let queue = Arc::new(Queue { mood, stored: Mutex::default() });
    let mut registry = Registry::default();
    let key_used = KeyUsed::default();
    registry.register("paybell_key_used", "Documents verified by key", key_used.clone());
    let metrics = IngressMetrics::register(&mut registry, ["1900000109"], &key_used);
    let merchant = Merchant {
        mch_id: "1900000109".to_owned(),
        app_ids: vec!["wx1".to_owned()],
        sub_mch_ids: Vec::new(),
        keys: vec![ApiKey::new(KEY).unwrap(), ApiKey::new(PREVIOUS).unwrap()],
        accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
    };
    let provider =
        Merchant { mch_id: "1900000110".to_owned(), sub_mch_ids: vec!["77".to_owned()], ..merchant.clone() };
    let merchants = Arc::new(Merchants::new([merchant, provider]).unwrap());
    Desk { ingress: Ingress::new(merchants, queue.clone(), metrics), queue, registry }
}

const PAID: [(&str, &str); 8] = [
    ("return_code", "SUCCESS"),
    ("result_code", "SUCCESS"),
    ("appid", "wx1"),
    ("mch_id", "1900000109"),
    ("out_trade_no", "T1"),
    ("transaction_id", "42"),
    ("total_fee", "1999"),
    ("time_end", "20261120120003"),
];

/// A notification of PAID with some fields changed, added, or (empty) left out, signed with `key`.
fn notification(key: &str, changes: &[(&'static str, &'static str)]) -> String {
    let mut fields: Vec<(&str, &str)> = PAID.to_vec();
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let signature = sign(fields.iter().copied(), &ApiKey::new(key).unwrap(), Algorithm::Md5);
    fields.push(("sign", &signature));
    wechat_pay::xml::write(fields)
}

#[tokio::test]
async fn an_authentic_payment_becomes_a_check_that_carries_hints_only() {
    let desk = desk(Mood::Stores);
    let body = notification(KEY, &[("sub_mch_id", "55")]);
    let reception = desk.ingress.receive(None, body.as_bytes()).await;
    assert_eq!((reception.answer, reception.result), (Answer::Success, "accepted"));
    assert_eq!(reception.answer.body(), SUCCESS);
    let stored = desk.queue.stored.lock().unwrap();
    let [check] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((check.key.to_string().as_str(), check.reason), ("1900000109/T1", Reason::Notified));
    assert_eq!(check.transaction_id.as_ref().map(|id| id.as_str()), Some("42"));
    let seen_as = check.seen_as.as_ref().unwrap();
    assert_eq!(seen_as.appid.as_str(), "wx1");
    assert_eq!(seen_as.sub_mch_id.as_ref().map(|id| id.as_str()), Some("55"));
    assert!(check.is_owed(), "WeChat was answered: it will not come again");
}

#[tokio::test]
async fn in_shadow_a_copy_is_stored_as_one_and_never_answered_success() {
    let desk = desk(Mood::Stores);
    let ingress = desk.ingress.with_mode(Mode::Shadow);
    let reception = ingress.receive(None, notification(KEY, &[]).as_bytes()).await;
    assert_eq!((reception.answer, reception.result), (Answer::Shadow, "accepted"));
    assert_eq!(reception.answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8_lossy(reception.answer.body()).contains("FAIL"));
    let [check] = desk.queue.stored.lock().unwrap().clone().try_into().unwrap();
    assert!(!check.is_owed(), "somebody else answers WeChat");
    let forged = ingress.receive(None, notification(&"0".repeat(32), &[]).as_bytes()).await;
    assert_eq!(forged.answer, Answer::Unauthorized);
}

#[tokio::test]
async fn a_signed_failure_is_acknowledged_and_looked_at() {
    let desk = desk(Mood::Stores);
    let body = notification(KEY, &[("result_code", "FAIL"), ("transaction_id", ""), ("total_fee", "")]);
    assert_eq!(desk.ingress.receive(None, body.as_bytes()).await.answer, Answer::Success);
    assert_eq!(desk.queue.stored.lock().unwrap().first().unwrap().transaction_id, None);
}

#[tokio::test]
async fn faults_are_judged_in_their_order() {
    let desk = desk(Mood::Stores);
    let wrong_key = "00000000000000000000000000000000";
    let oversize = format!("<xml><a>{}</a></xml>", "x".repeat(65 * 1024));
    let cases: [(Option<&str>, String, Answer, &str); 14] = [
        (None, oversize, Answer::TooLarge, "too_large"),
        (None, "<xml><a>1</a>".to_owned(), Answer::Malformed, "invalid_xml"),
        (None, r#"{"id":"v3"}"#.to_owned(), Answer::Malformed, "json_body"),
        (None, notification(KEY, &[("mch_id", "1")]), Answer::Unauthorized, "unknown_merchant"),
        (None, notification(wrong_key, &[]), Answer::Unauthorized, "bad_signature"),
        (None, notification(KEY, &[("return_code", "FAIL")]), Answer::Unauthorized, "return_code_fail"),
        (None, notification(KEY, &[("sign_type", "RSA")]), Answer::Unauthorized, "unsupported_sign_type"),
        (None, notification(KEY, &[("sign_type", "HMAC-SHA256")]), Answer::Unauthorized, "bad_signature"),
        (Some("1900000110"), notification(KEY, &[]), Answer::Unauthorized, "wrong_path"),
        (None, notification(KEY, &[("appid", "wx2")]), Answer::Unauthorized, "wrong_appid"),
        (None, notification(KEY, &[("mch_id", "1900000110")]), Answer::Unauthorized, "wrong_sub_mch_id"),
        (None, notification(KEY, &[("total_fee", "")]), Answer::Malformed, "missing_field"),
        (None, notification(KEY, &[("total_fee", "19.99")]), Answer::Malformed, "invalid_field"),
        (None, notification(wrong_key, &[("total_fee", "")]), Answer::Unauthorized, "bad_signature"),
    ];
    for (path, body, answer, result) in cases {
        let reception = desk.ingress.receive(path, body.as_bytes()).await;
        assert_eq!((reception.answer, reception.result), (answer, result), "{:.200}", body);
    }
    assert!(desk.queue.stored.lock().unwrap().is_empty(), "nothing refused is stored");
}

#[tokio::test]
async fn both_keys_verify_and_are_counted_apart() {
    let desk = desk(Mood::Stores);
    for key in [KEY, PREVIOUS, PREVIOUS] {
        let body = notification(key, &[]);
        assert_eq!(desk.ingress.receive(Some("1900000109"), body.as_bytes()).await.answer, Answer::Success);
    }
    let mut text = String::new();
    encode(&mut text, &desk.registry).unwrap();
    for counted in [
        r#"paybell_notifications_total{mch_id="1900000109",result="accepted"} 3"#,
        r#"paybell_key_used_total{mch_id="1900000109",key="current"} 1"#,
        r#"paybell_key_used_total{mch_id="1900000109",key="previous"} 2"#,
    ] {
        assert!(text.contains(counted), "{counted}: {text}");
    }
}

#[tokio::test]
async fn i1_what_could_not_be_stored_is_not_acknowledged() {
    let desk = desk(Mood::Fails);
    let reception = desk.ingress.receive(None, notification(KEY, &[]).as_bytes()).await;
    assert_eq!((reception.answer, reception.result), (Answer::Unavailable, "not_durable"));
    assert_eq!(reception.answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

async fn post(desk: &Desk, is_draining: bool) -> (StatusCode, Bytes) {
    post_signed(desk, KEY, is_draining).await
}

async fn post_signed(desk: &Desk, key: &str, is_draining: bool) -> (StatusCode, Bytes) {
    let body = Full::new(Bytes::from(notification(key, &[])));
    let request = Request::builder().method(Method::POST).uri("/notify/pay").body(body).unwrap();
    let request_deadline = Instant::now() + Duration::from_secs(15);
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), request_deadline, encrypted: false };
    let response = desk.ingress.handle(request, peer, IsDraining(is_draining)).await;
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "text/xml; charset=utf-8");
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(start_paused = true)]
async fn i1_a_queue_that_hangs_is_answered_fail_within_three_seconds() {
    let desk = desk(Mood::Hangs);
    let begun = Instant::now();
    let (status, body) = post(&desk, false).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.starts_with(b"<xml><return_code><![CDATA[FAIL]]>"));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_draining_or_overloaded_ingress_sends_wechat_away() {
    assert_eq!(post(&desk(Mood::Stores), true).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let Desk { ingress, queue, registry } = desk(Mood::Stores);
    let full = Desk { ingress: ingress.with_limits(IngressLimits::new(3_000, 0)), queue, registry };
    assert_eq!(post(&full, false).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.queue.stored.lock().unwrap().is_empty());
}

fn metrics(desk: &Desk) -> String {
    let mut text = String::new();
    encode(&mut text, &desk.registry).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_hide_how_long_authentic_notifications_wait() {
    for (mood, status) in
        [(Mood::Hangs, StatusCode::SERVICE_UNAVAILABLE), (Mood::Fails, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let desk = desk(mood);
        for _ in 0..9 {
            assert_eq!(post_signed(&desk, NEXT, false).await.0, StatusCode::UNAUTHORIZED);
        }
        assert!(metrics(&desk).contains("paybell_ack_seconds_count 0\n"), "{}", metrics(&desk));
        assert_eq!(post(&desk, false).await.0, status);
        assert!(metrics(&desk).contains("paybell_ack_seconds_count 1\n"), "{}", metrics(&desk));
    }
    let desk = desk(Mood::Stores);
    post(&desk, false).await;
    assert!(metrics(&desk).contains("paybell_ack_seconds_count 1\n"), "{}", metrics(&desk));
}

#[test]
fn what_an_alert_counts_begins_at_zero() {
    let text = metrics(&desk(Mood::Stores));
    for (mch_id, result) in [
        ("1900000109", "accepted"),
        ("1900000109", "bad_signature"),
        ("1900000109", "not_durable"),
        ("unknown", "not_durable"),
        ("unknown", "overloaded"),
    ] {
        let line = format!("paybell_notifications_total{{mch_id=\"{mch_id}\",result=\"{result}\"}} 0\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

fn merchant(mch_id: &str, keys: &[&str]) -> Merchant {
    Merchant {
        mch_id: mch_id.to_owned(),
        app_ids: vec!["wx1".to_owned()],
        sub_mch_ids: Vec::new(),
        keys: keys.iter().map(|key| ApiKey::new(key).unwrap()).collect(),
        accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
    }
}

#[tokio::test]
async fn merchants_come_go_and_change_their_keys_while_notifications_come() {
    let desk = desk(Mood::Stores);
    let result = async |key: &str, mch_id: &'static str| {
        let body = notification(key, &[("mch_id", mch_id)]);
        desk.ingress.receive(None, body.as_bytes()).await.result
    };
    let replace = |merchants: Vec<Merchant>| {
        desk.ingress.replace_merchants(Merchants::new(merchants).unwrap());
    };
    assert_eq!(result(KEY, "1900000109").await, "accepted");
    assert_eq!(result(NEXT, "1900000109").await, "bad_signature");
    replace(vec![merchant("1900000109", &[NEXT, KEY]), merchant("1900000222", &[PREVIOUS])]);
    assert_eq!(result(KEY, "1900000109").await, "accepted", "both keys verify while one replaces the other");
    assert_eq!(result(NEXT, "1900000109").await, "accepted");
    assert_eq!(result(PREVIOUS, "1900000109").await, "bad_signature");
    assert_eq!(result(PREVIOUS, "1900000222").await, "accepted");
    replace(vec![merchant("1900000109", &[NEXT])]);
    assert_eq!(result(KEY, "1900000109").await, "bad_signature");
    assert_eq!(result(PREVIOUS, "1900000222").await, "unknown_merchant");
    let mut counted = String::new();
    encode(&mut counted, &desk.registry).unwrap();
    for line in [
        "paybell_notifications_total{mch_id=\"1900000109\",result=\"accepted\"} 3",
        "paybell_notifications_total{mch_id=\"1900000222\",result=\"accepted\"} 1",
        "paybell_notifications_total{mch_id=\"unknown\",result=\"unknown_merchant\"} 1",
        "paybell_key_used_total{mch_id=\"1900000109\",key=\"current\"} 2",
        "paybell_key_used_total{mch_id=\"1900000109\",key=\"previous\"} 1",
        "paybell_key_used_total{mch_id=\"1900000222\",key=\"current\"} 1",
    ] {
        assert!(counted.contains(line), "{line} in\n{counted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_notification_falls_between_two_sets_of_merchants() {
    let desk = Arc::new(desk(Mood::Stores));
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let replaced_so_far = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut replacing = tokio::task::JoinSet::new();
    replacing.spawn({
        let (desk, is_over, so_far) = (desk.clone(), is_over.clone(), replaced_so_far.clone());
        async move {
            let mut replaced = 0_u32;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let keys = if replaced.is_multiple_of(2) { [PREVIOUS, KEY] } else { [KEY, PREVIOUS] };
                desk.ingress.replace_merchants(Merchants::new([merchant("1900000109", &keys)]).unwrap());
                replaced += 1;
                so_far.store(replaced, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let mut number = 0;
    while number < 5_000 || replaced_so_far.load(std::sync::atomic::Ordering::Relaxed) <= 10 {
        number += 1;
        assert!(number < 1_000_000, "nobody replaces the merchants");
        let key = if number % 2 == 0 { KEY } else { PREVIOUS };
        let reception = desk.ingress.receive(None, notification(key, &[]).as_bytes()).await;
        assert_eq!(reception.result, "accepted", "notification {number}");
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    replacing.join_next().await.unwrap().unwrap();
}
