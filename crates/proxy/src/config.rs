//! What a proxy is told: where to forward, for whom, within which bounds. Numbers and names only; checked by
//! [`crate::Proxy::new`].

use crate::{error::Error, identity, merchants::Merchant, source::SourceRange};

/// Where to forward, for whom, within which bounds.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// In order of preference; the second is for connects to the first that fail. `http://` is for simulators.
    pub base_urls: Vec<String>,
    /// Whose requests are verified and registered. Calls of others are forwarded too, and counted.
    pub merchants: Vec<Merchant>,
    /// Who may call; empty lets everybody who reaches the listener.
    pub sources: Vec<SourceRange>,
    pub trust: Trust,
    pub limits: ProxyLimits,
}

impl ProxyConfig {
    /// Towards WeChat's own hosts.
    pub fn new(merchants: Vec<Merchant>) -> Self {
        Self {
            base_urls: wechat_pay::client::BASE_URLS.map(str::to_owned).to_vec(),
            merchants,
            sources: Vec::new(),
            trust: Trust::WebRoots,
            limits: ProxyLimits::default(),
        }
    }
}

/// Whose word on a server's certificate counts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The bundled web roots.
    WebRoots,
    /// These certificates (PEM) and no others: a gateway of the shop's own network that opens TLS.
    Pem(Vec<u8>),
}

impl Trust {
    /// Only the certificates of this text, which must hold one at least.
    pub fn pem(pem: Vec<u8>) -> Result<Self, Error> {
        let trust = Self::Pem(pem);
        identity::tls(&trust, None)?;
        Ok(trust)
    }
}

/// Bounds of the proxy.
#[derive(Debug, Clone)]
pub struct ProxyLimits {
    /// How long a call waits for its registration. Then it goes through, and the registration is tried again later.
    pub register_timeout_ms: u64,
    /// One connect to one host: name, TCP and TLS. SDKs wait 6–10 s in all; one failed connect must leave time.
    pub connect_timeout_ms: u64,
    /// From the end of a request's body (of its first 64 KiB, if longer) to the head of WeChat's answer.
    pub answer_timeout_ms: u64,
    /// An answer's body that brings nothing for so long is cut. Bills may take minutes as a whole.
    pub answer_idle_timeout_ms: u64,
    /// The largest request: the image uploads of `/secapi/mch/uploadmedia` may have 2 MB.
    pub request_bytes_max: u64,
    /// Registrations that wait to be tried again. Each takes about 300 bytes.
    pub backlog_max: usize,
    /// How long a host is asked last after a connect to it failed.
    pub host_pause_ms: u64,
    /// Connections that are kept open to a host between calls, per client certificate.
    pub idle_connections_max: usize,
    /// Shorter than WeChat's own, so that a kept connection is not closed under a call.
    pub idle_connection_timeout_ms: u64,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            register_timeout_ms: 300,
            connect_timeout_ms: 5_000,
            answer_timeout_ms: 30_000,
            answer_idle_timeout_ms: 30_000,
            request_bytes_max: 4 * 1024 * 1024,
            backlog_max: 10_000,
            host_pause_ms: 30_000,
            idle_connections_max: 128,
            idle_connection_timeout_ms: 15_000,
        }
    }
}
