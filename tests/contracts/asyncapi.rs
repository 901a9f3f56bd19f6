//! `docs/asyncapi.yaml`: valid to the specification's own parser, and true: names as the broker gets them, headers and
//! bodies as they really come.

use std::{
    io::{BufRead, BufReader, Write},
    process::Command,
};

use jsonschema::Validator;
use paybell_core::event::EventType;
use rabbitmq::topology::{Kind, plan};
use serde_json::{Map, Value, json};

use crate::{
    harness::{Request, http::connect},
    shop::{Guarded, TOKEN},
    tools::{document, node, ran},
};

fn channels() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(document("docs/asyncapi.yaml")).unwrap()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

fn event_schema() -> Validator {
    let text = std::fs::read_to_string(document("docs/event.schema.json")).unwrap();
    validator(&serde_json::from_str(&text).unwrap())
}

#[track_caller]
fn holds(validator: &Validator, value: &Value) {
    let refusals: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(refusals.is_empty(), "{value}: {refusals:#?}");
}

fn parser(path: &std::path::Path) -> Option<Command> {
    let mut command = node("validate_asyncapi.js")?;
    command.arg(path);
    Some(command)
}

#[test]
fn the_document_is_valid_and_a_broken_one_is_not() {
    let path = document("docs/asyncapi.yaml");
    let Some(mut command) = parser(&path) else { return };
    let (is_valid, said) = ran(&mut command);
    assert!(is_valid, "{said}");
    let counted: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(counted, json!({ "channels": 5, "operations": 5, "messages": 5 }));
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(document("docs/event.schema.json"), folder.path().join("event.schema.json")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for (sound, broken) in [
        ("action: receive", "action: consume"),
        ("is: routingKey", "is: exchange"),
        ("$ref: '#/channels/orders'", "$ref: '#/channels/order'"),
    ] {
        assert!(text.contains(sound), "{sound}");
        let place = folder.path().join("asyncapi.yaml");
        std::fs::write(&place, text.replace(sound, broken)).unwrap();
        let (is_valid, said) = ran(&mut parser(&place).unwrap());
        assert!(!is_valid, "{broken} passed: {said}");
    }
}

#[test]
fn names_and_types_are_those_of_the_code() {
    let document = channels();
    let types: Value = EventType::ALL.into_iter().map(EventType::as_str).collect();
    assert_eq!(document["channels"]["events"]["parameters"]["type"]["enum"], types);
    let headers = &document["components"]["messages"]["sseEvent"]["headers"];
    assert_eq!(headers["properties"]["event"]["enum"], types);
    let shape = rabbitmq::RabbitConfig::at("amqp://127.0.0.1").shape();
    let plan = plan(&shape);
    for (channel, part, kind) in [
        ("events", "exchange", Kind::TopicExchange),
        ("orders", "exchange", Kind::FanoutExchange),
        ("log", "queue", Kind::Stream),
    ] {
        let described = &document["channels"][channel]["bindings"]["amqp"][part];
        let name = described["name"].as_str().unwrap();
        let item = plan.iter().find(|item| item.name == name && item.kind == kind);
        assert!(item.is_some(), "{channel}: there is no {} {name} in {plan:#?}", kind.as_str());
        assert_eq!(described["durable"], true, "{channel}");
        if part == "exchange" {
            assert_eq!(kind.as_str(), format!("{} exchange", described["type"].as_str().unwrap()));
        }
    }
}

#[test]
fn the_examples_are_what_they_are_examples_of() {
    let document = channels();
    let mut checked = 0;
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        for example in message["examples"].as_array().into_iter().flatten() {
            let schema = match message["payload"]["$ref"].as_str() {
                Some("event.schema.json") => event_schema(),
                Some(other) => panic!("{name}: {other}"),
                None => validator(&message["payload"]),
            };
            holds(&schema, &example["payload"]);
            checked += 1;
        }
    }
    assert_eq!(checked, 2);
}

/// The registration by message is the body of `PUT` with the order's numbers: field for field as the OpenAPI document
/// says it.
#[test]
fn a_registration_is_the_same_by_message_and_by_put() {
    let mut posted = channels()["components"]["messages"]["registration"]["payload"].clone();
    let api: Value = serde_json::from_str(include_str!("../../crates/console/src/openapi.json")).unwrap();
    let parameters = &api["components"]["parameters"];
    let fields = posted["properties"].as_object_mut().unwrap();
    for number in ["mch_id", "out_trade_no"] {
        assert_eq!(fields.remove(number).unwrap(), parameters[number]["schema"], "{number}");
    }
    let put = &api["components"]["schemas"]["Registration"];
    let bare = |fields: &Map<String, Value>| -> Map<String, Value> {
        let without = |field: &Value| {
            let mut field = field.clone();
            field.as_object_mut().unwrap().remove("description");
            field
        };
        fields.iter().map(|(name, field)| (name.clone(), without(field))).collect()
    };
    assert_eq!(bare(fields), bare(put["properties"].as_object().unwrap()));
    assert_eq!(posted["additionalProperties"], put["additionalProperties"]);
}

#[test]
fn what_comes_by_webhook_and_by_stream_is_what_the_document_says() {
    let document = channels();
    let messages = &document["components"]["messages"];
    let event = event_schema();
    let guarded = Guarded::open();
    let mut stream = connect(guarded.address()).unwrap();
    let request = Request::new("GET", "/v1/events/stream").token(TOKEN);
    stream.write_all(&request.to_bytes(guarded.address())).unwrap();
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line == ": paybell events"), "the stream is open");
    guarded.fill();
    let received =
        guarded.receiver.wait_for("/hook", "order.paid", |received| received.json()["type"] == "order.paid");
    holds(&event, &received.json());
    let names = received.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), json!(value)));
    let headers = Value::Object(names.collect());
    holds(&validator(&messages["webhookEvent"]["headers"]), &headers);
    assert_eq!(headers["webhook-id"], received.json()["id"]);
    let mut fields = Map::new();
    let told = loop {
        let line = lines.next().unwrap();
        match line.split_once(": ") {
            Some(("data", data)) => break serde_json::from_str::<Value>(data).unwrap(),
            Some((name, value)) if !name.is_empty() => drop(fields.insert(name.to_owned(), json!(value))),
            _ => {}
        }
    };
    holds(&event, &told);
    holds(&validator(&messages["sseEvent"]["headers"]), &Value::Object(fields.clone()));
    assert_eq!(fields["event"], told["type"]);
    let nowhere = format!("{:048x}", 7);
    let gone = Request::new("GET", "/v1/events/stream").token(TOKEN).header("Last-Event-ID", nowhere);
    let answer = gone.send(guarded.address()).expect(200);
    let field = |name: &str| {
        let line = answer.body.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {answer:?}")).to_owned()
    };
    let reset = &messages["sseReset"];
    holds(&validator(&reset["headers"]), &json!({ "id": field("id"), "event": field("event") }));
    holds(&validator(&reset["payload"]), &serde_json::from_str(&field("data")).unwrap());
}
