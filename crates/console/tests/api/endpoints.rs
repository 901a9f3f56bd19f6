//! Webhooks and old handlers over the API: what is shown, what is stored of a wish, what is refused.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use delivery::{Begin, Endpoint, EndpointName, EndpointUrl, Kind, Reach, Refunded, Wanted, WebhookSecret};
use paybell_core::event::EventType;
use paybell_core::ports::{Note, Notes, PortError};
use serde_json::{Value, json};

use crate::desk::{Desk, paid};

/// Notes in memory.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, Note>>);

#[async_trait]
impl Notes for Memory {
    async fn read(&self, name: &str) -> Result<Option<Note>, PortError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn write(&self, name: &str, expected: Option<u64>, text: &str) -> Result<bool, PortError> {
        let mut notes = self.0.lock().unwrap();
        let version = notes.get(name).map(|note| note.version);
        if version != expected {
            return Ok(false);
        }
        let note = Note { version: version.unwrap_or(0) + 1, text: text.to_owned() };
        notes.insert(name.to_owned(), note);
        Ok(true)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        Ok(self.0.lock().unwrap().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }
}

/// A webhook that wants everything, and an old handler that wants refunds only.
pub fn configured() -> Vec<Endpoint> {
    let reach = Reach { allow_private: true, allow_http: false };
    let of = |name: &str, url: &str, types: &[EventType], kind| Endpoint {
        name: EndpointName::new(name).unwrap(),
        url: EndpointUrl::parse(url, reach).unwrap(),
        wanted: Wanted { types: types.to_vec(), ..Wanted::default() },
        begin: Begin::Now,
        kind,
    };
    let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    vec![
        of("shop", "https://shop.example/hook?token=hunter2", &[], Kind::Webhook(vec![secret].into())),
        of("old", "http://10.0.0.7/notify.php", &[EventType::Refunded], Kind::Legacy(Refunded::HoldBack)),
    ]
}

impl Desk {
    /// The wishes stored for an endpoint, as the note has them.
    fn wishes(&self, name: &str) -> Value {
        let notes = self.notes.0.lock().unwrap();
        let note = notes.get(&format!("delivery-wishes/{name}"));
        note.map_or(Value::Null, |note| serde_json::from_str::<Value>(&note.text).unwrap()["waiting"].clone())
    }

