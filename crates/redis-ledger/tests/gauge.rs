//! What a benchmark asks of a server: that it counts what the ledger stored, sees what held the server up, and leaves
//! nothing of its own behind.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, asks, config, key, open, register, server_with};
use redis_ledger::{Gauge, RedisConfig};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn memory_grows_with_what_is_stored_and_an_erased_prefix_leaves_others_alone() {
    let server = server_with(&[]).await;
    let ledger = open(&server).await;
    let mut gauge = Gauge::connect(&config(&server.url())).await.unwrap();
    let before = gauge.usage().await.unwrap();
    assert!(before.version.starts_with(char::is_numeric), "{before:?}");
    for number in 0..500 {
        register(&ledger, &key(number), &asks(1)).await;
    }
    let grown = gauge.usage().await.unwrap().data_bytes - before.data_bytes;
    assert!((500 * 100..500 * 1_000).contains(&grown), "{grown} bytes for 500 orders");
    gauge.keep_naively(&[("1900000109:A".to_owned(), 7, json!({ "total_fee": 1 }))]).await.unwrap();
    server.cli(&["set", "testing{0}1900000109:A", "another's"]).await;
    ledger.close().await;
    let erased = gauge.erase().await.unwrap();
    assert!(erased >= 500 + 2, "{erased} keys");
    assert_eq!(server.cli(&["keys", "*"]).await, "testing{0}1900000109:A");
    assert_eq!(gauge.erase().await.unwrap(), 0);
}

#[tokio::test]
async fn buffers_are_no_data_and_a_rewrite_of_the_file_is_a_fork() {
    let server = server_with(&[]).await;
    let mut gauge = Gauge::connect(&config(&server.url())).await.unwrap();
    let before = gauge.usage().await.unwrap();
    // A command that never ends lies in the buffer of its connection.
    let mut half = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    half.write_all(b"*2\r\n$4\r\necho\r\n$4000000\r\n").await.unwrap();
    half.write_all(&[b'a'; 2_000_000]).await.unwrap();
    let started = Instant::now();
    loop {
        let memory = server.cli(&["info", "memory"]).await;
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        if used.trim().parse::<u64>().unwrap() > before.data_bytes + 2_000_000 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{memory}");
    }
    // Redis counts its buffers about once a second.
    while gauge.usage().await.unwrap().data_bytes > before.data_bytes + 200_000 {
        assert!(started.elapsed() < PATIENCE, "a buffer counts as data");
    }
    server.cli(&["bgrewriteaof"]).await;
    while gauge.usage().await.unwrap().forks != before.forks + 1 {
        assert!(started.elapsed() < PATIENCE, "no fork was counted");
    }
}

#[tokio::test]
async fn slow_commands_are_seen_from_the_watch_on_and_the_settings_come_back() {
    let server = server_with(&["--slowlog-log-slower-than", "777", "--slowlog-max-len", "99"]).await;
    server.cli(&["config", "set", "slowlog-log-slower-than", "0"]).await;
    server.cli(&["echo", "before"]).await;
    server.cli(&["config", "set", "slowlog-log-slower-than", "777"]).await;
    let mut gauge = Gauge::connect(&config(&server.url())).await.unwrap();
    let watch = gauge.watch_slow(Duration::from_millis(2)).await.unwrap();
    server.cli(&["echo", "fast"]).await;
    server
        .cli(&[
            "eval",
            "local at = redis.call('TIME'); local us = function(t) return t[1] * 1000000 + t[2] end; \
                  while us(redis.call('TIME')) - us(at) < 5000 do end",
            "0",
        ])
        .await;
    let slow = gauge.slow(&watch).await.unwrap();
    assert!(slow.iter().all(|one| one.took >= Duration::from_millis(2)), "{slow:?}");
    // A machine that holds the server up makes others slow, too.
    let ours: Vec<_> = slow.iter().filter(|one| one.name == "EVAL").collect();
    let [one] = ours.as_slice() else { panic!("{slow:?}") };
    assert!(one.took >= Duration::from_millis(5), "{one:?}");
    gauge.restore(&watch).await.unwrap();
    let settings = server.cli(&["config", "get", "slowlog-*"]).await;
    assert!(settings.contains("777") && settings.contains("99"), "{settings}");
}

#[tokio::test]
async fn a_server_that_is_away_is_told() {
    let config = RedisConfig::new("redis://127.0.0.1:1", "test").unwrap();
    let error = Gauge::connect(&config).await.err().unwrap();
    assert!(error.to_string().contains("ledger is unavailable"), "{error}");
}
