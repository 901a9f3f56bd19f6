//! A listener's certificate is replaced while connections stand, and only by a pair that belongs together.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};
use support::{Folder, PATIENCE, Service, eventually, http};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate of its own, its key, and what trusts nothing else.
struct Pair {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        let pair = rcgen::generate_simple_self_signed(["pay.example.com".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        Self { certificate, key, der: pair.cert.der().clone() }
    }

    /// A connection on which only this certificate is believed.
    fn connect(&self, address: SocketAddr) -> Stream {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "pay.example.com".try_into().unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }

    fn is_presented(&self, address: SocketAddr) -> bool {
        is_healthy(&mut self.connect(address))
    }
}

/// One more request on the same connection.
fn is_healthy(stream: &mut Stream) -> bool {
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: pay.example.com\r\n\r\n");
    let mut answer = Vec::new();
    while asked.is_ok() && !answer.ends_with(b"\r\n\r\nok\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => answer.extend_from_slice(&chunk[..read]),
            Ok(0) | Err(_) => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

fn metric(service: &Service, sample: &str) -> u32 {
    let (_, metrics) = http(service.address("admin"), "GET", "/metrics", "");
    let value = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_certificate_is_replaced_under_open_connections_and_only_by_a_whole_pair() {
    let folder = Folder::new();
    let (old, new) = (Pair::new(), Pair::new());
    let certificate = folder.put("tls.crt", &old.certificate);
    let key = folder.put("tls.key", &old.key);
    let config = folder.config("http://127.0.0.1:1", "");
    let plain = std::fs::read_to_string(&config).unwrap();
    let files = format!("[ingress]\ntls_cert_file = \"{certificate}\"\ntls_key_file = \"{key}\"");
    folder.put("paybell.toml", &plain.replace("[ingress]", &files));
    let service = Service::start(&config, &[]);
    let ingress = service.address("ingress");
    let refused = |count| metric(&service, "paybell_reloads_total{result=\"refused\"}") == count;
    let applied = |count| metric(&service, "paybell_reloads_total{result=\"applied\"}") == count;
    let mut standing = old.connect(ingress);
    assert!(is_healthy(&mut standing) && !new.is_presented(ingress));

    // The certificate comes first, and stays without its key for a while.
    folder.put("tls.crt", &new.certificate);
    eventually(|| refused(1));
    assert!(old.is_presented(ingress) && !new.is_presented(ingress), "half a pair is none");
    folder.put("tls.key", &new.key);
    eventually(|| applied(1));
    assert!(new.is_presented(ingress) && !old.is_presented(ingress));
    assert!(is_healthy(&mut standing), "who is connected goes on");

    // A listener does not become another one while it runs.
    folder.put("paybell.toml", &plain);
    service.process.signal("HUP");
    eventually(|| applied(2));
    assert_eq!(metric(&service, "paybell_config_differs{cause=\"restart\"}"), 1);
    eventually(|| {
        let (status, ready) = http(service.address("admin"), "GET", "/readyz", "");
        status == 200 && ready.contains("ingress.tls_cert_file")
    });
    assert!(new.is_presented(ingress), "it speaks TLS until the restart");
    assert!(is_healthy(&mut standing));
}
