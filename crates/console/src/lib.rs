//! Private API: orders, events, checks, dead letters, endpoints, for services and operators.
//!
//! It speaks HTTP on one side and the ports of `paybell-core` on the other. It holds no state of its own beyond
//! the waits in hand, never calls WeChat and never emits: a wish becomes a check in the queue or a
//! compare-and-set in the ledger, and the worker does the rest. It knows neither engine nor sockets: whoever
//! wires it hands each request to [`Console::handle`].

mod admission;
mod answer;
mod audit;
mod bills;
mod check;
mod config;
mod console;
mod dead;
mod endpoints;
mod error;
mod events;
mod explain;
mod fields;
mod gate;
mod known;
mod limits;
mod line;
mod metrics;
mod orders;
mod pages;
mod payer;
mod placement;
mod posted;
mod problem;
mod query;
mod rate;
mod readiness;
mod refund_body;
mod refund_view;
mod refunds;
mod registration;
mod release;
mod routes;
mod ruling;
mod stream;
mod till;
mod token;
mod view;
mod wait;

pub use answer::Body;
pub use bills::{BillAsked, BillDesk};
pub use config::{AllowedHosts, ConsoleConfig};
pub use console::{Console, Ports};
pub use explain::{Explained, PROBLEMS};
pub use known::KnownMerchants;
pub use metrics::ConsoleMetrics;
pub use posted::Posted;
pub use rate::Rate;
pub use token::{Scope, Secret, Token};
