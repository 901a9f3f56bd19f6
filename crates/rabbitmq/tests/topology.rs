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
use rabbitmq::RabbitConfig;
use rabbitmq::topology::{Finding, apply, check, definitions, plan};
use testkit::servers::{Rabbit, shared_rabbit, unique_prefix};

use stand::{Outsider, Process, config, until};

fn names(config: &RabbitConfig) -> Vec<String> {
    plan(&config.shape()).into_iter().map(|item| item.name).collect()
}

#[tokio::test]
async fn checking_creates_nothing_and_applying_creates_everything() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let config = RabbitConfig { partitions: 2, ..config(&url, &prefix) };
    for _ in 0..2 {
        let missing: Vec<String> = check(&config)
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
    let applied = apply(&config).await.unwrap();
    assert_eq!((applied.created, applied.findings), (names(&config), vec![]));
    // This broker keeps every argument that we send, so the probes find none that is ignored.
    assert_eq!(check(&config).await.unwrap(), []);
    let applied = apply(&config).await.unwrap();
    assert_eq!((applied.created, applied.findings), (vec![], vec![]));
}

#[tokio::test]
async fn a_differing_argument_is_named_with_both_values() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let ours = config(&url, &prefix);
    apply(&RabbitConfig { delivery_limit: 7, ..ours.clone() }).await.unwrap();
    let findings = check(&ours).await.unwrap();
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert_eq!(told.len(), 3, "both lanes and the registrations: {told:#?}");
    for text in &told {
        assert!(text.contains("x-delivery-limit") && text.contains("'20'") && text.contains("'7'"), "{text}");
    }
    assert_eq!(apply(&ours).await.unwrap().findings, findings);
    let days = std::time::Duration::from_secs(86_400);
    let findings = check(&RabbitConfig { delivery_limit: 7, events_age: days, ..ours }).await.unwrap();
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
    let findings = check(&ours).await.unwrap();
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
    assert_eq!(check(&config).await.unwrap(), []);
    let bindings = rabbit.ctl(&["list_bindings", "source_name", "destination_name"]).await;
    let orders = format!("{prefix}.orders");
    assert!(
        bindings.lines().any(|line| line.split_whitespace().eq([orders.as_str(), orders.as_str()])),
        "{bindings}"
    );
}
