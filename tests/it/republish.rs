//! `paybell events republish`, against real servers: the stream is lost and a subscriber's queue emptied, and everything
//! that was told is told again, under the same ids and in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    bills::{ours, reconcile, wechat_of_yesterday},
    harness::{
        MCH, Ran, Settings, Shop, Simulator, eventually, now_ms, rfc3339_in, run, wait_for, wait_within,
    },
    kill::free_address,
    life::assert_valid,
    refunds::certificate,
};

/// By then a log that does not come to a place is another one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that can be told of what happens here.
const KINDS: [&str; 7] = [
    "bill.reconciled",
    "order.duplicate_payment",
    "order.mismatch",
    "order.paid",
    "order.refunded",
    "refund.abnormal",
    "refund.succeeded",
];

#[test]
fn what_the_stream_lost_is_told_again_under_the_same_ids() {
    let (simulator, _papers, shop) = open();
    if !crate::ENGINE.is_cluster() {
        let ran = republish(&shop, &["--since", "2026-11-20T12:00:00+08:00"]);
        return ran.expect(2, &["the embedded engine keeps records and events in one fsynced file"]);
    }
    let broker = Broker::of(&shop);
    let begun = rfc3339_in(-3600);
    live_first(&simulator, &shop);
    // Whole seconds stand in an event's time: what comes is later than all this, and later than what is given here.
    let before = now_ms();
    wait_for("the next seconds", || (now_ms() >= before + 2_000).then_some(()));
    let later = rfc3339_in(0);
    live_on(&simulator, &shop);
    let told = log(&shop);
    let kinds: BTreeSet<&str> = told.values().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), KINDS);
    eventually("the subscriber has all of it", || broker.waiting() >= told.len());
    // At the end: the new log begins with a mark, which lies where an early event lay.
    let place = shop.get("/v1/events?limit=1000").expect(200).json()["next"].as_str().unwrap().to_owned();
    let records = ["T1", "T2", "T3", "Y00000"].map(|order| shop.record(order));

    broker.lose_everything();
    eventually("an empty log is there again", || {
        shop.get_once("/v1/events").status == 200 && log(&shop).is_empty()
    });
    // A node may only be behind, so nobody is sent away before a mark tells. A busy machine may have laid one by now.
    let place = format!("/v1/events?after={place}");
    let first = shop.get_once(&place);
    assert!(matches!(first.status, 503 | 410), "the log may come to that place yet: {first:?}");
    wait_within(PATIENCE, "that place is gone", || (shop.get_once(&place).status == 410).then_some(()));

    let counted = republish(&shop, &["--since", &begun, "--dry-run", "--json"]).counts();
    assert_eq!(counted["dry_run"], true);
    assert_eq!(counted["by_type"], json!(count(&told)), "every event of every type");
    assert_eq!((counted["events"].as_u64(), broker.waiting()), (Some(told.len() as u64), 0));
    assert!(log(&shop).is_empty(), "nothing is emitted");

    let is_later = |event: &Value| event["time"].as_str().unwrap() >= later.as_str();
    let tail: BTreeMap<_, _> = told.clone().into_iter().filter(|(_, event)| is_later(event)).collect();
    assert!(!tail.is_empty() && tail.len() < told.len());
    republish(&shop, &["--since", &later]).expect(0, &[&format!("{} events emitted again", tail.len())]);
    assert_eq!(log(&shop), tail, "what was told since, in the same words");
    let bills = republish(&shop, &["--since", &begun, "--type", "bill.reconciled", "--json"]).counts();
    assert_eq!(bills["by_type"], json!({ "bill.reconciled": 1 }));
    let head = ["--since", &begun, "--until", &later, "--mch-id", MCH];
    republish(&shop, &head).expect(0, &["events emitted again"]);
    assert_eq!(log(&shop), told, "all of it, and no second id");
    let nobody = ["--since", &begun, "--mch-id", "1900000222", "--json"];
    assert_eq!(republish(&shop, &nobody).counts()["events"], 0);

    let heard = broker.heard();
    assert_eq!(heard.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>(), "subscribers hear it too");
    assert_eq!(heard, told);
    assert_eq!(["T1", "T2", "T3", "Y00000"].map(|order| shop.record(order)), records, "no record changed");
    assert_valid(&shop);
    // And life goes on behind it.
    pay(&simulator, &shop, "T9", 1999);
    shop.event("T9", "order.paid");
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
}

