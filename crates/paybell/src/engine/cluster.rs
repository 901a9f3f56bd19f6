//! The cluster engine as the roles' ports: RabbitMQ and Redis, connected as far as this process needs them.
//!
//! Opening succeeds while a server is away: both connect for ever, and the process works when they come. It fails only
//! where an operator has to change something.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use paybell_core::{
    Lane, ModeKeeper,
    ports::{CheckSource, Delivery, PortError},
};
use rabbitmq::{Letters, RabbitConfig, RabbitMq};
use redis_ledger::{OpenError, RedisConfig, RedisLedger, Retention};

use super::{Backing, Engine, LedgerPorts, Needs, bounded};
use crate::{config::Config, error::Error};

/// A worker whose clock is further from the ledger's takes no deliveries: what it compares with WeChat's times would be
/// wrong by as much.
const SKEW_MAX: Duration = Duration::from_secs(5);

/// The open connections.
pub struct Servers {
    rabbitmq: RabbitMq,
    ledger: Option<RedisLedger>,
}

impl Servers {
    pub async fn close(&self) {
        self.rabbitmq.close().await;
        if let Some(ledger) = &self.ledger {
            ledger.close().await;
        }
    }

    pub fn fanout_refused(&self) -> u64 {
        self.rabbitmq.fanout_refused()
    }

    pub fn stop_fetching(&self) {
        self.rabbitmq.stop_fetching();
    }

    pub fn log_unread(&self) -> u64 {
        self.rabbitmq.foreign_messages()
    }

    pub fn unconsumed(&self) -> Vec<(String, Arc<str>)> {
        self.rabbitmq.unconsumed()
    }

    pub async fn parts(&self) -> Vec<(&'static str, Result<(), PortError>)> {
        let mut parts = self.rabbitmq.parts();
        if let Some(ledger) = &self.ledger {
            parts.push(("ledger", bounded("ledger", ledger.probe()).await));
            parts.push(("clock", agree(ledger)));
        }
        parts
    }
}

/// What both servers are told.
pub fn rabbit_config(config: &Config) -> RabbitConfig {
    let events_age = u64::try_from(config.retention.events.0).unwrap_or(0);
    RabbitConfig {
        authorities: config.rabbitmq.authorities.clone(),
        prefix: config.rabbitmq.prefix.clone(),
        partitions: u16::try_from(config.rabbitmq.partitions).unwrap_or(u16::MAX),
        events_age: Duration::from_millis(events_age),
        ..RabbitConfig::at(config.rabbitmq.url.reveal())
    }
}

/// How Redis is reached.
pub fn redis_config(config: &Config) -> Result<RedisConfig, OpenError> {
    let redis = RedisConfig::new(config.redis.url.reveal(), &config.redis.prefix)?;
    Ok(match config.redis.authorities.clone() {
        Some(pem) => redis.with_root_certificate(pem),
        None => redis,
    })
}

/// Opens what is needed.
pub async fn open(config: &Config, needs: Needs) -> Result<Engine, Error> {
    let ledger = if needs.ledger { Some(open_ledger(config).await?) } else { None };
    let shared = ledger.clone().map(Arc::new);
    let ports = shared.map(|shared| LedgerPorts {
        ledger: shared.clone(),
        due: shared.clone(),
        registry: shared.clone(),
        records: shared.clone(),
        dead: shared.clone(),
        notes: shared.clone(),
        acts: shared.clone(),
        businesses: shared,
    });
    let modes = ports
        .as_ref()
        .map(|ports| ModeKeeper::shared(config.mode, ports.notes.clone(), ports.ledger.clone()));
    let letters =
        ports.as_ref().map(|ports| Letters { dead: ports.dead.clone(), ledger: ports.ledger.clone() });
    let needs = rabbitmq::Needs {
        deliveries: needs.deliveries,
        registrations: needs.deliveries,
        appends: needs.appends,
        reads: needs.reads,
        seldom: needs.seldom,
        letters,
    };
    let rabbitmq =
        RabbitMq::start(&rabbit_config(config), needs).map_err(|error| Error::Usage(error.to_string()))?;
    let guarded = |source: Option<Arc<dyn CheckSource>>| {
        let ledger = ledger.clone()?;
        Some(Arc::new(InTime { source: source?, ledger }) as Arc<dyn CheckSource>)
    };
    Ok(Engine {
        queue: rabbitmq.queue(),
        ledger: ports,
        log: rabbitmq.log(),
        source: guarded(rabbitmq.source()),
        given_up: guarded(rabbitmq.dead_source()),
        registrations: rabbitmq.orders(),
        // An ingress alone withholds nothing: who answered WeChat says so in the check.
        modes: Arc::new(modes.unwrap_or_else(|| ModeKeeper::fixed(config.mode))),
        backing: Backing::Cluster(Servers { rabbitmq, ledger }),
    })
}

/// The ledger alone.
pub async fn open_ledger(config: &Config) -> Result<RedisLedger, Error> {
    let mut redis = redis_config(config).map_err(refused)?;
    redis.cadence = config.cadence.clone();
    redis.retention = Retention { orders: config.retention.orders, ..Retention::default() };
    RedisLedger::open(redis).await.map_err(refused)
}

/// What may be mended at the server is a failure, after which a supervisor may start us again: it must not keep us down
/// once Redis is as it has to be.
fn refused(error: OpenError) -> Error {
    match error {
        OpenError::Denied(_) | OpenError::Evicts { .. } | OpenError::Version { .. } => {
            Error::Failed(error.to_string())
        }
        OpenError::Url(_)
        | OpenError::Authority(_)
        | OpenError::Prefix
        | OpenError::Layout { .. }
        | OpenError::Cluster => Error::Usage(error.to_string()),
    }
}

/// A source that gives nothing while this machine's clock and the ledger's disagree.
struct InTime {
    source: Arc<dyn CheckSource>,
    ledger: RedisLedger,
}

#[async_trait]
impl CheckSource for InTime {
    async fn receive(&self, lane: Lane, max: usize) -> Result<Vec<Delivery>, PortError> {
        agree(&self.ledger)?;
        self.source.receive(lane, max).await
    }
}

fn agree(ledger: &RedisLedger) -> Result<(), PortError> {
    let Some(skew_ms) = ledger.skew_ms() else { return Ok(()) };
    if u128::from(skew_ms.unsigned_abs()) <= SKEW_MAX.as_millis() {
        return Ok(());
    }
    let cause = format!(
        "this machine's clock is {skew_ms} ms off Redis' (more than {} s): set both by NTP; no delivery is taken until \
         they agree",
        SKEW_MAX.as_secs()
    );
    Err(PortError::Unavailable { part: "clock", cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_may_mend_does_not_keep_us_down() {
        let code = |error| refused(error).exit_code();
        assert_eq!(code(OpenError::Denied("WRONGPASS".to_owned())), 1);
        assert_eq!(code(OpenError::Evicts { policy: "allkeys-lru".to_owned() }), 1);
        assert_eq!(code(OpenError::Version { found: "5.0.7".to_owned() }), 1);
        assert_eq!(code(OpenError::Prefix), 2);
        assert_eq!(code(OpenError::Url("none".to_owned())), 2);
    }
}
