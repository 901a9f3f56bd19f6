//! A broker that cannot be worked with: which setting and what to do, told without any secret, wherever it is told.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use std::io;
use std::sync::{Arc, Mutex};

use paybell_core::check::Check;
use paybell_core::ids::OrderKey;
use rabbitmq::topology::check;
use rabbitmq::{Needs, RabbitConfig, RabbitMq, Trouble};
use testkit::servers::{Proxy, Rabbit, unique_prefix};
use tracing_subscriber::fmt::MakeWriter;

use stand::{answered, config, shut_door, until};

/// What was logged by everything in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The line that says this.
    async fn says(&self, parts: &[&str]) {
        let is_said = || self.text().lines().any(|line| parts.iter().all(|part| line.contains(part)));
        until(&format!("the log says {parts:?}"), async || is_said()).await;
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn words(trouble: Trouble) -> (String, &'static str) {
    let words = trouble.words();
    (format!("{}: {}", words.key, words.seen[0]), words.remedy[0])
}

/// A trouble that a process meets at its start, and a command: log, state and command say the same.
async fn is_told(log: &Log, url: &str, trouble: Trouble) {
    let (seen, remedy) = words(trouble);
    let config = config(url, &unique_prefix());
    let told = answered(|| check(&config)).await.unwrap_err().to_string();
    assert!(told.contains(&seen) && told.contains(remedy), "{trouble:?} {told}");
    let engine = RabbitMq::start(&config, Needs::default()).unwrap();
    let (_, address) = url.split_once('@').unwrap();
    let address = address.split('/').next().unwrap();
    log.says(&[&format!("RabbitMQ at {address} is away for publish: {seen}"), remedy]).await;
    let state = || engine.parts().remove(0).1.unwrap_err().to_string();
    until(&format!("the state says {seen:?}"), async || state().contains(&seen)).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trouble_names_its_setting_and_what_to_do() {
    let (log, node) = (Log::begin(), Rabbit::start().await);
    let url = node.url();
    let with = |from: &str, to: &str| url.replace(from, to);
    is_told(&log, &with("guest:guest", "guest:hunter2"), Trouble::Login).await;
    is_told(&log, &with("%2f", "hunter2-is-no-vhost"), Trouble::VirtualHost).await;
    let (_door, port) = shut_door();
    is_told(&log, &format!("amqp://u:hunter2@127.0.0.1:{port}/%2f"), Trouble::Port).await;
    // No resolver has to be asked about a label of 64 letters.
    is_told(&log, &format!("amqp://u:hunter2@{}:5672/%2f", "h".repeat(64)), Trouble::Name).await;
    is_told(&log, &with("amqp://guest:guest", "amqps://u:hunter2"), Trouble::Protocol).await;
    node.ctl(&["add_user", "few", "hunter2"]).await;
    node.ctl(&["set_permissions", "-p", "/", "few", ".*", ".*", ".*"]).await;
    node.ctl(&["set_user_limits", "few", "{\"max-connections\": 0}"]).await;
    is_told(&log, &with("guest:guest", "few:hunter2"), Trouble::Limit).await;
    let told = log.text();
    assert!(!told.contains(":hunter2") && !told.contains("hunter2@"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing_is_told_where_it_is_missed() {
    let node = Rabbit::start().await;
    let admin = config(&node.url(), &unique_prefix());
    answered(|| rabbitmq::topology::apply(&admin)).await.unwrap();
    node.ctl(&["add_user", "narrow", "secret"]).await;
    let ours = format!("^{}\\.(?!checks)", admin.prefix);
    node.ctl(&["set_permissions", "-p", "/", "narrow", "^$", &ours, &ours]).await;
    let narrow = RabbitConfig { url: admin.url.replace("guest:guest", "narrow:secret"), ..admin };
    let engine = RabbitMq::start(&narrow, Needs { deliveries: true, ..Needs::default() }).unwrap();
    let (seen, remedy) = words(Trouble::Permission);
    let order = OrderKey::new("1900000109", "T2026112000000001").unwrap();
    let queue = engine.queue();
    until("the publish is refused, and why", async || {
        let told = queue.publish(&[Check::manual(order.clone())]).await.unwrap_err().to_string();
        told.contains(&seen) && told.contains("amq.default")
    })
    .await;
    until("the queue cannot be consumed, and why", async || {
        engine.unconsumed().iter().any(|(queue, cause)| {
            queue.ends_with(".checks.0") && cause.contains(&seen) && cause.contains(remedy)
        })
    })
    .await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_told_with_the_heartbeat() {
    let (node, prefix) = (testkit::servers::shared_rabbit().await, unique_prefix());
    let port = node.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port);
    let url = format!("{}?heartbeat=1", proxy.through(&node));
    let engine = RabbitMq::start(&config(&url, &prefix), Needs::default()).unwrap();
    let state = || engine.parts().remove(0).1;
    // Nothing is under way when it falls silent: what waits for an answer would give it up sooner.
    let order = OrderKey::new("1900000109", "T2026112000000001").unwrap();
    let queue = engine.queue();
    until("it publishes", async || queue.publish(&[Check::manual(order.clone())]).await.is_ok()).await;
    proxy.silence();
    let (seen, _) = words(Trouble::Heartbeat);
    until("it is told", async || state().is_err_and(|error| error.to_string().contains(&seen))).await;
    proxy.speak();
    until("it is up again", async || state().is_ok()).await;
    engine.close().await;
}
