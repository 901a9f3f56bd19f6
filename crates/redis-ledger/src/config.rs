//! What the ledger is told when it is opened. Reads no file and no environment: the binary does.

use paybell_core::Cadence;
use paybell_core::record::State;
use paybell_core::time::Millis;

use crate::address::Address;
use crate::error::OpenError;

const DAY_SECONDS: i64 = 86_400;

/// Longest prefix, in characters.
const PREFIX_CHARS_MAX: usize = 64;

/// Where Redis is and how the ledger keeps it.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    /// Counted from when registered orders were created.
    pub cadence: Cadence,
    pub retention: Retention,
}

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// From the record's last change, never while it has a due time or a lease.
    pub orders: Millis,
    /// The same for orders in mismatch or rejected.
    pub disputed: Millis,
}

impl Retention {
    /// How long a record in this state is kept.
    pub(crate) fn of(&self, state: State) -> Millis {
        match state {
            State::Mismatch | State::Rejected => Millis(self.disputed.0.max(self.orders.0)),
            _ => self.orders,
        }
    }
}

impl RedisConfig {
    /// Everything but the place as usual. The address has one of these forms, `rediss` in place of `redis` for TLS:
    ///
    /// - `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`
    /// - `redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB][?user=…&password=…]`: the hosts are
    ///   sentinels, the options are their login, and what stands before the `@` is for the servers they name.
    pub fn new(url: &str, prefix: &str) -> Result<Self, OpenError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if prefix.is_empty() || prefix.len() > PREFIX_CHARS_MAX || !prefix.bytes().all(is_plain) {
            return Err(OpenError::Prefix);
        }
        Ok(Self {
            address: Address::parse(url)?,
            prefix: prefix.to_owned(),
            cadence: Cadence::wechat(),
            retention: Retention::default(),
        })
    }

    /// A certificate authority (PEM) to trust instead of the public ones.
    pub fn with_root_certificate(mut self, pem: Vec<u8>) -> Self {
        self.address = self.address.with_root_certificate(pem);
        self
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { orders: Millis::seconds(35 * DAY_SECONDS), disputed: Millis::seconds(100 * DAY_SECONDS) }
    }
}
