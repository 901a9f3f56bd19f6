//! Names become addresses here, and are judged here: all of them, before any is connected to. The connection goes to
//! the very addresses that were judged, so a name that changes its mind in between (DNS rebinding) gains nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::addresses::is_public;

/// From a name to its addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver. It also knows `2130706433` and `0x7f.1`, which are addresses in disguise.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Why an address is not connected to.
#[derive(Debug, thiserror::Error)]
#[error(
    "{host} leads to {address}, which is not on the public internet: set allow_private = true if it is yours"
)]
pub(super) struct NotPublic {
    pub host: String,
    pub address: IpAddr,
}

/// Refuses where any of the addresses is not public: a name that leads to both is not to be trusted with either.
pub(super) fn judge(host: &str, addresses: &[IpAddr]) -> Result<(), NotPublic> {
    match addresses.iter().find(|address| !is_public(**address)) {
        Some(address) => Err(NotPublic { host: host.to_owned(), address: *address }),
        None => Ok(()),
    }
}

/// The resolver as the connector wants it.
#[derive(Clone)]
pub(super) struct Guard {
    pub resolver: Arc<dyn Resolve>,
    pub allow_private: bool,
}

impl Guard {
    async fn look_up(self, host: String) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let addresses = self.resolver.resolve(&host).await?;
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
        }
        if !self.allow_private {
            judge(&host, &addresses).map_err(io::Error::other)?;
        }
        let with_port = |address| SocketAddr::new(address, 0);
        Ok(addresses.into_iter().map(with_port).collect::<Vec<_>>().into_iter())
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().look_up(name.as_str().to_owned()))
    }
}
