//! The way to an endpoint: one POST, one reply. Knows nothing of events, retries or signatures.

mod addresses;
mod http;
mod resolve;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::header::HeaderName;

pub use addresses::is_public;
pub use http::HttpTransport;
pub use resolve::{Resolve, SystemResolver};

use crate::config::EndpointUrl;

/// Most of an answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Posts, within its own time limit. Dropping the future gives the exchange up.
#[async_trait]
pub trait Transport: Send + Sync {
    async fn post(&self, post: Post) -> Reply;
}

/// One request.
#[derive(Clone)]
pub struct Post {
    pub url: EndpointUrl,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
}

/// Without the body: it may hold a payer's openid.
impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Answered(Answer),
    /// No answer: not resolved, refused by the guard, not connected, broken, or too slow.
    Silent(String),
}

/// An answer, with as much of its body as is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The header `Retry-After` as it came.
    pub retry_after: Option<String>,
    pub body: Bytes,
    /// The body ended within the bounds of time and size.
    pub is_whole: bool,
}
