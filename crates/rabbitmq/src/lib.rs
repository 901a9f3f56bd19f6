//! Check queue and event log on RabbitMQ; the only user of the AMQP client.
//!
//! It moves checks and events and knows nothing of what they mean: no decision is made here, and nothing is read from
//! or written to the ledger, but for the letters about what cannot be read.
//!
//! Every connection is a [`link`]: kept up for ever by a supervisor of its own, which also declares the [`topology`].
//! A check's walk: [`queue`] → [`publisher`] (confirmed) → the broker → [`source`] → the worker's hand → acknowledged.

mod baseline;
mod config;
mod consume;
mod dead;
mod error;
mod fanout;
mod link;
mod log;
mod orders;
pub mod probe;
mod publisher;
mod queue;
mod rabbit;
mod source;
mod stage;
pub mod topology;
mod trouble;

pub use baseline::{Baseline, erase};
pub use config::{RabbitConfig, judge_url};
pub use consume::Letters;
pub use error::{ConfigError, StageError};
pub use orders::{Orders, Posted};
pub use rabbit::{Needs, RabbitMq};
pub use stage::{Performed, Place, REHEARSAL_EXCHANGE, Stage};
pub use trouble::{Trouble, Words};
