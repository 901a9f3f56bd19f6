//! A queue that cannot be consumed, while the others can.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use paybell_core::check::Lane;
use rabbitmq::RabbitConfig;
use testkit::servers::Rabbit;

use super::common::{Outsider, Process, config, end, keys, manual, poll, until};

/// A publish that takes so long is kept back by the machine.
const A_STALL: Duration = Duration::from_millis(500);

/// Stops or restarts the one server of a quorum queue: without it the queue has no leader.
async fn at_server(node: &Rabbit, what: &str, queue: &str) {
    let name = format!("rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)");
    let said = node
        .ctl(&[
            "eval",
            &format!(
                "{{ok, Q}} = rabbit_amqqueue:lookup({name}), ra:{what}(quorum_queues, amqqueue:get_pid(Q))."
            ),
        ])
        .await;
    assert_eq!(said.trim(), "ok", "{what} {queue}");
}

/// What we do, and the slowest publish of those that somebody else makes meanwhile, one after the other: of whatever the
/// broker keeps back, it keeps one of them back too. Nothing where one of them failed.
async fn beside<T>(other: &Process, ours: impl Future<Output = T>) -> (T, Option<Duration>) {
    let is_over = Cell::new(false);
    let ours = async {
        let ended = ours.await;
        is_over.set(true);
        ended
    };
    let theirs = async {
        let mut slowest = Some(Duration::ZERO);
        while !is_over.get() {
            let begun = Instant::now();
            let stored = other.queue.publish(&[manual(0)]).await;
            slowest = slowest.filter(|_| stored.is_ok()).map(|slowest| slowest.max(begun.elapsed()));
        }
        slowest
    };
    tokio::join!(ours, theirs)
}

fn unconsumed(process: &Process) -> Vec<String> {
    process.rabbit.unconsumed().into_iter().map(|(queue, _)| queue).collect()
}

async fn consuming_ports(node: &Rabbit) -> Vec<String> {
    ports(node, "consume").await
}

