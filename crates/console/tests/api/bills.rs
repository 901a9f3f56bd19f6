//! Bills: listed by pages, shown, and asked for.

use async_trait::async_trait;
use console::{BillAsked, BillDesk};
use paybell_core::ports::PortError;
use paybell_core::{Day, MchId};
use serde_json::{Value, json};

use crate::desk::{Desk, MCH};

/// Two days that are known: one is done, one waits.
#[derive(Default)]
pub struct Days;

fn document(date: &str, state: &str) -> Value {
    let is_done = state == "done";
    let at = "2026-11-20T10:00:05+08:00";
    json!({
        "mch_id": MCH, "date": date, "state": state, "next_at": (!is_done).then_some(at), "tries": 0,
        "may_be_empty": false, "asked": (!is_done).then(|| json!({"request": "r1", "file": null})), "progress": null,
        "last": is_done.then(|| json!({"at": at, "outcome": "reconciled", "detail": "", "request": null})),
        "reconciled_at": is_done.then_some(at),
        "event_id": is_done.then_some("6027e187-6918-5902-8908-66eebecf3d4e"),
        "summary": is_done.then(|| json!({"rows": 3})), "file": is_done.then_some("1900000109-2026-11-19.csv.gz"),
    })
}

#[async_trait]
impl BillDesk for Days {
    async fn list(&self, mch_id: Option<&MchId>) -> Result<Vec<Value>, PortError> {
        let is_wanted = mch_id.is_none_or(|mch_id| mch_id.as_str() == MCH);
        let days = vec![document("2026-11-19", "done"), document("2026-11-18", "waiting")];
        Ok(if is_wanted { days } else { Vec::new() })
    }

    async fn read(&self, _: &MchId, day: Day) -> Result<Option<Value>, PortError> {
        Ok((day.to_string() == "2026-11-19").then(|| {
            let mut shown = document("2026-11-19", "done");
            shown["result"] = json!({"rows": 3, "differences": []});
            shown
        }))
    }

    async fn ask(&self, _: &MchId, day: Day, file: Option<&str>) -> Result<BillAsked, PortError> {
        Ok(match (day.to_string().as_str(), file) {
            ("2026-11-20", _) => BillAsked::NotOver,
            ("2026-11-17", _) => BillAsked::TooMany,
            (_, Some("absent")) => BillAsked::NoFile,
            (day, _) => BillAsked::Taken(document(day, "waiting")),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn days_are_listed_by_pages_and_one_is_shown_with_its_result() {
    let desk = Desk::open();
    let (status, first) = desk.status("GET /v1/bills?limit=1").await;
    assert_eq!(
        (status, &first["bills"][0]["date"], &first["has_more"]),
        (200, &json!("2026-11-19"), &json!(true))
    );
    let next = format!("GET /v1/bills?limit=1&after={}", first["next"].as_str().unwrap());
    let (_, second) = desk.status(&next).await;
    assert_eq!((&second["bills"][0]["date"], &second["has_more"]), (&json!("2026-11-18"), &json!(false)));
    let last = format!("GET /v1/bills?after={}", second["next"].as_str().unwrap());
    assert_eq!(desk.status(&last).await.1["bills"], json!([]));
    assert_eq!(desk.status("GET /v1/bills?mch_id=1900000222").await.1["bills"], json!([]));
    assert_eq!(desk.status("GET /v1/bills?after=nowhere").await.1["field"], "after");
    let (status, shown) = desk.status(&format!("GET /v1/bills/{MCH}/2026-11-19")).await;
    assert_eq!((status, &shown["result"]["rows"]), (200, &json!(3)));
    for (path, refused, word) in [
        (format!("{MCH}/2026-11-01"), 404, "unknown-bill"),
        (format!("{MCH}/20261119"), 400, "field"),
        (format!("{MCH}/2026-11-31"), 400, "field"),
        ("1900000222/2026-11-19".to_owned(), 404, "unknown-merchant"),
    ] {
        let (status, problem) = desk.status(&format!("GET /v1/bills/{path}")).await;
        assert_eq!(
            (status, &problem["type"]),
            (refused, &json!(format!("urn:paybell:problem:{word}"))),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_is_reconciled_on_demand() {
    let desk = Desk::open();
    let ask = |date: &str, body: Value| format!("POST /v1/bills/{MCH}/{date}/reconcile\n\n{body}");
    let (status, taken) =
        desk.status(&ask("2026-11-18", json!({"file": "mine.csv.gz", "reason": "lost"}))).await;
    assert_eq!((status, &taken["asked"]["request"]), (202, &json!("r1")));
    for (date, body, refused, word) in [
        ("2026-11-20", json!({}), 400, "field"),
        ("2026-11-18", json!({"file": "absent"}), 400, "field"),
        ("2026-11-18", json!({"file": 7}), 400, "field"),
        ("2026-11-18", json!({"path": "/etc/passwd"}), 400, "field"),
        ("2026-11-17", json!({}), 409, "too-many-wishes"),
    ] {
        let (status, problem) = desk.status(&ask(date, body.clone())).await;
        assert_eq!(
            (status, &problem["type"]),
            (refused, &json!(format!("urn:paybell:problem:{word}"))),
            "{date} {body}"
        );
    }
}
