//! A WeChat Pay API v2 that runs on a laptop, with faults on demand: orders, queries, closing, payments at a till, refunds,
//! bills, openids, and notifications of payments and refunds on WeChat's own cadence.
//!
//! It is written from the protocol and shares only XML and signing with the rest; it knows nothing of what its callers do
//! with the answers. What it holds as true is listed by [`Control::truths`], [`Control::refund_truths`] and `/_sim/`, so that a test can
//! compare. Made for tests and demonstrations: it keeps everything in memory and takes orders from anyone.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use simulator::{MerchantConfig, NewOrder, OrderKey, Payment, Simulator, SimulatorConfig};
//! use tokio_util::sync::CancellationToken;
//!
//! let stop = CancellationToken::new();
//! let merchant = MerchantConfig::new("1900000109", "wx8888888888888888", "0123456789abcdef0123456789abcdef")?;
//! let config = SimulatorConfig { clock_scale: 1000.0, merchants: vec![merchant], ..SimulatorConfig::default() };
//! let simulator = Simulator::start(config, stop.clone()).await?;
//! println!("base_urls = [\"{}\"]", simulator.base_url());
//!
//! let order = NewOrder::new("1900000109", "T2026112000000001", 1999, "http://127.0.0.1:8080/notify/pay");
//! let key: OrderKey = simulator.control().create_order(order)?;
//! simulator.control().pay(&key, Payment::default())?;
//!
//! stop.cancel();
//! simulator.stopped().await;
//! # Ok(()) }
//! ```

mod bill;
mod book;
mod call_faults;
mod clock;
mod config;
mod control;
mod control_api;
mod endpoint;
mod error;
mod faults;
mod http;
mod issuing;
mod notifier;
mod openid;
mod order;
mod paycode;
mod people;
mod placing;
mod poster;
mod refund;
mod refund_notifier;
mod refunding;
mod settings;
mod stats;
mod tls;
mod wire;
mod world;

pub use bill::{BillTotals, Padding};
pub use call_faults::{CallFault, CallFaults, CallName};
pub use config::{MerchantConfig, SecretKey, SimulatorConfig, TlsListen};
pub use control::{ClockReading, Control, Custom, Page, RefundPage, SignAs};
pub use error::{Error, Refused};
pub use faults::{Fault, Faults};
pub use http::Simulator;
pub use notifier::CADENCE_S;
pub use openid::AppConfig;
pub use order::{Coupon, NewOrder, OrderKey, Payment, TradeState, Truth};
pub use paycode::PayCode;
pub use placing::{Device, DeviceOutcome};
pub use poster::{Kind, Outcome, Post};
pub use refund::{NewRefund, RefundKey, RefundState, RefundTruth};
pub use settings::{Certificate, Funds, Settings};
pub use stats::Stats;
