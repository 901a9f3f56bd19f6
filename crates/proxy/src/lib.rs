//! A transparent proxy for the shop's own SDK: it changes its base URL, nothing else.
//!
//! A call goes: who asks → body (buffered up to 64 KiB) → **register the order it places** → forward the bytes unchanged
//! → answer the bytes unchanged. It believes only requests that the merchant's key signed, and refuses to stand in the
//! way: a request that cannot be verified, and one whose registration fails, go through all the same and are counted.
//! It connects to the configured hosts of WeChat and to nobody else, repeats a call only if not one byte of it was
//! sent, never reads an answer, and logs no body. Registrations go to the ledger; what becomes of the order is found
//! out there, as for every other registered order.
//!
//! # What is registered, and when
//!
//! - `POST /pay/unifiedorder` and `POST /pay/micropay` (付款码), for merchants and service providers: amount, currency,
//!   `appid`, `sub_mch_id` and expiry. Sandbox paths place no real orders and register nothing.
//! - An order that WeChat then *refuses* stays registered. A refusal may mean that the order exists
//!   (`OUT_TRADE_NO_USED`, `ORDERPAID`) or that nobody knows (`SYSTEMERROR`, no answer), and a registration cannot be
//!   taken back; so answers are not even read. Where there never was an order the cadence ends with `order.unpaid`,
//!   which is true: the shop tried to sell, and nobody paid.
//! - A shop whose order was refused and that comes again *with the same number and another amount* is registered with
//!   the first amount. It is counted as `different` and logged; a payment then waits as `order.mismatch` for a person.
//! - A micropay is registered before the code is charged. Its payment is found by the first look of the cadence, 15 s
//!   later, whether the answer was SUCCESS, USERPAYING or lost.
//! - A registration that the ledger does not take within 300 ms is `missed`: the call goes on, and it waits in memory
//!   for another attempt, with the time of its call. An end of the process loses what still waits then: those orders
//!   are found by their notification or the bill, without a registered amount.
//! - `time_expire` is when the payer may no longer *begin*: the last look is 15 minutes later, or after the 24 h 4 m of
//!   the cadence where the order has no such time.
//!
//! # Client certificates
//!
//! Refunds, reversals and payments to users need the merchant's certificate, and the SDK's own ends at our listener.
//! The configured one of the merchant that the body names is shown instead. With the proxy in between, whoever reaches
//! it needs only the API key for a refund, and no longer both: listen on loopback or list the sources.

mod answer;
mod backlog;
mod config;
mod connector;
mod endpoint;
mod error;
mod headers;
mod identity;
mod known;
mod merchants;
mod metrics;
mod placed;
mod proxy;
mod refusal;
mod registrar;
mod seldom;
mod source;
mod upload;
mod upstream;

pub use answer::AnswerBody;
pub use config::{ProxyConfig, ProxyLimits, Trust};
pub use error::Error;
pub use identity::ClientIdentity;
pub use merchants::Merchant;
pub use metrics::{KeyUsed, ProxyMetrics};
pub use proxy::{Ports, Proxy};
pub use source::SourceRange;
