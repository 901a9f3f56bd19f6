//! Every bound of a listener, with its unit in its name. Holds numbers only; the accept loop and the watch over
//! each connection apply them.

use std::time::Duration;

/// Bounds of one listener. The default suits a public listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once. Beyond it nothing is accepted: callers wait in the kernel's backlog until a
    /// connection ends, which the time-outs below make sure of.
    pub connections_max: usize,
    /// From the first byte of a request (from accept for the first request) to the end of its head.
    pub head_timeout_ms: u64,
    /// From the same moment to the end of the body. It becomes [`crate::Peer::request_deadline`].
    pub request_timeout_ms: u64,
    /// Quiet time between two requests on one connection.
    pub idle_timeout_ms: u64,
    /// A peer that takes no byte of an answer for so long is cut.
    pub write_timeout_ms: u64,
    /// TLS handshake, from accept.
    pub tls_handshake_timeout_ms: u64,
    /// After the answer that ends a connection: how long to discard what the peer still sends, so that a reset does not
    /// overtake the answer.
    pub linger_timeout_ms: u64,
    /// After the drain token: how long a request in hand may still take.
    pub drain_timeout_ms: u64,
    /// Largest request head; above it hyper answers 431. At least 8192. (Header count: hyper's 100.)
    pub head_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 10_000,
            head_timeout_ms: 10_000,
            request_timeout_ms: 15_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
            tls_handshake_timeout_ms: 5_000,
            linger_timeout_ms: 1_000,
            drain_timeout_ms: 10_000,
            head_bytes_max: 32 * 1024,
        }
    }
}

impl Limits {
    /// hyper panics below 8192: a smaller wish means the smallest there is.
    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes_max.max(8192)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.max(1))
    }

    pub(crate) fn tls_handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.tls_handshake_timeout_ms)
    }
}
