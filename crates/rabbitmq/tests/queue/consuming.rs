//! Which queues are consumed, and what becomes of what is delivered.

use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicNackOptions};
use paybell_core::check::Lane;
use paybell_core::ports::PortError;
use rabbitmq::{Needs, RabbitConfig};

use super::common::{Outsider, Process, deliveries, end, fresh, keys, manual, receive, until};
use super::strangers::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_no_longer_configured_are_consumed_too() {
    let four = RabbitConfig { partitions: 4, ..fresh().await };
    let before = Process::publisher(&four).await;
    let outsider = Outsider::at(&four.url).await;
    outsider.spread(&four, "checks", &(0..200).map(manual).collect::<Vec<_>>()).await;
    before.rabbit.close().await;
    let two = RabbitConfig { partitions: 2, ..four.clone() };
    let worker = Process::worker(&two).await;
    assert_eq!(worker.drain(keys(0..200)).await, 0);
    end(&four, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_later_are_found() {
    let two = RabbitConfig { look_pause: Duration::from_millis(200), ..fresh().await };
    let worker = Process::worker(&two).await;
    worker.publish(&[manual(0)]).await;
    worker.drain(keys([0])).await;
    let four = RabbitConfig { partitions: 4, ..two.clone() };
    let (more, outsider) = (Process::publisher(&four).await, Outsider::at(&four.url).await);
    for partition in 0..4 {
        let queue = format!("{}.checks.{partition}", four.prefix);
        outsider.put(&queue, &manual(1 + partition).to_json()).await;
    }
    assert_eq!(worker.drain(keys(1..5)).await, 0);
    end(&four, [worker, more]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_holds_no_more_than_its_prefetch() {
    let config = RabbitConfig { urgent_prefetch: 40, ..fresh().await };
    let (before, outsider) = (Process::publisher(&config).await, Outsider::at(&config.url).await);
    outsider.spread(&config, "checks", &(0..500).map(manual).collect::<Vec<_>>()).await;
    let worker = Process::worker(&config).await;
    let in_hand = worker.receive(Lane::Urgent, 40).await;
    let waiting = async || {
        outsider.waiting(&format!("{}.checks.0", config.prefix)).await
            + outsider.waiting(&format!("{}.checks.1", config.prefix)).await
    };
    assert_eq!(waiting().await, 460);
    worker.backlog_becomes(Lane::Urgent, 500).await;
    drop(in_hand);
    assert_eq!(waiting().await, 460, "what is dropped is not the broker's again");
    assert_eq!(worker.drain(keys(0..500)).await, 0);
    end(&config, [before, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_fetching_gives_back_what_nobody_took_at_once() {
    let config = RabbitConfig { urgent_prefetch: 40, ..fresh().await };
    let (before, outsider) = (Process::publisher(&config).await, Outsider::at(&config.url).await);
    outsider.spread(&config, "checks", &(0..100).map(manual).collect::<Vec<_>>()).await;
    let ends = Process::worker(&config).await;
    let mut in_hand = ends.receive(Lane::Urgent, 10).await;
    let dropped = in_hand.pop().unwrap();
    let held: Vec<_> = in_hand.iter().map(|delivery| delivery.check.key.clone()).collect();
    ends.rabbit.stop_fetching();
    let other = Process::worker(&config).await;
    let mut expected = keys(0..100);
    expected.retain(|key| !held.contains(key) && *key != dropped.check.key);
    assert_eq!(other.drain(expected).await, 0, "while the first has not ended yet");
    let last = dropped.check.key.clone();
    drop(dropped);
    assert_eq!(other.drain([last].into()).await, 0, "what is put back later too");
    for delivery in in_hand {
        delivery.done().await.unwrap();
    }
    ends.rabbit.close().await;
    other.backlog_becomes(Lane::Urgent, 0).await;
    end(&config, [before, other]).await;
}

/// Hands the next message of a queue out in vain, so many times.
async fn fail(outsider: &Outsider, queue: &str, times: usize) {
    for _ in 0..times {
        let get = BasicGetOptions::default();
        let got = outsider.channel.basic_get(queue.into(), get).await.unwrap().expect("it is there again");
        got.delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reached_its_delivery_limit_is_handed_out_by_the_dead_source() {
    let config = RabbitConfig { partitions: 1, delivery_limit: 2, ..fresh().await };
    let publisher = Process::publisher(&config).await;
    let outsider = Outsider::at(&config.url).await;
    outsider.spread(&config, "checks", &[manual(7)]).await;
    fail(&outsider, &format!("{}.checks.0", config.prefix), 3).await;
    let dead = format!("{}.dead", config.prefix);
    until("it is dead", || async { outsider.waiting(&dead).await == 1 }).await;
    let worker = Process::worker(&config).await;
    let dead_source = worker.rabbit.dead_source().unwrap();
    drop(receive(&dead_source, Lane::Urgent, 1).await);
    let again = receive(&dead_source, Lane::Urgent, 1).await.remove(0);
    assert_eq!(again.check, manual(7));
    again.done().await.unwrap();
    worker.rabbit.close().await;
    assert_eq!(outsider.waiting(&dead).await, 0, "what is done does not come again");
    end(&config, [publisher, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_dealt_with_does_not_hide_the_next() {
    let config = RabbitConfig { partitions: 1, delivery_limit: 2, ..fresh().await };
    let publisher = Process::publisher(&config).await;
    let outsider = Outsider::at(&config.url).await;
    outsider.spread(&config, "checks", &[manual(7), manual(8)]).await;
    let dead = format!("{}.dead", config.prefix);
    for count in [1, 2] {
        fail(&outsider, &format!("{}.checks.0", config.prefix), 3).await;
        until("it is dead", || async { outsider.waiting(&dead).await == count }).await;
    }
    let worker = Process::worker(&config).await;
    let dead_source = worker.rabbit.dead_source().unwrap();
    let first = receive(&dead_source, Lane::Urgent, 1).await.remove(0);
    until("the other waits here too", || async { outsider.waiting(&dead).await == 0 }).await;
    let given_back = first.check.clone();
    drop(first);
    let second = receive(&dead_source, Lane::Urgent, 1).await.remove(0);
    assert_ne!(second.check, given_back);
    second.done().await.unwrap();
    let first = receive(&dead_source, Lane::Urgent, 1).await.remove(0);
    assert_eq!(first.check, given_back, "it comes again");
    first.done().await.unwrap();
    end(&config, [publisher, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_reached_its_delivery_limit_becomes_a_dead_letter() {
    let config = RabbitConfig { partitions: 1, delivery_limit: 2, ..fresh().await };
    let declared = Process::publisher(&config).await;
    let (outsider, orders) = (Outsider::at(&config.url).await, format!("{}.orders", config.prefix));
    outsider.put_to(&orders, "", b"{\"total_fee\":1}").await;
    until("it is there", || async { outsider.waiting(&orders).await == 1 }).await;
    fail(&outsider, &orders, 3).await;
    let desk = Desk::new();
    let needs = Needs { letters: Some(desk.letters()), ..deliveries() };
    let worker = Process::start(&config, needs).await;
    until("it is buried", || async { desk.buried().len() == 1 }).await;
    let letter = desk.buried().remove(0);
    assert_eq!(
        (letter.reason.as_str(), letter.document.as_deref()),
        ("registration", Some("{\"total_fee\":1}"))
    );
    worker.rabbit.close().await;
    assert_eq!(outsider.waiting(&format!("{}.dead", config.prefix)).await, 0);
    end(&config, [declared, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_come_as_they_were_posted_until_they_are_done() {
    let config = fresh().await;
    let process = Process::start(&config, Needs { registrations: true, ..Needs::default() }).await;
    let (outsider, exchange) = (Outsider::at(&config.url).await, format!("{}.orders", config.prefix));
    outsider.put_to(&exchange, "whatever", b"\xff not JSON").await;
    let orders = process.rabbit.orders().unwrap();
    let first = orders.receive(8).await.unwrap();
    assert_eq!(first[0].body(), b"\xff not JSON");
    drop(first);
    let mut again = orders.receive(8).await.unwrap();
    again.remove(0).done().await;
    process.rabbit.close().await;
    assert_eq!(outsider.waiting(&exchange).await, 0);
    assert!(matches!(orders.receive(1).await, Err(PortError::Unavailable { part: "queue", .. })));
    end(&config, [process]).await;
}
