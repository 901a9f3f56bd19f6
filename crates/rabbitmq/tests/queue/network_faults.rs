//! A network that is silent, cut, or leads nowhere.

use std::time::{Duration, Instant};

use paybell_core::check::Lane;
use rabbitmq::{Needs, RabbitConfig};
use testkit::servers::{Proxy, shared_rabbit};

use super::common::{Process, config, deliveries, end, fresh, keys, manual, until};

/// By then an ingress has answered, on a busy machine too.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

fn port_of(url: &str) -> u16 {
    let authority = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}

/// A way to the shared broker that can be disturbed, and a prefix behind it.
async fn behind_a_proxy() -> (Proxy, RabbitConfig, RabbitConfig) {
    let direct = fresh().await;
    let proxy = Proxy::start(port_of(&direct.url));
    let through = RabbitConfig { url: proxy.through(&direct.url), ..direct.clone() };
    (proxy, direct, through)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_noticed_and_outlived() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let (worker, near) = (Process::worker(&through).await, Process::publisher(&direct).await);
    worker.queue.publish(&[manual(0)]).await.unwrap();
    worker.drain(keys([0])).await;
    proxy.silence();
    let begun = Instant::now();
    near.queue.publish(&[manual(1)]).await.unwrap();
    let mut noticed = None;
    while begun.elapsed() < Duration::from_secs(20) {
        let (took, published) = worker.timed_publish(2).await;
        assert!(published.is_err() && took < ANSWER_MAX, "{published:?} after {took:?}");
        if worker.trouble().is_some() {
            noticed.get_or_insert(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("noticed after {noticed:?}");
    assert!(noticed.is_some_and(|after| after < Duration::from_secs(15)));
    proxy.speak();
    let begun = Instant::now();
    worker.is_up().await;
    worker.queue.publish(&[manual(3)]).await.unwrap();
    worker.drain(keys([1, 3])).await;
    println!("working again {:?} after the network was", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15));
    end(&direct, [worker, near]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_notice_silence_by_heartbeats_alone() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let through = RabbitConfig { url: format!("{}?heartbeat=2", through.url), ..through };
    let worker = Process::worker(&through).await;
    // Whatever has a deadline of its own is over by then.
    worker.queue.publish(&[manual(0)]).await.unwrap();
    worker.drain(keys([0])).await;
    worker.backlog_becomes(Lane::Cadence, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.silence();
    let begun = Instant::now();
    until("it is noticed", || async { worker.trouble().is_some() }).await;
    println!("noticed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "two heartbeats are four seconds");
    proxy.speak();
    worker.is_up().await;
    end(&direct, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_fails_at_once_when_the_connection_ends() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let process = Process::publisher(&through).await;
    process.queue.publish(&[manual(0)]).await.unwrap();
    proxy.silence();
    let (queue, check) = (process.queue.clone(), [manual(1)]);
    let mut under_way = std::pin::pin!(queue.publish(&check));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut under_way).await;
    assert!(early.is_err(), "it waits for its confirm: {early:?}");
    proxy.refuse();
    let begun = Instant::now();
    assert!(under_way.await.is_err());
    assert!(begun.elapsed() < Duration::from_millis(1_500), "it took {:?}", begun.elapsed());
    proxy.speak();
    process.is_up().await;
    end(&direct, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_while_the_broker_is_away() {
    let (proxy, direct, through) = behind_a_proxy().await;
    proxy.refuse();
    let process = Process::begin(&through, deliveries());
    let (took, published) = process.timed_publish(0).await;
    assert!(published.is_err() && took < ANSWER_MAX, "{took:?}");
    until("it is known, and nobody waits any more", || async {
        let (took, published) = process.timed_publish(0).await;
        assert!(published.is_err());
        took < Duration::from_millis(100)
    })
    .await;
    proxy.speak();
    process.is_up().await;
    process.queue.publish(&[manual(1)]).await.unwrap();
    process.drain(keys([1])).await;
    end(&direct, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_absence_is_waited_out() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let process = Process::publisher(&through).await;
    process.queue.publish(&[manual(0)]).await.unwrap();
    proxy.cut();
    until("it is noticed", || async { process.trouble().is_some() }).await;
    process.queue.publish(&[manual(1)]).await.unwrap();
    end(&direct, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_stays_shut_is_named_without_the_password() {
    let url = shared_rabbit().await;
    let wrong = url.replace("guest:guest@", "guest:hunter2@");
    let tls = url.replace("amqp://guest:guest@", "amqps://guest:hunter2@");
    for (url, words) in [(wrong, "ACCESS_REFUSED"), (tls, "connect")] {
        let process = Process::begin(&config(&url), Needs::default());
        let says = || async {
            let trouble = process.trouble().map(|error| error.to_string()).unwrap_or_default();
            assert!(!trouble.contains("hunter2"), "{trouble}");
            trouble.contains(words)
        };
        until(words, says).await;
    }
}
