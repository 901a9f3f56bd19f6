//! What exists on a broker, against what should.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use paybell_core::event::EventType;
use paybell_core::ports::EventFilter;
use rabbitmq::RabbitConfig;
use rabbitmq::topology::{Finding, apply, check, definitions, plan};
use testkit::servers::{Rabbit, shared_rabbit, unique_prefix};

use stand::{Outsider, Process, answered, config, distinct, event, until};

fn names(config: &RabbitConfig) -> Vec<String> {
    plan(&config.shape()).into_iter().map(|item| item.name).collect()
}

#[tokio::test]
async fn checking_creates_nothing_and_applying_creates_everything() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let config = RabbitConfig { partitions: 2, ..config(&url, &prefix) };
    for _ in 0..2 {
        let missing: Vec<String> = answered(|| check(&config))
            .await
            .unwrap()
            .into_iter()
            .map(|finding| match finding {
                Finding::Missing { name, .. } => name,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(missing, names(&config));
    }
    let applied = answered(|| apply(&config)).await.unwrap();
    assert_eq!((applied.created, applied.findings), (names(&config), vec![]));
    // This broker keeps every argument that we send, so the probes find none that is ignored.
    assert_eq!(answered(|| check(&config)).await.unwrap(), []);
    let applied = answered(|| apply(&config)).await.unwrap();
    assert_eq!((applied.created, applied.findings), (vec![], vec![]));
}

#[tokio::test]
async fn a_differing_argument_is_named_with_both_values() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let ours = config(&url, &prefix);
    let theirs = RabbitConfig { delivery_limit: 7, ..ours.clone() };
    answered(|| apply(&theirs)).await.unwrap();
    let findings = answered(|| check(&ours)).await.unwrap();
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert_eq!(told.len(), 3, "both lanes and the registrations: {told:#?}");
    for text in &told {
        assert!(text.contains("x-delivery-limit") && text.contains("'20'") && text.contains("'7'"), "{text}");
    }
    assert_eq!(answered(|| apply(&ours)).await.unwrap().findings, findings);
    let days = std::time::Duration::from_secs(86_400);
    let aged = RabbitConfig { events_age: days, ..theirs };
    let findings = answered(|| check(&aged)).await.unwrap();
    assert!(
        matches!(&findings[..], [one] if one.to_string().contains("'86400s' but current is '3024000s'")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn something_else_under_our_name_is_told_and_left_alone() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let outsider = Outsider::at(&url).await;
    let name = format!("{prefix}.checks.0");
    let (options, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    outsider.channel.queue_declare(name.as_str().into(), options, none).await.unwrap();
    let ours = config(&url, &prefix);
    let process = Process::begin(ours.clone());
    until("the difference is the reason why nothing works", async || {
        let told = process.engine.parts().into_iter().find_map(|(_, state)| state.err());
        told.is_some_and(|error| {
            let text = error.to_string();
            text.contains(&name) && text.contains("x-")
        })
    })
    .await;
    let findings = answered(|| check(&ours)).await.unwrap();
    assert!(
        matches!(&findings[..], [Finding::Different { name: told, .. }] if *told == name),
        "{findings:?}"
    );
    outsider
        .channel
        .queue_declare(name.as_str().into(), options, FieldTable::default())
        .await
        .expect("still theirs");
    process.engine.close().await;
}

#[tokio::test]
async fn the_definitions_are_the_topology() {
    let (rabbit, prefix) = (Rabbit::start().await, unique_prefix());
    let config = RabbitConfig { partitions: 3, ..config(&rabbit.url(), &prefix) };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), definitions(&config.shape(), "/").to_string()).unwrap();
    rabbit.ctl(&["import_definitions", file.path().to_str().unwrap()]).await;
    assert_eq!(answered(|| check(&config)).await.unwrap(), []);
    let bindings = rabbit.ctl(&["list_bindings", "source_name", "destination_name"]).await;
    let orders = format!("{prefix}.orders");
    assert!(
        bindings.lines().any(|line| line.split_whitespace().eq([orders.as_str(), orders.as_str()])),
        "{bindings}"
    );
}

#[tokio::test]
async fn another_age_of_the_log_is_a_finding_and_stops_nothing() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let before = config(&url, &prefix);
    answered(|| apply(&before)).await.unwrap();
    let days = std::time::Duration::from_secs(7 * 86_400);
    let after = RabbitConfig { events_age: days, ..before.clone() };
    let findings = answered(|| check(&after)).await.unwrap();
    let [Finding::Aged { name, difference, .. }] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(*name, format!("{prefix}.events.log"));
    assert!(difference.contains("'604800s' but current is '3024000s'"), "{difference}");
    assert_eq!(answered(|| apply(&after)).await.unwrap().findings, findings);
    let process = Process::start(after.clone()).await;
    let paid = event(1, EventType::Paid);
    process.append(std::slice::from_ref(&paid)).await;
    assert_eq!(distinct(&process.rest(None, &EventFilter::default(), 10).await), [paid]);
    process.engine.close().await;

    // Whatever else differs is not borne.
    let other = RabbitConfig { segment_bytes: 1 << 20, ..after };
    let findings = answered(|| check(&other)).await.unwrap();
    assert!(
        matches!(&findings[..], [Finding::Different { difference, .. }] if difference.contains("segment-size")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_log_declared_without_an_age_is_used_too() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let outsider = Outsider::at(&url).await;
    let mut arguments = FieldTable::default();
    for (key, value) in [("x-queue-type", "stream"), ("x-queue-leader-locator", "balanced")] {
        arguments.insert(key.into(), lapin::types::AMQPValue::LongString(value.into()));
    }
    let bytes = i64::from(rabbitmq::topology::Shape::SEGMENT_BYTES);
    arguments.insert("x-stream-max-segment-size-bytes".into(), lapin::types::AMQPValue::LongLongInt(bytes));
    let name = format!("{prefix}.events.log");
    let declared =
        outsider.channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments);
    declared.await.unwrap();
    let ours = config(&url, &prefix);
    let process = Process::start(ours.clone()).await;
    process.append(&[event(1, EventType::Paid)]).await;
    let findings = answered(|| check(&ours)).await.unwrap();
    assert!(findings.iter().any(|finding| matches!(finding, Finding::Aged { .. })), "{findings:?}");
    process.engine.close().await;
}

/// The least that the service needs where only administrators create queues.
#[tokio::test]
async fn a_user_who_may_not_declare_works_with_what_is_there() {
    let (rabbit, prefix) = (Rabbit::start().await, unique_prefix());
    let admin = config(&rabbit.url(), &prefix);
    answered(|| apply(&admin)).await.unwrap();
    rabbit.ctl(&["add_user", "narrow", "secret"]).await;
    let (write, read) = (format!("^({prefix}\\..*|amq\\.default)$"), format!("^{prefix}\\."));
    rabbit.ctl(&["set_permissions", "-p", "/", "narrow", "^$", &write, &read]).await;
    let ours = RabbitConfig { url: admin.url.replace("guest:guest", "narrow:secret"), ..admin.clone() };

    let outsider = Outsider::at(&admin.url).await;
    let subscriber = format!("{prefix}.sub");
    outsider.subscribe(&subscriber, &format!("{prefix}.events"), "#", &[]).await;
    let process = Process::start(ours.clone()).await;
    let paid = event(1, EventType::Paid);
    process.append(std::slice::from_ref(&paid)).await;
    let stored = process.rest(None, &EventFilter::default(), 10).await;
    assert_eq!(distinct(&stored), std::slice::from_ref(&paid));
    until("the subscriber has it", async || outsider.events(&subscriber).await.contains(&paid)).await;
    assert!(process.engine.parts().iter().all(|(_, state)| state.is_ok()), "{:?}", process.engine.parts());
    process.engine.close().await;

    let findings = answered(|| check(&ours)).await.unwrap();
    assert_eq!(findings.len(), names(&ours).len());
    assert!(findings.iter().all(|finding| matches!(finding, Finding::Uncompared { .. })), "{findings:?}");
    let more = RabbitConfig { partitions: 2, ..ours.clone() };
    let applied = answered(|| apply(&more)).await.unwrap();
    assert_eq!(applied.created, Vec::<String>::new());
    let missing = format!("{prefix}.checks.1");
    let is_forbidden =
        |finding: &Finding| matches!(finding, Finding::Forbidden { name, .. } if *name == missing);
    assert!(applied.findings.iter().any(is_forbidden), "{:?}", applied.findings);
    let process = Process::begin(more);
    until("what is missing is named", async || {
        let told = process.engine.parts().into_iter().find_map(|(_, state)| state.err());
        told.is_some_and(|error| error.to_string().contains("may not create it"))
    })
    .await;
    process.engine.close().await;
}
