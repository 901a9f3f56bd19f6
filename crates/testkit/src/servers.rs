//! Real servers for tests: private ones, from installed packages, on loopback ports below the ephemeral range, in
//! temporary folders. They are never servers that merely listen somewhere, and nothing of them stays behind, however
//! the test process ends: each stands under a guard (`tests/servers/`) that lives as long as its owner here.
//!
//! Everything waits for a condition, bounded by the guard, and falls with the end of the server's log in its words.
#![expect(
    clippy::panic,
    reason = "a test whose server does not start has failed; it says so with the server's log"
)]

mod clients;
mod guard;
mod papers;
mod ports;
mod proxy;
mod rabbit;
mod redis;
mod shared;

pub use clients::StockClient;
pub use papers::Papers;
pub use ports::free_address;
pub use proxy::Proxy;
pub use rabbit::{Broker, Rabbit, RabbitCluster};
pub use redis::{Fsync, Redis, RedisOptions, Sentinels};
pub use shared::{shared_broker, shared_rabbit, shared_redis, unique_prefix, wait};
