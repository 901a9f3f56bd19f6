//! Registers the orders that verified requests place, and tries again later what failed. Never stands in a call's way
//! for longer than its bound, never refuses a call, and tells the ledger nothing that the merchant did not sign.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use paybell_core::ports::{Ledger, PortError, Registry};
use paybell_core::register::Registered;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::backlog::{Backlog, Waiting};
use crate::config::ProxyLimits;
use crate::merchants::Merchants;
use crate::metrics::{ProxyMetrics, Registration};
use crate::placed::{self, Placed, Unverified, Verified};
use crate::seldom::Seldom;

/// Attempts that run at once: engines write many in one step.
const RETRY_BATCH_MAX: usize = 64;
/// One later attempt: nobody waits for it.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// After the drain token: how long what waits may still be tried.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// The engines, as the proxy needs them.
#[derive(Clone)]
pub struct Ports {
    pub registry: Arc<dyn Registry>,
    /// For its clock only.
    pub ledger: Arc<dyn Ledger>,
}

pub(crate) struct Registrar {
    ports: Ports,
    metrics: ProxyMetrics,
    backlog: Backlog,
    register_timeout: Duration,
    seldom: Seldom,
}

impl Registrar {
    pub(crate) fn new(ports: Ports, metrics: ProxyMetrics, limits: &ProxyLimits) -> Self {
        Self {
            ports,
            metrics,
            backlog: Backlog::new(limits.backlog_max),
            register_timeout: Duration::from_millis(limits.register_timeout_ms),
            seldom: Seldom::default(),
        }
    }

    /// Registers the order that `body` places, if it can; `None` is a body too long to be an order's.
    pub(crate) async fn observe(&self, body: Option<&[u8]>, merchants: &Merchants) {
        let read = match body {
            Some(body) => placed::read(body, merchants),
            None => Err(Unverified { reason: "too_large", mch_id: None }),
        };
        match read {
            Ok(verified) => self.register(verified).await,
            Err(unverified) => self.count_unverified(&unverified),
        }
    }

    async fn register(&self, verified: Verified<'_>) {
        let since = Instant::now();
        let Verified { placed, merchant, key_index } = verified;
        self.metrics.key_used(&merchant.mch_id, key_index);
        if !merchant.app_ids.iter().any(|ours| ours == placed.appid.as_str()) {
            self.warn_of_app(&placed);
        }
        let attempt = timeout(self.register_timeout, self.attempt(&placed, None)).await;
        match attempt.unwrap_or_else(|_| Err(too_slow(self.register_timeout))) {
            Ok(Registered::Added) => self.metrics.registration(Registration::Registered),
            Ok(Registered::Same) => self.metrics.registration(Registration::Same),
            Ok(Registered::Different(fields)) => self.count_different(&placed, &fields),
            Ok(Registered::Ahead) => self.missed(Waiting { placed, since }, &clocks_differ()),
            Err(error) => self.missed(Waiting { placed, since }, &error),
        }
    }

