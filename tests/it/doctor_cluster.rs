//! `paybell doctor` over RabbitMQ and Redis.

use serde_json::Value;

use crate::doctor::{Patient, one};
use crate::harness::{Settings, Shop};

#[test]
fn the_servers_of_a_cluster_are_looked_at_too() {
    let shop = Shop::open(&Settings::default());
    let ran = Patient::public(&shop).examined(&["--json", "--subscriber-queue", "no-such-queue"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for code in [
        "rabbitmq-publishes",
        "rabbitmq-topology-good",
        "subscriber-queue-missing",
        "redis-version-good",
        "redis-eviction-good",
        "active-since-missing",
    ] {
        one(findings, code);
    }
    let ours = Shop::open(&Settings {
        merchant: "active_since = \"2026-11-20T00:00:00+08:00\"",
        ..Settings::default()
    });
    let ran = Patient::public(&ours).examined(&["--json"]);
    assert!(!ran.stdout.contains("active-since-missing"), "{ran:?}");
}
