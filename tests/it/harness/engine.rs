//! Which engine the services under test work with, and where it is.

use std::sync::atomic::{AtomicU32, Ordering};

use testkit::servers::{shared_rabbit, shared_redis, wait};

/// What a service keeps everything in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each test binary is about one of them")]
pub enum Engine {
    Embedded,
    Cluster,
}

impl Engine {
    /// The lines of a configuration before every section. Each call names a place of its own, so that tests share
    /// servers and nothing else; `redis` stands in for the shared one.
    #[track_caller]
    pub fn to_toml(self, data_dir: &str, redis: Option<&str>) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        match self {
            Engine::Embedded => format!("embedded.data_dir = \"{data_dir}\"\n"),
            Engine::Cluster => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let prefix = format!("it-{}-{number}", std::process::id());
                let rabbitmq = wait(shared_rabbit());
                let redis = redis.map_or_else(|| wait(shared_redis()), str::to_owned);
                format!(
                    "engine = \"cluster\"\nrabbitmq.url = \"{rabbitmq}\"\nrabbitmq.prefix = \"{prefix}\"\n\
                     rabbitmq.partitions = 2\nredis.url = \"{redis}\"\nredis.prefix = \"{prefix}\"\n"
                )
            }
        }
    }

    pub fn is_cluster(self) -> bool {
        self == Engine::Cluster
    }
}
