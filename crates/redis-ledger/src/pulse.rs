//! Says to Redis that this process lives, and hears what the others say: one sorted set, a holder's last word as its
//! score. Knows what to say and how to ask; who is dead is judged in `holders`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paybell_core::lease::Holder;
use redis::{Pipeline, Value};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::LedgerClock;
use crate::error::Fault;
use crate::holders::{BEAT, Hearing, Holders};
use crate::keys::Keys;
use crate::session::Session;
use crate::supervisor::Link;

/// Words older than this are removed: no lease lasts so long.
const WORD_AGE_MAX_MS: i64 = 600_000;

/// Holders that are listened to, the latest first.
const HOLDERS_MAX: u32 = 1_024;

/// The life signs of all processes that take leases.
pub(crate) struct Pulse {
    keys: Arc<Keys>,
    clock: Arc<LedgerClock>,
    holders: Mutex<Holders>,
}

impl Pulse {
    pub fn new(keys: Arc<Keys>, clock: Arc<LedgerClock>) -> Self {
        Self { keys, clock, holders: Mutex::default() }
    }

    /// Before a lease is taken: others must have heard of us before they can find it.
    pub async fn speak_for(&self, holder: u64, link: &Link) {
        if self.lock().is_new(holder)
            && let Ok(session) = link.session()
        {
            self.beat(&session).await;
        }
    }

    /// Whether the holder of a lease lives.
    pub fn judge(&self, holder: u64) -> Holder {
        self.lock().judge(holder, self.clock.monotonic())
    }

    /// The first beat of a session. What was heard before it does not count.
    pub async fn begin(&self, session: &Session) {
        self.lock().interrupt();
        self.beat(session).await;
    }

    /// A beat once a second, for as long as the session is of use.
    pub async fn keep(&self, session: &Session) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.beat(session).await;
        }
    }

    /// Speaks and listens. A server that takes no word of ours takes nobody's, so that its silence says nothing.
    async fn beat(&self, session: &Session) {
        let own: Vec<u64> = self.lock().own().collect();
        let asked = self.clock.monotonic();
        match self.exchange(session, &own).await {
            Ok(words) if !own.is_empty() => {
                let hearing = Hearing { asked, answered: self.clock.monotonic() };
                self.lock().hear(hearing, words);
            }
            Ok(words) => {
                let mut holders = self.lock();
                holders.hear(Hearing { asked, answered: self.clock.monotonic() }, words);
                holders.interrupt();
            }
            // The session has been told, if it is of no use any more.
            Err(_) => self.lock().interrupt(),
        }
    }

    async fn exchange(&self, session: &Session, own: &[u64]) -> Result<Vec<(u64, i64)>, Fault> {
        let now_ms = self.clock.reading().map_or(0, |reading| reading.now.millis()) - self.clock.shift_ms();
        let mut words = Pipeline::new();
        words.cmd("ZREVRANGEBYSCORE").arg(&self.keys.alive).arg("+inf").arg("-inf").arg("WITHSCORES");
        words.arg("LIMIT").arg(0).arg(HOLDERS_MAX);
        if !own.is_empty() {
            words.cmd("ZADD").arg(&self.keys.alive);
            own.iter().for_each(|holder| {
                words.arg(now_ms).arg(format!("{holder:016x}"));
            });
            let oldest_ms = now_ms - WORD_AGE_MAX_MS;
            words.cmd("ZREMRANGEBYSCORE").arg(&self.keys.alive).arg("-inf").arg(format!("({oldest_ms}"));
        }
        let mut answers = session.write(&words).await?;
        answers.iter_mut().try_for_each(|answer| session.judge(answer))?;
        words_of(answers.into_iter().next().unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        // Each change is one call on it: no panic leaves it half made.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names that are no holder's are passed over: a later version may have others.
fn words_of(answer: Value) -> Result<Vec<(u64, i64)>, Fault> {
    let words: Vec<(String, String)> =
        redis::from_redis_value(answer).map_err(|_| Fault::strange("ZREVRANGEBYSCORE"))?;
    let word =
        |(name, said): (String, String)| Some((u64::from_str_radix(&name, 16).ok()?, said.parse().ok()?));
    Ok(words.into_iter().filter_map(word).collect())
}
