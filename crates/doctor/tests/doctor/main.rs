//! Every finding, provoked once: servers that answer as badly as the field's do, on this machine.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time and real sockets"
)]

mod catalogue;
mod endpoints;
mod facts;
mod files;
mod notify;
mod service;
mod stand;
mod watch;
mod wechat;

use doctor::{Finding, Severity};

/// What a look found that had all its time.
async fn gathered(look: impl AsyncFnOnce(&mut Vec<Finding>)) -> Vec<Finding> {
    let mut found = Vec::new();
    look(&mut found).await;
    found
}

/// The one finding of a code.
#[track_caller]
fn one<'f>(findings: &'f [Finding], code: &str) -> &'f Finding {
    let found: Vec<_> = findings.iter().filter(|finding| finding.code == code).collect();
    assert_eq!(found.len(), 1, "one {code} in {:#?}", brief(findings));
    found[0]
}

/// Every finding that asks for something says so in both languages, and each shows what it saw.
#[track_caller]
fn complete(findings: &[Finding]) {
    for finding in findings {
        let (seen, remedy) = (&finding.seen, &finding.remedy);
        assert!(!seen.en.is_empty() && !seen.zh.is_empty(), "{finding:?}");
        assert_eq!(remedy.en.is_empty(), remedy.zh.is_empty(), "{finding:?}");
        if finding.severity >= Severity::Warning {
            assert!(!remedy.en.is_empty(), "{finding:?} names no remedy");
            assert!(!remedy.zh.is_ascii(), "{finding:?}");
        }
    }
}

/// Codes and severities, in their order.
fn brief(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {}", finding.severity.as_str(), finding.code)).collect()
}
