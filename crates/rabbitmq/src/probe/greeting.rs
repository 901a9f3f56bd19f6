//! The broker's greeting, which names its version. The client library reads it and keeps nothing of it, so it is read
//! here, on a connection that says hello and hangs up.

use std::time::Duration;

use async_compat::Compat;
use lapin::AsyncTcpStream;
use lapin::uri::AMQPScheme;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::Settings;

const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
const GREETING_MAX: Duration = Duration::from_secs(3);
const GREETING_BYTES_MAX: u32 = 64 * 1024;

/// `None` if it does not say.
pub(super) async fn version(settings: &Settings) -> Option<String> {
    let greeting = timeout(GREETING_MAX, greeting(settings)).await.ok()?.ok()?;
    version_in(&greeting)
}

async fn greeting(settings: &Settings) -> std::io::Result<Vec<u8>> {
    let uri = &settings.uri;
    let host = uri.authority.host.as_str();
    let socket = tokio::net::TcpStream::connect((host, uri.authority.port)).await?;
    let stream = AsyncTcpStream::Plain(Compat::new(socket));
    let stream = match uri.scheme {
        AMQPScheme::AMQP => stream,
        AMQPScheme::AMQPS => settings.trust.encrypt(stream, host).await?,
    };
    let mut stream = Compat::new(stream);
    stream.write_all(HELLO).await?;
    stream.flush().await?;
    // A frame: its kind, its channel, its length, then a method.
    let (_kind, _channel) = (stream.read_u8().await?, stream.read_u16().await?);
    let length = stream.read_u32().await?.min(GREETING_BYTES_MAX);
    let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Reads `connection.start`: class, method, protocol, then a table of properties.
fn version_in(payload: &[u8]) -> Option<String> {
    const HEAD: [u8; 4] = [0, 10, 0, 10];
    let rest = payload.strip_prefix(&HEAD)?;
    let (_protocol, rest) = rest.split_at_checked(2)?;
    let mut table = counted(rest, 4)?.0;
    while !table.is_empty() {
        let (name, rest) = counted(table, 1)?;
        let (kind, rest) = rest.split_first()?;
        let (value, rest) = match kind {
            b'S' | b'F' | b'A' => counted(rest, 4)?,
            b't' => rest.split_at_checked(1)?,
            b'I' => rest.split_at_checked(4)?,
            b'l' => rest.split_at_checked(8)?,
            _ => return None,
        };
        if name == b"version" && *kind == b'S' {
            return String::from_utf8(value.to_vec()).ok();
        }
        table = rest;
    }
    None
}

/// What a length of so many bytes is the length of, and what follows.
fn counted(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length
        .iter()
        .try_fold(0_usize, |length, byte| length.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(table: &[u8]) -> Vec<u8> {
        let length = u32::try_from(table.len()).unwrap().to_be_bytes();
        [&[0, 10, 0, 10, 0, 9][..], &length, table, b"\0\0\0\x05PLAIN\0\0\0\x05en_US"].concat()
    }

    #[test]
    fn the_version_is_found_among_the_properties() {
        let capabilities = b"\x0ccapabilitiesF\0\0\0\x04\x01at\x01";
        let version = b"\x07versionS\0\0\0\x063.10.8";
        let table = [&capabilities[..], b"\x07productS\0\0\0\x08RabbitMQ", version].concat();
        assert_eq!(version_in(&start(&table)).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(&start(capabilities)), None);
        assert_eq!(version_in(&start(b"\x07versionS\0\0\xff\x063.1")), None, "cut short");
        assert_eq!(version_in(b""), None);
        assert_eq!(version_in(&start(b"\x03oddZ")), None);
    }
}
