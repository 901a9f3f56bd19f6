//! TLS over real sockets: no SNI, any SNI, a new certificate, and what is said about bad files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test drives real time")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use http_server::{Limits, Listener, Peer, TlsConfig};
use hyper::{Request, Response, body::Incoming};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    der: rustls::pki_types::CertificateDer<'static>,
}

fn make_pair(dir: &Path, name: &str) -> Pair {
    let made =
        rcgen::generate_simple_self_signed(["pay.example.com".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Pair { certificate, key, der: made.cert.der().clone() }
}

/// The longest that anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn serve(tls: TlsConfig, limits: Limits) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0", limits, Some(tls)).await.unwrap();
    let address = listener.local_addr();
    let answer = |_: Request<Incoming>, peer: Peer| async move {
        Response::new(Full::new(Bytes::from(format!("encrypted: {}", peer.encrypted))))
    };
    tokio::spawn(listener.serve(answer, CancellationToken::new()));
    address
}

/// Greets as `name` (an address sends no SNI), trusting `trusted` only.
async fn connect(
    address: SocketAddr,
    name: ServerName<'static>,
    trusted: &Pair,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// One question on a connection of its own.
async fn ask(address: SocketAddr, name: ServerName<'static>, trusted: &Pair) -> std::io::Result<String> {
    let mut stream = connect(address, name, trusted).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer")?;
    Ok(answer)
}

fn no_sni() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn sni() -> ServerName<'static> {
    ServerName::try_from("pay.example.com").unwrap()
}

#[tokio::test]
async fn clients_with_and_without_sni_are_served_and_a_new_certificate_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (make_pair(dir.path(), "old"), make_pair(dir.path(), "new"));
    let tls = TlsConfig::from_pem_files(&old.certificate, &old.key).unwrap();
    let address = serve(tls.clone(), Limits::default()).await;
    for name in [no_sni(), sni()] {
        let answer = ask(address, name, &old).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("encrypted: true"), "{answer}");
    }
    assert!(ask(address, sni(), &new).await.is_err());

    assert!(tls.reload(&new.certificate, &old.key).is_err());
    assert!(ask(address, sni(), &old).await.is_ok(), "a failed reload changes nothing");
    tls.reload(&new.certificate, &new.key).unwrap();
    assert!(ask(address, no_sni(), &new).await.is_ok());
    assert!(ask(address, sni(), &old).await.is_err());
}

#[tokio::test]
async fn an_open_connection_goes_on_while_the_certificate_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (make_pair(dir.path(), "old"), make_pair(dir.path(), "new"));
    let tls = TlsConfig::from_pem_files(&old.certificate, &old.key).unwrap();
    let address = serve(tls.clone(), Limits::default()).await;
    let mut open = connect(address, sni(), &old).await.unwrap();
    let newer = TlsConfig::from_pem_files(&new.certificate, &new.key).unwrap();
    assert!(!tls.presents_same_as(&newer));
    tls.adopt(&newer);
    assert!(tls.presents_same_as(&newer));
    assert!(ask(address, no_sni(), &new).await.is_ok(), "the next handshake sees the new one");
    assert!(ask(address, sni(), &old).await.is_err());
    for _ in 0..2 {
        open.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let mut answer = vec![0; "HTTP/1.1 200 OK".len()];
        timeout(PATIENCE, open.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK", "the connection of before is served on");
        let mut rest = [0; 4096];
        while !timeout(PATIENCE, open.read(&mut rest))
            .await
            .unwrap()
            .is_ok_and(|read| rest.get(..read).is_some_and(|rest| rest.ends_with(b"encrypted: true")))
        {
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_greets_is_cut_and_a_plain_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pair = make_pair(dir.path(), "own");
    let tls = TlsConfig::from_pem_files(&pair.certificate, &pair.key).unwrap();
    let address = serve(tls, Limits { tls_handshake_timeout_ms: 300, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let cut = timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("cut");
    assert!(cut.is_err() || rest.is_empty());
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("cut");
    assert!(!rest.starts_with(b"HTTP"), "no plain answer on a TLS port");
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (pair, other) = (make_pair(dir.path(), "own"), make_pair(dir.path(), "other"));
    let damaged = dir.path().join("damaged.crt");
    std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    let missing = dir.path().join("missing.crt");
    let cases = [
        (&missing, &pair.key, &missing, "cannot read it"),
        (&pair.certificate, &missing, &missing, "cannot read it"),
        (&pair.key, &pair.key, &pair.key, "holds no \"BEGIN CERTIFICATE\""),
        (&pair.certificate, &pair.certificate, &pair.certificate, "holds no unencrypted private key"),
        (&damaged, &pair.key, &damaged, "damaged PEM"),
        (&pair.certificate, &other.key, &other.key, "does not belong to the first certificate"),
    ];
    for (certificate, key, guilty, what) in cases {
        let said = TlsConfig::from_pem_files(certificate, key).unwrap_err().to_string();
        assert!(said.starts_with(&guilty.display().to_string()) && said.contains(what), "{said}");
    }
}
