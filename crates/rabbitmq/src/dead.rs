//! What the broker gave up on: checks that reached their delivery limit, one at a time. Whoever takes one gives its
//! order a due time and then acknowledges. Registrations come here by the same way; they become dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::message;
use lapin::types::AMQPValue;
use paybell_core::check::{Check, Lane};
use paybell_core::ports::{CheckSource, Delivery, PortError};
use tokio_util::sync::CancellationToken;

use crate::consume::{Consuming, PART, Queues, Reading, Tap, Tray};
use crate::source::{deliveries, read};
use crate::topology::names;

/// A few, so that one that cannot be dealt with yet does not hide the next.
const PREFETCH: u16 = 8;

/// The header in which the broker says from where a dead message first came.
const FIRST_QUEUE: &str = "x-first-death-queue";

/// The checks that were given up on.
pub(crate) struct GivenUp {
    tray: Arc<Tray<Check>>,
}

impl GivenUp {
    /// Begins to consume, until `cancel`.
    pub fn start(shared: &Consuming, cancel: &CancellationToken) -> Self {
        let queues = Queues::One(names::dead(&shared.settings.shape.prefix));
        let (tap, tray, _) = Tap::new(shared, queues, PREFETCH, read_dead);
        shared.settings.tasks.spawn(cancel.clone().run_until_cancelled_owned(tap.run()));
        Self { tray }
    }

    /// Whoever receives gets an error from now on.
    pub fn close(&self) {
        self.tray.close();
    }
}

#[async_trait]
impl CheckSource for GivenUp {
    /// The lane does not matter: there is one queue.
    async fn receive(&self, _: Lane, max: usize) -> Result<Vec<Delivery>, PortError> {
        let taken = self.tray.take(max).await.map_err(|error| error.unavailable(PART))?;
        Ok(deliveries(taken))
    }
}

fn read_dead(delivery: &message::Delivery) -> Reading<Check> {
    match (read(delivery), first_queue(delivery)) {
        (Reading::Malformed(_), Some(queue)) if queue.ends_with(&names::orders("")) => {
            Reading::Registration(format!("{queue} handed it out in vain as often as it may"))
        }
        (reading, _) => reading,
    }
}

fn first_queue(delivery: &message::Delivery) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(FIRST_QUEUE)? {
        AMQPValue::LongString(name) => Some(name.to_string()),
        AMQPValue::ShortString(name) => Some(name.to_string()),
        _ => None,
    }
}
