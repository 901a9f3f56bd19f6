//! Step 1 of a payment's path: a notification comes in, a durable check goes out, WeChat gets its answer.
//!
//! Bounded read → parse → find merchant → verify → publish a check, durably confirmed → answer SUCCESS. Never touches
//! the ledger, never calls WeChat, and believes nothing: the check carries a hint only.

mod answer;
mod merchants;
mod metrics;
mod receive;
mod refund;
mod seldom;
mod service;

pub use answer::Answer;
pub use merchants::{Merchant, Merchants, MerchantsError};
pub use metrics::{IngressMetrics, KeyUsed};
pub use receive::{Ingress, Reception};
pub use service::{IngressLimits, IsDraining};
