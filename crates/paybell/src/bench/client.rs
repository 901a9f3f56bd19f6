//! A keep-alive HTTP/1.1 client as small as a load generator needs it: writes bytes that are ready, reads one answer
//! with a `Content-Length`. Follows nothing, decodes nothing, and takes any surprise for a fault.

use std::{io, net::SocketAddr, ops::Range};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const INPUT_BYTES: usize = 16 * 1024;
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One connection with at most one request under way.
pub struct Connection {
    pub stream: TcpStream,
    input: Vec<u8>,
}

/// An answer that was read whole.
pub struct Answer<'c> {
    pub status: u16,
    pub body: &'c [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(INPUT_BYTES) })
    }

    /// Sends a whole request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.input.clear();
        let (status, body) = loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(found) = whole_answer(&self.input)? {
                break found;
            }
            if self.input.len() > ANSWER_BYTES_MAX {
                return Err(odd("an answer beyond every bound"));
            }
        };
        Ok(Answer { status, body: self.input.get(body).unwrap_or_default() })
    }
}

/// Status and place of the body, once everything is there.
fn whole_answer(input: &[u8]) -> io::Result<Option<(u16, Range<usize>)>> {
    let Some(head_end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = input.get(..head_end).and_then(|head| std::str::from_utf8(head).ok());
    let head = head.ok_or_else(|| odd("a head that is no text"))?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| odd("no status"))?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let start = head_end + 4;
    let end = start + if status == 204 { 0 } else { length.ok_or_else(|| odd("no Content-Length"))? };
    Ok((input.len() >= end).then_some((status, start..end)))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_only_when_it_is_whole() {
        let whole = b"HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nbody";
        for length in 0..whole.len() {
            assert_eq!(whole_answer(&whole[..length]).unwrap(), None, "{length}");
        }
        let (status, body) = whole_answer(whole).unwrap().unwrap();
        assert_eq!((status, &whole[body]), (503, b"body".as_slice()));
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert_eq!(whole_answer(b"HTTP/1.1 204 X\r\n\r\n").unwrap().unwrap().0, 204);
    }
}
