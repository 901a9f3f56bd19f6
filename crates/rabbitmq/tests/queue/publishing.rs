//! What `Ok` of a publish means, and what is no `Ok`.

use std::collections::HashSet;

use futures_util::future::join_all;
use paybell_core::check::{Check, Lane};
use paybell_core::ids::OrderKey;
use tokio::task::JoinSet;

use super::common::{Outsider, Process, end, fresh, in_time, key, keys, manual, poll, until};

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
    in_time(async || {
        let config = fresh().await;
        let outsider = Outsider::at(&config.url).await;
        let process = Process::publisher(&config).await;
        process.publish(&[manual(0)]).await;
        let gone = format!("{}.checks.1", config.prefix);
        outsider.delete(&gone).await;
        let stored = confirmed(&process, 1..301).await;
        println!("{} of 300: the other queue takes them, or this one once it is there again", stored.len());
        let cost = 300 - stored.len();
        until("the queue is there again and takes checks", || async {
            confirmed(&process, 301..341).await.len() == 40 && outsider.waiting(&gone).await > 0
        })
        .await;
        let worker = Process::worker(&config).await;
        worker.drain(stored.into_iter().chain(keys(301..341)).collect()).await;
        end(&config, [process, worker]).await;
        cost == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_at_once_are_stored_in_their_queues() {
    let checks: Vec<Check> = (0..3_000).map(poll).chain((0..10).map(manual)).collect();
    in_time(async || {
        let config = fresh().await;
        let process = Process::publisher(&config).await;
        if process.queue.publish(&checks).await.is_err() {
            return false;
        }
        process.backlog_becomes(Lane::Cadence, 3_000).await;
        process.backlog_becomes(Lane::Urgent, 10).await;
        let outsider = Outsider::at(&config.url).await;
        let one = outsider.get(&format!("{}.due.0", config.prefix)).await.unwrap();
        assert_eq!(Check::from_json(&one.data).unwrap().to_json(), one.data);
        assert_eq!(*one.properties.delivery_mode(), Some(2));
        assert!(one.properties.message_id().as_ref().unwrap().as_str().starts_with("1900000109:T"));
        end(&config, [process]).await;
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_nobody_waits_for_do_not_wear_the_publisher_out() {
    let config = fresh().await;
    let process = Process::publisher(&config).await;
    for number in 0..2_500 {
        let check = [manual(number)];
        tokio::select! {
            biased;
            published = process.queue.publish(&check) => drop(published),
            () = tokio::task::yield_now() => {}
        }
    }
    process.publish(&[manual(2_999)]).await;
    until("all of many are stored", || async { confirmed(&process, 3_000..3_300).await.len() == 300 }).await;
    end(&config, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_is_under_way_and_nothing_else_begins() {
    in_time(async || {
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
        let refused = process.queue.publish(&[manual(999)]).await.unwrap_err();
        assert_eq!(refused.to_string(), "queue is unavailable: closed");
        if let Some(unfinished) = published.iter().find(|ended| ended.is_err()) {
            println!("{unfinished:?}");
            return false;
        }
        let worker = Process::worker(&config).await;
        assert_eq!(worker.drain(keys(0..100)).await, 0);
        end(&config, [process, worker]).await;
        true
    })
    .await;
}
