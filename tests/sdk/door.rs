//! WeChat's own door, as far as certificates go: TLS in front of the simulator, which lets everybody in, and tells the
//! simulator whose certificate was shown.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;

use crate::harness::{MCH, acceptor::Acceptor};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Listens until it is dropped.
pub struct Door {
    acceptor: Acceptor,
    papers: TempDir,
}

impl Door {
    pub fn open(simulator: SocketAddr) -> Self {
        let papers = TempDir::new().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the platform");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(papers.path().join("ca.pem"), issuer.pem()).unwrap();
        give_the_merchant_its_papers(&issuer, &papers);
        let config = Arc::new(config(&issuer));
        let acceptor = Acceptor::start(move |stream, _| {
            // A client that goes away is its own business.
            let _ = serve(stream, &config, simulator);
        });
        Self { acceptor, papers }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.acceptor.address.port())
    }

    /// `ca.pem`; `apiclient_cert.pem`, `apiclient_key.pem` and `apiclient_cert.p12`, as the merchant platform has them.
    pub fn paper(&self, name: &str) -> PathBuf {
        self.papers.path().join(name)
    }
}

fn give_the_merchant_its_papers(issuer: &Issuer, papers: &TempDir) {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, MCH);
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, issuer).unwrap();
    fs::write(papers.path().join("apiclient_cert.pem"), cert.pem()).unwrap();
    fs::write(papers.path().join("apiclient_key.pem"), key.serialize_pem()).unwrap();
    let output = Command::new("openssl")
        .current_dir(papers.path())
        .args(["pkcs12", "-export", "-in", "apiclient_cert.pem", "-inkey", "apiclient_key.pem"])
        .args(["-out", "apiclient_cert.p12", "-passout", &format!("pass:{MCH}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn config(issuer: &Issuer) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap()
}

/// One request, handed on with what was shown.
fn serve(stream: TcpStream, config: &Arc<ServerConfig>, simulator: SocketAddr) -> std::io::Result<()> {
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut tls = BufReader::new(StreamOwned::new(connection, stream));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        tls.read_line(&mut line)?;
        let name = line.to_ascii_lowercase();
        if let Some(value) = name.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line == "\r\n" || line.is_empty() {
            break;
        }
        if !name.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    tls.read_exact(&mut body)?;
    head.push_str("Connection: close\r\n");
    if tls.get_ref().conn.peer_certificates().is_some_and(|shown| !shown.is_empty()) {
        head.push_str(&format!("X-Sim-Certificate: {MCH}\r\n"));
    }
    let mut upstream = TcpStream::connect(simulator)?;
    upstream.write_all(&[head.as_bytes(), b"\r\n", &body].concat())?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    let tls = tls.get_mut();
    tls.write_all(&answer)?;
    tls.conn.send_close_notify();
    tls.flush()
}
