//! The cashier over engines in memory and a WeChat that keeps books, and over real HTTP.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::unimplemented,
    reason = "a test drives real time"
)]

mod at_once;
mod business;
mod closing;
mod driver;
mod http;
mod kills;
mod memory;
mod placing;
mod shop;
