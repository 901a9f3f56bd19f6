//! What a server must be before its connections are used: a master that keeps what it is told, with our layout.

use paybell_core::time::Millis;
use redis::{Pipeline, Value};

use crate::clock::LedgerClock;
use crate::error::{Fault, OpenError};
use crate::keys::{Keys, SHARDS};
use crate::scripts::Name;
use crate::session::Session;

/// The layout of the keys that this code writes.
const LAYOUT: u32 = 1;

/// The oldest Redis that knows `PXAT`.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Why a server is not used.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Away, or not ready: try again.
    Away(String),
    /// An operator must change something.
    Refused(OpenError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken(cause) | Fault::Refused(cause) | Fault::Corrupt(cause) => Trouble::Away(cause),
        }
    }
}

/// Whether this process has used these keys before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    New,
    Old,
}

/// Looks at the server, writes the layout if it is new, and tells it the scripts.
pub(crate) async fn greet(
    session: &Session,
    keys: &Keys,
    clock: &LedgerClock,
    known: Acquaintance,
) -> Result<(), Trouble> {
    let mut questions = Pipeline::new();
    questions.cmd("INFO").cmd("TIME").cmd("CONFIG").arg("GET").arg("save");
    let asked = clock.monotonic();
    let answers = session.write(&questions).await?;
    let [info, time, saves]: [Value; 3] =
        answers.try_into().map_err(|_| Trouble::from(Fault::strange("INFO")))?;
    let info = Info::of(allowed(info)?)?;
    clock.sample(time_of(&allowed(time)?)?.0, asked);
    if !info.is_master() {
        return Err(Trouble::Away("the server is a replica".to_owned()));
    }
    info.refusal().map_or(Ok(()), |refusal| Err(Trouble::Refused(refusal)))?;
    session.set_has_replicas(info.has_replicas());
    info.field("run_id").into_iter().for_each(|id| session.set_run(id));
    warn_of_forgetting(&info, &saves);
    settle_in(session, keys, known).await
}

async fn settle_in(session: &Session, keys: &Keys, known: Acquaintance) -> Result<(), Trouble> {
    let mut words = Pipeline::new();
    words.add_command(claim_layout(keys, known)).cmd("GET").arg(&keys.layout);
    words.add_command(Name::Store.load());
    let mut answers = session.write(&words).await?.into_iter();
    // A full server refuses the first; what counts is what is there.
    let (_, layout) = (answers.next(), answers.next().unwrap_or(Value::Nil));
    match allowed(layout)? {
        Value::BulkString(found) if found == layout_text().as_bytes() => {}
        Value::BulkString(found) => {
            let found = String::from_utf8_lossy(&found).into_owned();
            return Err(Trouble::Refused(OpenError::Layout { found, known: layout_text() }));
        }
        _ => return Err(Trouble::Away("the server takes no writes".to_owned())),
    }
    answers.try_for_each(|answer| allowed(answer).map(drop))
}

/// Says which layout the keys have, and since when there are any, unless something says so already.
pub(crate) fn claim_layout(keys: &Keys, known: Acquaintance) -> redis::Cmd {
    let mut command = Name::Begin.eval(2);
    command.arg(&keys.layout).arg(&keys.began).arg(layout_text());
    command.arg(usize::from(known == Acquaintance::New));
    command
}

fn layout_text() -> String {
    format!("layout={LAYOUT} shards={SHARDS}")
}

/// An error that only an operator can mend is told from one that passes.
fn allowed(value: Value) -> Result<Value, Trouble> {
    value.extract_error().map_err(|error| trouble(&error))
}

/// What an error at connecting means.
pub(crate) fn trouble(error: &redis::RedisError) -> Trouble {
    let is_denied = error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if is_denied {
        return Trouble::Refused(OpenError::Denied(error.to_string()));
    }
    Trouble::from(Fault::of(error))
}

