//! A broker that closes, dies, or takes nothing. One private node serves these tests, one after the other; the one that
//! dies is another, so that nobody waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use paybell_core::check::Lane;
use paybell_core::ids::OrderKey;
use rabbitmq::{Needs, RabbitConfig};
use testkit::servers::Rabbit;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::JoinHandle;

use super::common::{Process, config, end, key, keys, manual, until};

/// By then an ingress has answered; what the machine kept back is left out.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

/// Before a publish that waits gives up; nothing but this process has a part in it.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The node, and the right to disturb it.
async fn ours() -> (&'static Rabbit, MutexGuard<'static, ()>) {
    static NODE: OnceCell<Rabbit> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    (NODE.get_or_init(Rabbit::start).await, turn)
}

/// Publishes one check after the other until it is told to stop, never waiting longer than an ingress may.
struct Traffic {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    task: JoinHandle<HashSet<OrderKey>>,
}

impl Traffic {
    fn begin(process: &Process) -> Self {
        let (stop, stored, queue) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), process.queue.clone());
        let (stopped, count) = (stop.clone(), stored.clone());
        let mut watch = process.watch();
        let task = tokio::spawn(async move {
            let mut confirmed = HashSet::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                watch.begin();
                if queue.publish(&[manual(number)]).await.is_ok() {
                    confirmed.insert(key(number));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let took = watch.elapsed();
                assert!(took < ANSWER_MAX, "a publish took {took:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            confirmed
        });
        Self { stop, stored, task }
    }

    /// Waits for some more confirms; gives how long that took.
    async fn goes_on(&self) -> Duration {
        let (begun, before) = (Instant::now(), self.stored.load(Ordering::Relaxed));
        until("publishes are confirmed", || async { self.stored.load(Ordering::Relaxed) > before + 20 })
            .await;
        begun.elapsed()
    }

    async fn end(self) -> HashSet<OrderKey> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_broker_closes_come_back_by_themselves() {
    let (node, _turn) = ours().await;
    let config = RabbitConfig { urgent_prefetch: 40, ..config(&node.url()) };
    let (publisher, worker) = (Process::publisher(&config).await, Process::worker(&config).await);
    let traffic = Traffic::begin(&publisher);
    traffic.goes_on().await;
    let consumers = async || {
        let rows = node.ctl(&["list_consumers", "queue_name", "prefetch_count"]).await;
        let mut rows: Vec<String> =
            rows.lines().filter(|row| row.contains(&config.prefix)).map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let before = consumers().await;
    let share = |queue: &str| format!("{}.{queue}\t20", config.prefix);
    assert!(before.contains(&share("checks.0")) && before.contains(&share("checks.1")), "{before:?}");
    for _ in 0..3 {
        node.ctl(&["close_all_connections", "a test"]).await;
        println!("publishing again {:?} after all connections were closed", traffic.goes_on().await);
        until("it consumes as before", || async { consumers().await == before }).await;
    }
    let stored = traffic.end().await;
    println!("{} stored, {} came again", stored.len(), worker.drain(stored.clone()).await);
    end(&config, [publisher, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_has_every_confirmed_check_when_it_is_back() {
    let node = Rabbit::start().await;
    let config = config(&node.url());
    let (publisher, worker) = (Process::publisher(&config).await, Process::worker(&config).await);
    let traffic = Traffic::begin(&publisher);
    traffic.goes_on().await;
    node.kill().await;
    until("the process says so", || async { publisher.trouble().is_some() && worker.trouble().is_some() })
        .await;
    node.start_again().await;
    let begun = Instant::now();
    let took = traffic.goes_on().await;
    println!("publishing again {took:?} after the broker was back");
    worker.is_up().await;
    println!("consuming again {:?} after the broker was back", begun.elapsed());
    let stored = traffic.end().await;
    println!("{} stored, {} came again", stored.len(), worker.drain(stored.clone()).await);
    end(&config, [publisher, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_is_told_at_once_and_work_goes_on_after() {
    let (node, _turn) = ours().await;
    let config = config(&node.url());
    let (publisher, worker) = (Process::publisher(&config).await, Process::worker(&config).await);
    publisher.publish(&[manual(0)]).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.0001"]).await;
    // The broker tells a connection only when it publishes next.
    let (took, first) = publisher.timed_publish(1).await;
    assert!(first.is_err() && took < ANSWER_MAX, "{first:?} after {took:?}");
    for number in 2..10 {
        let (took, refused) = publisher.timed_publish(number).await;
        let words = refused.unwrap_err().to_string();
        assert!(took < AT_ONCE, "it is known: {took:?}");
        assert!(words.contains("blocks publishers"), "{words}");
    }
    assert!(publisher.trouble().is_some(), "not ready");
    let delivery = worker.receive(Lane::Urgent, 1).await.remove(0);
    delivery.done().await.unwrap();
    assert!(worker.trouble().is_none(), "consuming goes on");
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    let begun = Instant::now();
    publisher.is_up().await;
    publisher.publish(&[manual(10)]).await;
    println!("publishing again {:?} after the alarm ended", begun.elapsed());
    worker.drain(keys([10])).await;
    end(&config, [publisher, worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_too_few_channels_is_told_with_the_setting() {
    let (node, _turn) = ours().await;
    let allow = async |channels: u16| {
        let set = format!("application:set_env(rabbit, channel_max, {channels}).");
        node.ctl(&["eval", &set]).await;
    };
    allow(6).await;
    let config = RabbitConfig { partitions: 4, ..config(&node.url()) };
    let publisher = Process::begin(&config, Needs::default());
    until("the setting is named", || async {
        let told = publisher.trouble().map(|error| error.to_string()).unwrap_or_default();
        told.contains("allows 6 channels")
            && told.contains("channel_max")
            && told.contains("rabbitmq.partitions")
    })
    .await;
    allow(2047).await;
    publisher.is_up().await;
    publisher.publish(&(0..20).map(manual).collect::<Vec<_>>()).await;
    end(&config, [publisher]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_is_an_error() {
    let (node, _turn) = ours().await;
    let config = RabbitConfig { partitions: 1, ..config(&node.url()) };
    let publisher = Process::publisher(&config).await;
    let (queue, limit) = (format!("^{}.checks", config.prefix), "{\"max-length\":3}");
    node.ctl(&["set_policy", "full", &queue, limit, "--apply-to", "queues"]).await;
    let (mut refused, mut unknown) = (0, 0);
    let mut stored = HashSet::new();
    for number in 0..50 {
        match publisher.queue.publish(&[manual(number)]).await {
            Ok(()) => drop(stored.insert(key(number))),
            Err(error) if error.to_string().contains("refused a publish") => refused += 1,
            // Nobody knows whether the broker, which was slow, stored it.
            Err(error) if error.to_string().contains("no answer within") => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 40, "{refused} refused");
    node.ctl(&["clear_policy", "full"]).await;
    let worker = Process::worker(&config).await;
    assert!(worker.drain(stored).await <= unknown);
    if unknown == 0 {
        worker.backlog_becomes(Lane::Urgent, 0).await;
    }
    end(&config, [publisher, worker]).await;
}
