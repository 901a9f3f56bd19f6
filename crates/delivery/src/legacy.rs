//! What an old notification handler gets, and which of its answers count.

mod answer;
mod notification;

pub use answer::{Refusal, judge};
pub(crate) use notification::payer;
pub use notification::{MerchantKey, notification};
