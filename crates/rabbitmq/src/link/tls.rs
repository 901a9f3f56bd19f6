//! Encryption of a connection to the broker: whom to trust. The only user of certificates in this crate. A broker's
//! certificate must name the host of the URL; there is no switch to leave that out.

use std::io;
use std::sync::Arc;

use async_compat::Compat;
use lapin::AsyncTcpStream;
use lapin::tcp::{RustlsConnector, TLSConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::error::ConfigError;

/// Whose word counts.
#[derive(Clone, Default)]
pub(crate) enum Trust {
    /// The authorities that browsers trust.
    #[default]
    Public,
    /// These, instead of the public ones.
    Own(Arc<ClientConfig>),
}

impl Trust {
    /// The authorities of a PEM text.
    pub fn only(pem: &[u8]) -> Result<Self, ConfigError> {
        let told = |text: String| ConfigError::Authority(text);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| told(format!("it cannot be read: {error}")))?;
            roots.add(certificate).map_err(|error| told(format!("a certificate is of no use: {error}")))?;
        }
        if roots.is_empty() {
            return Err(told("it holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| told(error.to_string()))?;
        Ok(Self::Own(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Encrypts a fresh connection to that host.
    pub async fn encrypt(
        &self,
        stream: AsyncTcpStream<Compat<TcpStream>>,
        host: &str,
    ) -> io::Result<AsyncTcpStream<Compat<TcpStream>>> {
        match self {
            Self::Public => stream.into_tls(host, TLSConfig::default()).await,
            Self::Own(config) => stream.into_rustls(&RustlsConnector::from(config.clone()), host).await,
        }
    }
}
