//! The embedded engine: queue, event log and ledger in one SQLite file.
//!
//! One writer thread owns every write and commits in groups: while one fsync runs, the next group collects. Reads go
//! to reader connections of their own. The rules of leases, claims and registrations are not here: each job loads a
//! record, calls the transition of `paybell-core`, and stores what that says, all within one transaction.
//!
//! Walk of a write: a port method (`queue`, `ledger`, `due`, `registry`, `dead`, `log`,
//! `notes`, `acts`) → [`writer`] (one transaction
//! per group) → [`store`] (rows) → [`shared`] (counters and wake-ups, after the commit) → the caller's answer.
//!
//! Knows nothing of HTTP, of WeChat, or of who calls.

mod acts;
mod businesses;
mod clock;
mod config;
mod dead;
mod due;
mod engine;
mod error;
mod lane;
mod ledger;
mod lock;
mod log;
mod notes;
mod paid;
mod queue;
mod readers;
mod records;
mod registry;
mod restart;
mod retention;
mod row;
mod schema;
mod shared;
mod store;
mod wal;
mod writer;

pub use clock::{SystemClock, WallClock};
pub use config::{EngineConfig, Retention};
pub use engine::Engine;
pub use error::OpenError;
pub use retention::Pruned;
