//! The judgement of refund notifications, without sockets but for the routes: which answer, which word, and which check.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::Aes256;
use aes::cipher::{BlockModeEncrypt, KeyInit, block_padding::Pkcs7};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use http_server::Peer;
use hyper::{Method, Request, StatusCode};
use ingress::{Answer, Ingress, IngressMetrics, IsDraining, KeyUsed, Merchant, Merchants};
use paybell_core::ports::{CheckQueue, PortError};
use paybell_core::record::SeenAs;
use paybell_core::{Check, Lane, Mode, Reason};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::time::Instant;
use wechat_pay::refund_notification::aes_key;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};
use wechat_pay::xml;

const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
const PREVIOUS: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
const STRANGER: &str = "00000000000000000000000000000000";
const VECTORS: &str = include_str!("../../wechat-pay/tests/vectors.json");

#[derive(Default)]
struct Queue {
    is_away: bool,
    stored: Mutex<Vec<Check>>,
}

#[async_trait]
impl CheckQueue for Queue {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        if self.is_away {
            return Err(PortError::Unavailable { part: "queue", cause: "away".to_owned() });
        }
        self.stored.lock().unwrap().extend_from_slice(checks);
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

fn merchant(mch_id: &str, appid: &str, keys: &[&str]) -> Merchant {
    Merchant {
        mch_id: mch_id.to_owned(),
        app_ids: vec![appid.to_owned()],
        sub_mch_ids: Vec::new(),
        keys: keys.iter().map(|key| ApiKey::new(key).unwrap()).collect(),
        accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
    }
}

fn desk_of(queue: Queue, merchants: Vec<Merchant>) -> Desk {
    let (queue, mut registry) = (Arc::new(queue), Registry::default());
    let key_used = KeyUsed::default();
    registry.register("paybell_key_used", "Documents verified by key", key_used.clone());
    let mch_ids: Vec<String> = merchants.iter().map(|merchant| merchant.mch_id.clone()).collect();
    let metrics = IngressMetrics::register(&mut registry, mch_ids.iter().map(String::as_str), &key_used);
    let merchants = Arc::new(Merchants::new(merchants).unwrap());
    Desk { ingress: Ingress::new(merchants, queue.clone(), metrics), queue, registry }
}

fn desk() -> Desk {
    let provider =
        Merchant { sub_mch_ids: vec!["77".to_owned()], ..merchant("1900000110", "wx1", &[KEY, PREVIOUS]) };
    desk_of(Queue::default(), vec![merchant("1900000109", "wx1", &[KEY, PREVIOUS]), provider])
}

impl Desk {
    async fn hears(&self, body: &str) -> (Answer, &'static str) {
        let reception = self.ingress.receive_refund(None, body.as_bytes()).await;
        (reception.answer, reception.result)
    }

