//! Registrations that come by message: bodies, as they came. What they say, and whether it can be taken, is judged
//! elsewhere; a body is acknowledged only when somebody is done with it.

use std::sync::Arc;

use paybell_core::ports::PortError;
use tokio_util::sync::CancellationToken;

use crate::consume::{Consuming, InHand, PART, Queues, Reading, Tap, Tray};
use crate::topology::names;

/// Registrations in hand at once.
const PREFETCH: u16 = 64;

/// The queue of registrations.
pub struct Orders {
    tray: Arc<Tray<Vec<u8>>>,
}

/// One registration. Dropping it gives it back.
pub struct Posted(InHand<Vec<u8>>);

impl Orders {
    /// Begins to consume, until `cancel`.
    pub(crate) fn start(shared: &Consuming, cancel: &CancellationToken) -> Self {
        let queues = Queues::One(names::orders(&shared.settings.shape.prefix));
        let read = |delivery: &lapin::message::Delivery| Reading::Content(delivery.data.clone());
        let (tap, tray, _) = Tap::new(shared, queues, PREFETCH, read);
        shared.settings.tasks.spawn(cancel.clone().run_until_cancelled_owned(tap.run()));
        Self { tray }
    }

    /// Waits until there is one, then gives 1 to `max`. Dropping the future loses nothing.
    pub async fn receive(&self, max: usize) -> Result<Vec<Posted>, PortError> {
        let taken = self.tray.take(max).await.map_err(|error| error.unavailable(PART))?;
        Ok(taken.into_iter().map(Posted).collect())
    }

    /// Whoever receives gets an error from now on.
    pub(crate) fn close(&self) {
        self.tray.close();
    }
}

impl Posted {
    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        self.0.content().map_or(&[], Vec::as_slice)
    }

    /// It is registered, or a dead letter by now.
    pub async fn done(self) {
        self.0.done().await;
    }
}
