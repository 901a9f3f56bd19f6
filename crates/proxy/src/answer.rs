//! An answer's body on its way to the shop: WeChat's, streamed piece by piece as the shop takes it, or a short text of
//! ours. Reads nothing of it; cuts a stream that stalls, so that the shop sees a broken answer and never a short one.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep, sleep};

/// The body of one answer.
pub struct AnswerBody(Inner);

enum Inner {
    Ours(Option<Bytes>),
    Wechats(Box<Stream>),
}

/// WeChat's bytes as they come.
struct Stream {
    body: Incoming,
    idle_timeout: Duration,
    /// Set when the stream first has nothing: most answers come in one piece.
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    cut: Counter,
}

impl AnswerBody {
    pub(crate) fn ours(text: Bytes) -> Self {
        Self(Inner::Ours((!text.is_empty()).then_some(text)))
    }

    pub(crate) fn wechats(body: Incoming, idle_timeout: Duration, cut: Counter) -> Self {
        Self(Inner::Wechats(Box::new(Stream { body, idle_timeout, timer: None, is_waiting: false, cut })))
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return self.poll_patience(cx).map(|()| Some(Err(self.broken("stalled"))));
        };
        self.is_waiting = false;
        Poll::Ready(match frame {
            Some(Err(error)) => Some(Err(self.broken(&error.to_string()))),
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        })
    }

    /// Ready when nothing came for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.idle_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(Instant::now() + idle_timeout);
        }
        timer.as_mut().poll(cx)
    }

    fn broken(&self, cause: &str) -> io::Error {
        self.cut.inc();
        tracing::debug!(cause, "an answer of WeChat ended in its middle: {cause}");
        io::ErrorKind::ConnectionAborted.into()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Inner::Ours(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Inner::Wechats(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Ours(text) => text.is_none(),
            Inner::Wechats(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Ours(text) => {
                let length = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Inner::Wechats(stream) => stream.body.size_hint(),
        }
    }
}

/// No content: it belongs to the shop.
impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody")
    }
}
