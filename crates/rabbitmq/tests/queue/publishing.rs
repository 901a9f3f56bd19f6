//! What `Ok` of a publish means, and what is no `Ok`.

use std::collections::HashSet;

use futures_util::future::join_all;
use paybell_core::check::{Check, Lane};
use paybell_core::ids::OrderKey;
use tokio::task::JoinSet;

use super::common::{Outsider, Process, end, fresh, key, keys, manual, poll, until};

/// Publishes each number by itself, all at once; gives the orders whose publish was confirmed.
async fn confirmed(process: &Process, numbers: std::ops::Range<usize>) -> HashSet<OrderKey> {
    let mut tasks = JoinSet::new();
    for number in numbers {
        let queue = process.queue.clone();
        tasks.spawn(async move { queue.publish(&[manual(number)]).await.is_ok().then(|| key(number)) });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The first publish finds that it is gone, and costs the connection; what was under way on it is published again.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_costs_no_publish_and_comes_back() {
    let config = fresh().await;
    let outsider = Outsider::at(&config.url).await;
    let process = Process::publisher(&config).await;
    process.queue.publish(&[manual(0)]).await.unwrap();
    let gone = format!("{}.checks.1", config.prefix);
    outsider.delete(&gone).await;
    let stored = confirmed(&process, 1..301).await;
    assert_eq!(stored.len(), 300, "the other queue takes them, or this one once it is there again");
    until("the queue is there again and takes checks", || async {
        assert_eq!(confirmed(&process, 301..341).await.len(), 40);
        outsider.waiting(&gone).await > 0
    })
    .await;
    let worker = Process::worker(&config).await;
    worker.drain(stored.into_iter().chain(keys(301..341)).collect()).await;
    end(&config, [process, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_at_once_are_stored_in_their_queues() {
    let config = fresh().await;
    let process = Process::publisher(&config).await;
    let checks: Vec<Check> = (0..3_000).map(poll).chain((0..10).map(manual)).collect();
    process.queue.publish(&checks).await.unwrap();
    process.backlog_becomes(Lane::Cadence, 3_000).await;
    process.backlog_becomes(Lane::Urgent, 10).await;
    let outsider = Outsider::at(&config.url).await;
    let one = outsider.get(&format!("{}.due.0", config.prefix)).await.unwrap();
    assert_eq!(Check::from_json(&one.data).unwrap().to_json(), one.data);
    assert_eq!(*one.properties.delivery_mode(), Some(2));
    assert!(one.properties.message_id().as_ref().unwrap().as_str().starts_with("1900000109:T"));
    end(&config, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_nobody_waits_for_do_not_wear_the_publisher_out() {
    let config = fresh().await;
    let process = Process::publisher(&config).await;
    for number in 0..2_500 {
        let check = [manual(number)];
        tokio::select! {
            biased;
            published = process.queue.publish(&check) => published.unwrap(),
            () = tokio::task::yield_now() => {}
        }
    }
    process.queue.publish(&[manual(2_999)]).await.unwrap();
    assert_eq!(confirmed(&process, 3_000..3_300).await.len(), 300);
    end(&config, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_is_under_way_and_nothing_else_begins() {
    let config = fresh().await;
    let process = Process::publisher(&config).await;
    let publish = async |number| process.queue.publish(&[manual(number)]).await;
    let mut publishes: Vec<_> = (0..100).map(|number| Box::pin(publish(number))).collect();
    // All of them have begun when closing begins.
    let begin = async {
        for publish in &mut publishes {
            assert!(futures_util::poll!(publish).is_pending());
        }
    };
    tokio::task::unconstrained(begin).await;
    let (published, ()) = tokio::join!(join_all(publishes), process.rabbit.close());
    assert!(published.iter().all(Result::is_ok), "{:?}", published.iter().find(|ended| ended.is_err()));
    let refused = process.queue.publish(&[manual(999)]).await.unwrap_err();
    assert_eq!(refused.to_string(), "queue is unavailable: closed");
    let worker = Process::worker(&config).await;
    assert_eq!(worker.drain(keys(0..100)).await, 0);
    end(&config, [process, worker]).await;
}
