//! Whether the engines answer: one look a second, whoever asks and however often, because everybody may. A load balancer
//! must not be refused, so nobody is counted here; what is asked in between is answered with what the last look found.

use std::time::Duration;

use paybell_core::Lane;
use paybell_core::ports::PortError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::console::Ports;

/// How long the engines may take to say that they are there.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long what a look found is told.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What the last look found, and when it ended.
#[derive(Default)]
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, Result<(), PortError>)>>,
}

impl Readiness {
    /// Looks, or says what was found less than a second ago; who asks meanwhile waits for the look in hand.
    pub(crate) async fn ask(&self, ports: &Ports) -> Result<(), PortError> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = last.as_ref()
            && at.elapsed() < GOOD_FOR
        {
            return found.clone();
        }
        let found = look(ports).await;
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

async fn look(ports: &Ports) -> Result<(), PortError> {
    let engines = async {
        ports.ledger.clock().await?;
        ports.log.end().await?;
        ports.queue.backlog(Lane::Urgent).await.map(drop)
    };
    timeout(READY_TIMEOUT, engines).await.unwrap_or_else(|_| {
        let cause = format!("no answer within {} s", READY_TIMEOUT.as_secs());
        Err(PortError::Unavailable { part: "engine", cause })
    })
}
