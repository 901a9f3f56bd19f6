//! Where deliveries of checks come from: a tap per lane, so that a backlog of polls never keeps a notification from
//! being delivered. While the broker is away a receiver waits; the taps begin anew by themselves.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::message;
use paybell_core::check::{Check, CheckError, Lane};
use paybell_core::ports::{CheckSource, Delivery, PortError, Settle};
use tokio_util::sync::CancellationToken;

use crate::consume::{Consuming, Gauge, InHand, PART, Queues, Reading, Tap, Tray};
use crate::link::LinkError;

/// The checks of both lanes.
pub(crate) struct Source {
    urgent: LaneSource,
    cadence: LaneSource,
}

struct LaneSource {
    tray: Arc<Tray<Check>>,
    gauge: Gauge,
}

impl Source {
    /// Begins to consume, until `cancel`.
    pub fn start(shared: &Consuming, cancel: &CancellationToken) -> Self {
        let settings = &shared.settings;
        let lane = |lane, prefetch| {
            let (prefix, configured) = (settings.shape.prefix.clone(), settings.shape.partitions);
            let queues = Queues::Lane { prefix, lane, configured, look_pause: settings.look_pause };
            let (tap, tray, gauge) = Tap::new(shared, queues, prefetch, read);
            settings.tasks.spawn(cancel.clone().run_until_cancelled_owned(tap.run()));
            LaneSource { tray, gauge }
        };
        Self {
            urgent: lane(Lane::Urgent, settings.urgent_prefetch),
            cadence: lane(Lane::Cadence, settings.cadence_prefetch),
        }
    }

    /// What waits and what this process holds. While it consumes nothing, `waiting` counts.
    pub async fn backlog<F: Future<Output = Result<u64, LinkError>>>(
        &self,
        lane: Lane,
        waiting: impl Fn() -> F,
    ) -> Result<u64, LinkError> {
        self.lane(lane).gauge.backlog(waiting).await
    }

    /// Acknowledgements that did not reach the broker.
    pub fn repeats_expected(&self) -> u64 {
        self.urgent.tray.repeats_expected() + self.cadence.tray.repeats_expected()
    }

    /// Whoever receives gets an error from now on.
    pub fn close(&self) {
        self.urgent.tray.close();
        self.cadence.tray.close();
    }

    fn lane(&self, lane: Lane) -> &LaneSource {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Cadence => &self.cadence,
        }
    }
}

#[async_trait]
impl CheckSource for Source {
    async fn receive(&self, lane: Lane, max: usize) -> Result<Vec<Delivery>, PortError> {
        let taken = self.lane(lane).tray.take(max).await.map_err(|error| error.unavailable(PART))?;
        Ok(deliveries(taken))
    }
}

/// As the port wants them.
pub(crate) fn deliveries(taken: Vec<InHand<Check>>) -> Vec<Delivery> {
    let delivery = |in_hand: InHand<Check>| {
        let check = in_hand.content()?.clone();
        Some(Delivery::new(check, Box::new(Checked(in_hand))))
    };
    taken.into_iter().filter_map(delivery).collect()
}

/// Reads a message of a queue of checks.
pub(crate) fn read(delivery: &message::Delivery) -> Reading<Check> {
    match Check::from_json(&delivery.data) {
        Ok(check) => Reading::Content(check),
        Err(CheckError::Version(_)) => Reading::Newer,
        Err(error) => Reading::Malformed(error.to_string()),
    }
}

/// A check in somebody's hand.
struct Checked(InHand<Check>);

#[async_trait]
impl Settle for Checked {
    async fn done(self: Box<Self>) -> Result<(), PortError> {
        self.0.done().await;
        Ok(())
    }
}
