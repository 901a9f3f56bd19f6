//! Takes a request body under a size and a deadline, and marks the end of an answer's body. Refuses to keep more
//! than the limit; the bytes go to the service.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    StatusCode,
    body::{Body, Frame, SizeHint},
};
use tokio::time::{Instant, timeout_at};

use crate::progress::Progress;

/// Why a body did not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than allowed: by its declared length, or by what came.
    #[error("request body over the limit of {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The deadline of the whole request passed.
    #[error("request did not arrive in time")]
    Timeout,
    /// The peer went away or broke the framing.
    #[error("request body broken off")]
    Broken,
}

impl BodyError {
    /// The status to answer with: 413, 408 or 400.
    pub fn status(self) -> StatusCode {
        match self {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the whole of `body`, at most `bytes_max` bytes, until `deadline`. A body that comes in one frame, as
/// small ones do, is handed over without a copy. Sets no timer if the body is already here.
pub async fn read_body<B>(body: B, bytes_max: usize, deadline: Instant) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = body.size_hint().lower();
    if declared > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge { bytes_max });
    }
    timeout_at(deadline, collect(body, bytes_max)).await.unwrap_or(Err(BodyError::Timeout))
}

async fn collect<B>(mut body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Some(first) = next_data(&mut body, 0, bytes_max).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next_data(&mut body, first.len(), bytes_max).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(more) = next_data(&mut body, whole.len(), bytes_max).await? {
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

/// The next piece of data, if it fits beside the bytes already `taken`. Trailers are skipped.
async fn next_data<B>(body: &mut B, taken: usize, bytes_max: usize) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Ok(data) = frame.into_data() {
            let fits = data.len() <= bytes_max - taken;
            return if fits { Ok(Some(data)) } else { Err(BodyError::TooLarge { bytes_max }) };
        }
    }
    Ok(None)
}

/// An answer's body that tells the connection's watch when hyper is done with it.
pub(crate) struct AnswerBody<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> AnswerBody<B> {
    pub(crate) fn new(body: B, progress: Arc<Progress>) -> Self {
        AnswerBody { body, progress }
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.progress.answered();
    }
}

impl<B: Body + Unpin> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, time::Duration};

    use http_body_util::Full;

    use super::*;

    /// A body of known pieces; pends for ever at the end if told so.
    struct Pieces {
        left: VecDeque<Bytes>,
        then_hang: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.then_hang => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn pieces(of: &[&'static str], then_hang: bool) -> Pieces {
        Pieces { left: of.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect(), then_hang }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_single_frame_is_not_copied() {
        let sent = Bytes::from_static(b"<xml/>");
        let got = read_body(Full::new(sent.clone()), 6, soon()).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit_and_refused_beyond() {
        let whole = read_body(pieces(&["ab", "cd", "ef"], false), 6, soon()).await;
        assert_eq!(whole.unwrap(), "abcdef");
        for parts in [&["abcdefg"][..], &["abcd", "efg"], &["ab", "cd", "efg"]] {
            let refused = read_body(pieces(parts, false), 6, soon()).await;
            assert_eq!(refused, Err(BodyError::TooLarge { bytes_max: 6 }), "{parts:?}");
        }
        assert_eq!(read_body(pieces(&[], false), 6, soon()).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_declared_length_is_refused_before_reading() {
        let refused = read_body(Full::new(Bytes::from_static(b"1234567")), 6, soon()).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_ends_at_the_deadline() {
        let began = Instant::now();
        let deadline = began + Duration::from_secs(15);
        assert_eq!(read_body(pieces(&["ab"], true), 6, deadline).await, Err(BodyError::Timeout));
        assert!(began.elapsed() >= Duration::from_secs(15) && began.elapsed() < Duration::from_secs(16));
    }
}
