//! Calls at WeChat on a shop's demand, answered while the shop waits: place, close, and who pays.
//!
//! An order is registered before WeChat hears of it, so whatever ends in between leaves an order that we know and look
//! at. Decides nothing about payments: what a query shows here becomes a check, and the worker does the rest. Knows no
//! listener and no engine; the console reaches it through `paybell_core::ports::Cashier`.

mod business;
mod close;
mod desk;
mod device;
mod metrics;
mod payer;
mod place;
mod prepare;
mod refusal;
mod settings;

pub use desk::{Desk, Parts};
pub use metrics::CashierMetrics;
pub use settings::{AppAccount, Lives, Settings, Shop};
