//! Keeps a session with the master: connects, watches, connects anew, for ever. The one place where a loss and a
//! recovery are logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paybell_core::ports::PortError;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::Pipeline;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::address::{Address, Host};
use crate::clock::LedgerClock;
use crate::error::{Fault, OpenError, unavailable};
use crate::find::{Sureness, find, find_surely};
use crate::followed::Followed;
use crate::greet::{Acquaintance, Info, Trouble, claim_layout, greet, time_of, trouble};
use crate::keys::Keys;
use crate::pulse::Pulse;
use crate::session::Session;

/// How often the session is looked at, and the clock sampled.
const BEAT: Duration = Duration::from_secs(1);

/// Beats between two questions to the sentinels: a master that they have left must not be written to for long.
const BEATS_PER_SEARCH: u32 = 3;

/// Beats between two looks at what an operator may set while we run.
const BEATS_PER_SETTINGS: u32 = 10;

/// Pauses between attempts to connect double up to this.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether there is a session.
#[derive(Clone)]
pub(crate) enum State {
    Connecting,
    Up(Arc<Session>),
    Down(String),
    Refused(OpenError),
    Closed,
}

/// The state as everybody sees it.
#[derive(Clone)]
pub(crate) struct Link(pub watch::Receiver<State>);

impl Link {
    /// The session, or why there is none.
    pub fn session(&self) -> Result<Arc<Session>, PortError> {
        match &*self.0.borrow() {
            State::Up(session) => Ok(session.clone()),
            State::Connecting => Err(unavailable("not connected yet")),
            State::Down(cause) => Err(unavailable(cause.clone())),
            State::Refused(error) => Err(unavailable(error.to_string())),
            State::Closed => Err(unavailable("closed")),
        }
    }
}

/// What is connected to, and what every session shares.
pub(crate) struct Server {
    pub address: Address,
    pub keys: Arc<Keys>,
    pub clock: Arc<LedgerClock>,
}

/// The task that keeps the session.
pub(crate) struct Supervisor {
    server: Server,
    pulse: Arc<Pulse>,
    state: watch::Sender<State>,
    /// Whether the keys were ever met.
    has_met: AtomicBool,
    followed: Followed,
    random: StdRng,
}

impl Supervisor {
    pub fn new(server: Server, pulse: Arc<Pulse>, seed: u64) -> (Self, Link) {
        let (state, seen) = watch::channel(State::Connecting);
        let (has_met, random) = (AtomicBool::new(false), StdRng::seed_from_u64(seed));
        (Self { server, pulse, state, has_met, followed: Followed::default(), random }, Link(seen))
    }