    fn stored(&self) -> Vec<Check> {
        self.queue.stored.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }
}

const REFUND: [(&str, &str); 8] = [
    ("transaction_id", "42"),
    ("out_trade_no", "T1"),
    ("refund_id", "50"),
    ("out_refund_no", "R1"),
    ("total_fee", "1999"),
    ("refund_fee", "500"),
    ("settlement_refund_fee", "500"),
    ("refund_status", "SUCCESS"),
];

/// The document inside, with some fields changed, added, or (empty) left out.
fn inside(changes: &[(&'static str, &'static str)]) -> String {
    let mut fields: Vec<(&str, &str)> = REFUND.to_vec();
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    xml::write(fields).replace("<xml>", "<root>").replace("</xml>", "</root>")
}

fn seal(plain: &str, key: &str) -> String {
    let mut buffer = plain.as_bytes().to_vec();
    let length = buffer.len();
    buffer.resize(length + 16, 0);
    let encryptor = ecb::Encryptor::<Aes256>::new(&(*aes_key(&ApiKey::new(key).unwrap())).into());
    STANDARD.encode(encryptor.encrypt_padded::<Pkcs7>(&mut buffer, length).unwrap())
}

/// Around a sealed document, with outer fields changed, added, or (empty) left out.
fn around(req_info: &str, changes: &[(&'static str, &'static str)]) -> String {
    let mut fields =
        vec![("return_code", "SUCCESS"), ("appid", "wx1"), ("mch_id", "1900000109"), ("nonce_str", "n")];
    fields.push(("req_info", req_info));
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    xml::write(fields)
}

#[tokio::test]
async fn what_a_key_of_the_merchant_opens_becomes_a_check_about_that_refund() {
    let desk = desk();
    let body = around(&seal(&inside(&[]), KEY), &[("sub_mch_id", "55")]);
    assert_eq!(desk.hears(&body).await, (Answer::Success, "accepted"));
    let [check] = desk.stored().try_into().unwrap();
    assert_eq!((check.key.to_string().as_str(), check.reason), ("1900000109/T1", Reason::Notified));
    assert_eq!(check.refund.as_ref().map(|number| number.as_str()), Some("R1"));
    assert_eq!(check.transaction_id, None, "it says nothing of the payment");
    let SeenAs { appid, sub_mch_id } = check.seen_as.clone().unwrap();
    assert_eq!((appid.as_str(), sub_mch_id.as_ref().map(|id| id.as_str())), ("wx1", Some("55")));
    assert!(check.is_owed(), "WeChat was answered: it will not come again");
}

#[tokio::test]
async fn both_keys_open_and_are_counted_apart_from_payments() {
    let desk = desk();
    for key in [KEY, PREVIOUS, PREVIOUS] {
        assert_eq!(desk.hears(&around(&seal(&inside(&[]), key), &[])).await.0, Answer::Success);
    }
    desk.hears(&around(&seal(&inside(&[]), STRANGER), &[])).await;
    let text = desk.metrics();
    for counted in [
        r#"paybell_refund_notifications_total{mch_id="1900000109",result="accepted"} 3"#,
        r#"paybell_refund_notifications_total{mch_id="1900000109",result="not_decrypted"} 1"#,
        r#"paybell_notifications_total{mch_id="1900000109",result="accepted"} 0"#,
        r#"paybell_key_used_total{mch_id="1900000109",key="current"} 1"#,
        r#"paybell_key_used_total{mch_id="1900000109",key="previous"} 2"#,
    ] {
        assert!(text.contains(counted), "{counted}: {text}");
    }
}

#[tokio::test]
async fn faults_are_judged_in_their_order() {
    use Answer::{Malformed, TooLarge, Unauthorized};
    let desk = desk();
    let good = seal(&inside(&[]), KEY);
    let with = |changes| seal(&inside(changes), KEY);
    let of_provider = ("mch_id", "1900000110");
    let cases: [(String, Answer, &str); 20] = [
        (format!("<xml><a>{}</a></xml>", "x".repeat(65 * 1024)), TooLarge, "too_large"),
        (r#"{"id":"v3","resource":{}}"#.to_owned(), Malformed, "json_body"),
        ("<xml><a>1</a>".to_owned(), Malformed, "invalid_xml"),
        (around(&good, &[("return_code", "FAIL")]), Unauthorized, "return_code_fail"),
        (around(&good, &[("mch_id", "1")]), Unauthorized, "unknown_merchant"),
        (around(&good, &[("mch_id", "")]), Unauthorized, "unknown_merchant"),
        (around("", &[]), Unauthorized, "missing_req_info"),
        (around("not base64!", &[]), Unauthorized, "not_decrypted"),
        (around("AAAA", &[]), Unauthorized, "not_decrypted"),
        (around(&seal(&inside(&[]), STRANGER), &[]), Unauthorized, "not_decrypted"),
        (around(&seal("no document", KEY), &[]), Unauthorized, "not_decrypted"),
        (around(&good, &[("appid", "wx2")]), Unauthorized, "wrong_appid"),
        (around(&good, &[of_provider]), Unauthorized, "wrong_sub_mch_id"),
        (around(&good, &[of_provider, ("sub_mch_id", "78")]), Unauthorized, "wrong_sub_mch_id"),
        (around(&good, &[("appid", "")]), Malformed, "missing_field"),
        (around(&good, &[("sub_mch_id", "a-b")]), Malformed, "invalid_field"),
        (around(&with(&[("out_refund_no", "")]), &[]), Malformed, "missing_field"),
        (around(&with(&[("out_refund_no", "a b")]), &[]), Malformed, "invalid_field"),
        (around(&with(&[("refund_status", "DONE")]), &[]), Malformed, "invalid_field"),
        (around(&with(&[("refund_fee", "5.00")]), &[("appid", "wx2")]), Malformed, "invalid_field"),
    ];
    for (body, answer, result) in cases {
        assert_eq!(desk.hears(&body).await, (answer, result), "{body:.200}");
    }
    let elsewhere = desk.ingress.receive_refund(Some("1900000110"), around(&good, &[]).as_bytes()).await;
    assert_eq!((elsewhere.answer, elsewhere.result), (Unauthorized, "wrong_path"));
    assert!(desk.stored().is_empty(), "nothing refused is stored");
    let listed = around(&good, &[of_provider, ("sub_mch_id", "77")]);
    assert_eq!(desk.hears(&listed).await, (Answer::Success, "accepted"));
}

#[tokio::test]
async fn the_vectors_get_the_answers_that_they_must() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = vectors["refund_notifications"].as_array().unwrap();
    assert!(vectors.len() >= 10);
    for vector in vectors {
        let context = |name: &str| vector["inputs"]["context"][name].as_str().unwrap();
        let merchants = vec![merchant(context("mch_id"), context("appid"), &[context("key")])];
        let desk = desk_of(Queue::default(), merchants);
        let answer = desk.hears(vector["inputs"]["body"].as_str().unwrap()).await.0;
        let is_accepted = vector["expected"]["verdict"] == "accept";
        assert_eq!(answer == Answer::Success, is_accepted, "{}: {answer:?}", vector["id"]);
        assert_eq!(desk.stored().len(), usize::from(is_accepted), "{}", vector["id"]);
    }
}

#[tokio::test]
async fn in_shadow_a_copy_is_stored_as_one_and_never_answered_success() {
    let desk = desk();
    let ingress = desk.ingress.with_mode(Mode::Shadow);
    let reception = ingress.receive_refund(None, around(&seal(&inside(&[]), KEY), &[]).as_bytes()).await;
    assert_eq!((reception.answer, reception.result), (Answer::Shadow, "accepted"));
    let [check] = desk.queue.stored.lock().unwrap().clone().try_into().unwrap();
    assert!(!check.is_owed() && check.refund.is_some(), "somebody else answers WeChat");
}

#[tokio::test]
async fn i1_what_could_not_be_stored_is_not_acknowledged() {
    let queue = Queue { is_away: true, ..Queue::default() };
    let desk = desk_of(queue, vec![merchant("1900000109", "wx1", &[KEY])]);
    let answer = desk.hears(&around(&seal(&inside(&[]), KEY), &[])).await;
    assert_eq!(answer, (Answer::Unavailable, "not_durable"));
    let counted = r#"paybell_refund_notifications_total{mch_id="1900000109",result="not_durable"} 1"#;
    assert!(desk.metrics().contains(counted));
}

async fn status(desk: &Desk, method: Method, path: &str) -> StatusCode {
    let body = Full::new(Bytes::from(around(&seal(&inside(&[]), KEY), &[])));
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let request_deadline = Instant::now() + Duration::from_secs(15);
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), request_deadline, encrypted: false };
    let response = desk.ingress.handle(request, peer, IsDraining(false)).await;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn refunds_have_routes_of_their_own() {
    let desk = desk();
    for path in ["/notify/refund", "/notify/refund/1900000109"] {
        assert_eq!(status(&desk, Method::POST, path).await, StatusCode::OK, "{path}");
        assert_eq!(status(&desk, Method::GET, path).await, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(status(&desk, Method::POST, "/notify/refund/1900000110").await, StatusCode::UNAUTHORIZED);
    for path in ["/notify/refunds", "/notify/refund/", "/notify/refund/1900000109/x", "/notify"] {
        assert_eq!(status(&desk, Method::POST, path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(status(&desk, Method::POST, "/notify/pay").await, StatusCode::UNAUTHORIZED, "it has no sign");
    assert_eq!(desk.stored().len(), 2);
}
