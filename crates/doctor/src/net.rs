//! One look at a place on the network, step by step, each within its own time: name, address, connection, TLS, exchange.
//! Follows nothing, repeats nothing, and sends only what it is given. Whoever asked judges.

mod certificate;
mod http;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Uri;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

pub use certificate::{Certificate, read_pem};
pub use http::{Answer, Request};
pub use tls::{Handshake, Roots, Sni, TlsFault};

/// How long each step may take.
const RESOLVE_MAX: Duration = Duration::from_secs(3);
const CONNECT_MAX: Duration = Duration::from_secs(3);
const EXCHANGE_MAX: Duration = Duration::from_secs(6);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 3;

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    #[error("the name {0} cannot be resolved: {1}")]
    Name(String, String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the TLS handshake failed: {0}")]
    Tls(TlsFault),
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Where to look: the parts of an `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub is_https: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    pub has_explicit_port: bool,
    pub path: String,
    /// As the header `Host` wants it.
    pub authority: String,
}

impl Place {
    /// `None` if it is no such URL.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self {
            is_https,
            host,
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            has_explicit_port: authority.port().is_some(),
            path,
            authority: authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
        })
    }

    /// The address that stands in place of a name, if one does.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Every address of the name.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, NetError> {
        let failed = |cause: String| NetError::Name(self.host.clone(), cause);
        let found = timeout(RESOLVE_MAX, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found: Vec<SocketAddr> = match found {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(cause)) => return Err(failed(cause.to_string())),
            Err(_) => return Err(failed(format!("no answer within {} s", RESOLVE_MAX.as_secs()))),
        };
        if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
    }

    /// The first address that answers.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, NetError> {
        let mut last = NetError::Connect(self.host.clone(), "it has no address".to_owned());
        for address in addresses.iter().take(ADDRESSES_MAX) {
            let cause = match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Only a matter of speed.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(cause)) => cause.to_string(),
                Err(_) => format!("no answer within {} s", CONNECT_MAX.as_secs()),
            };
            last = NetError::Connect(address.to_string(), cause);
        }
        Err(last)
    }

    /// Resolves, connects, does TLS where the URL says so, sends, and reads the whole answer.
    pub async fn exchange(&self, request: Request, roots: &Roots) -> Result<Answer, NetError> {
        let addresses = self.resolve().await?;
        self.exchange_at(&addresses, request, roots).await
    }

    /// The same at addresses that are known already. The time runs from the first byte sent after the handshake.
    pub async fn exchange_at(
        &self,
        addresses: &[SocketAddr],
        request: Request,
        roots: &Roots,
    ) -> Result<Answer, NetError> {
        let stream = self.connect(addresses).await?;
        let talk = async {
            if self.is_https {
                let stream = tls::shake_hands(stream, &self.host, Sni::Sent, roots).await.stream?;
                let begun = Instant::now();
                Ok((http::exchange(stream, self, request).await?, begun.elapsed()))
            } else {
                let begun = Instant::now();
                Ok((http::exchange(stream, self, request).await?, begun.elapsed()))
            }
        };
        let (answer, took) =
            timeout(EXCHANGE_MAX, talk).await.unwrap_or(Err(NetError::Timeout(EXCHANGE_MAX)))?;
        Ok(Answer { took, ..answer })
    }

    /// Only the handshake, to see the certificates.
    pub async fn handshake(
        &self,
        addresses: &[SocketAddr],
        sni: Sni,
        roots: &Roots,
    ) -> Result<Handshake, NetError> {
        let stream = self.connect(addresses).await?;
        let shaken = timeout(EXCHANGE_MAX, tls::shake_hands(stream, &self.host, sni, roots)).await;
        shaken.map_err(|_| NetError::Timeout(EXCHANGE_MAX))
    }
}

/// The words of an error without its kind.
fn broken(cause: &io::Error) -> NetError {
    NetError::Broken(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_as_they_are_meant() {
        let place = Place::parse("https://Pay.example.com/shop/notify?a=1").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.is_https), ("Pay.example.com", 443, true));
        assert_eq!((place.path.as_str(), place.has_explicit_port), ("/shop/notify?a=1", false));
        let place = Place::parse("http://[::1]:8080").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.path.as_str()), ("::1", 8080, "/"));
        assert_eq!((place.authority.as_str(), place.literal().is_some()), ("[::1]:8080", true));
        assert_eq!(Place::parse("http://u:p@host/").unwrap().authority, "host");
        for text in ["", "/x", "ftp://x", "https://"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_address() {
        let place = Place::parse("http://127.0.0.1:9/").unwrap();
        let error = place.exchange(Request::get(), &Roots::public()).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:9: "), "{error}");
        let error = Place::parse("http://no-such-host.invalid/").unwrap().resolve().await.unwrap_err();
        assert!(matches!(error, NetError::Name(..)), "{error}");
    }
}