    /// Until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.keep()).await;
        self.state.send_replace(State::Closed);
    }

    async fn keep(&mut self) {
        let mut failures = 0;
        loop {
            let trouble = match self.connect().await {
                Ok((session, told, host)) => {
                    if failures > 0 {
                        tracing::info!("Redis is back: connected to {host}");
                    }
                    failures = 0;
                    self.state.send_replace(State::Up(session.clone()));
                    Trouble::Away(self.watch_over(&session, told, &host).await)
                }
                Err(trouble) => trouble,
            };
            failures += 1;
            self.tell(trouble, failures);
            let pause = self.pause(failures);
            sleep(pause).await;
        }
    }

    /// Once per outage, and again when its cause is one that an operator must mend.
    fn tell(&self, trouble: Trouble, failures: u32) {
        let was_refused = matches!(&*self.state.borrow(), State::Refused(_));
        let state = match trouble {
            Trouble::Away(cause) => {
                if failures == 1 {
                    tracing::warn!(redis.cause = cause, "Redis is away: {cause}");
                }
                State::Down(cause)
            }
            Trouble::Refused(error) => {
                if !was_refused {
                    tracing::error!(redis.cause = %error, "Redis cannot be used: {error}");
                }
                State::Refused(error)
            }
        };
        self.state.send_replace(state);
    }

    fn pause(&mut self, failures: u32) -> Duration {
        let doubled = PAUSE_MIN.saturating_mul(1_u32.checked_shl(failures.min(10)).unwrap_or(u32::MAX));
        let longest = doubled.min(PAUSE_MAX);
        longest.mul_f64(self.random.random_range(0.5..1.0))
    }

    async fn connect(&self) -> Result<(Arc<Session>, mpsc::Receiver<String>, Host), Trouble> {
        let host = find(&self.server.address).await?;
        let client = self.server.address.client_of_server(&host).map_err(Trouble::Refused)?;
        let (session, told) = Session::connect(&client).await.map_err(|error| trouble(&error))?;
        let known = if self.has_met.load(Ordering::Relaxed) { Acquaintance::Old } else { Acquaintance::New };
        greet(&session, &self.server.keys, &self.server.clock, known).await?;
        self.has_met.store(true, Ordering::Relaxed);
        if self.followed.is_known(&host) {
            session.set_has_replicas(true);
        }
        // Before the first take, so that a lease found then is judged by what is there.
        self.pulse.begin(&session).await;
        Ok((Arc::new(session), told, host))
    }

    /// Until the session is of no use any more; says why. The pulse goes on while sentinels keep a look waiting.
    async fn watch_over(&self, session: &Session, mut told: mpsc::Receiver<String>, host: &Host) -> String {
        tokio::select! {
            cause = told.recv() => cause.unwrap_or_default(),
            cause = self.look_on(session, host) => cause,
            () = self.pulse.keep(session) => String::new(),
        }
    }

    async fn look_on(&self, session: &Session, host: &Host) -> String {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: u32 = 0;
        loop {
            beats.tick().await;
            beat = beat.wrapping_add(1);
            if let Err(Fault::Broken(cause) | Fault::Refused(cause) | Fault::Corrupt(cause)) =
                self.look(session, beat, host).await
            {
                return cause;
            }
        }
    }

    /// One look: the clock, the role and the replicas, whether writes are taken, and whom the sentinels follow.
    async fn look(&self, session: &Session, beat: u32, host: &Host) -> Result<(), Fault> {
        let mut questions = Pipeline::new();
        questions.cmd("TIME").cmd("INFO").arg("replication");
        let mut word = Pipeline::new();
        word.add_command(claim_layout(&self.server.keys, Acquaintance::Old));
        let asked = self.server.clock.monotonic();
        let questioned = async {
            let answers = session.read(&questions).await?;
            let mut answers = answers.into_iter();
            self.server.clock.sample(time_of(&answers.next().unwrap_or_default())?.0, asked);
            Info::of(answers.next().unwrap_or_default())
        };
        let (info, written) = futures_util::future::join(questioned, session.write(&word)).await;
        let info = info?;
        if !info.is_master() {
            return Err(Fault::Broken("the server has become a replica".to_owned()));
        }
        let has_lost_replicas = self.count_replicas(session, host, &info);
        if beat.is_multiple_of(BEATS_PER_SETTINGS) {
            look_at_settings(session).await?;
        }
        let mut written = written?.pop().unwrap_or_default();
        match session.judge(&mut written) {
            Ok(()) => session.set_write_refusal(None),
            Err(Fault::Refused(cause)) => session.set_write_refusal(Some(cause)),
            Err(broken) => return Err(broken),
        }
        let has_sentinels = self.server.address.service().is_some();
        if has_sentinels && (has_lost_replicas || beat.is_multiple_of(BEATS_PER_SEARCH)) {
            let is_sure = self.ask_sentinels(host).await?;
            if has_lost_replicas && self.followed.miss(host, self.server.clock.monotonic()) && is_sure {
                self.followed.forget();
                session.set_has_replicas(false);
            }
        }
        Ok(())
    }

    /// Answers need a replica's word while one follows. `true` where the last one went: whether they need none any more is
    /// the sentinels' to say, who may be about to make it the master.
    fn count_replicas(&self, session: &Session, host: &Host, info: &Info) -> bool {
        if self.server.address.service().is_none() {
            session.set_has_replicas(info.has_replicas());
            return false;
        }
        // One that came and went between two looks counts as well.
        if info.has_replicas() || session.has_replicas() && !self.followed.is_known(host) {
            self.followed.note(host);
            session.set_has_replicas(true);
        }
        session.has_replicas() && !info.has_replicas()
    }

    /// An error where the sentinels have left the server, otherwise whether most of them say that they follow it. Those that
    /// are away say nothing about the master.
    async fn ask_sentinels(&self, host: &Host) -> Result<bool, Fault> {
        match find_surely(&self.server.address).await {
            Ok((master, _)) if master != *host => {
                Err(Fault::Broken(format!("the sentinels have left {host} for {master}")))
            }
            Ok((_, sureness)) => Ok(sureness == Sureness::Agreed),
            Err(_) => Ok(false),
        }
    }
}

/// A server that drops keys now is left: connecting again says what is wrong with it, for as long as it is.
async fn look_at_settings(session: &Session) -> Result<(), Fault> {
    let mut question = Pipeline::new();
    question.cmd("INFO").arg("memory");
    let info = Info::of(session.read(&question).await?.pop().unwrap_or_default())?;
    match info.eviction() {
        Some(policy) => Err(Fault::Broken(format!("maxmemory-policy has become {policy}"))),
        None => Ok(()),
    }
}
