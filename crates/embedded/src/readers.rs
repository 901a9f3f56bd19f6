//! The threads that read, each with a connection of its own: a long listing never delays a write.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use paybell_core::ports::PortError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::{StoreError, closed};
use crate::schema;

/// Reads that wait for a thread.
const QUEUE_READS_MAX: usize = 256;

/// The way to the reader threads.
#[derive(Clone)]
pub(crate) struct Readers {
    sender: mpsc::Sender<Message>,
}

enum Message {
    Read(Box<dyn Read>),
    Close,
}

/// Something to read; says whether the connection is still good.
trait Read: Send {
    fn run(self: Box<Self>, connection: Result<&Connection, &StoreError>) -> bool;
}

struct Asked<T, F> {
    work: F,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<T, F> Read for Asked<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(self: Box<Self>, connection: Result<&Connection, &StoreError>) -> bool {
        let outcome = match connection {
            Ok(connection) => (self.work)(connection),
            Err(error) => {
                let _ = self.reply.send(Err(error.into()));
                return false;
            }
        };
        let is_good = !outcome.as_ref().is_err_and(StoreError::spoils_the_connection);
        // Whoever asked may have gone.
        let _ = self.reply.send(outcome.map_err(|error| PortError::from(&error)));
        is_good
    }
}

impl Readers {
    /// The handle, and what each thread runs.
    pub fn channel(data_dir: PathBuf) -> (Self, ReaderThread) {
        let (sender, receiver) = mpsc::channel(QUEUE_READS_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        (Self { sender }, ReaderThread { receiver, data_dir })
    }

    /// Runs the work on a reader connection.
    pub async fn call<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let message = Message::Read(Box::new(Asked { work, reply }));
        self.sender.send(message).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// No more reads.
    pub async fn close(&self) {
        let _ = self.sender.send(Message::Close).await;
    }

    /// The same where nothing can be awaited.
    pub fn close_now(&self) {
        let _ = self.sender.try_send(Message::Close);
    }
}

/// What each reader thread runs.
#[derive(Clone)]
pub(crate) struct ReaderThread {
    receiver: Arc<Mutex<mpsc::Receiver<Message>>>,
    data_dir: PathBuf,
}

impl ReaderThread {
    /// Until the readers are closed.
    pub fn run(self) {
        let mut connection: Option<Connection> = None;
        while let Some(message) = self.next() {
            let Message::Read(read) = message else { continue };
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => schema::open_reader(&self.data_dir),
            };
            let is_good = read.run(open.as_ref());
            connection = open.ok().filter(|_| is_good);
        }
    }

    fn next(&self) -> Option<Message> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let message = receiver.blocking_recv();
        if let Some(Message::Close) = message {
            receiver.close();
        }
        message
    }
}
