//! Two connections to one Redis master, one for writes and one for reads, and the way to say that they are of no use
//! any more. Knows of no records.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, Value};
use tokio::sync::mpsc;

use crate::error::Fault;
use crate::keys::fnv;

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
    run: AtomicU64,
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
        let run = AtomicU64::new(getrandom::u64().unwrap_or_default());
        Ok((Self { writes, reads, has_replicas, run, write_refusal, broken }, told))
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

    /// Reads what an answer may rest on, and looks whether a replica has come to follow the server since.
    pub async fn read_for_answer(&self, mut pipeline: Pipeline) -> Result<Vec<Value>, Fault> {
        if self.has_replicas() {
            return self.read(&pipeline).await;
        }
        pipeline.cmd("ROLE");
        let mut values = self.send(self.reads.clone(), &pipeline).await?;
        self.note_role(values.pop());
        values.iter_mut().try_for_each(|value| self.judge(value))?;
        Ok(values)
    }

    /// What the server answered to `ROLE`. One that does not say it to us is known by the regular look alone.
    pub fn note_role(&self, role: Option<Value>) {
        if role.is_some_and(|role| names_replica(&role)) {
            self.set_has_replicas(true);
        }
    }

    /// Whether a replica follows the server, so that an answer needs its word too.
    pub fn has_replicas(&self) -> bool {
        self.has_replicas.load(Ordering::Relaxed)
    }

    pub fn set_has_replicas(&self, has_replicas: bool) {
        self.has_replicas.store(has_replicas, Ordering::Relaxed);
    }

    /// Names the process of Redis that it is a session with; where that does not say who it is, the session.
    pub fn run(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    pub fn set_run(&self, id: &str) {
        self.run.store(fnv(id.bytes()), Ordering::Relaxed);
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

/// A master names the replicas that follow it; one that still copies the whole is none of them.
fn names_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    let [name, _, Value::Array(replicas)] = parts.as_slice() else { return false };
    let is_master = matches!(name, Value::BulkString(name) if name == b"master");
    is_master && !replicas.is_empty()
}

/// One connection with deadlines on everything.
pub(crate) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
        .set_pipeline_buffer_size(REQUESTS_MAX);
    client.get_multiplexed_async_connection_with_config(&config).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_master_s_replicas_count() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let role = |name: &str, last| Value::Array(vec![text(name), Value::Int(7), last]);
        let replica = || Value::Array(vec![text("127.0.0.1"), text("1"), text("7")]);
        assert!(names_replica(&role("master", Value::Array(vec![replica()]))));
        assert!(!names_replica(&role("master", Value::Array(Vec::new()))));
        assert!(!names_replica(&role("slave", Value::Array(vec![replica()]))));
        assert!(!names_replica(&Value::Nil));
    }
}
