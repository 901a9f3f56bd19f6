//! The stock clients themselves: they take what keeps the contract, name what does not, and can register an order.
//! Whether Paybell's own events keep it is for the end-to-end tests, which use the same clients.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test falls where something is not as it should be"
)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use testkit::servers::{StockClient, shared_rabbit, unique_prefix};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/event.schema.json");
const MCH: &str = "1900000109";

/// An exchange of its own on the shared broker.
struct Desk {
    url: String,
    exchange: String,
    channel: Channel,
    _connection: Connection,
}

impl Desk {
    async fn open() -> Self {
        let url = shared_rabbit().await;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let exchange = format!("{}.events", unique_prefix());
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let name = ShortString::from(exchange.as_str());
        channel.exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default()).await.unwrap();
        Self { url, exchange, channel, _connection: connection }
    }

    async fn publish(&self, key: &str, properties: BasicProperties, body: &[u8]) {
        let (exchange, key) = (ShortString::from(self.exchange.as_str()), ShortString::from(key));
        let options = BasicPublishOptions::default();
        self.channel.basic_publish(exchange, key, options, body, properties).await.unwrap().await.unwrap();
    }

    /// As the contract says it.
    async fn publish_event(&self, event: &Value) {
        self.publish(&key_of(event), properties_of(event), event.to_string().as_bytes()).await;
    }

    async fn close(self) {
        let name = ShortString::from(self.exchange.as_str());
        self.channel.exchange_delete(name, Default::default()).await.unwrap();
    }
}

/// A client that has bound its queue.
struct Subscriber {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Subscriber {
    fn start(client: StockClient, desk: &Desk, count: usize) -> Self {
        let count = count.to_string();
        let mut child = client
            .command("subscriber")
            .args(["--url", &desk.url, "--exchange", &desk.exchange, "--schema", SCHEMA, "--count", &count])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Self { child, lines }
    }

