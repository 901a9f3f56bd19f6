//! TLS for a listener from PEM files: one certificate for every caller, whatever name it asks for and also if it
//! names none (old notifiers send no SNI). Reads files when told to and watches none; streams go to `connection`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::error::{Error, TlsFileError};

/// A certificate with its key, ready to serve. Clones share the certificate, so that [`TlsConfig::reload`] on one
/// changes what all of them present.
#[derive(Clone)]
pub struct TlsConfig {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    provider: Arc<CryptoProvider>,
}

impl TlsConfig {
    /// Reads the chain (own certificate first) and the unencrypted key. TLS 1.2 and 1.3, HTTP/1.1.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<TlsConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(ArcSwap::from_pointee(read_pair(certificate, key, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConfig { acceptor: TlsAcceptor::from(Arc::new(config)), current, provider })
    }

    /// Presents the certificate of these files from the next handshake on. On an error the old one stays.
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        self.current.0.store(Arc::new(read_pair(certificate, key, &self.provider)?));
        Ok(())
    }

    /// Presents the certificate of `other` from the next handshake on. Connections that stand are not touched.
    pub fn adopt(&self, other: &TlsConfig) {
        self.current.0.store(other.current.0.load_full());
    }

    /// Whether both present the same chain.
    pub fn presents_same_as(&self, other: &TlsConfig) -> bool {
        self.current.0.load().cert == other.current.0.load().cert
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let fault = |file: &Path, problem| Error::TlsFile { file: PathBuf::from(file), problem };
    let chain = read_chain(certificate).map_err(|problem| fault(certificate, problem))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| fault(key, TlsFileError::from_pem(error, TlsFileError::NoPrivateKey)))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            fault(key, TlsFileError::WrongKey { certificate_file: certificate.to_owned() })
        }
        rustls::Error::InvalidCertificate(_) => fault(certificate, TlsFileError::Unusable(error)),
        other => fault(key, TlsFileError::Unusable(other)),
    })
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let damaged = |error| TlsFileError::from_pem(error, TlsFileError::NoCertificate);
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(damaged)?.collect::<Result<_, _>>().map_err(damaged)?;
    if chain.is_empty() { Err(TlsFileError::NoCertificate) } else { Ok(chain) }
}
