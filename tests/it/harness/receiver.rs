//! Where events are brought to: a server that answers as it is told, path by path, and keeps what it got.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{acceptor::Acceptor, wait_for};

/// How a path is answered.
#[derive(Clone)]
pub enum Reply {
    /// A status and a body.
    Status(u16, String),
    /// The same after a while.
    Slow(Duration, u16),
    Redirect(String),
    /// The connection stays open, and nothing comes.
    Hang,
    /// The connection breaks.
    Nothing,
}

impl Reply {
    pub fn ok() -> Self {
        Reply::Status(200, String::new())
    }

    /// What a v2 handler must say.
    pub fn success() -> Self {
        Reply::Status(200, super::SUCCESS.to_owned())
    }
}

/// One request.
#[derive(Clone)]
pub struct Received {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub at: Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    received: Vec<Received>,
}

/// Listens until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _acceptor: Acceptor,
}

impl Receiver {
    /// Every path is answered 200 and nothing more until it is told otherwise.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let acceptor = Acceptor::start(move |stream, is_over| serve(stream, &shared, is_over));
        Self { address: acceptor.address, state, _acceptor: acceptor }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn says(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// What came to a path so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let state = self.state.lock().unwrap();
        state.received.iter().filter(|received| received.path == path).cloned().collect()
    }

    /// Waits for the first request to a path that fits.
    #[track_caller]
    pub fn wait_for(&self, path: &str, what: &str, fits: impl Fn(&Received) -> bool) -> Received {
        wait_for(&format!("{what} at {path}"), || self.received(path).into_iter().find(&fits))
    }
}

/// One request and its answer. A client that breaks off is no concern of ours.
fn serve(stream: TcpStream, state: &Mutex<State>, is_over: &AtomicBool) {
    let Some(received) = read_request(&stream) else { return };
    let reply = {
        let mut state = state.lock().unwrap();
        let path = received.path.clone();
        state.received.push(received);
        state.replies.get(&path).cloned().unwrap_or(Reply::ok())
    };
    match reply {
        Reply::Status(status, body) => answer(&stream, status, "", &body),
        Reply::Slow(after, status) => {
            thread::sleep(after);
            answer(&stream, status, "", "");
        }
        Reply::Redirect(to) => answer(&stream, 302, &format!("Location: {to}\r\n"), ""),
        Reply::Hang => {
            while !is_over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(100));
            }
        }
        Reply::Nothing => {}
    }
}

fn answer(mut stream: &TcpStream, status: u16, header: &str, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\n{header}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    stream.set_read_timeout(Some(super::PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body: String::from_utf8(body).ok()?, at: Instant::now() })
}
