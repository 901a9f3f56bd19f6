//! Brings events to endpoints: webhooks, and the old notification handlers of shops that have not changed a line.
//!
//! Each endpoint has a place of its own in the event log, entries that wait, and a breaker, all kept in one note: a dead
//! endpoint slows nobody, and any process may go on where another one died. At least once, always under the event's id.
//!
//! Walk of an event: [`driver`] reads the log for [`machine`], which says what is tried when → `courier` makes the
//! request ([`secret`], [`legacy`]) → [`transport`] posts it → [`outcome`] judges the reply → [`machine`] → [`book`],
//! kept by `shelf`.
//!
//! Knows nothing of decisions, orders' states beyond "refunded", engines, or how it is shown.

mod birth;
pub mod book;
pub mod breaker;
pub mod config;
mod courier;
pub mod desk;
pub mod driver;
mod error;
pub mod legacy;
pub mod machine;
mod metrics;
pub mod outcome;
pub mod schedule;
pub mod secret;
mod shelf;
pub mod transport;
mod wishes;

pub use config::{Begin, Endpoint, EndpointName, EndpointUrl, Kind, Reach, Refunded, Wanted};
pub use courier::KeyOf;
pub use desk::Desk;
pub use driver::{Deliveries, Ports, Timing, run};
pub use error::Error;
pub use legacy::MerchantKey;
pub use machine::settle::Settled;
pub use metrics::DeliveryMetrics;
pub use secret::{WebhookSecret, WebhookSecrets};
pub use shelf::Company;
pub use transport::{HttpTransport, SystemResolver};
