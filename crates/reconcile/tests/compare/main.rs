//! Whole comparisons: a bill as WeChat makes it against a ledger in memory.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod broken;
mod midnight;
mod payments;
mod refunds;
mod scope;
mod support;
