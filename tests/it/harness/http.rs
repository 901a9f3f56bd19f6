//! A blocking HTTP client of a page: one request per connection, every header as the test wants it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use super::{PATIENCE, wait_for};

/// One request. Without `host` the address is the host.
pub struct Request<'r> {
    pub method: &'r str,
    pub path: &'r str,
    pub headers: Vec<(&'r str, String)>,
    pub body: Vec<u8>,
    pub host: Option<&'r str>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// A try before this one was answered 503; what it asked for may be done all the same.
    pub came_again: bool,
}

impl<'r> Request<'r> {
    pub fn new(method: &'r str, path: &'r str) -> Self {
        Self { method, path, headers: Vec::new(), body: Vec::new(), host: None }
    }

    pub fn header(mut self, name: &'r str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub fn host(self, host: &'r str) -> Self {
        Self { host: Some(host), ..self }
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    pub fn xml(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", "text/xml")
    }

    /// The request as it goes over the wire.
    pub fn to_bytes(&self, address: SocketAddr) -> Vec<u8> {
        let host = self.host.map_or_else(|| address.to_string(), str::to_owned);
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    #[track_caller]
    pub fn send(&self, address: SocketAddr) -> Answer {
        self.try_send(address).unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }

    /// The first answer that is not "come again": what WeChat and shops do where a busy machine kept a server behind the
    /// service longer than that waits for it.
    #[track_caller]
    pub fn send_at_last(&self, address: SocketAddr) -> Answer {
        let mut came_again = false;
        wait_for(&format!("{} {} is not to come again", self.method, self.path), || {
            let answer = self.send(address);
            if answer.is_to_come_again() {
                came_again = true;
                return None;
            }
            Some(Answer { came_again, ..answer })
        })
    }

    pub fn try_send(&self, address: SocketAddr) -> std::io::Result<Answer> {
        let mut stream = connect(address)?;
        stream.write_all(&self.to_bytes(address))?;
        read_answer(&mut stream)
    }
}

/// A connection that does not wait for ever.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The answer up to the end of the connection.
pub fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let broken = || std::io::Error::other(format!("not an answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned(), came_again: false })
}

/// A GET.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Answer {
    Request::new("GET", path).send(address)
}

/// A notification's POST.
#[track_caller]
pub fn post_xml(address: SocketAddr, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    Request::new("POST", path).xml(body).send(address)
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| line.split_once(':').is_some_and(|(of, _)| of.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(is_it)?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The 503 of an ingress, or of a private API whose engine keeps it waiting; no other refusal.
    pub fn is_to_come_again(&self) -> bool {
        let says_so = ["<return_code>", "urn:paybell:problem:engine-away"];
        self.status == 503 && says_so.iter().any(|words| self.body.contains(words))
    }

    /// It has this status; gives itself. Of what came again it may also be the one of a repeat: the try that was answered
    /// 503 may have been done.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let is_repeat = self.came_again
            && match status {
                201 => self.status == 200,
                202 => matches!(self.status, 200 | 404 | 409),
                _ => false,
            };
        assert!(is_repeat || self.status == status, "{status} is due: {self:?}");
        self
    }
}
