//! Why a proxy cannot be made. Faults of single calls are no errors of this crate: they are answers.

/// The text is meant for the person who wrote the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there must be at least one base URL")]
    NoBaseUrl,
    #[error("{0:?} is no base URL: it must be http:// or https://, a host, and nothing behind the path")]
    BaseUrl(String),
    #[error("merchant {0} occurs twice")]
    MerchantTwice(String),
    #[error("merchant {0} has no key")]
    NoKey(String),
    #[error("the client certificate is not usable: {0}")]
    Identity(&'static str),
    #[error("the client certificate of merchant {mch_id} and its key are not usable together: {problem}")]
    IdentityRefused { mch_id: String, problem: rustls::Error },
    #[error("the trusted roots are not usable: {0}")]
    Trust(&'static str),
    #[error("{0:?} is no range of addresses: write it as 10.0.0.0/8, fd00::/8 or a single address")]
    SourceRange(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