    pub async fn status(&self, request: &str) -> (u16, Value) {
        let answered = self.ask(request).await;
        (answered.status, answered.json())
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_shown_without_secrets() {
    let desk = Desk::open();
    let answered = desk.ask("GET /v1/endpoints").await;
    assert!(!answered.text.contains("hunter2") && !answered.text.contains("MfKQ"), "{}", answered.text);
    let names: Vec<Value> =
        answered.json()["endpoints"].as_array().unwrap().iter().map(|shown| shown["name"].clone()).collect();
    assert_eq!(names, ["shop", "old"]);
    let (status, shown) = desk.status("GET /v1/endpoints/old").await;
    assert_eq!((status, &shown["kind"], &shown["state"]), (200, &json!("legacy"), &json!("new")));
    assert_eq!(desk.status("GET /v1/endpoints/none").await.1["type"], "urn:paybell:problem:unknown-endpoint");
    assert_eq!(desk.status("GET /v1/endpoints?limit=1").await.0, 400);
    // What nobody can read is told, and hides no other endpoint.
    let note = Note { version: 1, text: "{}".to_owned() };
    desk.notes.0.lock().unwrap().insert("delivery/old".to_owned(), note);
    let (_, listing) = desk.status("GET /v1/endpoints").await;
    assert_eq!(
        (&listing["endpoints"][0]["state"], &listing["endpoints"][1]["state"]),
        (&json!("new"), &json!("unreadable"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_or_a_part_of_the_log_is_asked_for() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    let (_, events) = desk.status("GET /v1/events").await;
    let (event, cursor) =
        (&events["events"][0]["event"]["id"], events["events"][0]["cursor"].as_str().unwrap());
    let again = |body: Value| format!("POST /v1/endpoints/shop/resend\n\n{body}");
    let (status, stored) = desk.status(&again(json!({"event": event, "reason": "lost on our side"}))).await;
    assert_eq!((status, stored), (202, json!({"endpoint": "shop", "asked": "resend"})));
    assert_eq!(desk.status(&again(json!({"after": "oldest"}))).await.0, 202);
    assert_eq!(desk.status(&again(json!({"after": "oldest", "to": cursor}))).await.0, 202);
    let position = |wish: &Value| wish[1]["resend"]["to"].clone();
    let wishes = desk.wishes("shop");
    assert_eq!(wishes.as_array().unwrap().len(), 3, "{wishes}");
    assert_eq!(position(&wishes[0]), position(&wishes[2]), "the event lies at its own cursor");
    assert_eq!(desk.status("POST /v1/endpoints/old/enable\n\n{\"reason\":\"mended\"}").await.0, 202);
    let refused = desk.status(&format!("POST /v1/endpoints/old/resend\n\n{}", json!({"event": event}))).await;
    assert_eq!((refused.0, &refused.1["type"]), (409, &json!("urn:paybell:problem:unwanted-event")));
    assert_eq!(desk.wishes("old").as_array().unwrap().len(), 1, "{:?}", desk.wishes("old"));
    assert_eq!(desk.wishes("old")[0][1], "enable");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_is_refused_and_stores_nothing() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    let cursor = desk.status("GET /v1/events").await.1["next"].as_str().unwrap().to_owned();
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (body, status, word) in [
        (json!({}), 400, "field"),
        (json!({"event": "1"}), 400, "field"),
        (json!({"event": unknown, "after": "oldest"}), 400, "field"),
        (json!({"event": unknown, "to": cursor}), 400, "field"),
        (json!({"to": cursor}), 400, "field"),
        (json!({"after": "newest"}), 400, "field"),
        (json!({"after": cursor, "to": cursor}), 400, "field"),
        (json!({"events": []}), 400, "field"),
        (json!({"event": unknown, "reason": "two\nlines"}), 400, "field"),
        (json!({"event": unknown}), 404, "unknown-event"),
    ] {
        let (found, problem) = desk.status(&format!("POST /v1/endpoints/shop/resend\n\n{body}")).await;
        assert_eq!(
            (found, &problem["type"]),
            (status, &json!(format!("urn:paybell:problem:{word}"))),
            "{body}"
        );
    }
    assert_eq!(desk.wishes("shop"), Value::Null);
    for verb in ["resend\n\n{\"after\":\"oldest\"}", "enable"] {
        assert_eq!(desk.status(&format!("POST /v1/endpoints/none/{verb}")).await.0, 404);
    }
    for number in 0..=64 {
        let expected = if number < 64 { 202 } else { 409 };
        let again = "POST /v1/endpoints/shop/resend\n\n{\"after\":\"oldest\"}";
        assert_eq!(desk.status(again).await.0, expected, "{number}");
    }
    for _ in 0..2 {
        assert_eq!(
            desk.status("POST /v1/endpoints/shop/enable").await.0,
            202,
            "which may be what makes room"
        );
    }
    assert_eq!(desk.wishes("shop").as_array().unwrap().len(), 65);
}

#[tokio::test(start_paused = true)]
async fn endpoints_belong_to_operators() {
    let token = |scope| console::Token {
        name: "shop".to_owned(),
        secret: console::Secret::new("s3cret").unwrap(),
        scopes: vec![scope],
        rate: console::Rate::DEFAULT,
        streams_max: 1,
    };
    for (scope, status) in
        [(console::Scope::Events, 403), (console::Scope::Orders, 403), (console::Scope::Operate, 200)]
    {
        let desk = Desk::with(|config| config.tokens = vec![token(scope)]);
        assert_eq!(desk.ask("GET /v1/endpoints\nAuthorization: Bearer s3cret").await.status, status);
    }
}
