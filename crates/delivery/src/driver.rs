//! Drives the machines: one task per endpoint, so that none waits for another.
//!
//! An endpoint is worked by whichever process holds the lease in its book; the others look now and then whether it is
//! free. Does what the machine says and keeps its book; decides nothing itself.

mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paybell_core::Timestamp;
use paybell_core::ids::LeaseToken;
use paybell_core::ports::{Cursor, EventLog, Ledger, Notes, Records};
use paybell_core::time::Millis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::birth;
use crate::book::Book;
use crate::config::{Begin, Endpoint, distinct};
use crate::courier::{Courier, KeyOf};
use crate::error::Error;
use crate::metrics::DeliveryMetrics;
use crate::shelf::{Company, Holder, Shelf, Taken};
use crate::transport::Transport;
use crate::wishes::WishBox;
use session::Session;

/// What deliveries need of an engine. The ledger brings the clock, the records what events leave out.
#[derive(Clone)]
pub struct Ports {
    pub log: Arc<dyn EventLog>,
    pub notes: Arc<dyn Notes>,
    pub ledger: Arc<dyn Ledger>,
    pub records: Arc<dyn Records>,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// After a process died, another goes on when this is over.
    pub lease: Duration,
    /// Between two writes of a book that changes: what is newer is repeated after a crash.
    pub keep_gap: Duration,
    /// Between two looks for wishes.
    pub wishes_gap: Duration,
    /// What attempts get to end in when the process drains.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(12),
            keep_gap: Duration::from_millis(500),
            wishes_gap: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}

/// Everything that is to be delivered, and with what.
#[derive(Clone)]
pub struct Deliveries {
    pub endpoints: Vec<Endpoint>,
    pub ports: Ports,
    pub transport: Arc<dyn Transport>,
    pub key_of: KeyOf,
    pub metrics: DeliveryMetrics,
    pub timing: Timing,
    pub company: Company,
}

/// The longest pause while an engine is away.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Delivers until `drain` is cancelled, then ends what is in flight and frees the leases.
pub async fn run(deliveries: Deliveries, drain: CancellationToken) -> Result<(), Error> {
    distinct(&deliveries.endpoints)?;
    let (mut tasks, mut endpoints) = (JoinSet::new(), HashMap::new());
    for endpoint in &deliveries.endpoints {
        let server = Server::new(&deliveries, endpoint.clone(), drain.clone())?;
        endpoints.insert(tasks.spawn(server.serve()).id(), endpoint);
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        let Err(fault) = ended else { continue };
        let Some(endpoint) = endpoints.remove(&fault.id()) else { continue };
        let name = &endpoint.name;
        tracing::error!(endpoint = %name, error = %fault, "the task of {name} fell, and begins again: {fault}");
        // A fault that one endpoint provokes must not end the others, nor the process that decides payments.
        let server = Server::new(&deliveries, endpoint.clone(), drain.clone())?;
        endpoints.insert(tasks.spawn(server.serve_after(PAUSE_MAX)).id(), endpoint);
    }
    Ok(())
}

/// One endpoint's task.
struct Server {
    courier: Arc<Courier>,
    ports: Ports,
    metrics: DeliveryMetrics,
    timing: Timing,
    shelf: Shelf,
    wishes: WishBox,
    /// Every endpoint that is configured.
    names: Vec<String>,
    holder: Holder,
    random: StdRng,
    drain: CancellationToken,
}

impl Server {
    fn new(deliveries: &Deliveries, endpoint: Endpoint, drain: CancellationToken) -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::NoRandomness(error.to_string()))?;
        let mut random = StdRng::from_seed(seed);
        let ports = deliveries.ports.clone();
        let length = Millis(i64::try_from(deliveries.timing.lease.as_millis()).unwrap_or(i64::MAX));
        let names = deliveries.endpoints.iter().map(|endpoint| endpoint.name.as_str().to_owned()).collect();
        Ok(Self {
            names,
            shelf: Shelf::new(ports.notes.clone(), &endpoint.name),
            wishes: WishBox::new(ports.notes.clone(), &endpoint.name),
            holder: Holder { token: LeaseToken(random.random()), length, company: deliveries.company },
            courier: Arc::new(Courier {
                endpoint,
                transport: deliveries.transport.clone(),
                log: ports.log.clone(),
                records: ports.records.clone(),
                key_of: deliveries.key_of.clone(),
            }),
            ports,
            metrics: deliveries.metrics.clone(),
            timing: deliveries.timing,
            random,
            drain,
        })
    }

    async fn serve_after(self, pause: Duration) {
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
        self.serve().await;
    }

    async fn serve(mut self) {
        let mut failures = 0_u32;
        while !self.drain.is_cancelled() {
            let pause = match self.turn().await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let name = &self.courier.endpoint.name;
                    tracing::warn!(endpoint = %name, error = %error, "the endpoint {name} waits: {error}");
                    (Duration::from_millis(200) * (1 << failures.min(5))).min(PAUSE_MAX)
                }
            };
            tokio::select! {
                () = self.drain.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes the endpoint and works on it as long as it is ours; says when to look again.
    async fn turn(&mut self) -> Result<Duration, Error> {
        let now = self.ports.ledger.clock().await?.now;
        let fresh = self.fresh_book(now).await?;
        match self.shelf.take(self.holder, now, &fresh).await? {
            Taken::Others(until) => {
                let left = Duration::from_millis(u64::try_from(until.since(now).0).unwrap_or(0));
                Ok(left.clamp(self.timing.lease / 30, self.timing.lease / 3))
            }
            Taken::Ours(held) => {
                let name = self.courier.endpoint.name.clone();
                tracing::info!(endpoint = %name, "this process serves the endpoint {name}");
                if held.book.began_anew_at.is_some() {
                    tracing::warn!(
                        endpoint = %name,
                        "the ledger knows no place of {name}, while the event log is older: if Redis was emptied, {name} \
                         gets only what is emitted from now on; what it may have missed: paybell endpoint resend {name} \
                         --after oldest (or after a later place); if it is new, or has everything: paybell endpoint \
                         enable {name}"
                    );
                }
                Session::new(self, *held, now).work().await;
                self.metrics.left(&name);
                Ok(self.timing.lease / 30)
            }
        }
    }

    /// What an endpoint begins with that has no book.
    async fn fresh_book(&self, now: Timestamp) -> Result<Book, Error> {
        let (log, notes, endpoint) = (&self.ports.log, &self.ports.notes, &self.courier.endpoint);
        let cursor = match endpoint.begin {
            Begin::Now => log.end().await?,
            Begin::Oldest => Cursor::START,
        };
        let mut book = Book::new(endpoint.url.print(), cursor);
        // Where ledger and log are one file, neither is emptied without the other.
        let may_differ = endpoint.begin == Begin::Now && self.holder.company == Company::Others;
        if may_differ
            && birth::is_after_log(notes.as_ref(), log.as_ref(), &self.names, endpoint.name.as_str()).await?
        {
            book.began_anew_at = Some(now);
        }
        Ok(book)
    }
}
