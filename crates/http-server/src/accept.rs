//! The accept loop: binds, accepts within the limit, hands each connection to a task of its own, drains. Does not
//! look into connections; they go to `connection` (through a TLS handshake first, where configured).

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    connection::{Peer, Shared, serve_stream},
    error::Error,
    limits::Limits,
    tls::TlsConfig,
};

/// Pause after an accept that failed for want of file descriptors or memory: waiting lets connections end.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A bound socket that does not accept yet: a taken port is known before anything else starts.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<TlsConfig>,
}

impl Listener {
    /// Binds `address` (`HOST:PORT`; port 0 takes a free one).
    pub async fn bind(address: &str, limits: Limits, tls: Option<TlsConfig>) -> Result<Listener, Error> {
        let refused = |source| Error::Bind { address: address.to_owned(), source };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Listener { socket, address, limits, tls })
    }

    /// Takes over a listening socket, from a service manager say. Must be called within a runtime.
    pub fn from_socket(
        socket: std::net::TcpListener,
        limits: Limits,
        tls: Option<TlsConfig>,
    ) -> Result<Listener, Error> {
        let refused = |source| Error::Bind { address: "the given socket".to_owned(), source };
        socket.set_nonblocking(true).map_err(refused)?;
        let socket = TcpListener::from_std(socket).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Listener { socket, address, limits, tls })
    }

    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain` is cancelled and every connection has ended: then nothing more is accepted, requests
    /// in hand are finished (for `drain_timeout_ms` at most), and it returns. A service whose answers are endless
    /// streams ends them itself on the same token. Dropping the future drains in the background.
    ///
    /// The service runs in the connection's task: nothing is spawned or boxed per request. If the peer goes away,
    /// the service's future is dropped.
    pub async fn serve<S, F, B>(self, service: S, drain: CancellationToken)
    where
        S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Listener { socket, address, limits, tls } = self;
        let drain_timeout = limits.drain_timeout();
        let gate = Gate::new(address, limits.connections_max);
        let shared = Arc::new(Shared::new(limits));
        let ending = DrainOnDrop(shared.clone());
        let connections = TaskTracker::new();
        loop {
            let (stream, peer, place) = select! {
                biased;
                () = drain.cancelled() => break,
                accepted = gate.next(&socket) => accepted,
            };
            let (service, shared, tls) = (service.clone(), shared.clone(), tls.clone());
            connections.spawn(async move {
                serve_connection(stream, peer, tls, (service, shared)).await;
                drop(place);
            });
        }
        drop(socket);
        drop(ending);
        connections.close();
        // Each connection keeps the bound itself; the second bound is for one whose task is stuck.
        if timeout(drain_timeout + Duration::from_secs(1), connections.wait()).await.is_err() {
            let left = connections.len();
            tracing::warn!(listen = %address, left, "{address}: {left} connections did not end in time");
        }
    }
}

async fn serve_connection<S, F, B>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsConfig>,
    (service, shared): (S, Arc<Shared>),
) where
    S: Fn(Request<Incoming>, Peer) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Fails only on a socket that is already dead, which the first read tells.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve_stream(stream, (peer, false), service, &shared).await };
    let handshake = timeout(shared.limits.tls_handshake_timeout(), tls.accept(stream));
    let why = select! {
        () = shared.drain.begun() => return,
        greeted = handshake => match greeted {
            Ok(Ok(stream)) => return serve_stream(stream, (peer, true), service, &shared).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "time-out".to_owned(),
        },
    };
    tracing::debug!(peer.address = %peer, %why, "TLS handshake with {peer} failed: {why}");
}

/// However `serve` ends, its connections learn it.
struct DrainOnDrop(Arc<Shared>);

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        self.0.drain.begin();
    }
}

/// Lets connections in while there is room.
struct Gate {
    address: SocketAddr,
    connections_max: usize,
    places: Arc<Semaphore>,
}

impl Gate {
    fn new(address: SocketAddr, connections_max: usize) -> Self {
        let connections_max = connections_max.clamp(1, Semaphore::MAX_PERMITS);
        Gate { address, connections_max, places: Arc::new(Semaphore::new(connections_max)) }
    }

    /// The next connection, with its place among `connections_max`.
    async fn next(&self, socket: &TcpListener) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = self.place().await;
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    let address = self.address;
                    tracing::warn!(listen = %address, %error, "{address}: cannot accept, trying again: {error}");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return place;
        }
        let (address, max) = (self.address, self.connections_max);
        tracing::warn!(listen = %address, connections_max = max, "{address}: all {max} connections in use");
        self.places.clone().acquire_owned().await.expect("the semaphore is never closed")
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
