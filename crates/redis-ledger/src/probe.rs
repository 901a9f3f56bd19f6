//! What a doctor asks a Redis, once, on a connection of its own: facts, no judgement. Writes nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use redis::{Pipeline, Value};

use crate::clock::LedgerClock;
use crate::config::RedisConfig;
use crate::error::{Fault, OpenError};
use crate::find::find;
use crate::greet::{Info, Trouble, time_of, trouble};
use crate::keys::Keys;
use crate::session::{ANSWER_MAX, connect};

/// A Redis as it was found. `None` is what it does not tell, or not to us.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The server that was asked: with sentinels the master that they name.
    pub server: String,
    pub version: Option<String>,
    pub is_master: bool,
    pub is_cluster: bool,
    pub eviction: Option<String>,
    /// 0 is without a bound.
    pub memory_bytes_max: Option<u64>,
    pub memory_bytes_used: Option<u64>,
    pub has_append_only_file: bool,
    /// When the append-only file is synced: `always`, `everysec`, `no`.
    pub fsync: Option<String>,
    /// The rule of snapshots; empty is none.
    pub snapshots: Option<String>,
    /// The last write of the append-only file or of a snapshot failed.
    pub is_disk_failing: bool,
    /// Replicas that follow.
    pub replicas: usize,
    pub min_replicas: Option<u32>,
    /// This machine's clock minus Redis'.
    pub skew_ms: Option<i64>,
    pub round_trip: Duration,
}

/// Why there are no facts.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unasked {
    #[error("{0}")]
    Away(String),
    /// Wrong password, or commands that the user may not run.
    #[error("{0}")]
    Denied(String),
}

/// Looks once.
pub async fn probe(config: &RedisConfig) -> Result<Facts, Unasked> {
    let away = |_| Unasked::Away(format!("no answer within {} s", 2 * ANSWER_MAX.as_secs()));
    tokio::time::timeout(2 * ANSWER_MAX, ask(config)).await.map_err(away)?.map_err(Unasked::from)
}

/// One note of the ledger, on a connection of its own.
pub async fn note(config: &RedisConfig, name: &str) -> Result<Option<String>, Unasked> {
    let away = |_| Unasked::Away(format!("no answer within {} s", 2 * ANSWER_MAX.as_secs()));
    tokio::time::timeout(2 * ANSWER_MAX, read(config, name)).await.map_err(away)?.map_err(Unasked::from)
}

async fn read(config: &RedisConfig, name: &str) -> Result<Option<String>, Trouble> {
    let host = find(&config.address).await?;
    let client = config.address.client_of_server(&host).map_err(Trouble::Refused)?;
    let mut connection = connect(&client).await.map_err(|error| trouble(&error))?;
    let mut question = Pipeline::new();
    question.cmd("HGET").arg(Keys::new(&config.prefix).note(name)).arg("text");
    let mut answers =
        connection.send_packed_commands(&question, 0, 1).await.map_err(|error| trouble(&error))?;
    let text = answers.pop().unwrap_or_default().extract_error().map_err(|error| trouble(&error))?;
    redis::from_redis_value(text).map_err(|_| Trouble::from(Fault::strange("HGET")))
}

async fn ask(config: &RedisConfig) -> Result<Facts, Trouble> {
    let host = find(&config.address).await?;
    let client = config.address.client_of_server(&host).map_err(Trouble::Refused)?;
    let mut connection = connect(&client).await.map_err(|error| trouble(&error))?;
    let clock = LedgerClock::new(Arc::new(AtomicI64::new(0)));
    let mut questions = Pipeline::new();
    questions.cmd("TIME").cmd("INFO");
    for name in ["appendfsync", "save", "min-replicas-to-write"] {
        questions.cmd("CONFIG").arg("GET").arg(name);
    }
    let asked = clock.monotonic();
    let answers = connection.send_packed_commands(&questions, 0, 5).await.map_err(|error| trouble(&error))?;
    let round_trip = clock.monotonic().saturating_sub(asked);
    let [time, info, fsync, snapshots, min_replicas]: [Value; 5] =
        answers.try_into().map_err(|_| Trouble::from(Fault::strange("INFO")))?;
    let info = Info::of(info.extract_error().map_err(|error| trouble(&error))?)?;
    clock.sample(time_of(&time)?.0, asked);
    let number = |name: &str| info.field(name).and_then(|value| value.parse().ok());
    let is_bad = |name: &str| info.field(name) == Some("err");
    Ok(Facts {
        server: host.to_string(),
        version: info.field("redis_version").map(str::to_owned),
        is_master: info.is_master(),
        is_cluster: info.field("cluster_enabled") == Some("1"),
        eviction: info.field("maxmemory_policy").map(str::to_owned),
        memory_bytes_max: number("maxmemory"),
        memory_bytes_used: number("used_memory"),
        has_append_only_file: info.field("aof_enabled") == Some("1"),
        fsync: setting(fsync),
        snapshots: setting(snapshots),
        is_disk_failing: is_bad("aof_last_write_status") || is_bad("rdb_last_bgsave_status"),
        replicas: info.replicas(),
        min_replicas: setting(min_replicas).and_then(|value| value.parse().ok()),
        skew_ms: clock.skew_ms(),
        round_trip,
    })
}

/// The value of a `CONFIG GET`, which a hosted Redis may refuse.
fn setting(answer: Value) -> Option<String> {
    let pairs: Vec<String> = redis::from_redis_value(answer.extract_error().ok()?).ok()?;
    pairs.into_iter().nth(1)
}

impl From<Trouble> for Unasked {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(cause) => Unasked::Away(cause),
            Trouble::Refused(OpenError::Denied(cause)) => Unasked::Denied(cause),
            Trouble::Refused(error) => Unasked::Away(error.to_string()),
        }
    }
}
