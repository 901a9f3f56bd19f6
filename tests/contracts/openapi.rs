//! The OpenAPI document against the running service: schemathesis makes requests of every kind, sound and unsound, and
//! compares each answer with what the document says of it. The cases are the same in every run.

use std::collections::BTreeSet;

use crate::{
    shop::{Guarded, TOKEN},
    tools::{folder, ran, schemathesis},
};

#[test]
fn every_answer_is_what_the_openapi_document_says() {
    let Some(mut command) = schemathesis() else { return };
    let guarded = Guarded::open();
    let letter = guarded.fill();
    let scratch = tempfile::tempdir().unwrap();
    command.current_dir(scratch.path()).env("PAYBELL_TEST_LETTER", letter);
    command.arg("--config-file").arg(folder().join("schemathesis.toml"));
    command.args(["run", &format!("http://{}/openapi.json", guarded.address())]);
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.args(["--phases", "examples,coverage,fuzzing"]);
    let (is_fine, said) = ran(&mut command);
    assert!(is_fine, "{said}");
    assert!(!said.contains(TOKEN), "the tool hides what it was given");
    let metrics = guarded.shop.service.metrics();
    let answered: Vec<(&str, &str)> = metrics.lines().filter_map(answered).collect();
    let failed: Vec<_> = answered.iter().filter(|(_, status)| status.starts_with('5')).collect();
    assert!(failed.is_empty(), "{failed:?}");
    // Requests that are all refused would show little.
    let served: BTreeSet<&str> =
        answered.iter().filter(|(_, status)| status.starts_with('2')).map(|(route, _)| *route).collect();
    for route in [
        "/",
        "/openapi.json",
        "/v1/orders",
        "/v1/orders/{mch_id}/{out_trade_no}",
        "/v1/orders/{mch_id}/{out_trade_no}/check",
        "/v1/orders/{mch_id}/{out_trade_no}/accept",
        "/v1/orders/{mch_id}/{out_trade_no}/place",
        "/v1/orders/{mch_id}/{out_trade_no}/refunds",
        "/v1/events",
        "/v1/dead",
        "/v1/dead/{id}",
        "/v1/audit",
        "/v1/endpoints",
        "/v1/endpoints/{name}",
        "/v1/endpoints/{name}/resend",
        "/v1/endpoints/{name}/enable",
    ] {
        assert!(served.contains(route), "{route} was never served: {answered:?}");
    }
}

/// Route and status of a counter's line.
fn answered(line: &str) -> Option<(&str, &str)> {
    let labels = line.strip_prefix("paybell_console_requests_total{route=\"")?;
    let (route, rest) = labels.split_once("\",status=\"")?;
    Some((route, rest.split_once('"')?.0))
}
