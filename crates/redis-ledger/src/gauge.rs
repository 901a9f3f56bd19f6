//! What a benchmark asks of the server beside the ledger: its memory and processor time, the commands that held it up,
//! and a naive way to keep the same orders. Takes its keys away again.
//!
//! It has a connection of its own and no part in any promise: the ledger neither knows nor uses it. Changes two of the
//! server's settings while it watches slow commands, and gives them back.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError, Value};
use serde_json::Value as Json;

use crate::config::RedisConfig;
use crate::error::unavailable;
use crate::find::find;
use crate::greet::{Info, Trouble};
use crate::session::connect;
use paybell_core::ports::PortError;

/// Keys that are looked at, and taken away, at once.
const ERASE_KEYS: usize = 1_000;

/// Slow commands that the server remembers while somebody watches.
const SLOW_MAX: u32 = 4_096;

/// What `used_memory` counts beside what is stored, and comes and goes.
const BUFFERS: [&str; 4] =
    ["mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer", "mem_replication_backlog"];

/// Set while a copy writes.
const COPIES: [&str; 2] = ["aof_rewrite_in_progress", "rdb_bgsave_in_progress"];

const SLOWER_THAN: &str = "slowlog-log-slower-than";
const REMEMBERED: &str = "slowlog-max-len";

/// A look at one server.
pub struct Gauge {
    connection: MultiplexedConnection,
    prefix: String,
}

/// What the server said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUsage {
    pub version: String,
    /// Bytes of everything that is stored, with the tables that it lies in: `used_memory` without the buffers of
    /// connections, of replicas and of the append-only file.
    pub data_bytes: u64,
    /// Processor time since its start.
    pub cpu: Duration,
    /// Copies of itself that it made since its start, each to write everything to disk anew. A copy takes a processor
    /// for itself, and the server pays for every page that it then changes.
    pub forks: u64,
}

/// A watch for slow commands that has begun, and the settings to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowWatch {
    slower_than: String,
    remembered: String,
    /// Entries up to this one were there before.
    after: i64,
}

/// A command that took long: the server answered nobody else meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    pub name: String,
    pub took: Duration,
}

/// An entry of the server's log: number, time, microseconds, words, and what newer servers add.
type Entry = (i64, i64, u64, Vec<Vec<u8>>, Value, Value);

impl Gauge {
    /// Connects to the ledger's server.
    pub async fn connect(config: &RedisConfig) -> Result<Self, PortError> {
        let host = find(&config.address).await.map_err(away)?;
        let client = config.address.client_of_server(&host).map_err(|error| away(Trouble::Refused(error)))?;
        let connection = connect(&client).await.map_err(failed)?;
        Ok(Self { connection, prefix: config.prefix.clone() })
    }

    /// Memory and processor time.
    pub async fn usage(&mut self) -> Result<ServerUsage, PortError> {
        let answer: Value = self.ask(redis::cmd("INFO").arg("everything")).await?;
        let info = Info::of(answer)?;
        let number = |name: &str| info.field(name).and_then(|text| text.parse::<f64>().ok());
        let whole = |name: &str| info.field(name).and_then(|text| text.parse::<u64>().ok());
        // A server that does not tell one of them has none, or is too old to tell it apart.
        let buffers = BUFFERS.iter().filter_map(|name| whole(name)).fold(0, u64::saturating_add);
        let data_bytes = whole("used_memory").map(|all| all.saturating_sub(buffers));
        let cpu_s = number("used_cpu_user").zip(number("used_cpu_sys")).map(|(user, system)| user + system);
        let usage = data_bytes.zip(cpu_s).map(|(data_bytes, cpu_s)| ServerUsage {
            version: info.field("redis_version").unwrap_or_default().to_owned(),
            data_bytes,
            cpu: Duration::try_from_secs_f64(cpu_s).unwrap_or_default(),
            forks: whole("total_forks").unwrap_or(0),
        });
        usage.ok_or_else(|| unavailable("the server says neither its memory nor its processor time"))
    }

