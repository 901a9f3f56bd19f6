//! The simulator's second socket, under TLS, where a client certificate is a certificate: asked for, never demanded in the
//! handshake, and known by its bytes. Requests go where those of the first socket go.

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_server::Peer;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{config::TlsListen, endpoint::Shown, error::Error, http, issuing::Certificates, world::World};

const CONNECTIONS_MAX: usize = 1_000;
const HANDSHAKE: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(15);
/// Pause after an accept that failed, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket with its certificates.
pub(crate) struct TlsListener {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    acceptor: TlsAcceptor,
    /// Whose certificate it is.
    holders: Arc<HashMap<CertificateDer<'static>, String>>,
}

impl TlsListener {
    pub(crate) async fn bind(config: &TlsListen, mch_ids: &[String]) -> Result<TlsListener, Error> {
        let files = Certificates::in_folder(&config.folder, mch_ids)?;
        let unusable = |problem: String| Error::Certificates {
            folder: config.folder.clone(),
            problem: std::io::Error::other(problem),
        };
        let (server, holders) = read(&files, mch_ids).map_err(unusable)?;
        let refused = |source| http_server::Error::Bind { address: config.listen.clone(), source };
        let socket = TcpListener::bind(&config.listen).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(TlsListener {
            socket,
            address,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            holders: Arc::new(holders),
        })
    }

    /// Serves until the simulator stops.
    pub(crate) async fn serve(self, world: Arc<World>) {
        let stop = world.stop.clone();
        // Whoever stops the simulator waits for no connection.
        let _ = stop.run_until_cancelled(self.accept(world)).await;
    }

    async fn accept(self, world: Arc<World>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let Ok((stream, address)) = self.socket.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (acceptor, holders) = (self.acceptor.clone(), self.holders.clone());
            let of_world = world.clone();
            world.spawn(async move {
                let stop = of_world.stop.clone();
                let served = serve_one((stream, address), &acceptor, &holders, of_world);
                let _ = stop.run_until_cancelled(served).await;
                drop(place);
            });
        }
    }
}

async fn serve_one(
    (stream, address): (TcpStream, SocketAddr),
    acceptor: &TlsAcceptor,
    holders: &HashMap<CertificateDer<'static>, String>,
    world: Arc<World>,
) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(peer.address = %address, %error, "TLS handshake with {address} failed: {error}");
            return;
        }
        Err(_) => return,
    };
    let chain = stream.get_ref().1.peer_certificates();
    let shown = match chain.and_then(<[_]>::first) {
        None => Shown::Nothing,
        Some(certificate) => Shown::Of(holders.get(certificate).cloned().unwrap_or_default()),
    };
    let service = service_fn(|request| {
        let peer = Peer { address, request_deadline: Instant::now() + REQUEST, encrypted: true };
        let answered = http::serve(request, peer, world.clone(), Some(shown.clone()));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(peer.address = %address, %error, "connection from {address} ended: {error}");
    }
}

type Read = (ServerConfig, HashMap<CertificateDer<'static>, String>);

fn read(files: &Certificates, mch_ids: &[String]) -> Result<Read, String> {
    let provider = Arc::new(ring::default_provider());
    let text = |error: &dyn ToString| error.to_string();
    let leaf = |file: &std::path::Path| CertificateDer::from_pem_file(file).map_err(|error| text(&error));
    let mut roots = RootCertStore::empty();
    roots.add(leaf(&files.authority())?).map_err(|error| text(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| text(&error))?;
    let (certificate, key) = files.server();
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| text(&error))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf(&certificate)?], key)
        .map_err(|error| text(&error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut holders = HashMap::new();
    for mch_id in mch_ids {
        holders.insert(leaf(&files.merchant(mch_id).0)?, mch_id.clone());
    }
    Ok((server, holders))
}
