//! A merchant's client certificate (API证书), for the calls that move money back.
//!
//! Has connections of its own, which no other merchant shares. Shows nothing of the key. Whether WeChat knows the
//! certificate is found out by the first call.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::transport::Transport;

/// `apiclient_cert.pem` and `apiclient_key.pem`. Share it: it holds connections.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    config: ClientConfig,
    transport: OnceLock<Transport>,
}

/// Why two PEM files are no client certificate. Says nothing of their content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error(
        "apiclient_cert.pem has no certificate: it must be the PEM file of the merchant platform, not the .p12"
    )]
    NoCertificate,
    #[error("apiclient_key.pem has no unencrypted private key in PEM")]
    NoKey,
    #[error("certificate and key do not fit together or cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl ClientCertificate {
    /// Reads the two PEM texts. A .p12 is unpacked with `openssl pkcs12 -nodes`, its password being the mch_id.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::trusting(roots, certificate, key)
    }

    fn trusting(roots: RootCertStore, certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or(CertificateError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key)
            .map_err(CertificateError::Unusable)?;
        Ok(Self { chain, config, transport: OnceLock::new() })
    }

    pub(super) fn transport(&self, connect_timeout: Duration) -> &Transport {
        self.transport.get_or_init(|| Transport::with_tls(self.config.clone(), connect_timeout))
    }
}

/// The same certificate; its key is the same then.
impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(***)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::server::WebPkiClientVerifier;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn what_is_no_certificate_is_told() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let read = |cert: &str, key: &str| ClientCertificate::from_pem(cert.as_bytes(), key.as_bytes());
        let good = read(&cert, &key).unwrap();
        assert_eq!(format!("{good:?}"), "ClientCertificate(***)");
        assert!(good == read(&cert, &key).unwrap());
        assert!(matches!(read("", &key), Err(CertificateError::NoCertificate)));
        assert!(matches!(read(&cert, &cert), Err(CertificateError::NoKey)));
        assert!(matches!(read(&cert, &other), Err(CertificateError::Unusable(_))));
    }

    /// A server that lets in only whom the merchant platform gave a certificate, as WeChat's does.
    #[tokio::test]
    async fn the_certificate_is_shown_to_the_server() {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issued = |name: &str| {
            let pair = KeyPair::generate().unwrap();
            let cert = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&pair, &issuer).unwrap();
            (cert, pair)
        };
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone())
            .build()
            .unwrap();
        let (server_cert, server_key) = issued("localhost");
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![server_cert.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    let _ = tls.read(&mut [0; 4096]).await;
                    let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    let _ = tls.flush().await;
                }
            }
        });

        let (cert, key) = issued("merchant");
        let (cert, key) = (cert.pem(), key.serialize_pem());
        let known = ClientCertificate::trusting(roots.clone(), cert.as_bytes(), key.as_bytes()).unwrap();
        let answer = known.transport(LIMIT).post(&uri, String::new(), LIMIT).await.unwrap();
        assert_eq!(&answer[..], b"ok");

        let stranger = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        let (cert, key) = (stranger.cert.pem(), stranger.signing_key.serialize_pem());
        let unknown = ClientCertificate::trusting(roots, cert.as_bytes(), key.as_bytes()).unwrap();
        assert!(unknown.transport(LIMIT).post(&uri, String::new(), LIMIT).await.is_err());
    }
}