/// A shop that refunds, and whose yesterday WeChat was paid for without a word.
fn open() -> (Simulator, TempDir, Shop) {
    let (simulator, papers, ingress) = (wechat_of_yesterday(1), TempDir::new().unwrap(), free_address());
    let folder = papers.path().join("bills");
    let shop = Shop::open(&Settings {
        top: &format!(
            "reconcile.automatic = false\nreconcile.folder = \"{}\"\ningress.public_url = \"http://{ingress}\"",
            folder.display()
        ),
        merchant: &format!("{}{}", certificate(&papers), ours()),
        ingress: &ingress.to_string(),
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    (simulator, papers, shop)
}

/// A payment, one of another amount, one order paid twice, and yesterday's bill.
fn live_first(simulator: &Simulator, shop: &Shop) {
    pay(simulator, shop, "T1", 1999);
    shop.event("T1", "order.paid");
    shop.register("T2", &json!({ "total_fee": 5 })).expect(201);
    pay(simulator, shop, "T2", 1999);
    shop.event("T2", "order.mismatch");
    for order in ["D1", "D2"] {
        shop.register(order, &json!({ "total_fee": 1999, "business_no": "B1" })).expect(201);
        pay(simulator, shop, order, 1999);
        shop.event(order, if order == "D1" { "order.paid" } else { "order.duplicate_payment" });
    }
    assert_eq!(reconcile(shop, &[]).code, Some(1), "it found what nobody told");
    shop.event("Y00000", "order.paid");
    eventually("the bill is told", || !of_kind(shop, "bill.reconciled").is_empty());
}

/// Two refunds: one that ends well, one that a bank refuses.
fn live_on(simulator: &Simulator, shop: &Shop) {
    pay(simulator, shop, "T3", 1999);
    shop.event("T3", "order.paid");
    let settings = json!({ "refund_delay_s": 100_000_000 });
    simulator.send("PUT", "/_sim/settings", &settings).expect(200);
    for (order, number, state, kind) in
        [("T1", "R1", "SUCCESS", "refund.succeeded"), ("T3", "R3", "CHANGE", "refund.abnormal")]
    {
        let wish = json!({ "out_refund_no": number, "refund_fee": 500 });
        shop.order_verb(order, "refunds?wait=20s", &wish).expect(201);
        let path = format!("/_sim/refunds/{MCH}/{number}/end");
        simulator.send("POST", &path, &json!({ "state": state })).expect(200);
        wait_for(&format!("{number} is told"), || {
            of_kind(shop, kind).into_iter().find(|event| event["data"]["out_refund_no"] == number)
        });
    }
    shop.event("T1", "order.refunded");
}

fn pay(simulator: &Simulator, shop: &Shop, order: &str, fee: u64) {
    let notify_url = format!("http://{}/notify/pay", shop.service.address("ingress"));
    let new = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": fee, "notify_url": notify_url });
    simulator.send("POST", "/_sim/orders", &new).expect(201);
    simulator.send("POST", &format!("/_sim/orders/{MCH}/{order}/pay"), &json!({})).expect(200);
}

fn of_kind(shop: &Shop, kind: &str) -> Vec<Value> {
    log(shop).into_values().filter(|event| event["type"] == kind).collect()
}

/// The log by id. Repeats of one id are equal.
#[track_caller]
fn log(shop: &Shop) -> BTreeMap<String, Value> {
    let mut events = BTreeMap::new();
    for row in shop.log() {
        let event = row["event"].clone();
        let repeated = events.insert(event["id"].as_str().unwrap().to_owned(), event.clone());
        assert!(repeated.is_none_or(|earlier| earlier == event), "{event}");
    }
    events
}

fn count(events: &BTreeMap<String, Value>) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for event in events.values() {
        *counts.entry(event["type"].as_str().unwrap()).or_default() += 1;
    }
    counts
}

/// The command beside the running service.
fn republish(shop: &Shop, more: &[&str]) -> Ran {
    let config = shop.config().display().to_string();
    run(&[&["events", "republish", "--config", &config], more].concat())
}

impl Ran {
    #[track_caller]
    fn counts(&self) -> Value {
        self.expect(0, &[]);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// The broker as somebody else sees it: with a subscriber's queue, and the power to lose things.
struct Broker {
    runtime: Runtime,
    channel: Channel,
    prefix: String,
    queue: String,
}

impl Broker {
    fn of(shop: &Shop) -> Self {
        let text = std::fs::read_to_string(shop.config()).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.unwrap().trim_end_matches('"').to_owned()
        };
        let (url, prefix) = (value("rabbitmq.url"), value("rabbitmq.prefix"));
        let queue = format!("{prefix}-subscriber");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let channel = runtime.block_on(async {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
            let (name, exchange) = (queue.as_str().into(), format!("{prefix}.events").into());
            channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
            let options = QueueBindOptions::default();
            channel.queue_bind(name, exchange, "#".into(), options, FieldTable::default()).await.unwrap();
            channel
        });
        Self { runtime, channel, prefix, queue }
    }

    /// Messages that the subscriber has not taken.
    fn waiting(&self) -> usize {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(self.queue.as_str().into(), options, FieldTable::default());
        usize::try_from(self.runtime.block_on(declared).unwrap().message_count()).unwrap()
    }

    /// The stream is gone, and so is what the subscriber had not taken.
    fn lose_everything(&self) {
        let stream = format!("{}.events.log", self.prefix);
        self.runtime.block_on(async {
            let queue = self.queue.as_str().into();
            self.channel.queue_purge(queue, QueuePurgeOptions::default()).await.unwrap();
            self.channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        });
    }

    /// What the subscriber takes, by id.
    fn heard(&self) -> BTreeMap<String, Value> {
        let mut heard = BTreeMap::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) =
            self.runtime.block_on(self.channel.basic_get(self.queue.as_str().into(), options)).unwrap()
        {
            let event: Value = serde_json::from_slice(&message.data).unwrap();
            let id = message.properties.message_id().as_ref().unwrap().to_string();
            assert_eq!(event["id"], id.as_str());
            heard.insert(id, event);
        }
        heard
    }
}
