//! Looks at everything a new installation gets wrong and says how to mend it.
//!
//! Each look gives [`Finding`]s in both languages: what was seen, what to do. It changes nothing that it looks at; the
//! one thing it sends beside questions is the canary, a signed notification of an order that does not exist.
//! It reads no configuration and prints nothing: `paybell doctor` brings the facts, and shows the [`listing`].

mod beside;
pub mod canary;
pub mod clock;
mod clocks;
pub mod endpoints;
pub mod files;
mod finding;
pub mod listing;
pub mod machine;
mod metrics;
pub mod net;
pub mod notify;
pub mod rabbit;
mod random;
pub mod redis;
mod samples;
pub mod service;
pub mod watch;
pub mod wechat;

pub use finding::{Area, Finding, Language, Report, Severity, Text};
pub use metrics::CanaryMetrics;
