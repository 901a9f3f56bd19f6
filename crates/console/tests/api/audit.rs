//! The trail: every act of an operator leaves an entry, whatever becomes of it, and nothing happens without one.

use console::{Rate, Scope, Secret, Token};
use paybell_core::dead::{DeadLetter, DeadReason};
use serde_json::{Value, json};

use crate::desk::{Desk, MCH, key, paid};
use crate::engine::START;

const ALICE: &str = "Authorization: Bearer alice-secret";

fn guarded() -> Desk {
    Desk::with(|config| {
        config.tokens = vec![Token {
            name: "alice".to_owned(),
            secret: Secret::new("alice-secret").unwrap(),
            scopes: Scope::ALL.to_vec(),
            rate: Rate::DEFAULT,
            streams_max: Token::STREAMS_MAX,
        }];
    })
}

async fn trail(desk: &Desk, query: &str) -> Vec<Value> {
    let page = desk.ask(&format!("GET /v1/audit{query}\n{ALICE}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["acts"].as_array().unwrap().clone()
}

async fn mismatched(desk: &Desk) {
    desk.ask(&format!("PUT /v1/orders/{MCH}/T1\n{ALICE}\n\n{{\"total_fee\":100}}")).await;
    desk.ask(&format!("POST /v1/orders/{MCH}/T1/check\n{ALICE}")).await;
    desk.engine.work(&paid(90));
}

#[tokio::test(start_paused = true)]
async fn an_entry_says_who_when_what_why_and_what_came_of_it() {
    let desk = guarded();
    mismatched(&desk).await;
    assert_eq!(
        trail(&desk, "").await,
        Vec::<Value>::new(),
        "neither a registration nor a shop's check is an act"
    );
    let reject = format!("POST /v1/orders/{MCH}/T1/reject\n{ALICE}\n\n{{\"reason\":\"电话确认\"}}");
    assert_eq!(desk.ask(&reject).await.status, 202);
    assert_eq!(desk.ask(&reject).await.status, 409);
    let entry = |number: u64, outcome: &str| {
        json!({
            "number": number, "at": "2026-11-20T12:00:00+08:00", "who": "alice", "peer": "192.0.2.7",
            "action": "reject", "object": format!("orders/{MCH}/T1"), "mch_id": MCH, "reason": "电话确认",
            "outcome": outcome,
        })
    };
    assert_eq!(trail(&desk, "").await, [entry(2, "not-waiting"), entry(1, "done")], "newest first");
    assert_eq!(trail(&desk, "?order=oldest&limit=1").await, [entry(1, "done")]);
}

#[tokio::test(start_paused = true)]
async fn every_act_of_an_operator_leaves_its_entry() {
    let desk = guarded();
    mismatched(&desk).await;
    let bury = |name: &str| {
        let letter = DeadLetter::about(&key(name), DeadReason::Poison, "", START);
        desk.engine.bury_now(letter.clone());
        letter.id
    };
    let (replayed, dropped) = (bury("T2"), bury("T3"));
    let acts = [
        (format!("POST /v1/orders/{MCH}/T1/check"), "check", format!("orders/{MCH}/T1")),
        (format!("POST /v1/orders/{MCH}/T1/reject"), "reject", format!("orders/{MCH}/T1")),
        (format!("POST /v1/orders/{MCH}/T1/accept"), "accept", format!("orders/{MCH}/T1")),
        (format!("POST /v1/dead/{replayed}/replay"), "dead.replay", format!("dead/{replayed}")),
        (format!("DELETE /v1/dead/{dropped}"), "dead.drop", format!("dead/{dropped}")),
        ("POST /v1/endpoints/nobody/enable".to_owned(), "endpoint.enable", "endpoints/nobody".to_owned()),
        (
            format!("POST /v1/bills/{MCH}/2026-11-18/reconcile"),
            "bill.reconcile",
            format!("bills/{MCH}/2026-11-18"),
        ),
        ("POST /v1/endpoints/nobody/resend".to_owned(), "endpoint.resend", "endpoints/nobody".to_owned()),
    ];
    for (request, action, object) in &acts {
        let more = if action.ends_with("resend") { ",\"after\":\"oldest\"" } else { "" };
        let answered = desk.ask(&format!("{request}\n{ALICE}\n\n{{\"reason\":\"drill\"{more}}}")).await;
        let newest = trail(&desk, "?limit=1").await.pop().unwrap();
        let outcome = if answered.status < 300 { "done" } else { "unknown-endpoint" };
        assert_eq!(
            [&newest["action"], &newest["object"], &newest["reason"], &newest["outcome"]],
            [action, object.as_str(), "drill", outcome],
            "{request}: {}",
            answered.text
        );
    }
    assert_eq!(trail(&desk, "").await.len(), acts.len());
    assert_eq!(trail(&desk, "?action=dead.drop").await.len(), 1);
    assert_eq!(trail(&desk, &format!("?mch_id={MCH}")).await.len(), 6);
    for refused in ["?action=delete", "?order=both", "?after=x", "?limit=0", "?who=alice"] {
        assert_eq!(desk.ask(&format!("GET /v1/audit{refused}\n{ALICE}")).await.status, 400, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_where_no_entry_can_be_stored() {
    let desk = guarded();
    mismatched(&desk).await;
    let letter = DeadLetter::about(&key("T2"), DeadReason::Poison, "", START);
    desk.engine.bury_now(letter.clone());
    desk.engine.stored.lock().unwrap().trail_is_full = true;
    let (record, published) = (desk.engine.record(&key("T1")), desk.engine.published());
    for request in [
        format!("POST /v1/orders/{MCH}/T1/accept"),
        format!("POST /v1/orders/{MCH}/T1/reject"),
        format!("POST /v1/orders/{MCH}/T1/check"),
        format!("POST /v1/dead/{}/replay", letter.id),
        format!("DELETE /v1/dead/{}", letter.id),
    ] {
        let answered = desk.ask(&format!("{request}\n{ALICE}\n\n{{\"reason\":\"\"}}")).await;
        assert_eq!((answered.status, answered.header("retry-after")), (503, "1"), "{request}");
    }
    assert_eq!((desk.engine.record(&key("T1")), desk.engine.published()), (record, published));
    assert!(desk.engine.stored.lock().unwrap().letters.contains_key(&letter.id));
    let check = desk.ask(&format!("POST /v1/orders/{MCH}/T1/check\n{ALICE}")).await;
    assert_eq!(check.status, 202, "a shop's own check needs no entry");
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_could_pass_for_something_else_is_refused_before_anything_is_stored() {
    let desk = guarded();
    mismatched(&desk).await;
    for hostile in ["a\\nINFO forged line", "\\u001b[2Jx", "\\u202egnihton", "\\u2028x", "x\\u0000"] {
        let body = format!("{{\"reason\":\"{hostile}\"}}");
        let refused = desk.ask(&format!("POST /v1/orders/{MCH}/T1/accept\n{ALICE}\n\n{body}")).await;
        assert_eq!((refused.status, refused.json()["field"].as_str()), (400, Some("reason")), "{hostile}");
    }
    assert_eq!(trail(&desk, "").await, Vec::<Value>::new());
}
