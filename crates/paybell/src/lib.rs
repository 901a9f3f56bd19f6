//! Everything behind the `paybell` command: configuration, wiring, lifecycle, command line.
//!
//! It holds no business rule: roles and engines live in crates of their own, and only [`boot`] knows all of them.

pub mod config;
