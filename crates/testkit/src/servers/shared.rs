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

use super::{Broker, Rabbit, Redis};

const WAIT_MAX: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(50);

static OUR_RABBIT: OnceCell<Rabbit> = OnceCell::const_new();

/// What the environment says, if it says anything.
fn told(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL of a RabbitMQ that all tests of this process share: `PAYBELL_TEST_RABBITMQ`, else one of our own.
pub async fn shared_rabbit() -> String {
    match told("PAYBELL_TEST_RABBITMQ") {
        Some(url) => url,
        None => OUR_RABBIT.get_or_init(Rabbit::start).await.url(),
    }
}

/// A RabbitMQ that tests share, with its tools, for those that look at what is theirs and change nothing for others.
/// `tests/run` names the tools of its own in `PAYBELL_TEST_RABBITMQ_TOOL`; those of a foreign one nobody has, so then it
/// is one of our own.
pub async fn shared_broker() -> Broker {
    match (told("PAYBELL_TEST_RABBITMQ"), told("PAYBELL_TEST_RABBITMQ_TOOL")) {
        (Some(url), Some(tool)) => Broker::at(url, tool.into()),
        _ => OUR_RABBIT.get_or_init(Rabbit::start).await.broker(),
    }
}

/// The URL of a Redis that all tests of this process share: `PAYBELL_TEST_REDIS`, else one of our own.
pub async fn shared_redis() -> String {
    static OURS: OnceCell<Redis> = OnceCell::const_new();
    match told("PAYBELL_TEST_REDIS") {
        Some(url) => url,
        None => OURS.get_or_init(Redis::start).await.url(),
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
