//! Who used the processors while orders went through: the processes that we started, Redis by its own word, and what is
//! left, which is RabbitMQ and everybody else.

use std::time::Duration;

use super::Bench;
use crate::{
    bench::{
        machine::{Usage, busy},
        micros_each,
        report::Report,
        servers::Kind,
    },
    error::Error,
};

/// Processor time.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    paybell: Duration,
    simulator: Duration,
    load: Duration,
    /// Present on the engine that uses it.
    redis: Option<Duration>,
    all: Duration,
}

impl Costs {
    /// Since each of them started.
    pub async fn now(bench: &Bench) -> Result<Self, Error> {
        let redis = match bench.servers.engine() {
            Kind::Embedded => None,
            Kind::Cluster => {
                let usage = bench.servers.gauge().await?.usage().await;
                Some(usage.map_err(|error| Error::Failed(error.to_string()))?.cpu)
            }
        };
        Ok(Self {
            paybell: bench.paybell.usage().cpu,
            simulator: bench.simulator.usage().cpu,
            load: Usage::of("self").cpu,
            redis,
            all: busy(),
        })
    }

    pub fn since(self, before: Self) -> Self {
        let redis = self.redis.zip(before.redis).map(|(after, before)| after.saturating_sub(before));
        Self {
            paybell: self.paybell.saturating_sub(before.paybell),
            simulator: self.simulator.saturating_sub(before.simulator),
            load: self.load.saturating_sub(before.load),
            redis,
            all: self.all.saturating_sub(before.all),
        }
    }

    /// Of each order, and of the machine.
    pub fn tell(self, report: &mut Report, count: u64, took: Duration) {
        let Self { paybell, simulator, load, redis, all } = self;
        report.figure("sustained.paybell_cpu_us_per_order", micros_each(paybell, count), "us");
        report.figure("sustained.simulator_cpu_us_per_order", micros_each(simulator, count), "us");
        report.figure("sustained.load_cpu_us_per_order", micros_each(load, count), "us");
        let others = all.saturating_sub(paybell + simulator + load + redis.unwrap_or_default());
        if let Some(redis) = redis {
            report.figure("sustained.redis_cpu_us_per_order", micros_each(redis, count), "us");
            report.figure("sustained.rabbitmq_and_others_cpu_us_per_order", micros_each(others, count), "us");
        }
        let percent = others.as_secs_f64() / took.as_secs_f64() * 100.0;
        report.figure("sustained.others_percent", percent, "% of one processor");
    }
}
