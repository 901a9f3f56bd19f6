//! A TLS handshake that remembers what the server showed, also when it is not believed. A connection comes about only
//! where the certificate is good: looking never weakens anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Certificate, NetError, broken};

/// Whom we believe.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// The public web's.
    #[must_use]
    pub fn public() -> Self {
        Self(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
    }

    /// Only this one: for an own certificate authority, and for tests. `None` if it is no certificate.
    #[must_use]
    pub fn only(certificate: CertificateDer<'static>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        store.add(certificate).ok()?;
        Some(Self(Arc::new(store)))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

/// Whether the client names the host that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sni {
    Sent,
    Left,
}

/// Why a server is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate is for another name")]
    OtherName,
    /// The server's own certificate is all there is of the chain.
    #[error("the chain is incomplete: the server sends no intermediate certificate")]
    Incomplete,
    #[error("the certificate is self-signed")]
    SelfSigned,
    #[error("the certificate comes from an unknown authority")]
    UnknownIssuer,
    #[error("{0}")]
    Other(String),
}

/// What a handshake showed.
pub struct Handshake {
    pub stream: Result<TlsStream<TcpStream>, NetError>,
    /// The server's own first; empty if none came.
    pub certificates: Vec<Certificate>,
}

impl Handshake {
    /// Why it failed, if the certificate was the reason.
    #[must_use]
    pub fn fault(&self) -> Option<&TlsFault> {
        match &self.stream {
            Err(NetError::Tls(fault)) => Some(fault),
            _ => None,
        }
    }
}

pub(super) async fn shake_hands(stream: TcpStream, host: &str, sni: Sni, roots: &Roots) -> Handshake {
    let recorder = match Recorder::new(roots) {
        Ok(recorder) => Arc::new(recorder),
        Err(fault) => return Handshake { stream: Err(NetError::Tls(fault)), certificates: Vec::new() },
    };
    let stream = connect(stream, host, sni, recorder.clone()).await;
    let certificates: Vec<Certificate> =
        recorder.seen().iter().filter_map(|der| Certificate::parse(der)).collect();
    let stream = stream.map_err(|cause| match fault_of(&cause, &certificates) {
        Some(fault) => NetError::Tls(fault),
        None => broken(&cause),
    });
    Handshake { stream, certificates }
}

async fn connect(
    stream: TcpStream,
    host: &str,
    sni: Sni,
    recorder: Arc<Recorder>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(recorder)
        .with_no_client_auth();
    config.enable_sni = sni == Sni::Sent;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn fault_of(cause: &std::io::Error, certificates: &[Certificate]) -> Option<TlsFault> {
    let error = cause.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            TlsFault::Expired
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => TlsFault::NotYetValid,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => TlsFault::OtherName,
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => match certificates {
            [own, ..] if own.is_self_signed => TlsFault::SelfSigned,
            [_] => TlsFault::Incomplete,
            _ => TlsFault::UnknownIssuer,
        },
        Error::InvalidCertificate(other) => TlsFault::Other(other.to_string()),
        other => TlsFault::Other(other.to_string()),
    })
}

/// Judges as everybody does, and keeps a copy of what was judged.
#[derive(Debug)]
struct Recorder {
    judge: Arc<WebPkiServerVerifier>,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl Recorder {
    fn new(roots: &Roots) -> Result<Self, TlsFault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let judge = WebPkiServerVerifier::builder_with_provider(roots.0.clone(), provider).build();
        let judge = judge.map_err(|error| TlsFault::Other(error.to_string()))?;
        Ok(Self { judge, seen: Mutex::new(Vec::new()) })
    }

    fn seen(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
