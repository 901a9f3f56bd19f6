//! `paybell bench` in its smallest form: that every process starts, every notification and event is accounted for, and
//! every figure has its name. How fast this machine is, no test judges.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real processes and real time"
)]

mod support;

use serde_json::Value;
use support::run;

fn figures(arguments: &[&str], names: &[&str]) -> Value {
    let found = run(&[&["bench"], arguments, &["--json"]].concat());
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

#[test]
fn the_ledger_is_measured_in_time_and_room() {
    figures(
        &["ledger", "--orders", "20000", "--in-flight", "64"],
        &["registers_per_second", "claim_1000_p50_ms", "file_bytes_per_order", "start_ms"],
    );
}

#[test]
fn bounds_are_kept_by_the_command_line() {
    run(&["bench", "ingress", "--connections", "5000"]).expect(2, &["--connections"]);
    run(&["bench", "ledger", "--orders", "1"]).expect(2, &["--orders"]);
    run(&["bench", "pipeline", "--dir", "/nonexistent/folder"]).expect(1, &["--dir"]);
}
