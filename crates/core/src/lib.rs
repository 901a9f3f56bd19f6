//! Paybell's language: orders, records, observations, decisions, events, and the ports to the engines.
//!
//! Everything here is pure. No I/O, no runtime, no clock and no randomness: whoever calls brings the time, the
//! tokens and the delays. The two engines run the same transitions ([`lease`], [`claim`], [`register`],
//! [`verdict`]) inside their own atomic step, so the rules stand once.
//!
//! Knows nothing of XML, HTTP, SQL, RabbitMQ or Redis.

pub mod act;
pub mod agreed;
pub mod cadence;
pub mod check;
pub mod claim;
pub mod day;
pub mod dead;
pub mod decide;
pub mod detail;
pub mod event;
pub mod ids;
pub mod lease;
pub mod line;
pub mod memory;
pub mod money;
pub mod observation;
pub mod paid;
pub mod place;
pub mod policy;
pub mod ports;
#[cfg(test)]
mod properties;
pub mod record;
pub mod refund;
pub mod register;
#[cfg(test)]
mod samples;
pub mod shadow;
pub mod time;
pub mod verdict;

pub use act::{Act, Action};
pub use agreed::{AgreedMode, ModeKeeper};
pub use cadence::Cadence;
pub use check::{Check, Lane, Reason};
pub use day::Day;
pub use dead::{DeadLetter, DeadReason};
pub use decide::{Decision, Look, decide};
pub use event::Event;
pub use ids::{
    AppId, BusinessNo, LeaseToken, MchId, OrderKey, OutRefundNo, OutTradeNo, RefundId, TransactionId,
};
pub use memory::{Memory, MemoryKeeper};
pub use money::{Currency, Fen};
pub use observation::{Answer, Observation, Payment};
pub use policy::{OpenidPolicy, Policy, Unregistered};
pub use record::{Due, Record, State};
pub use register::Registration;
pub use shadow::{Mode, Telling};
pub use time::Timestamp;
