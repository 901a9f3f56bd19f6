//! Everything behind the `paybell` command: configuration, wiring, lifecycle, command line.
//!
//! It holds no business rule: roles and engines live in crates of their own, and only [`boot`] knows all of them.

pub mod api;
pub mod audit;
pub mod bench;
pub mod boot;
pub mod cli;
mod clock;
pub mod command;
pub mod config;
pub mod demo;
pub mod engine;
pub mod error;
mod keys;
mod language;
pub mod metrics;
pub mod output;
pub mod reconcile;
pub mod rehearse;
pub mod shadow;
mod table;
