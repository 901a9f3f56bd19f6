//! The worker role looks again at orders whose merchant had been missing, when it learns of the merchant: at the start
//! and when a configuration brings one. What is replayed is up to [`worker::revive`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use paybell_core::ports::{CheckQueue, DeadLetters};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::merchants::LiveMerchants;

/// A look that ended in this moment answers for a check of this moment, and would forget the letter for nothing.
const FIRST_AFTER: Duration = Duration::from_secs(3);
/// Looks that were in hand when the merchant came leave their letters later: once more, after a lease's length.
const AGAIN_AFTER: Duration = Duration::from_secs(65);

/// Replays what waits for a merchant, each time that `news` come, until `drain` is cancelled.
pub async fn run(
    (dead, queue): (Arc<dyn DeadLetters>, Arc<dyn CheckQueue>),
    merchants: LiveMerchants,
    news: Arc<Notify>,
    drain: CancellationToken,
) {
    let work = async {
        loop {
            sleep(FIRST_AFTER).await;
            revive(dead.as_ref(), queue.as_ref(), &merchants).await;
            if timeout(AGAIN_AFTER, news.notified()).await.is_err() {
                revive(dead.as_ref(), queue.as_ref(), &merchants).await;
                news.notified().await;
            }
        }
    };
    tokio::select! {
        () = drain.cancelled() => {}
        () = work => {}
    }
}

async fn revive(dead: &dyn DeadLetters, queue: &dyn CheckQueue, merchants: &LiveMerchants) {
    let mch_ids: HashSet<String> =
        merchants.load().iter().map(|merchant| merchant.mch_id.to_string()).collect();
    match worker::revive(dead, queue, |mch_id| mch_ids.contains(mch_id)).await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, "looking again at {count} orders whose merchant was not configured")
        }
        Err(error) => tracing::warn!(
            error = %error,
            "orders whose merchant was not configured wait for their due time, or for a replay: {error}"
        ),
    }
}
