//! Where the client calls and how long it waits. Checked when the client is made; read from nowhere here.

use std::time::Duration;

/// The official hosts; the second is for disasters (异地容灾) and has the same paths.
pub const BASE_URLS: [&str; 2] = ["https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com"];

/// Where to call and how long to wait.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// In order of preference; `http://` is for simulators.
    pub base_urls: Vec<String>,
    pub connect_timeout: Duration,
    /// One exchange with one host, connecting included.
    pub request_timeout: Duration,
    /// One call with all its repeats, from the slot on.
    pub total_timeout: Duration,
    /// Longest wait for a slot of the merchant's rate.
    pub slot_wait_max: Duration,
    /// How long a host is left alone after three failures in a row.
    pub circuit_pause: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            base_urls: BASE_URLS.map(str::to_owned).to_vec(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(6),
            total_timeout: Duration::from_secs(10),
            slot_wait_max: Duration::from_secs(1),
            circuit_pause: Duration::from_secs(30),
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there must be at least one base URL")]
    NoBaseUrl,
    #[error("{0:?} is no base URL: it must be http:// or https://, a host, and nothing behind the path")]
    BaseUrl(String),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}