    /// Tries again what failed until `drain` is cancelled, and then to the end of a bound: the ledger may just fail over.
    /// A batch in hand is never cut: what it holds is nowhere else.
    pub(crate) async fn run_retries(&self, drain: CancellationToken) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                () = self.backlog.filled() => {}
            }
            if self.retry_batch(RETRY_TIMEOUT).await {
                pause = RETRY_PAUSE_MIN;
                continue;
            }
            tokio::select! {
                () = drain.cancelled() => break,
                () = sleep(pause) => pause = (pause * 2).min(RETRY_PAUSE_MAX),
            }
        }
        let end = Instant::now() + DRAIN_TIMEOUT;
        while self.backlog.len() > 0 && Instant::now() < end {
            if !self.retry_batch(end.duration_since(Instant::now())).await {
                sleep_until(end.min(Instant::now() + RETRY_PAUSE_MIN)).await;
            }
        }
        self.drop_rest();
    }

    /// Whether every attempt of the batch ended. Those that failed wait again, behind the others.
    async fn retry_batch(&self, patience: Duration) -> bool {
        let batch = self.backlog.take(RETRY_BATCH_MAX);
        let attempts = batch.into_iter().map(|waiting| self.retry(waiting, patience));
        let failed: Vec<Waiting> = join_all(attempts).await.into_iter().flatten().collect();
        let is_done = failed.is_empty();
        for waiting in failed {
            self.wait_again(waiting);
        }
        self.metrics.waiting(self.backlog.len());
        is_done
    }

    /// Gives back what must be tried again.
    async fn retry(&self, waiting: Waiting, patience: Duration) -> Option<Waiting> {
        let waited = waiting.since.elapsed();
        let attempt = timeout(patience, self.attempt(&waiting.placed, Some(waited))).await;
        match attempt.unwrap_or_else(|_| Err(too_slow(patience))) {
            Ok(Registered::Added | Registered::Same) => self.metrics.registration(Registration::Retried),
            Ok(Registered::Different(fields)) => self.count_different(&waiting.placed, &fields),
            Err(PortError::Corrupt { .. }) => self.metrics.registration(Registration::Dropped),
            Ok(Registered::Ahead) | Err(PortError::Unavailable { .. }) => return Some(waiting),
        }
        None
    }

    /// One attempt. An earlier one may have been stored although it seemed to fail, with a time of its own: that the
    /// times differ is no difference of the order. Nor is it when an SDK repeats a call with a later `time_expire`.
    async fn attempt(&self, placed: &Placed, waited: Option<Duration>) -> Result<Registered, PortError> {
        let now = if waited.is_some() || placed.needs_clock() {
            Some(self.ports.ledger.clock().await?.now)
        } else {
            None
        };
        let application = placed.application(now, waited);
        let registered = self.ports.registry.register(&placed.key, &application).await?;
        Ok(match registered {
            Registered::Different(fields)
                if fields.iter().all(|field| matches!(*field, "created_at" | "expires_at")) =>
            {
                Registered::Same
            }
            other => other,
        })
    }

    fn missed(&self, waiting: Waiting, error: &PortError) {
        self.metrics.registration(Registration::Missed);
        let key = waiting.placed.key.clone();
        let fate = match error {
            PortError::Corrupt { .. } => {
                self.metrics.registration(Registration::Dropped);
                "dropped"
            }
            PortError::Unavailable { .. } if self.wait_again(waiting) => "tried again later",
            PortError::Unavailable { .. } => "dropped: too many wait already",
        };
        self.metrics.waiting(self.backlog.len());
        if let Some(left_out) = self.seldom.is_due("missed", Instant::now()) {
            tracing::warn!(
                order.key = %key, error = %error, left_out,
                "{key} forwarded without a registration ({error}): {fate}; {left_out} more since the last line"
            );
        }
    }

    fn wait_again(&self, waiting: Waiting) -> bool {
        let has_room = self.backlog.push(waiting);
        if !has_room {
            self.metrics.registration(Registration::Dropped);
        }
        has_room
    }

    fn drop_rest(&self) {
        let left = self.backlog.take(usize::MAX);
        for _ in &left {
            self.metrics.registration(Registration::Dropped);
        }
        self.metrics.waiting(0);
        if !left.is_empty() {
            let count = left.len();
            tracing::warn!(
                count,
                "{count} registrations dropped: the ledger did not come back before the end"
            );
        }
    }

    fn count_unverified(&self, unverified: &Unverified<'_>) {
        self.metrics.unverified(unverified.reason);
        if let Some(left_out) = self.seldom.is_due(unverified.reason, Instant::now()) {
            let (reason, mch_id) = (unverified.reason, unverified.mch_id.unwrap_or("unknown"));
            tracing::warn!(
                mch_id,
                reason,
                left_out,
                "order of merchant {mch_id} forwarded but not registered: {reason}; {left_out} more since the last line"
            );
        }
    }

    fn count_different(&self, placed: &Placed, fields: &[&'static str]) {
        self.metrics.registration(Registration::Different);
        let (key, fields) = (&placed.key, fields.join(", "));
        tracing::warn!(
            order.key = %key, fields,
            "{key} is registered with another {fields}: forwarded, the first registration stays"
        );
    }

    fn warn_of_app(&self, placed: &Placed) {
        if self.seldom.is_due("appid", Instant::now()).is_some() {
            let (key, appid) = (&placed.key, &placed.appid);
            tracing::warn!(
                order.key = %key, %appid,
                "{key} is of app {appid}, which is not among the merchant's app_ids: its notification will be refused"
            );
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}

fn too_slow(limit: Duration) -> PortError {
    PortError::Unavailable { part: "ledger", cause: format!("no answer within {} ms", limit.as_millis()) }
}

fn clocks_differ() -> PortError {
    PortError::Unavailable { part: "ledger", cause: "its clock went back".to_owned() }
}
