//! A merchant's client certificate (API证书) towards WeChat, and the TLS settings made of it. Shown nowhere.

use std::fmt;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Trust;
use crate::error::Error;

/// `apiclient_cert.pem` and `apiclient_key.pem`.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// From the contents of the two files.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = certificates(certificate).filter(|chain| !chain.is_empty());
        let chain = chain.ok_or(Error::Identity("the certificate file holds no certificate in PEM form"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| Error::Identity("the key file holds no unencrypted private key in PEM form"))?;
        Ok(Self { chain, key })
    }
}

impl Clone for ClientIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(***)")
    }
}

/// TLS towards WeChat: the server is always verified, with a crypto provider of our own, so that no process-wide
/// default is needed.
pub(crate) fn tls(trust: &Trust, identity: Option<&ClientIdentity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::WebRoots => builder.with_webpki_roots(),
        Trust::Pem(pem) => builder.with_root_certificates(roots(pem)?),
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientIdentity { chain, key }) => {
            Ok(builder.with_client_auth_cert(chain.clone(), key.clone_key())?)
        }
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let certificates = certificates(pem).filter(|certificates| !certificates.is_empty());
    let certificates = certificates.ok_or(Error::Trust("no certificate in PEM form"))?;
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|_| Error::Trust("one of the certificates is damaged"))?;
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()
}
