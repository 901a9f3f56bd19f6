//! Step 3 of a payment's path: a check comes in, at most one event goes out.
//!
//! Lease → orderquery → `decide` → commit → publish → clear → acknowledge; the order of these effects lives in
//! [`handle`]. Works over ports only: it knows neither the engines nor the ingress.

mod asker;
mod handle;
mod left;
mod metrics;
mod observe;
mod observe_refund;
mod policies;
mod retry;
mod revive;
mod run;
mod wechat;

pub use asker::{Account, Asker, PlaceAsked, Placer};
pub use handle::{Settled, Worker, WorkerParts};
pub use metrics::{KeyUsed, WorkerMetrics};
pub use observe::{MerchantFacts, close_answer, observe};
pub use observe_refund::{observe_refund, refund_answer};
pub use policies::Policies;
pub use retry::RetryPolicy;
pub use revive::revive;
pub use run::{WorkerLimits, rescue, run};
pub use wechat::{Ask, Asked, CloseAsked, RefundAsk, RefundAsked, Wechat};
