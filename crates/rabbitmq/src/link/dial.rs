//! One attempt to connect, and the means to end a connection for certain.
//!
//! The client library's connection has a thread of its own, which outlives whoever gave up waiting for it. So we keep
//! a second handle of its socket: pulling the plug ends the connection, its thread and everything in flight on it at
//! once, also when the peer is silent and nothing can be written.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::time::timeout;

use super::{LinkError, bounded};
use crate::config::Settings;
use crate::trouble::CONNECT;

/// How long a connection may take, name resolution, TLS and login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects once. On failure nothing of the attempt stays behind.
pub(super) async fn dial(settings: &Settings, name: &str) -> Result<(Connection, Plug), LinkError> {
    let attempt = Attempt(Some(Plug::default()));
    let options = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = connect(settings, options, attempt.plug());
    let connection = bounded(CONNECT, CONNECT_TIMEOUT, connecting).await?;
    Ok((connection, attempt.succeeded()))
}

/// An attempt under way; pulls the plug when it is dropped before it succeeded.
struct Attempt(Option<Plug>);

impl Attempt {
    fn plug(&self) -> Plug {
        self.0.clone().unwrap_or_default()
    }

    fn succeeded(mut self) -> Plug {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(plug) = &self.0 {
            plug.pull();
        }
    }
}

async fn connect(
    settings: &Settings,
    options: ConnectionProperties,
    plug: Plug,
) -> Result<Connection, lapin::Error> {
    let runtime = lapin::runtime::default_runtime()?;
    let trust = settings.trust.clone();
    let connect = async move |uri: AMQPUri, _| {
        let (plug, trust) = (plug.clone(), trust.clone());
        let opened = async {
            let host = uri.authority.host.as_str();
            let socket = tokio::net::TcpStream::connect((host, uri.authority.port)).await?;
            socket.set_nodelay(true)?;
            plug.keep(socket.as_fd().try_clone_to_owned()?.into());
            let stream = AsyncTcpStream::Plain(Compat::new(socket));
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => trust.encrypt(stream, host).await,
            }
        };
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        timeout(CONNECT_TIMEOUT, opened).await.unwrap_or(Err(late)).map_err(lapin::Error::from)
    };
    Connection::connector(settings.uri.clone(), runtime, connect, options).await
}

/// A second handle of a connection's socket.
#[derive(Clone, Default)]
pub(super) struct Plug(Arc<Mutex<Socket>>);

#[derive(Default)]
enum Socket {
    #[default]
    NotYet,
    Open(TcpStream),
    Pulled,
}

impl Plug {
    /// Ends the connection, now or as soon as it has a socket.
    pub fn pull(&self) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Socket::Open(stream) = std::mem::replace(&mut *socket, Socket::Pulled) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn keep(&self, stream: TcpStream) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *socket {
            Socket::Pulled => drop(stream.shutdown(Shutdown::Both)),
            _ => *socket = Socket::Open(stream),
        }
    }
}
