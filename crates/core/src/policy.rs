//! What the operator decided per merchant, as `decide` needs it.

use crate::cadence::Cadence;
use crate::shadow::Mode;
use crate::time::Millis;

/// What to do with a payment of an order that nobody registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unregistered {
    /// Emit `order.paid` with `registered: false`.
    #[default]
    Emit,
    /// Wait a while for the registration, then `order.mismatch`.
    Hold,
    /// Forget it.
    Ignore,
}

/// Where the payer's openid goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenidPolicy {
    /// Nowhere.
    #[default]
    Omit,
    /// Into the record, not into events: an old notification handler is told it.
    Keep,
    /// Into the record and events.
    Include,
}

/// How long a held payment waits for its registration.
pub const HOLD: Millis = Millis::seconds(60);

/// The configuration that decisions depend on.
#[derive(Debug, Clone)]
pub struct Policy {
    pub mode: Mode,
    pub cadence: Cadence,
    pub unregistered: Unregistered,
    /// Close an order at the end of its cadence instead of only calling it unpaid; never in shadow.
    pub close_unpaid: bool,
    pub openid: OpenidPolicy,
    /// A payment older than this, of an order without registration or earlier record, emits nothing.
    pub retention: Millis,
}
