//! A stream that reports what passes through it to [`Progress`], and lingers on close. It changes no byte; hyper
//! reads and writes through it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::progress::Progress;

/// Reads that one poll discards while lingering, before other tasks get a turn.
const LINGER_READS_MAX: usize = 16;

pub(crate) struct Socket<T> {
    stream: T,
    progress: Arc<Progress>,
    output_closed: bool,
}

impl<T> Socket<T> {
    pub(crate) fn new(stream: T, progress: Arc<Progress>) -> Self {
        Socket { stream, progress, output_closed: false }
    }

    fn noting(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.progress.write_blocked(),
            Poll::Ready(_) => self.progress.write_went(),
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.progress.bytes_came();
        } else if into.remaining() > 0 {
            self.progress.input_ended();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        self.noting(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.noting(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.progress.write_blocked();
        }
        flushed
    }

    /// Closes our end, then discards what the peer still sends until it closes too. Closing both ends at once would
    /// answer late bytes by a reset, and a reset can destroy an answer (a 413, say) that the peer has not read yet.
    /// The watch ends it after `linger_timeout_ms`.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.output_closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.output_closed = true;
            self.progress.closing();
        }
        if !self.progress.must_linger() {
            return Poll::Ready(Ok(()));
        }
        let mut discard = [0_u8; 4096];
        for _ in 0..LINGER_READS_MAX {
            let mut into = ReadBuf::new(&mut discard);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into)) {
                Ok(()) if !into.filled().is_empty() => {}
                // Both an end and a fault mean that nobody is left to read our answer.
                _ => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
