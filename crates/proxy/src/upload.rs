//! A request's body on its way to WeChat: whole in memory if it has at most 64 KiB, as every order has, else its
//! beginning and a stream. Changes no byte; refuses bodies over the limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_server::BodyError;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout_at};
use wechat_pay::xml::BODY_BYTES_MAX;

/// The body of one call.
#[derive(Debug)]
pub(crate) enum Upload {
    Whole(Bytes),
    Long {
        begun: Bytes,
        rest: Incoming,
        /// How many bytes of `rest` may still come.
        left: u64,
        bytes_max: usize,
    },
}

impl Upload {
    /// Takes the body up to the size that can be parsed. What is longer is not held back for its end.
    pub(crate) async fn take(body: Incoming, bytes_max: u64, deadline: Instant) -> Result<Self, BodyError> {
        let too_large = BodyError::TooLarge { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) };
        if body.size_hint().lower() > bytes_max {
            return Err(too_large);
        }
        timeout_at(deadline, begin(body, bytes_max)).await.unwrap_or(Err(BodyError::Timeout))
    }

    /// The bytes, if they are all here.
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Long { .. } => None,
        }
    }
}

async fn begin(mut body: Incoming, bytes_max: u64) -> Result<Upload, BodyError> {
    let mut begun = BytesMut::new();
    let too_large = || BodyError::TooLarge { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) };
    loop {
        if body.is_end_stream() {
            return Ok(Upload::Whole(begun.freeze()));
        }
        let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
            return Ok(Upload::Whole(begun.freeze()));
        };
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        begun.extend_from_slice(&data);
        let taken = u64::try_from(begun.len()).unwrap_or(u64::MAX);
        let left = bytes_max.checked_sub(taken).ok_or_else(too_large)?;
        if begun.len() > BODY_BYTES_MAX {
            let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            return Ok(Upload::Long { begun: begun.freeze(), rest: body, left, bytes_max });
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (begun, rest, left, bytes_max) = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Long { begun, rest, left, bytes_max } => (begun, rest, left, *bytes_max),
        };
        if !begun.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(begun)))));
        }
        let frame = match std::task::ready!(Pin::new(rest).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Broken))),
            None => return Poll::Ready(None),
        };
        let taken = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(match left.checked_sub(taken) {
            Some(still) => {
                *left = still;
                Ok(frame)
            }
            None => Err(BodyError::TooLarge { bytes_max }),
        }))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Long { begun, rest, .. } => begun.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = |bytes: &Bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(length(bytes)),
            Self::Long { begun, rest, .. } => match rest.size_hint().exact() {
                Some(exact) => SizeHint::with_exact(exact.saturating_add(length(begun))),
                None => SizeHint::default(),
            },
        }
    }
}
