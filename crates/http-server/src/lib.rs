//! One accept loop for every listener: bind, TLS, limits, time-outs, drain.
//!
//! It knows sockets and HTTP/1.1 and nothing of payments; it routes nothing, logs no request and reads no body on
//! its own. A request goes from [`Listener::serve`] to the service that the caller gives; the service takes the
//! body with [`read_body`] under the deadline in its [`Peer`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use http_body_util::Full;
//! use http_server::{Limits, Listener, Peer, read_body};
//! use hyper::{Request, Response, body::{Bytes, Incoming}};
//! use tokio_util::sync::CancellationToken;
//!
//! let drain = CancellationToken::new();
//! let listener = Listener::bind("127.0.0.1:0", Limits::default(), None).await?;
//! println!("listening on {}", listener.local_addr());
//! let service = async |request: Request<Incoming>, peer: Peer| {
//!     match read_body(request.into_body(), 64 * 1024, peer.request_deadline).await {
//!         Ok(bytes) => Response::new(Full::new(bytes)),
//!         Err(error) => {
//!             let mut refusal = Response::new(Full::new(Bytes::from(error.to_string())));
//!             *refusal.status_mut() = error.status();
//!             refusal
//!         }
//!     }
//! };
//! listener.serve(move |request, peer| service(request, peer), drain).await;
//! # Ok(()) }
//! ```

mod accept;
mod body;
mod connection;
mod error;
mod limits;
mod progress;
mod socket;
mod tls;

pub use accept::Listener;
pub use body::{BodyError, read_body};
pub use connection::Peer;
pub use error::{Error, TlsFileError};
pub use limits::Limits;
pub use tls::TlsConfig;
