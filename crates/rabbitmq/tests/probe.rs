//! What a doctor is told of a broker: a good one, one in alarm, and everything that a login can get wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use std::fmt::Debug;

use rabbitmq::probe::{Emitting, Facts, Load, Publishing, Unasked, Unseen, probe};
use rabbitmq::topology::{self, Finding};
use rabbitmq::{RabbitConfig, Trouble, erase};
use testkit::servers::{Rabbit, shared_rabbit, unique_prefix};

use stand::{ROUNDS, answered, shut_door};

const MERCHANTS: &[&str] = &["1900000109", "1900000110"];

/// No queue of anybody's.
const NOBODYS: &str = "nobody-made-this";

/// Some of what is told of a broker. A doctor asks each step once, and that has seconds: where the machine kept one back,
/// it asks anew. What is late by itself is late every time.
async fn told<T: Debug>(config: &RabbitConfig, part: impl Fn(Facts) -> T) -> T {
    let (subscribers, mut rounds) = ([NOBODYS.to_owned()], 0);
    loop {
        let facts = answered(|| probe(config, &subscribers, MERCHANTS)).await.unwrap();
        let (has_greeted, part) = (facts.version.is_some(), part(facts));
        let text = format!("{part:?}");
        if has_greeted && !text.contains("no answer within") {
            return part;
        }
        rounds += 1;
        assert!(rounds < ROUNDS, "it was late in each of {ROUNDS} rounds: {text}");
    }
}

/// Why there are no facts.
async fn unasked(config: RabbitConfig) -> Unasked {
    answered(|| probe(&config, &[], MERCHANTS)).await.unwrap_err()
}

fn config(url: String) -> RabbitConfig {
    RabbitConfig { prefix: unique_prefix(), partitions: 1, ..RabbitConfig::at(url) }
}

fn is(error: &Unasked, expected: Trouble) -> bool {
    matches!(error, Unasked::Away { trouble, .. } if *trouble == expected)
}

#[tokio::test]
async fn a_broker_tells_its_version_its_queues_and_that_it_publishes() {
    let config = config(shared_rabbit().await);
    let empty = told(&config, |facts| facts).await;
    assert_eq!(empty.emitting, Emitting::Missing);
    let missing = empty.topology.unwrap();
    assert!(missing.iter().all(|finding| matches!(finding, Finding::Missing { .. })) && missing.len() > 4);
    assert!(
        empty.queues.iter().all(|queue| queue.load == Err(Unseen::Missing)),
        "nothing was created: {:?}",
        empty.queues
    );
    answered(|| topology::apply(&config)).await.unwrap();
    let facts = told(&config, |facts| facts).await;
    let version = facts.version.unwrap();
    assert!(version.starts_with(char::is_numeric) && version.contains('.'), "{version}");
    assert_eq!((facts.topology.unwrap(), facts.publishing), (Vec::new(), Publishing::Works));
    assert_eq!((facts.user.as_str(), facts.is_tls), ("guest", false));
    let load = |name: &str| facts.queues.iter().find(|queue| queue.name == name).unwrap().load.clone();
    let unread = Ok(Load { messages: 0, consumers: 0 });
    assert_eq!(load(&format!("{}.checks.0", config.prefix)), unread);
    assert_eq!(load(&format!("{}.dead", config.prefix)), unread);
    assert_eq!(load(NOBODYS), Err(Unseen::Missing));
    answered(|| erase(&config, &[])).await.unwrap();
}

#[tokio::test]
async fn a_login_or_a_virtual_host_that_is_refused_is_told_apart() {
    let url = shared_rabbit().await;
    let host = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let wrong = unasked(config(format!("amqp://guest:hunter2@{host}/%2f"))).await;
    assert!(is(&wrong, Trouble::Login) && !wrong.to_string().contains("hunter2"), "{wrong:?}");
    let nowhere = unasked(config(format!("amqp://guest:guest@{host}/nowhere"))).await;
    assert!(is(&nowhere, Trouble::VirtualHost), "{nowhere:?}");
    let (_door, port) = shut_door();
    let away = unasked(config(format!("amqp://guest:guest@127.0.0.1:{port}"))).await;
    assert!(is(&away, Trouble::Port), "{away:?}");
    let unread = unasked(RabbitConfig { partitions: 0, ..config(url) }).await;
    assert!(matches!(unread, Unasked::Config(_)), "{unread:?}");
}

#[tokio::test]
async fn an_alarm_and_a_missing_permission_are_told() {
    let server = Rabbit::start().await;
    server.ctl(&["add_user", "narrow", "narrow"]).await;
    server.ctl(&["set_permissions", "-p", "/", "narrow", "^else", ".*", ".*"]).await;
    let url = server.url().replace("guest:guest@", "narrow:narrow@");
    // Looking at what is not there needs no permission to make it; the difference shows once it is there.
    assert_eq!(told(&config(url), |facts| facts.publishing).await, Publishing::Works);
    let ours = config(server.url());
    answered(|| topology::apply(&ours)).await.unwrap();
    let narrow = RabbitConfig { url: server.url().replace("guest:guest@", "narrow:narrow@"), ..ours.clone() };
    let findings = told(&narrow, |facts| facts.topology).await.unwrap();
    assert!(!findings.is_empty(), "what this user may not declare cannot be compared");
    assert!(findings.iter().all(|finding| matches!(finding, Finding::Uncompared { .. })), "{findings:?}");
    server.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await;
    let publishing = told(&ours, |facts| facts.publishing).await;
    assert!(
        matches!(&publishing, Publishing::Blocked(reason) if reason.contains("memory")),
        "{publishing:?}"
    );
    server.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    assert_eq!(told(&ours, |facts| facts.publishing).await, Publishing::Works);
}

#[tokio::test]
async fn what_may_not_be_published_to_subscribers_is_told_and_none_of_them_gets_anything() {
    let server = Rabbit::start().await;
    let ours = config(server.url());
    answered(|| topology::apply(&ours)).await.unwrap();
    let exchange = format!("{}.events", ours.prefix);
    let outsider = stand::Outsider::at(&server.url()).await;
    outsider.subscribe("everything", &exchange, "#", &[]).await;
    server.ctl(&["add_user", "narrow", "narrow"]).await;
    server.ctl(&["set_permissions", "-p", "/", "narrow", "^$", ".*", ".*"]).await;
    let narrow = RabbitConfig { url: server.url().replace("guest:guest@", "narrow:narrow@"), ..ours };
    let emitting = async || told(&narrow, |facts| facts.emitting).await;
    assert_eq!(emitting().await, Emitting::Works);

    server.ctl(&["set_topic_permissions", "-p", "/", "narrow", &exchange, "^order\\.|109$", ".*"]).await;
    let Emitting::Denied { keys, cause } = emitting().await else { panic!("it is denied") };
    let denied = ["refund.succeeded", "refund.abnormal", "refund.closed", "bill.reconciled"];
    assert_eq!(keys, denied.map(|kind| format!("{kind}.1900000110")));
    assert!(cause.contains("access to topic 'refund.succeeded.1900000110'"), "{cause}");

    let all_but_it = format!("^(?!{}$)", exchange.replace('.', "\\."));
    server.ctl(&["set_permissions", "-p", "/", "narrow", "^$", &all_but_it, ".*"]).await;
    let Emitting::Denied { keys, cause } = emitting().await else { panic!("it is denied") };
    assert!(keys.is_empty() && cause.contains("access to exchange"), "{keys:?} {cause}");
    assert!(outsider.get("everything").await.is_none(), "nothing was published");
}
