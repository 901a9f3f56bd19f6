//! Registrations that come by message: from the queue through the console's judgement into the ledger. The worker role
//! does this, because it has ledger and queue at hand. Decides nothing itself.

use std::{sync::Arc, time::Duration};

use console::Posted;
use paybell_core::ports::PortError;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use rabbitmq::Orders;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Registrations taken in together.
const BATCH: usize = 64;

/// Between two tries while an engine is away.
const PAUSE: Duration = Duration::from_secs(1);

/// `paybell_posted_registrations_total{result}`.
pub type PostedCount = Family<[(&'static str, &'static str); 1], Counter>;

/// Registers the count.
pub fn count(registry: &mut Registry) -> PostedCount {
    let count = PostedCount::default();
    registry.register("paybell_posted_registrations", "Registrations that came by message", count.clone());
    for result in ["added", "same", "refused"] {
        drop(count.get_or_create(&[("result", result)]));
    }
    count
}

/// Takes registrations in until `drain` is cancelled.
pub async fn take_in(orders: Arc<Orders>, posted: Posted, count: PostedCount, drain: CancellationToken) {
    while !drain.is_cancelled() {
        let taken = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            taken = some(&orders, &posted, &count) => taken,
        };
        if let Err(error) = taken {
            tracing::warn!(error = %error, "registrations wait in their queue: {error}");
            tokio::select! {
                () = drain.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }
}

/// What is given back by an error comes again; registering it twice is registering it once.
async fn some(orders: &Orders, posted: &Posted, count: &PostedCount) -> Result<(), PortError> {
    let batch = orders.receive(BATCH).await?;
    each(batch.into_iter().map(|registration| one(registration, posted, count))).await
}

async fn one(registration: rabbitmq::Posted, posted: &Posted, count: &PostedCount) -> Result<(), PortError> {
    let result = posted.take_in(registration.body()).await?;
    count.get_or_create(&[("result", result)]).inc();
    registration.done().await;
    Ok(())
}

/// One that fails keeps no other from its turn, or it would always come first and the others never.
async fn each<T: Future<Output = Result<(), PortError>>>(
    turns: impl Iterator<Item = T>,
) -> Result<(), PortError> {
    let mut ended = Ok(());
    for turn in turns {
        if let Err(error) = turn.await {
            ended = Err(error);
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn one_that_fails_keeps_no_other_from_its_turn() {
        let taken = Mutex::new(Vec::new());
        let turn = async |number: u32| {
            if number == 1 {
                return Err(PortError::Unavailable { part: "ledger", cause: "this one".to_owned() });
            }
            taken.lock().unwrap().push(number);
            Ok(())
        };
        let ended = each([1, 2, 3].into_iter().map(turn));
        assert!(ended.await.is_err(), "it is told, and comes again");
        assert_eq!(*taken.lock().unwrap(), [2, 3]);
    }
}