    /// Whether a copy of the server is at work, which writes everything to disk.
    pub async fn is_copying(&mut self) -> Result<bool, PortError> {
        let answer: Value = self.ask(redis::cmd("INFO").arg("persistence")).await?;
        let info = Info::of(answer)?;
        Ok(COPIES.iter().any(|name| info.field(name) == Some("1")))
    }

    /// Has the server remember every command that takes longer than this. [`Gauge::restore`] ends it.
    pub async fn watch_slow(&mut self, over: Duration) -> Result<SlowWatch, PortError> {
        let (slower_than, remembered) = (self.setting(SLOWER_THAN).await?, self.setting(REMEMBERED).await?);
        let newest: Vec<Entry> = self.ask(redis::cmd("SLOWLOG").arg("GET").arg(1)).await?;
        let after = newest.first().map_or(-1, |entry| entry.0);
        self.set(REMEMBERED, &SLOW_MAX.to_string()).await?;
        self.set(SLOWER_THAN, &over.as_micros().to_string()).await?;
        Ok(SlowWatch { slower_than, remembered, after })
    }

    /// What was slow since the watch began, as far as the server remembers.
    pub async fn slow(&mut self, watch: &SlowWatch) -> Result<Vec<SlowCommand>, PortError> {
        let entries: Vec<Entry> = self.ask(redis::cmd("SLOWLOG").arg("GET").arg(SLOW_MAX)).await?;
        let commands = entries.into_iter().filter(|entry| entry.0 > watch.after).map(|entry| SlowCommand {
            name: String::from_utf8_lossy(entry.3.first().map_or(b"", Vec::as_slice)).to_uppercase(),
            took: Duration::from_micros(entry.2),
        });
        Ok(commands.collect())
    }

    /// Gives the settings back.
    pub async fn restore(&mut self, watch: &SlowWatch) -> Result<(), PortError> {
        self.set(SLOWER_THAN, &watch.slower_than).await?;
        self.set(REMEMBERED, &watch.remembered).await
    }

    /// Keeps orders as one would without thinking: a sorted set of due times and a hash of documents. For comparison.
    pub async fn keep_naively(&mut self, orders: &[(String, i64, Json)]) -> Result<(), PortError> {
        let [due, documents] = ["due", "documents"].map(|name| format!("{}{{naive}}{name}", self.prefix));
        let mut pipeline = Pipeline::with_capacity(orders.len().saturating_mul(2));
        for (member, due_at, document) in orders {
            pipeline.zadd(&due, member, *due_at).ignore();
            pipeline.hset(&documents, member, document.to_string()).ignore();
        }
        pipeline.query_async::<()>(&mut self.connection).await.map_err(failed)
    }

    /// Takes away every key of the prefix, in pieces that hold the server up for no longer than others do. Returns how
    /// many there were.
    pub async fn erase(&mut self) -> Result<u64, PortError> {
        let pattern = format!("{}{{*", self.prefix);
        let (mut cursor, mut erased) = (String::from("0"), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(ERASE_KEYS);
            let (next, keys): (String, Vec<Vec<u8>>) = self.ask(&scan).await?;
            if !keys.is_empty() {
                erased += self.ask::<u64>(redis::cmd("UNLINK").arg(keys)).await?;
            }
            if next == "0" {
                return Ok(erased);
            }
            cursor = next;
        }
    }

    async fn setting(&mut self, name: &str) -> Result<String, PortError> {
        let (_, value): (String, String) = self.ask(redis::cmd("CONFIG").arg("GET").arg(name)).await?;
        Ok(value)
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), PortError> {
        self.ask(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, PortError> {
        command.query_async(&mut self.connection).await.map_err(failed)
    }
}

fn failed(error: RedisError) -> PortError {
    unavailable(error.to_string())
}

fn away(trouble: Trouble) -> PortError {
    match trouble {
        Trouble::Away(cause) => unavailable(cause),
        Trouble::Refused(error) => unavailable(error.to_string()),
    }
}
