//! `paybell doctor` over RabbitMQ and Redis.

use paybell_core::ports::Notes;
use redis_ledger::{RedisConfig, RedisLedger};
use serde_json::Value;
use testkit::servers::{shared_redis, wait};

use crate::doctor::{Patient, one};
use crate::harness::{Settings, Shop, run};

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

#[test]
fn a_configuration_that_names_another_mode_than_the_installation_is_in_is_found() {
    let shop = Shop::open(&Settings::default());
    let found = |code: &str| {
        let ran = Patient::public(&shop).examined(&["--json", "--no-canary"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        one(report["findings"].as_array().unwrap(), code).clone()
    };
    found("mode-agrees");
    let config = shop.config();
    run(&["mode", "shadow", "--config", &config.display().to_string()]).expect(0, &["shadow since"]);
    let differs = found("mode-differs");
    assert_eq!(differs["severity"], "error");
    assert!(differs["remedy"]["en"].as_str().unwrap().contains("paybell mode live"), "{differs}");
    let text = std::fs::read_to_string(&config).unwrap();
    let prefix =
        text.lines().find_map(|line| line.strip_prefix("redis.prefix = ")).unwrap().trim_matches('"');
    wait(async {
        let redis = RedisConfig::new(&shared_redis().await, prefix).unwrap();
        let ledger = RedisLedger::open(redis).await.unwrap();
        let version = Notes::read(&ledger, "mode").await.unwrap().unwrap().version;
        assert!(Notes::write(&ledger, "mode", Some(version), "{\"mode\":\"maintenance\"}").await.unwrap());
    });
    found("mode-unreadable");
    std::fs::write(
        &config,
        text.replace(&format!("redis.prefix = \"{prefix}\""), "redis.prefix = \"it-nobody\""),
    )
    .unwrap();
    found("mode-not-settled");
}
