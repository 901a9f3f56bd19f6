//! The ledger on Redis; the only user of the Redis client.
//!
//! It loads a record, runs core's transition on it and stores the result by one compare-and-set: a script writes the
//! new bytes only where the old ones are those that the transition saw. It decides nothing and talks to nobody but
//! Redis. Needs Redis 6.2 or later, a single server or the master that sentinels name.
//!
//! Walk of a write: a port method (`ledger`, `due`, `registry`, `dead`) → [`change`] (transition, compare and set) →
//! [`step`] (what it moves) → [`writer`] (one pipeline per group) → `scripts/store.lua` → the caller's answer.
//!
//! Knows nothing of queues, of WeChat, or of who calls.

mod acts;
mod address;
mod businesses;
mod change;
mod clock;
mod codec;
mod config;
mod cursor;
mod dead;
mod due;
mod engine;
mod error;
mod find;
mod followed;
mod gauge;
mod greet;
mod holders;
mod keys;
mod ledger;
mod notes;
mod paid;
pub mod probe;
mod pulse;
mod recent;
mod records;
mod registry;
mod scripts;
mod session;
mod step;
mod supervisor;
mod tally;
mod unreadable;
mod walk;
mod writer;

pub use config::{RedisConfig, Retention};
pub use engine::RedisLedger;
pub use error::OpenError;
pub use gauge::{Gauge, ServerUsage, SlowCommand, SlowWatch};
