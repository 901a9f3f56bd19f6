//! `paybell bench` in its smallest form, on both engines: that every process starts, every notification and event is
//! accounted for, every figure has its name, and nothing stays on the servers. How fast this machine is, no test judges.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real processes and real time"
)]

mod support;

use std::{process::Command, time::Duration};

use serde_json::Value;
use support::{Ran, paybell, run};
use testkit::servers::{Rabbit, Redis, RedisOptions, shared_rabbit, shared_redis, wait};

/// What a benchmark ends with where a machine that stood still for seconds made its service refuse, which is its right.
const REFUSALS: [&str; 5] =
    ["were refused", "was answered 503", "registering", "no answer within", "could be taken away"];
const TRIES: usize = 4;

fn figures(arguments: &[&str], names: &[&str]) -> Value {
    let measure = || run(&[&["bench"], arguments, &["--json"]].concat());
    let was_refused =
        |found: &Ran| found.code == Some(1) && REFUSALS.iter().any(|refusal| found.stderr.contains(refusal));
    let mut found = measure();
    for _ in 1..TRIES {
        if was_refused(&found) {
            found = measure();
        }
    }
    let report = found.expect(0, &[]).json();
    for name in names {
        let value = report["figures"][name].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{name} in {report:#}");
        assert!(report["units"][name].is_string(), "{name} in {report:#}");
    }
    report
}

#[test]
fn ingress_is_measured_beside_its_baselines() {
    let report = figures(
        &["ingress", "--connections", "2,64", "--rounds", "1", "--seconds", "1", "--notifications", "500"],
        &[
            "2.bare.requests_per_second",
            "64.verify.to_bare",
            "64.paybell.to_bare",
            "64.paybell.p99_ms",
            "many.rss_peak_mb",
            "many.requests_per_second",
            "many.file_bytes_per_check",
        ],
    );
    assert_eq!(report["aims"]["64.paybell.to_bare"]["aim"], ">= 0.45");
    assert_eq!(report["figures"]["64.bare.to_bare"], Value::Null, "a baseline has no ratio to itself");
}

#[test]
fn every_payment_of_the_pipeline_becomes_one_event() {
    let report = figures(
        &["pipeline", "--orders", "300", "--in-flight", "16", "--seconds", "1", "--rate", "50"],
        &[
            "sustained.orders_per_second",
            "sustained.event_p99_ms",
            "sustained.step.take_mean_ms",
            "sustained.step.clear_percent",
            "steady.event_p50_ms",
        ],
    );
    assert_eq!(report["figures"]["repeated_events"], 0.0);
}

/// The benchmark itself refuses figures of a lap in which anything was not placed, or not repeated.
#[test]
fn placing_is_measured_beside_the_call_that_it_makes() {
    const NAMES: [&str; 7] = [
        "wechat.p50_ms",
        "wechat.per_second",
        "place.p50_ms",
        "place.per_second",
        "place.paybell_cpu_us",
        "repeat.p99_ms",
        "repeat.per_second",
    ];
    let small = ["place", "--orders", "200", "--connections", "8"];
    figures(&small, &NAMES);
    let (rabbit, redis) = (wait(Rabbit::start()), wait(Redis::start()));
    let cluster = ["--engine", "cluster", "--rabbitmq", &rabbit.url(), "--redis", &redis.url()];
    figures(&[&small[..], &cluster].concat(), &NAMES);
    assert_eq!(wait(redis.cli(&["dbsize"])), "0", "nothing stays");
    assert_eq!(wait(rabbit.ctl(&["list_queues", "name"])), "");
}

#[test]
fn a_bill_is_compared_with_a_filled_ledger_and_an_empty_one() {
    // The benchmark itself refuses figures of a comparison that found anything else than it should.
    let report = figures(
        &["reconcile", "--rows", "1000"],
        &[
            "parse.rows_per_second",
            "fill.rows_per_second",
            "rows_per_second",
            "to_parse",
            "rss_warm_mb",
            "unknown.rows_per_second",
            "ledger_file_mb",
        ],
    );
    assert_eq!(report["aims"]["rss_over_warm_mb"]["aim"], "<= 64.0");
    assert_eq!(report["aims"]["rows_per_second"]["aim"], ">= 100000");
}

#[test]
fn the_ledger_is_measured_in_time_and_room() {
    figures(
        &["ledger", "--orders", "20000", "--in-flight", "64"],
        &["registers_per_second", "claim_1000_p50_ms", "file_bytes_per_order", "start_ms"],
    );
}

#[test]
fn the_ingress_on_rabbitmq_is_measured_beside_the_client_library_alone() {
    let server = wait(Rabbit::start());
    let url = server.url();
    let report = figures(
        &[
            &["ingress", "--engine", "cluster", "--rabbitmq", &url],
            ["--connections", "2,256", "--rounds", "1", "--seconds", "1", "--notifications", "500"]
                .as_slice(),
        ]
        .concat(),
        &[
            "256.raw.requests_per_second",
            "256.raw.cpu_us_per_request",
            "256.paybell.to_raw",
            "256.paybell.to_bare",
            "many.rss_peak_mb",
        ],
    );
    assert_eq!(report["aims"]["256.paybell.to_raw"]["aim"], ">= 0.58");
    assert_eq!(report["figures"]["256.paybell.to_node"], Value::Null, "no peer was asked for");
    assert_eq!(wait(server.ctl(&["list_queues", "name"])), "", "nothing stays");
}

#[test]
fn every_payment_of_the_cluster_s_pipeline_becomes_one_event_and_nothing_stays() {
    let (rabbit, redis) = (wait(Rabbit::start()), wait(Redis::start()));
    let report = figures(
        &[
            &["pipeline", "--engine", "cluster", "--rabbitmq", &rabbit.url(), "--redis", &redis.url()],
            ["--orders", "300", "--in-flight", "16", "--seconds", "1", "--rate", "50"].as_slice(),
        ]
        .concat(),
        &[
            "sustained.orders_per_second",
            "sustained.event_p99_ms",
            "sustained.step.take_mean_ms",
            "sustained.step.clear_percent",
            "sustained.rabbitmq_and_others_cpu_us_per_order",
            "steady.event_p50_ms",
        ],
    );
    // A confirm that the broker kept back is a rightful repeat; of each payment there is none.
    let repeated = report["figures"]["repeated_events"].as_f64().unwrap();
    assert!(repeated < 300.0, "{repeated}");
    assert_eq!(wait(redis.cli(&["dbsize"])), "0");
    assert_eq!(wait(rabbit.ctl(&["list_queues", "name"])), "");
    let exchanges = wait(rabbit.ctl(&["list_exchanges", "name"]));
    assert!(!exchanges.contains("paybell"), "{exchanges}");
}

#[test]
fn the_ledger_on_redis_is_measured_and_only_its_own_keys_go() {
    let redis = wait(Redis::start_with(RedisOptions {
        args: ["--slowlog-log-slower-than", "777", "--slowlog-max-len", "99"].map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    }));
    wait(redis.cli(&["set", "paybell{0}1900000109:A", "another's"]));
    let report = figures(
        &["ledger", "--engine", "cluster", "--redis", &redis.url(), "--orders", "20000", "--in-flight", "64"],
        &[
            "registers_per_second",
            "register_redis_cpu_us",
            "claim_1000_p50_ms",
            "redis_bytes_per_order",
            "naive.redis_bytes_per_order",
        ],
    );
    assert_eq!(report["figures"]["pending_orders"], 20_000.0);
    let bytes = report["figures"]["redis_bytes_per_order"].as_f64().unwrap();
    assert!((150.0..400.0).contains(&bytes), "{bytes} bytes an order");
    assert!(report["figures"]["claim_blocked_max_ms"].is_number(), "{report:#}");
    assert_eq!(wait(redis.cli(&["keys", "*"])), "paybell{0}1900000109:A");
    let settings = wait(redis.cli(&["config", "get", "slowlog-*"]));
    assert!(settings.contains("777") && settings.contains("99"), "{settings}");
}

#[test]
fn an_interrupted_benchmark_gives_everything_back() {
    let redis = wait(Redis::start());
    let arguments =
        ["bench", "ledger", "--engine", "cluster", "--redis", &redis.url(), "--orders", "10000000"];
    let child = paybell(&arguments).spawn().unwrap();
    let has_begun = || wait(redis.cli(&["dbsize"])).parse::<u64>().unwrap() > 1_000;
    let begun = std::time::Instant::now();
    while !has_begun() {
        assert!(begun.elapsed() < support::PATIENCE, "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(wait(redis.cli(&["dbsize"])), "0");
    let settings = wait(redis.cli(&["config", "get", "slowlog-log-slower-than"]));
    assert!(settings.contains("10000"), "{settings}");
}

#[test]
fn a_server_that_is_away_is_told_and_ends_it() {
    let (rabbit, redis) = ("amqp://guest:hunter2@127.0.0.1:1/%2f", "redis://:hunter2@127.0.0.1:1");
    for (arguments, words) in [
        (&["ingress", "--rabbitmq", rabbit][..], "RabbitMQ (--rabbitmq)"),
        (&["ledger", "--redis", redis], "Redis (--redis)"),
        (&["pipeline", "--rabbitmq", &wait(shared_rabbit()), "--redis", redis], "Redis (--redis)"),
        (&["pipeline", "--rabbitmq", rabbit, "--redis", &wait(shared_redis())], "RabbitMQ (--rabbitmq)"),
    ] {
        let found = run(&[&["bench"], arguments, &["--engine", "cluster"]].concat());
        found.expect(1, &[words]);
        assert!(!found.stderr.contains("hunter2"), "{found:?}");
    }
}

#[test]
fn bounds_are_kept_by_the_command_line() {
    run(&["bench", "ingress", "--connections", "5000"]).expect(2, &["--connections"]);
    run(&["bench", "ledger", "--orders", "1"]).expect(2, &["--orders"]);
    run(&["bench", "pipeline", "--dir", "/nonexistent/folder"]).expect(1, &["--dir"]);
    run(&["bench", "ledger", "--redis", "redis://cache"]).expect(2, &["--redis is for --engine cluster"]);
    run(&["bench", "ingress", "--peer", "/nonexistent"]).expect(2, &["--peer is for --engine cluster"]);
    let no_peer = run(&["bench", "ingress", "--engine", "cluster", "--peer", "/nonexistent"]);
    no_peer.expect(2, &["npm ci"]);
}
