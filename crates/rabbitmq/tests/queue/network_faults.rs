//! A network that is silent, cut, or leads nowhere.

use std::time::{Duration, Instant};

use paybell_core::check::Lane;
use rabbitmq::{Needs, RabbitConfig};
use testkit::servers::{Proxy, shared_rabbit};

use super::common::{Process, config, deliveries, end, fresh, in_time, keys, manual, until};

/// By then an ingress has answered; what the machine kept back is left out.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

/// What takes less by itself may take longer than a deadline of the product's where so much is kept back.
const A_STALL: Duration = Duration::from_millis(500);

/// Silence is noticed in seconds; nothing that is there without a deadline of ours ends by then.
const NOTICED_MAX: Duration = Duration::from_secs(60);

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
    worker.publish(&[manual(0)]).await;
    worker.drain(keys([0])).await;
    proxy.silence();
    let begun = Instant::now();
    near.publish(&[manual(1)]).await;
    let mut noticed = None;
    while begun.elapsed() < Duration::from_secs(20) || noticed.is_none() {
        let (took, published) = worker.timed_publish(2).await;
        assert!(published.is_err() && took < ANSWER_MAX, "{published:?} after {took:?}");
        if worker.trouble().is_some() {
            noticed.get_or_insert(begun.elapsed());
        }
        assert!(begun.elapsed() < NOTICED_MAX, "it is never noticed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("noticed after {noticed:?}");
    proxy.speak();
    let begun = Instant::now();
    worker.is_up().await;
    worker.publish(&[manual(3)]).await;
    worker.drain(keys([1, 3])).await;
    println!("working again {:?} after the network was", begun.elapsed());
    end(&direct, [worker, near]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_notice_silence_by_heartbeats_alone() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let through = RabbitConfig { url: format!("{}?heartbeat=2", through.url), ..through };
    let worker = Process::worker(&through).await;
    // Whatever has a deadline of its own is over by then.
    worker.publish(&[manual(0)]).await;
    worker.drain(keys([0])).await;
    worker.backlog_becomes(Lane::Cadence, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.silence();
    let begun = Instant::now();
    until("it is noticed", || async { worker.trouble().is_some() }).await;
    println!("noticed after {:?}: two heartbeats are four seconds", begun.elapsed());
    proxy.speak();
    worker.is_up().await;
    end(&direct, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_fails_at_once_when_the_connection_ends() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let process = Process::publisher(&through).await;
    process.publish(&[manual(0)]).await;
    in_time(async || {
        proxy.silence();
        let (watch, check) = (process.watch(), [manual(1)]);
        let mut under_way = std::pin::pin!(process.queue.publish(&check));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut under_way).await;
        let is_under_way = early.is_err();
        assert!(is_under_way || watch.lost() > A_STALL, "it waits for its confirm: {early:?}");
        proxy.refuse();
        let watch = process.watch();
        let ended = if is_under_way { under_way.await } else { early.unwrap() };
        let is_told = watch.elapsed() < Duration::from_millis(1_500);
        assert!(is_told || watch.lost() > A_STALL, "{ended:?} after {:?}", watch.elapsed());
        assert!(ended.is_err());
        proxy.speak();
        process.is_up().await;
        is_under_way && is_told
    })
    .await;
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
    process.publish(&[manual(1)]).await;
    process.drain(keys([1])).await;
    end(&direct, [process]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_absence_is_waited_out() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let process = Process::publisher(&through).await;
    process.publish(&[manual(0)]).await;
    in_time(async || {
        proxy.cut();
        let absent = async {
            while process.trouble().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // It may have come and gone between two looks.
        let is_seen = tokio::time::timeout(Duration::from_secs(5), absent).await.is_ok();
        let watch = process.watch();
        let published = process.queue.publish(&[manual(1)]).await;
        let waited = watch.elapsed() + watch.lost();
        assert!(published.is_ok() || !is_seen || waited > A_STALL, "{published:?} after {waited:?}");
        process.is_up().await;
        is_seen && published.is_ok()
    })
    .await;
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
