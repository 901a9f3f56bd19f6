//! The business service at the end: reads the event stream and knows when each payment was notified.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    bench::{client::Connection, load::Latency, notifications::serial_of, while_doing},
    error::Error,
};

/// What stands before an order's number in an event.
const SUBJECT: &[u8] = b"\"subject\":\"";
const NUMBER_BYTES: usize = 20;

/// The events that are to come.
pub struct Expected {
    notified_at: RefCell<Vec<Option<Instant>>>,
    latency: RefCell<Latency>,
    came: Cell<u64>,
    repeated: Cell<u64>,
    grown: Notify,
    /// Places for payments under way.
    window: Semaphore,
}

impl Expected {
    pub fn new(orders: usize) -> Self {
        Self {
            notified_at: RefCell::new(vec![None; orders]),
            latency: RefCell::new(Latency::new()),
            came: Cell::new(0),
            repeated: Cell::new(0),
            grown: Notify::new(),
            window: Semaphore::new(0),
        }
    }

    /// From now on exactly so many payments may be under way.
    pub fn open_window(&self, payments: usize) {
        self.window.forget_permits(Semaphore::MAX_PERMITS);
        self.window.add_permits(payments);
    }

    /// Waits for a place, which the event gives back.
    pub async fn place(&self) {
        if let Ok(place) = self.window.acquire().await {
            place.forget();
        }
    }

    /// A place for which there was no payment.
    pub fn give_back(&self) {
        self.window.add_permits(1);
    }

    pub fn notified(&self, serial: usize, at: Instant) {
        if let Some(place) = self.notified_at.borrow_mut().get_mut(serial) {
            *place = Some(at);
        }
    }

    /// Waits until so many events came.
    pub async fn all(&self, count: u64, patience: Duration) -> Result<(), Error> {
        let waiting = async {
            while self.came.get() < count {
                self.grown.notified().await;
            }
        };
        let missing = |_| Error::Failed(format!("{} of {count} events came", self.came.get()));
        timeout(patience, waiting).await.map_err(missing)
    }

    pub fn take_latency(&self) -> Latency {
        self.latency.replace(Latency::new())
    }

    pub fn repeated(&self) -> u64 {
        self.repeated.get()
    }

    fn came(&self, serial: usize, at: Instant) {
        let notified_at = self.notified_at.borrow_mut().get_mut(serial).and_then(Option::take);
        let Some(notified_at) = notified_at else {
            self.repeated.set(self.repeated.get() + 1);
            return;
        };
        self.latency.borrow_mut().record(at.saturating_duration_since(notified_at));
        self.came.set(self.came.get() + 1);
        self.window.add_permits(1);
        self.grown.notify_one();
    }
}

/// A stream of events that has begun.
pub struct Stream {
    connection: Connection,
    input: Vec<u8>,
}

/// Asks for the stream and reads its head: whatever is emitted from now on comes.
pub async fn subscribe(mut connection: Connection) -> Result<Stream, Error> {
    let doing = "subscribing to events";
    let request = b"GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    connection.stream.write_all(request).await.map_err(while_doing(doing))?;
    let mut input = Vec::new();
    while !input.windows(4).any(|window| window == b"\r\n\r\n") {
        if connection.stream.read_buf(&mut input).await.map_err(while_doing(doing))? == 0 {
            return Err(Error::Failed(format!("{doing}: the stream ended")));
        }
    }
    if !input.starts_with(b"HTTP/1.1 200") {
        return Err(Error::Failed(format!("{doing}: {}", String::from_utf8_lossy(&input))));
    }
    Ok(Stream { connection, input })
}

impl Stream {
    /// Counts events until the stream ends.
    pub async fn keep_counting(mut self, expected: Rc<Expected>) -> io::Result<()> {
        loop {
            if self.connection.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = Instant::now();
            take_serials(&mut self.input, |serial| expected.came(serial, now));
        }
    }
}

/// Gives the numbers of the orders in `input`, and keeps of it what may be the beginning of another.
fn take_serials(input: &mut Vec<u8>, mut found: impl FnMut(usize)) {
    let mut rest = input.as_slice();
    while let Some(at) = rest.windows(SUBJECT.len()).position(|window| window == SUBJECT) {
        let start = at + SUBJECT.len();
        let Some(number) = rest.get(start..start + NUMBER_BYTES) else {
            let kept = rest.len() - at;
            input.drain(..input.len() - kept);
            return;
        };
        if let Some(serial) = std::str::from_utf8(number).ok().and_then(serial_of) {
            found(serial);
        }
        rest = rest.get(start + NUMBER_BYTES..).unwrap_or_default();
    }
    let kept = rest.len().min(SUBJECT.len() - 1);
    input.drain(..input.len() - kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_once_wherever_the_pieces_are_cut() {
        let stream: String = (0..5)
            .map(|n| {
                format!("3f\r\nid: 7\ndata: {{\"id\":\"x\",\"subject\":\"BENCH{n:015}\",\"time\":1}}\n\n\r\n")
            })
            .collect();
        for size in 1..stream.len() {
            let (mut input, mut serials) = (Vec::new(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                input.extend_from_slice(piece);
                take_serials(&mut input, |serial| serials.push(serial));
            }
            assert_eq!(serials, [0, 1, 2, 3, 4], "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_repeated_event_gives_no_second_place() {
        let expected = Expected::new(2);
        expected.open_window(1);
        expected.place().await;
        expected.notified(1, Instant::now());
        expected.came(1, Instant::now());
        expected.came(1, Instant::now());
        assert_eq!((expected.came.get(), expected.repeated()), (1, 1));
        assert_eq!(expected.window.available_permits(), 1);
        expected.all(1, Duration::from_secs(1)).await.unwrap();
    }
}
