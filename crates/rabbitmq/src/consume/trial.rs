//! Trying a queue that was set aside: each time on a connection of its own, which may end for it.
//!
//! A trial takes one message at most and gives it back with its connection. That counts towards the delivery limit as
//! any lost connection does: once for each time that a queue gets well, of twenty. A queue that cannot be consumed
//! delivers nothing, so an outage counts nothing, however long it lasts; what a queue that comes and goes brings to its
//! limit gets a due time (`dead.rs`).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::Consuming;
use super::begin::{begin, is_nothing_there};
use crate::link::{LinkError, once};

/// How trials of a queue ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fit,
    /// It is not there any more.
    Missing,
}

/// Tries until one or the other is so; gives the queue's name, too.
pub(super) fn trial(shared: Consuming, queue: String) -> BoxFuture<'static, (String, Verdict)> {
    async move {
        let verdict = tried(&shared, &queue).await;
        (queue, verdict)
    }
    .boxed()
}

async fn tried(shared: &Consuming, queue: &str) -> Verdict {
    let mut failures = 0_u32;
    loop {
        sleep(shared.aside.pause(queue, failures)).await;
        let Ok(_place) = shared.aside.trials.acquire().await else { continue };
        match attempt(shared, queue).await {
            Ok(()) => return Verdict::Fit,
            Err(error) if is_nothing_there(&error) => return Verdict::Missing,
            Err(error) => {
                tracing::debug!(queue, error = %error, "{queue} cannot be consumed yet: {error}");
                shared.aside.still(queue, &error.told());
                failures = failures.saturating_add(1);
            }
        }
    }
}

async fn attempt(shared: &Consuming, queue: &str) -> Result<(), LinkError> {
    let session = once(&shared.settings, "consume (trial)").await?;
    let channel = session.channel().await?;
    let _consumer = begin(&channel, queue, 1).await?;
    session.close("the queue can be consumed".into()).await;
    Ok(())
}
