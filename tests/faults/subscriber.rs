//! A subscriber whose queue refuses everything stops nobody.

use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use testkit::servers::{shared_rabbit, shared_redis, wait};

use crate::{
    harness::{eventually, wait_for},
    rig::Rig,
};

#[test]
fn a_subscriber_that_refuses_everything_stops_no_other_and_is_counted() {
    let (rabbit, redis) = (wait(shared_rabbit()), wait(shared_redis()));
    let mut rig = Rig::start(&rabbit, &redis);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exchange = format!("{}.events", rig.prefix);
    let (full, healthy) = (format!("{}-full", rig.prefix), format!("{}-healthy", rig.prefix));
    let channel = runtime.block_on(async {
        let connection = Connection::connect(&rabbit, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let refuses = [
            ("x-max-length", AMQPValue::LongInt(0)),
            ("x-overflow", AMQPValue::LongString(LongString::from("reject-publish"))),
        ];
        subscribe(&channel, &exchange, &full, &refuses).await;
        subscribe(&channel, &exchange, &healthy, &[]).await;
        channel
    });
    rig.suffer("a subscriber's queue that refuses everything", |_| {});
    let refused: f64 =
        rig.workers.iter().map(|worker| worker.metric("paybell_event_fanout_refused_total")).sum();
    assert!(refused >= 1.0, "refusals are counted: {refused}");
    let told = wait_for("the log is read", || crate::promise::events(&rig));
    let heard = || runtime.block_on(count(&channel, &healthy));
    eventually("the healthy one hears everything", || heard() >= told.len());
}

async fn subscribe(channel: &Channel, exchange: &str, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(ShortString::from(*name), value.clone());
    }
    channel
        .queue_declare(queue.into(), QueueDeclareOptions { exclusive: true, ..Default::default() }, table)
        .await
        .unwrap();
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            "order.paid.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
}

async fn count(channel: &Channel, queue: &str) -> usize {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
    usize::try_from(declared.message_count()).unwrap()
}
