//! The servers that a benchmark of the cluster engine borrows: where they are, the prefix that it works under, and what
//! it gives back at the end, also of a benchmark that was interrupted.
//!
//! It starts no server and touches nothing outside its prefix, but for two settings of Redis' log of slow commands,
//! which it restores. URLs may hold passwords: they go into the configuration of the process under test, never into a
//! command line or a message.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use clap::{Args as ClapArgs, ValueEnum};
use rabbitmq::{Baseline, RabbitConfig};
use redis_ledger::{Gauge, RedisConfig, SlowCommand, SlowWatch};
use tokio::time::timeout;

use crate::{config::Secret, error::Error, output};

const RABBITMQ_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";
const REDIS_URL: &str = "redis://127.0.0.1:6379";
/// Queues that a [`Baseline`] declares: for the client library alone, and for the peer.
pub const RAW: &str = "raw";
pub const PEER: &str = "peer";
/// How long taking everything away may take; ten million keys took two minutes on a busy machine.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(600);
/// What was under way may arrive after the first look.
const ERASE_PASSES_MAX: usize = 3;

/// What a benchmark measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One process, one SQLite file
    Embedded,
    /// RabbitMQ and Redis, which must run
    Cluster,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct EngineArg {
    /// What is measured
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    pub engine: Kind,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct RabbitArg {
    /// RabbitMQ, for the cluster engine [default: amqp://guest:guest@127.0.0.1:5672/%2f]
    #[arg(long, value_name = "URL", value_parser = secret)]
    rabbitmq: Option<Secret>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct RedisArg {
    /// Redis, for the cluster engine [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "URL", value_parser = secret)]
    redis: Option<Secret>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// What is borrowed; clones are the same.
#[derive(Clone)]
pub struct Servers(Rc<Inner>);

struct Inner {
    prefix: String,
    rabbit: Option<RabbitConfig>,
    redis: Option<(Secret, RedisConfig)>,
    /// Set at the first contact: from then on something may have to be given back.
    is_rabbit_used: Cell<bool>,
    is_redis_used: Cell<bool>,
    watch: RefCell<Option<SlowWatch>>,
}

impl Servers {
    /// For an engine, of the servers that a benchmark of it asks for. Connects to nothing.
    pub fn of(
        engine: &EngineArg,
        rabbit: Option<&RabbitArg>,
        redis: Option<&RedisArg>,
    ) -> Result<Self, Error> {
        let given = (rabbit.and_then(|arg| arg.rabbitmq.as_ref()), redis.and_then(|arg| arg.redis.as_ref()));
        if engine.engine == Kind::Embedded {
            let option = given.0.map(|_| "--rabbitmq").or(given.1.map(|_| "--redis"));
            return match option {
                Some(option) => Err(Error::Usage(format!("{option} is for --engine cluster"))),
                None => Ok(Self::none()),
            };
        }
        // As long as the usual prefix, or hardly longer: it is a part of every key's name, and takes memory.
        let number = getrandom::u32().unwrap_or_else(|_| std::process::id());
        let prefix = format!("pb-{:06x}", number & 0xff_ffff);
        let rabbit = rabbit.map(|_| {
            let url = given.0.map_or(RABBITMQ_URL, Secret::reveal);
            RabbitConfig { prefix: prefix.clone(), ..RabbitConfig::at(url) }
        });
        let redis = redis.map(|_| {
            let url = given.1.cloned().unwrap_or_else(|| Secret::new(REDIS_URL));
            let config = RedisConfig::new(url.reveal(), &prefix);
            config.map(|config| (url, config)).map_err(|error| Error::Usage(format!("--redis: {error}")))
        });
        Ok(Self::new(prefix, rabbit, redis.transpose()?))
    }

    /// For a benchmark that needs none.
    pub fn none() -> Self {
        Self::new(String::new(), None, None)
    }

    fn new(prefix: String, rabbit: Option<RabbitConfig>, redis: Option<(Secret, RedisConfig)>) -> Self {
        Self(Rc::new(Inner {
            prefix,
            rabbit,
            redis,
            is_rabbit_used: Cell::new(false),
            is_redis_used: Cell::new(false),
            watch: RefCell::new(None),
        }))
    }

    pub fn engine(&self) -> Kind {
        let is_embedded = self.0.rabbit.is_none() && self.0.redis.is_none();
        if is_embedded { Kind::Embedded } else { Kind::Cluster }
    }

    /// The sections of a configuration that name the engine and its servers.
    pub fn as_toml(&self) -> String {
        let mut text = String::new();
        if self.engine() == Kind::Cluster {
            text.push_str("engine = \"cluster\"\n");
        }
        let rabbit = self.0.rabbit.as_ref().map(|config| ("rabbitmq", config.url.as_str()));
        let redis = self.0.redis.as_ref().map(|(url, _)| ("redis", url.reveal()));
        for (section, url) in rabbit.into_iter().chain(redis) {
            let (url, prefix) = (toml::Value::String(url.to_owned()), &self.0.prefix);
            text.push_str(&format!("[{section}]\nurl = {url}\nprefix = \"{prefix}\"\n"));
        }
        text
    }

    /// Connects to RabbitMQ, past the engine.
    pub async fn baseline(&self) -> Result<Baseline, Error> {
        let config = self.rabbit();
        let baseline = Baseline::connect(config).await;
        let baseline = baseline.map_err(|error| Error::Failed(format!("RabbitMQ (--rabbitmq): {error}")))?;
        self.0.is_rabbit_used.set(true);
        Ok(baseline)
    }

    /// Connects to Redis, past the ledger.
    pub async fn gauge(&self) -> Result<Gauge, Error> {
        let gauge = Gauge::connect(self.redis()).await;
        let gauge = gauge.map_err(|error| Error::Failed(format!("Redis (--redis): {error}")))?;
        self.0.is_redis_used.set(true);
        Ok(gauge)
    }

    /// For benchmarks that named it when they asked for their servers.
    pub fn rabbit(&self) -> &RabbitConfig {
        self.0.rabbit.as_ref().expect("the benchmark asked for RabbitMQ")
    }

    /// For benchmarks that named it when they asked for their servers.
    pub fn redis(&self) -> &RedisConfig {
        let (_, config) = self.0.redis.as_ref().expect("the benchmark asked for Redis");
        config
    }

    /// Begins to watch for commands that hold Redis up. Where Redis does not allow it, nothing is watched.
    pub async fn watch_slow(&self, gauge: &mut Gauge, over: Duration) {
        match gauge.watch_slow(over).await {
            Ok(watch) => *self.0.watch.borrow_mut() = Some(watch),
            Err(error) => output::remark(&format!("slow commands are not watched: {error}")),
        }
    }

    /// Ends the watch. `None` where nothing was watched.
    pub async fn end_watch(&self, gauge: &mut Gauge) -> Option<Vec<SlowCommand>> {
        let watch = self.0.watch.borrow().clone()?;
        let slow = gauge.slow(&watch).await;
        if gauge.restore(&watch).await.is_ok() {
            *self.0.watch.borrow_mut() = None;
        }
        slow.ok()
    }

    /// Takes away what was stored and restores what was set. Names what could not be taken away.
    pub async fn give_back(&self) -> Result<(), Error> {
        let given = timeout(GIVE_BACK_TIMEOUT, async {
            let (redis, rabbit) = (self.give_redis_back().await, self.give_rabbit_back().await);
            redis.and(rabbit)
        });
        let late = || Err(format!("not done within {} s", GIVE_BACK_TIMEOUT.as_secs()));
        given.await.unwrap_or_else(|_| late()).map_err(|cause| {
            let prefix = &self.0.prefix;
            Error::Failed(format!(
                "not everything under the prefix {prefix} could be taken away: {cause}; delete what is left by hand"
            ))
        })
    }

    async fn give_redis_back(&self) -> Result<(), String> {
        if !self.0.is_redis_used.get() {
            return Ok(());
        }
        let told = |error: paybell_core::ports::PortError| error.to_string();
        let mut gauge = Gauge::connect(self.redis()).await.map_err(told)?;
        let watch = self.0.watch.borrow_mut().take();
        if let Some(watch) = watch {
            gauge.restore(&watch).await.map_err(told)?;
        }
        for _ in 0..ERASE_PASSES_MAX {
            if gauge.erase().await.map_err(told)? == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn give_rabbit_back(&self) -> Result<(), String> {
        if !self.0.is_rabbit_used.get() {
            return Ok(());
        }
        rabbitmq::erase(self.rabbit(), &[RAW, PEER]).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(engine: Kind, url: Option<&str>) -> (EngineArg, RabbitArg, RedisArg) {
        let url = url.map(Secret::new);
        (EngineArg { engine }, RabbitArg { rabbitmq: url.clone() }, RedisArg { redis: url })
    }

    #[test]
    fn the_configuration_names_what_is_borrowed_and_nothing_prints_a_password() {
        let (engine, rabbit, redis) = args(Kind::Cluster, None);
        let servers = Servers::of(&engine, Some(&rabbit), Some(&redis)).unwrap();
        let toml: toml::Table = servers.as_toml().parse().unwrap();
        assert_eq!(toml["engine"].as_str(), Some("cluster"));
        assert_eq!(toml["rabbitmq"]["url"].as_str(), Some(RABBITMQ_URL));
        assert_eq!(toml["redis"]["url"].as_str(), Some(REDIS_URL));
        let prefix = toml["redis"]["prefix"].as_str().unwrap();
        assert!(prefix.starts_with("pb-") && toml["rabbitmq"]["prefix"].as_str() == Some(prefix));
        let (_, _, redis) = args(Kind::Cluster, Some("redis://:hunter2@cache:6379"));
        assert!(Servers::of(&engine, None, Some(&redis)).unwrap().as_toml().contains("hunter2@cache"));
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn a_server_without_the_engine_that_uses_it_is_a_mistake() {
        let (engine, rabbit, redis) = args(Kind::Embedded, Some("redis://cache"));
        let error = |rabbit, redis| match Servers::of(&engine, rabbit, redis) {
            Err(Error::Usage(text)) => text,
            _ => panic!("taken"),
        };
        assert!(error(Some(&rabbit), None).contains("--rabbitmq is for --engine cluster"));
        assert!(error(None, Some(&redis)).contains("--redis is for --engine cluster"));
        let (engine, ..) = args(Kind::Embedded, None);
        assert_eq!(Servers::of(&engine, None, None).unwrap().as_toml(), "");
    }
}
