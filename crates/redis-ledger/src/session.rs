//! Two connections to one Redis master, one for writes and one for reads, and the way to say that they are of no use
//! any more. Knows of no records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, Value};
use tokio::sync::mpsc;

use crate::error::Fault;

/// The longest that a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// The longest that an answer may take. After that its outcome is unknown and the connection of no use.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Requests that may wait inside the client library.
const REQUESTS_MAX: usize = 1024;

/// What is connected.
pub(crate) struct Session {
    writes: MultiplexedConnection,
    reads: MultiplexedConnection,
    has_replicas: AtomicBool,
    /// Why the server takes no writes just now, if it does not.
    write_refusal: Mutex<Option<String>>,
    broken: mpsc::Sender<String>,
}

impl Session {
    /// Connects twice. What the receiver gets says that the session is of no use any more.
    pub async fn connect(client: &Client) -> Result<(Self, mpsc::Receiver<String>), RedisError> {
        let (writes, reads) = (connect(client), connect(client));
        let (writes, reads) = futures_util::future::try_join(writes, reads).await?;
        let (broken, told) = mpsc::channel(1);
        let (has_replicas, write_refusal) = (AtomicBool::new(false), Mutex::new(None));
        Ok((Self { writes, reads, has_replicas, write_refusal, broken }, told))
    }

    /// Sends it on the writing connection, in one piece; an answer may be an error of its own.
    pub async fn write(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.send(self.writes.clone(), pipeline).await
    }

    /// Sends it on the reading connection; any answer that is an error fails the whole.
    pub async fn read(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
        let mut values = self.send(self.reads.clone(), pipeline).await?;
        values.iter_mut().try_for_each(|value| self.judge(value))?;
        Ok(values)
    }

    /// An error among the answers is taken out and, if it says so, ends the session.
    pub fn judge(&self, value: &mut Value) -> Result<(), Fault> {
        let Value::ServerError(_) = value else { return Ok(()) };
        match std::mem::take(value).extract_error() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// Ends the session: the next one is connected at once.
    pub fn report(&self, cause: &str) {
        // Somebody may have said so already.
        let _ = self.broken.try_send(cause.to_owned());
    }

    /// Whether a replica follows the server, so that an answer needs its word too.
    pub fn has_replicas(&self) -> bool {
        self.has_replicas.load(Ordering::Relaxed)
    }

    pub fn set_has_replicas(&self, has_replicas: bool) {
        self.has_replicas.store(has_replicas, Ordering::Relaxed);
    }

    /// Why the server takes no writes just now.
    pub fn write_refusal(&self) -> Option<String> {
        self.write_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_write_refusal(&self, refusal: Option<String>) {
        *self.write_refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    async fn send(
        &self,
        mut connection: MultiplexedConnection,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Fault> {
        let count = pipeline.len();
        let answers = connection.send_packed_commands(pipeline, 0, count).await;
        let answers = answers.map_err(|error| self.fault(&error))?;
        if answers.len() == count { Ok(answers) } else { Err(Fault::strange("a pipeline")) }
    }

    fn fault(&self, error: &RedisError) -> Fault {
        let fault = Fault::of(error);
        if let Fault::Broken(cause) = &fault {
            self.report(cause);
        }
        fault
    }
}

/// One connection with deadlines on everything.
pub(crate) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
        .set_pipeline_buffer_size(REQUESTS_MAX);
    client.get_multiplexed_async_connection_with_config(&config).await
}