    fn end(mut self) -> (i32, Value) {
        let findings = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        (self.child.wait().unwrap().code().unwrap(), findings)
    }
}

fn event(number: u8) -> Value {
    let out_trade_no = format!("T20261120000000{number:02}");
    json!({
        "specversion": "1.0", "id": format!("8803801d-9ff3-598c-bbfa-290c72a9eb{number:02x}"),
        "source": format!("/paybell/{MCH}"), "type": "order.paid", "subject": out_trade_no,
        "time": "2026-11-20T12:00:05+08:00", "datacontenttype": "application/json",
        "data": {
            "version": 3, "mch_id": MCH, "sub_mch_id": null, "appid": "wx8888888888888888",
            "out_trade_no": out_trade_no, "transaction_id": "4200001234202611200123456789",
            "total_fee": 1999, "fee_type": "CNY", "cash_fee": 1999, "settlement_total_fee": null,
            "coupon_fee": null, "coupons": [], "trade_state": "SUCCESS", "trade_type": "JSAPI",
            "bank_type": "OTHERS", "attach": "\u{8ba2}\u{5355}", "paid_at": "2026-11-20T12:00:03+08:00",
            "learned_by": "notification", "late": false, "registered": true
        }
    })
}

fn key_of(event: &Value) -> String {
    format!("{}.{MCH}", event["type"].as_str().unwrap())
}

fn properties_of(event: &Value) -> BasicProperties {
    let text = |name: &str| ShortString::from(event[name].as_str().unwrap());
    BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_message_id(text("id"))
        .with_type(text("type"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_subscribers_take_what_keeps_the_contract() {
    let desk = Desk::open().await;
    let clients = StockClient::all();
    let subscribers: Vec<_> = clients.iter().map(|client| Subscriber::start(*client, &desk, 3)).collect();
    let mut denial = event(9);
    denial["type"] = json!("order.closed");
    for event in [&event(1), &denial, &event(2), &event(1), &event(3)] {
        desk.publish_event(event).await;
    }
    for subscriber in subscribers {
        let (code, findings) = subscriber.end();
        assert_eq!(findings["differences"], json!([]), "{findings}");
        assert_eq!(
            (code, &findings["events"], &findings["repeats"]),
            (0, &json!(3), &json!(1)),
            "{findings}"
        );
        assert_eq!(findings["ids"], json!([event(1)["id"], event(2)["id"], event(3)["id"]]));
    }
    desk.close().await;
}

/// One way to break the contract: the words that both clients must name, the routing key, properties and body.
type Breach = (&'static str, String, BasicProperties, Vec<u8>);

fn breaches() -> Vec<Breach> {
    let good = event(1);
    let (key, properties, body) = (key_of(&good), properties_of(&good), good.to_string().into_bytes());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        event.to_string().into_bytes()
    };
    let with = |properties: BasicProperties| (key.clone(), properties, body.clone());
    let having = |body: Vec<u8>| (key.clone(), properties.clone(), body);
    let other_id = event(2)["id"].as_str().unwrap().to_owned();
    let breaches = [
        ("message_id", with(properties.clone().with_message_id(other_id.into()))),
        ("type", with(properties.clone().with_type("order.refunded".into()))),
        ("content_type", with(properties.clone().with_content_type("application/json".into()))),
        ("delivery_mode", with(properties.clone().with_delivery_mode(1))),
        ("routing key", ("order.paid.1900000110".to_owned(), properties.clone(), body.clone())),
        ("source", having(changed(&|event| event["source"] = json!("/paybell/1900000110")))),
        ("subject", having(changed(&|event| event["subject"] = json!("T1")))),
        ("total_fee", having(changed(&|event| event["data"]["total_fee"] = json!("19.99")))),
        ("paid_at", having(changed(&|event| event["data"]["paid_at"] = json!("yesterday")))),
        (
            "cash_fee",
            having(changed(&|event| drop(event["data"].as_object_mut().unwrap().remove("cash_fee")))),
        ),
        ("body: not JSON", having(b"<xml/>".to_vec())),
    ];
    breaches.into_iter().map(|(words, (key, properties, body))| (words, key, properties, body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_subscribers_name_every_breach() {
    let desk = Desk::open().await;
    for (words, key, properties, body) in breaches() {
        let clients = StockClient::all();
        let subscribers: Vec<_> = clients.iter().map(|client| Subscriber::start(*client, &desk, 1)).collect();
        desk.publish(&key, properties, &body).await;
        for subscriber in subscribers {
            let (code, findings) = subscriber.end();
            let difference = findings["differences"][0]["difference"].as_str().unwrap_or_default();
            assert!(code == 1 && difference.contains(words), "{words}: {code} {findings}");
        }
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_body_under_one_id_is_a_breach() {
    let desk = Desk::open().await;
    let clients = StockClient::all();
    let subscribers: Vec<_> = clients.iter().map(|client| Subscriber::start(*client, &desk, 2)).collect();
    let mut other = event(1);
    other["data"]["total_fee"] = json!(2000);
    desk.publish_event(&event(1)).await;
    desk.publish_event(&other).await;
    for subscriber in subscribers {
        let (code, findings) = subscriber.end();
        let difference = findings["differences"][0]["difference"].as_str().unwrap_or_default();
        assert!(code == 1 && difference.contains("another event under the same id"), "{findings}");
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_shops_register_and_notice_when_nobody_listens() {
    let desk = Desk::open().await;
    let queue = ShortString::from(format!("{}.queue", desk.exchange));
    let register = |client: &StockClient| {
        let output = client
            .command("publish_order")
            .args(["--url", &desk.url, "--exchange", &desk.exchange, "--mch-id", MCH])
            .args(["--out-trade-no", "T1", "--total-fee", "1999", "--more", r#"{"fee_type":"CNY"}"#])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for client in StockClient::all() {
        let (code, words) = register(client);
        assert!(code == Some(1) && words.contains("not registered"), "{client:?}: {code:?} {words}");
    }
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    desk.channel.queue_declare(queue.clone(), options, FieldTable::default()).await.unwrap();
    let exchange = ShortString::from(desk.exchange.as_str());
    let (everything, none) = (ShortString::from("#"), FieldTable::default());
    desk.channel
        .queue_bind(queue.clone(), exchange, everything, QueueBindOptions::default(), none)
        .await
        .unwrap();
    for client in StockClient::all() {
        assert_eq!(register(client), (Some(0), String::new()), "{client:?}");
        let order = desk.channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await;
        let order = order.unwrap().expect("a confirmed message is in its queue").delivery;
        let body: Value = serde_json::from_slice(&order.data).unwrap();
        assert_eq!(body, json!({"mch_id": MCH, "out_trade_no": "T1", "total_fee": 1999, "fee_type": "CNY"}));
        assert_eq!(order.properties.delivery_mode(), &Some(2));
        assert_eq!(order.properties.content_type().as_ref().unwrap().as_str(), "application/json");
    }
    desk.close().await;
}
