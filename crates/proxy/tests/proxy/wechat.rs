//! A scripted host of WeChat: reads whole requests off raw sockets, keeps every byte, answers what the test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ledger::Journal;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
    /// The place of its connection among those accepted.
    pub connection: usize,
}

impl Seen {
    /// A header's values, joined.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// What a host does with a request.
pub enum Reply {
    Send(Vec<u8>),
    /// Sends, then closes the connection.
    SendAndClose(Vec<u8>),
    /// Reads the request and never answers.
    Hang,
    /// Closes without a word.
    Close,
    /// Sends a head, then zeros without end of its own accord until all are taken; counts them.
    Flood {
        bytes: usize,
        sent: Arc<AtomicUsize>,
    },
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Wechat {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Wechat {
    pub async fn start(journal: Journal, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (script, kept): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, number, kept.clone(), journal.clone(), script.clone()));
            }
        });
        Self { url, seen, _tasks: tasks }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn request(&self, number: usize) -> Seen {
        self.seen.lock().unwrap()[number].clone()
    }
}

/// One connection until either side ends it.
pub async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    kept: Arc<Mutex<Vec<Seen>>>,
    journal: Journal,
    script: Arc<Script>,
) {
    while let Some(request) = read_message(&mut stream, false).await {
        let seen = Seen { head: request.head, body: request.body, connection };
        journal.lock().unwrap().push(format!("sent {}", seen.head.lines().next().unwrap()));
        kept.lock().unwrap().push(seen.clone());
        match script(&seen) {
            Reply::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reply::SendAndClose(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang => std::future::pending().await,
            Reply::Close => return,
            Reply::Flood { bytes, sent } => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                while sent.load(Ordering::SeqCst) < bytes {
                    let Ok(count) = stream.write(&vec![0; 16 * 1024]).await else { return };
                    sent.fetch_add(count, Ordering::SeqCst);
                }
            }
        }
    }
}

/// A whole message: a head and the body that it announces.
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
    /// False if the connection ended before the body did.
    pub is_whole: bool,
}

/// Reads one message; an answer without a length ends with its connection. `None` if nothing came, or a request that
/// is not whole.
pub async fn read_message(stream: &mut (impl AsyncRead + Unpin), is_answer: bool) -> Option<Message> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut body = Vec::new();
    let is_whole = if header(&head, "transfer-encoding").is_some() {
        read_chunks(stream, &mut body).await.is_some()
    } else if let Some(length) = header(&head, "content-length") {
        let length: u64 = length.parse().unwrap();
        u64::try_from(stream.take(length).read_to_end(&mut body).await.unwrap_or(0)).unwrap() == length
    } else {
        !is_answer || stream.read_to_end(&mut body).await.is_ok()
    };
    (is_whole || is_answer).then_some(Message { head, body, is_whole })
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let length = u64::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let before = body.len();
        (&mut *stream).take(length).read_to_end(body).await.ok()?;
        let mut end = [0; 2];
        stream.read_exact(&mut end).await.ok()?;
        if length == 0 {
            return Some(());
        }
        if body.len() - before != usize::try_from(length).unwrap() {
            return None;
        }
    }
}

pub fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// A 200 with a body.
pub fn ok(body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
