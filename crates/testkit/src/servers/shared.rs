//! The servers that tests share when they do them no harm, names that keep such tests apart, and waiting.
#![expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests names the shared servers in the environment, and tests wait in real time"
)]

use std::env;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::{Rabbit, Redis};

const WAIT_MAX: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The URL of a RabbitMQ that all tests of this process share: `PAYBELL_TEST_RABBITMQ`, else one of our own.
pub async fn shared_rabbit() -> String {
    static OURS: OnceCell<Rabbit> = OnceCell::const_new();
    match env::var("PAYBELL_TEST_RABBITMQ") {
        Ok(url) if !url.is_empty() => url,
        _ => OURS.get_or_init(Rabbit::start).await.url(),
    }
}

/// The URL of a Redis that all tests of this process share: `PAYBELL_TEST_REDIS`, else one of our own.
pub async fn shared_redis() -> String {
    static OURS: OnceCell<Redis> = OnceCell::const_new();
    match env::var("PAYBELL_TEST_REDIS") {
        Ok(url) if !url.is_empty() => url,
        _ => OURS.get_or_init(Redis::start).await.url(),
    }
}

/// A prefix that no other test uses, in this run or another: `t` and 16 hexadecimal digits.
pub fn unique_prefix() -> String {
    format!("t{:016x}", RandomState::new().build_hasher().finish())
}

/// Waits for a future in a test that has no runtime.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime needs only file descriptors").block_on(future)
}

/// Asks until it is so; `false` if that did not come within a minute.
pub(super) async fn until<F: Future<Output = bool>>(ask: impl Fn() -> F) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < WAIT_MAX {
        if ask().await {
            return true;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    false
}
