//! Closed-loop load: so many connections, each with one request under way at any time. Measures the answers' latency
//! after a warm-up; an answer other than the wanted one is counted, an error of a connection ends the run.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::Instant};

use super::{client::Connection, notifications::Notifications, while_doing};
use crate::error::Error;

/// Longer latencies count as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// How much, and for how long.
#[derive(Clone, Copy)]
pub struct Load {
    pub server: SocketAddr,
    pub connections: usize,
    pub extent: Extent,
}

#[derive(Clone, Copy)]
pub enum Extent {
    /// Not counted for the first time, then counted for the second.
    Time(Duration, Duration),
    /// So many requests, all counted.
    Count(u64),
}

/// What came of it.
pub struct Measured {
    pub answered: u64,
    pub refused: u64,
    pub time: Duration,
    pub latency: Latency,
}

/// Latencies in nanoseconds.
pub struct Latency(Histogram<u64>);

impl Latency {
    pub fn new() -> Self {
        let longest = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        let histogram = Histogram::new_with_bounds(100, longest, 3);
        Self(histogram.expect("100 ns to 60 s with three digits are good bounds"))
    }

    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn millis_at(&self, quantile: f64) -> f64 {
        super::millis(Duration::from_nanos(self.0.value_at_quantile(quantile)))
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

struct State {
    load: Load,
    notifications: Rc<Notifications>,
    begun: Instant,
    sent: Cell<u64>,
    refused: Cell<u64>,
    latency: RefCell<Latency>,
}

/// Applies the load.
pub async fn apply(load: Load, notifications: &Rc<Notifications>) -> Result<Measured, Error> {
    let mut opened = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        opened.push(Connection::open(load.server).await.map_err(while_doing("connecting to the server"))?);
    }
    let state = Rc::new(State {
        load,
        notifications: notifications.clone(),
        begun: Instant::now(),
        sent: Cell::new(0),
        refused: Cell::new(0),
        latency: RefCell::new(Latency::new()),
    });
    let mut clients = JoinSet::new();
    for connection in opened {
        clients.spawn_local(state.clone().keep_asking(connection));
    }
    while let Some(ended) = clients.join_next().await {
        let ended = ended.map_err(|error| Error::Failed(format!("a load task ended: {error}")))?;
        ended.map_err(while_doing("the server under load"))?;
    }
    let took = state.begun.elapsed();
    let time = match load.extent {
        Extent::Time(_, measured) => measured,
        Extent::Count(_) => took,
    };
    let latency = state.latency.replace(Latency::new());
    Ok(Measured { answered: latency.count(), refused: state.refused.get(), time, latency })
}

impl State {
    async fn keep_asking(self: Rc<Self>, mut connection: Connection) -> io::Result<()> {
        let success = ::ingress::Answer::Success.body();
        let mut request = Vec::new();
        while self.may_send() {
            self.notifications.next_into(&mut request);
            let asked_at = Instant::now();
            let answer = connection.exchange(&request).await?;
            let is_success = answer.status == 200 && answer.body == success;
            let answered_at = Instant::now();
            if !self.is_counted(answered_at) {
                continue;
            }
            if is_success {
                self.latency.borrow_mut().record(answered_at - asked_at);
            } else {
                self.refused.set(self.refused.get() + 1);
            }
        }
        Ok(())
    }

    fn may_send(&self) -> bool {
        match self.load.extent {
            Extent::Time(warm_up, measured) => self.begun.elapsed() < warm_up + measured,
            Extent::Count(count) => {
                let sent = self.sent.get();
                self.sent.set(sent + 1);
                sent < count
            }
        }
    }

    fn is_counted(&self, at: Instant) -> bool {
        match self.load.extent {
            Extent::Time(warm_up, measured) => {
                (warm_up..warm_up + measured).contains(&at.saturating_duration_since(self.begun))
            }
            Extent::Count(_) => true,
        }
    }
}
