//! One connection: hyper speaks HTTP on it while a watch beside it cuts peers that are slow, and ends it on drain.
//! Decides nothing about requests; they go to the service.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{body::AnswerBody, limits::Limits, progress::Progress, socket::Socket};

/// What a service is told about the other end of a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// When the whole request must be here: hand it to [`crate::read_body`].
    pub request_deadline: Instant,
    /// Whether the connection is under TLS.
    pub encrypted: bool,
}

/// What the connections of one listener share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    http: http1::Builder,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut http = http1::Builder::new();
        // No header timer of hyper's: it would also cut idle connections, and costs an allocation per request.
        // Nor `pipeline_flush`: it holds an answer back while the next request has begun to arrive.
        http.max_buf_size(limits.head_bytes());
        Shared { limits, drain: Drain::default(), http }
    }
}

/// Tells every connection to end. The flag can be read at each poll without a lock; the token wakes the sleepers.
#[derive(Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    wake: CancellationToken,
}

impl Drain {
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.wake.cancel();
    }

    /// Completes when the drain begins.
    pub(crate) async fn begun(&self) {
        self.wake.cancelled().await;
    }
}

/// Serves `stream` until either end is through with it.
pub(crate) async fn serve_stream<T, S, F, B>(stream: T, peer: (SocketAddr, bool), service: S, shared: &Shared)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Incoming>, Peer) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (address, encrypted) = peer;
    let progress = Arc::new(Progress::opened_now());
    let answer = |request: Request<Incoming>| {
        let request_deadline = progress.request_began(&shared.limits);
        let answer = service(request, Peer { address, request_deadline, encrypted });
        let progress = progress.clone();
        async move { Ok::<_, Infallible>(answer.await.map(|body| AnswerBody::new(body, progress))) }
    };
    let socket = TokioIo::new(Socket::new(stream, progress.clone()));
    let mut connection = pin!(shared.http.serve_connection(socket, service_fn(answer)));
    let mut drain = pin!(shared.drain.begun());
    let mut watch = Watch { shared, progress: &progress, drain_deadline: None, hears_drain: false };
    let mut timer = pin!(sleep_until(watch.deadline().unwrap_or_else(Instant::now)));
    poll_fn(|cx| {
        if watch.drain_began(cx, drain.as_mut()) {
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(peer.address = %address, %error, "connection from {address} ended: {error}");
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        watch.poll_patience(cx, timer.as_mut()).map(|()| {
            let why = progress.describe();
            tracing::debug!(peer.address = %address, why, "connection from {address} cut: {why}");
        })
    })
    .await;
}

/// Patience with one connection. Dropping the connection's future is the cut.
struct Watch<'a> {
    shared: &'a Shared,
    progress: &'a Progress,
    drain_deadline: Option<Instant>,
    hears_drain: bool,
}

impl Watch<'_> {
    /// True once, when the drain has begun. `drain` is polled only once: the task's waker stays the same, and
    /// polling it again would take a lock that all connections share.
    fn drain_began(&mut self, cx: &mut Context<'_>, drain: Pin<&mut impl Future<Output = ()>>) -> bool {
        if self.drain_deadline.is_some() {
            return false;
        }
        let begun = if self.hears_drain {
            self.shared.drain.begun.load(Ordering::Acquire)
        } else {
            self.hears_drain = true;
            drain.poll(cx).is_ready()
        };
        if begun {
            self.progress.drain();
            self.drain_deadline = Some(Instant::now() + self.shared.limits.drain_timeout());
        }
        begun
    }

    /// Ready when the connection is to be cut. The timer is moved only to an earlier time, or when it fires: a
    /// busy connection never touches the timer wheel.
    fn poll_patience(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        let deadline = self.deadline();
        if let Some(sooner) = deadline.filter(|at| *at < timer.deadline()) {
            timer.as_mut().reset(sooner);
        }
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match deadline {
                Some(at) if at <= now => return Poll::Ready(()),
                Some(later) => timer.as_mut().reset(later),
                // The service works: nothing can fall due before one idle time has passed after its answer.
                None => timer.as_mut().reset(now + self.shared.limits.idle_timeout()),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.progress.deadline(&self.shared.limits), self.drain_deadline].into_iter().flatten().min()
    }
}
