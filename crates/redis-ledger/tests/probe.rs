//! What a doctor is told of a Redis: how it keeps what it is told, who follows it, and why it cannot be asked.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

use redis_ledger::RedisConfig;
use redis_ledger::probe::{Facts, Unasked, probe};
use testkit::servers::{Fsync, Redis, RedisOptions};

async fn asked(url: &str) -> Result<Facts, Unasked> {
    probe(&RedisConfig::new(url, "probe").unwrap()).await
}

#[tokio::test]
async fn a_server_tells_how_it_keeps_what_it_is_told() {
    let args = ["--maxmemory", "100mb", "--maxmemory-policy", "noeviction", "--min-replicas-to-write", "0"];
    let args = args.map(str::to_owned).to_vec();
    let server = Redis::start_with(RedisOptions { is_volatile: false, fsync: Fsync::Always, args }).await;
    let facts = asked(&server.url()).await.unwrap();
    assert!(facts.version.as_deref().unwrap().starts_with(char::is_numeric));
    assert_eq!(facts.server, format!("127.0.0.1:{}", server.port()));
    assert!(facts.is_master && !facts.is_cluster && facts.has_append_only_file && !facts.is_disk_failing);
    assert_eq!((facts.fsync.as_deref(), facts.eviction.as_deref()), (Some("always"), Some("noeviction")));
    assert_eq!((facts.memory_bytes_max, facts.min_replicas), (Some(104_857_600), Some(0)));
    assert!(facts.memory_bytes_used.unwrap() > 100_000 && facts.replicas == 0);
    assert!(facts.skew_ms.unwrap().abs() < 5_000, "it is the same clock: {:?}", facts.skew_ms);
    let replica = Redis::replica_of(&server).await;
    assert_eq!(asked(&server.url()).await.unwrap().replicas, 1);
    assert!(!asked(&replica.url()).await.unwrap().is_master);
    assert_eq!(server.cli(&["keys", "*"]).await, "", "nothing was written");
}

#[tokio::test]
async fn a_server_that_forgets_or_hides_its_settings_tells_what_it_can() {
    let args = ["--save", "", "--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let options = RedisOptions { is_volatile: true, args, ..RedisOptions::default() };
    let server = Redis::start_with(options).await;
    let facts = asked(&server.url()).await.unwrap();
    assert!(!facts.has_append_only_file);
    assert_eq!((facts.snapshots.as_deref(), facts.eviction.as_deref()), (Some(""), Some("allkeys-lru")));
    server.cli(&["acl", "setuser", "shop", "on", ">hunter2", "~*", "+@all", "-config"]).await;
    let url = |login: &str| server.url().replacen("redis://", &format!("redis://{login}@"), 1);
    let facts = asked(&url("shop:hunter2")).await.unwrap();
    assert_eq!((facts.fsync, facts.snapshots), (None, None), "CONFIG is refused, the rest is told");
    assert!(facts.version.is_some());
    let denied = asked(&url("shop:wrong")).await.unwrap_err();
    assert!(matches!(&denied, Unasked::Denied(cause) if !cause.contains("wrong")), "{denied:?}");
}

#[tokio::test]
async fn nobody_there_is_away() {
    let away = asked("redis://127.0.0.1:9").await.unwrap_err();
    assert!(matches!(away, Unasked::Away(_)), "{away:?}");
}