/// Connections for a purpose, by the port of our side: another one is another connection.
async fn ports(node: &Rabbit, purpose: &str) -> Vec<String> {
    let rows = node.ctl(&["list_connections", "peer_port", "client_properties"]).await;
    let name = format!("\"paybell {purpose}\"");
    let ours = |row: &&str| row.contains(&name);
    rows.lines().filter(ours).filter_map(|row| row.split('\t').next().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_leader_stops_no_other() {
    let node = Rabbit::start().await;
    let config = RabbitConfig { partitions: 4, ..config(&node.url()) };
    Process::publisher(&config).await.rabbit.close().await;
    let (outsider, sick) = (Outsider::at(&config.url).await, format!("{}.checks.0", config.prefix));
    outsider.spread(&config, "checks", &(0..40).map(manual).collect::<Vec<_>>()).await;
    outsider.spread(&config, "due", &(0..40).map(poll).collect::<Vec<_>>()).await;
    let held_up = 10;
    at_server(&node, "stop_server", &sick).await;

    let worker = Process::worker(&config).await;
    for delivery in worker.receive(Lane::Urgent, 40 - held_up).await {
        delivery.done().await.unwrap();
    }
    for delivery in worker.receive(Lane::Cadence, 40).await {
        delivery.done().await.unwrap();
    }
    assert_eq!(unconsumed(&worker), [sick.as_str()]);
    assert!(worker.trouble().is_none(), "its connections stand");
    let connections = consuming_ports(&node).await;

    // Lost connections, as in a restart: the queue is left out at once.
    node.ctl(&["close_all_connections", "a test"]).await;
    until("it is another connection", || async {
        let now = consuming_ports(&node).await;
        !now.is_empty() && now.iter().all(|port| !connections.contains(port))
    })
    .await;
    worker.is_up().await;
    let connections = consuming_ports(&node).await;
    let outsider = Outsider::at(&config.url).await;
    let healthy = format!("{}.checks.1", config.prefix);
    outsider.put(&healthy, &manual(100).to_json()).await;
    worker.drain(keys([100])).await;
    assert_eq!(unconsumed(&worker), [sick.as_str()]);

    at_server(&node, "restart_server", &sick).await;
    for delivery in worker.receive(Lane::Urgent, held_up).await {
        delivery.done().await.unwrap();
    }
    until("nothing is left out", || async { unconsumed(&worker).is_empty() }).await;
    assert_eq!(
        consuming_ports(&node).await,
        connections,
        "the queue came back to the connection of the others"
    );
    until("all was acknowledged", || async { outsider.waiting(&sick).await == 0 }).await;
    end(&config, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_may_not_be_read_stops_no_other_and_is_taken_when_it_may() {
    let node = Rabbit::start().await;
    let admin = RabbitConfig { partitions: 2, ..config(&node.url()) };
    Process::publisher(&admin).await.rabbit.close().await;
    let outsider = Outsider::at(&admin.url).await;
    let (prefix, denied) = (admin.prefix.as_str(), format!("{}.checks.1", admin.prefix));
    outsider.spread(&admin, "checks", &(0..20).map(manual).collect::<Vec<_>>()).await;
    let held_up = 10;
    node.ctl(&["add_user", "narrow", "secret"]).await;
    let may_read = async |pattern: &str| {
        node.ctl(&["set_permissions", "-p", "/", "narrow", ".*", ".*", pattern]).await;
    };
    may_read(&format!("^{prefix}\\.(checks\\.0|due|orders|dead)")).await;
    let narrow = RabbitConfig { url: admin.url.replace("guest:guest", "narrow:secret"), ..admin.clone() };
    let worker = Process::worker(&narrow).await;
    let taken = worker.receive(Lane::Urgent, 20 - held_up).await;
    until("it is told", || async { unconsumed(&worker) == [denied.as_str()] }).await;
    let (_, cause) = worker.rabbit.unconsumed().remove(0);
    assert!(cause.contains("ACCESS_REFUSED"), "{cause}");
    may_read(".*").await;
    let others = worker.receive(Lane::Urgent, held_up).await;
    until("nothing is left out", || async { unconsumed(&worker).is_empty() }).await;
    for delivery in taken.into_iter().chain(others) {
        delivery.done().await.unwrap();
    }
    let get = async || outsider.get(&denied).await.map(|delivery: Delivery| delivery.routing_key);
    until("all was acknowledged", || async { outsider.waiting(&denied).await == 0 }).await;
    assert_eq!(get().await, None);
    end(&admin, [worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_finds_a_queue_that_has_a_leader_and_no_trial_costs_anything() {
    let node = Rabbit::start().await;
    let config = RabbitConfig { partitions: 2, ..config(&node.url()) };
    let publisher = Process::publisher(&config).await;
    // Somebody else's queue at the same broker shows how slow the machine is.
    let healthy = RabbitConfig { prefix: format!("{}-other", config.prefix), ..config.clone() };
    let other = Process::publisher(&healthy).await;
    let sick = format!("{}.checks.0", config.prefix);
    at_server(&node, "stop_server", &sick).await;
    let checks: Vec<_> = (0..40).map(manual).collect();
    let connections = ports(&node, "publish").await;
    let is_slow = |theirs: Option<Duration>| theirs.is_none_or(|theirs| theirs > A_STALL);
    let (stored, theirs) = beside(&other, publisher.queue.publish(&checks)).await;
    assert!(stored.is_ok() || is_slow(theirs), "what one queue refuses, the other takes at once: {stored:?}");

    let mut is_late = stored.is_err();

    // Long enough for the first trials, 4 s and 8 s after what was tried before.
    let (begun, mut published, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while begun.elapsed() < Duration::from_secs(14) {
        pace.tick().await;
        let ((took, stored), theirs) = beside(&other, publisher.timed_publish(published % 40)).await;
        // A publish that waits gives up after two and a half, also where the whole broker keeps it back.
        if let Err(error) = stored {
            assert!(is_slow(theirs), "after {:?}: {error}", begun.elapsed());
            is_late = true;
        }
        published += 1;
        if let Some(theirs) = theirs {
            slowest = slowest.max(took.saturating_sub(theirs));
        }
    }
    assert!(slowest < Duration::from_secs(2), "nobody waited for a trial: {slowest:?}");
    // One on which nothing is confirmed is given up, also where the broker kept everything back.
    let stands = ports(&node, "publish").await == connections;
    assert!(stands || is_late, "the connection stands");

    at_server(&node, "restart_server", &sick).await;
    let outsider = Outsider::at(&config.url).await;
    let before = outsider.waiting(&sick).await;
    until("it is given checks again", || async {
        publisher.queue.publish(&checks).await.is_ok() && outsider.waiting(&sick).await > before + 1
    })
    .await;
    end(&healthy, [other]).await;
    end(&config, [publisher]).await;
}