/// Milliseconds since the epoch of an answer to `TIME`.
pub(crate) fn time_of(answer: &Value) -> Result<Millis, Fault> {
    let parts: Result<(i64, i64), _> = redis::from_redis_value_ref(answer);
    let (seconds, micros) = parts.map_err(|_| Fault::strange("TIME"))?;
    Ok(Millis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
}

fn warn_of_forgetting(info: &Info, saves: &Value) {
    if info.field("aof_enabled") == Some("1") {
        return;
    }
    let saves: Option<(String, String)> = redis::from_redis_value_ref(saves).ok();
    match saves {
        Some((_, saves)) if saves.is_empty() => tracing::warn!(
            "Redis keeps nothing on disk: a restart forgets all registered orders; set appendonly yes"
        ),
        _ => tracing::warn!(
            "Redis writes no append-only file: a crash forgets the orders since its last snapshot; set appendonly yes"
        ),
    }
}

/// An answer to `INFO`.
#[derive(Debug)]
pub(crate) struct Info(String);

impl Info {
    pub fn of(answer: Value) -> Result<Self, Fault> {
        redis::from_redis_value(answer).map(Info).map_err(|_| Fault::strange("INFO"))
    }

    pub fn is_master(&self) -> bool {
        self.field("role") == Some("master")
    }

    /// Replicas that follow; one that still copies the whole confirms nothing yet and is not waited for.
    pub fn has_replicas(&self) -> bool {
        self.replicas() > 0
    }

    /// How many of them there are.
    pub fn replicas(&self) -> usize {
        let is_replica = |line: &str| {
            line.strip_prefix("slave")
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        self.0.lines().filter(|line| is_replica(line) && line.contains("state=online")).count()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.split_once(':').filter(|(field, _)| *field == name).is_some();
        let line = self.0.lines().find(|line| value(line))?;
        line.split_once(':').map(|(_, value)| value.trim_end())
    }

    fn refusal(&self) -> Option<OpenError> {
        let version = self.field("redis_version").unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
            && (major, minor) < VERSION_MIN
        {
            return Some(OpenError::Version { found: version.to_owned() });
        }
        if self.field("cluster_enabled") == Some("1") {
            return Some(OpenError::Cluster);
        }
        let policy = self.eviction()?;
        Some(OpenError::Evicts { policy: policy.to_owned() })
    }

    /// By which rule the server drops keys, if it does. The volatile ones too: a record that is finished or disputed has
    /// an end, and would go before it.
    pub fn eviction(&self) -> Option<&str> {
        self.field("maxmemory_policy").filter(|policy| *policy != "noeviction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        Info(text.replace('\n', "\r\n"))
    }

    #[test]
    fn only_a_server_that_keeps_its_keys_is_used() {
        let good = "redis_version:7.0.15\nmaxmemory_policy:noeviction\ncluster_enabled:0\n";
        assert!(info(good).refusal().is_none());
        assert!(info("").refusal().is_none(), "a server that says nothing is asked to work");
        for policy in ["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"] {
            let evicts = info(&good.replace("noeviction", policy)).refusal();
            assert!(matches!(&evicts, Some(OpenError::Evicts { policy: named }) if named == policy));
            assert!(evicts.unwrap().to_string().contains("set maxmemory-policy noeviction"), "the remedy");
        }
        assert!(matches!(info(&good.replace("7.0.15", "6.0.20")).refusal(), Some(OpenError::Version { .. })));
        assert!(info(&good.replace("7.0.15", "10.1")).refusal().is_none());
        assert!(matches!(info(&good.replace("enabled:0", "enabled:1")).refusal(), Some(OpenError::Cluster)));
    }

    #[test]
    fn only_replicas_that_follow_are_counted() {
        assert!(info("role:master\nslave0:ip=::1,port=1,state=online,offset=9,lag=0\n").has_replicas());
        assert!(!info("role:master\nslave0:ip=::1,port=1,state=wait_bgsave,offset=0,lag=0\n").has_replicas());
        assert!(!info("role:master\nslave_read_only:1\nstate=online\n").has_replicas());
        assert!(info("role:master\n").is_master() && !info("role:slave\n").is_master());
    }
}
