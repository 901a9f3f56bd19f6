//! Brings every day's bill home and has it reconciled once: which day, when, by which process, from which file.
//!
//! The walk of a day: [`book`] says that it is due → [`shelf`] makes it ours → `fetch` brings the bill into the
//! [`folder`] → `reconcile` compares → the result and its event are stored in one step → checks are published → the
//! event is told → the day is done. A process that dies anywhere leaves a lease behind; whoever takes the day next goes
//! on from what was stored, so that the same result is told once.
//!
//! Never decides about an order: what the bill has and we have not becomes a check, and WeChat is asked. Does not know
//! engines, the configuration file, HTTP servers.

pub mod book;
mod desk;
mod earlier;
mod error;
mod fetch;
pub mod folder;
mod holdings;
mod metrics;
mod round;
mod run;
mod shelf;
mod telling;
mod work;

pub use desk::{Asked, Desk, Told, Wish};
pub use error::Error;
pub use fetch::{BillSource, Fetched, WechatBills};
pub use folder::{FileName, Folder};
pub use holdings::Holdings;
pub use metrics::BillMetrics;
pub use run::{Bills, Merchant, Ports, Timing, Wants, finish, run};
pub use shelf::Company;
