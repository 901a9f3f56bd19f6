//! A rehearsal: plays the awkward day of a payment system against somebody's subscriber, and says what it got wrong.
//!
//! Walk: [`scene`] names what can happen → [`script`] writes the orders and events of each scene from a seed →
//! [`stage`] plays them by webhook or AMQP → [`check`] asks the subscriber how often it shipped → [`judge`] compares →
//! [`report`] shows it, with the [`words`] for people. It never touches our engine: its orders exist nowhere but in
//! what it sends.

pub mod check;
mod clock;
pub mod event;
pub mod judge;
pub mod report;
pub mod scene;
pub mod script;
pub mod stage;
pub mod webhook;
pub mod words;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, timeout};

use crate::error::Error;
use check::{Checker, Settled, Settling};
pub use clock::now;
use judge::{Judged, judge};
use script::{Act, Play};
use stage::{Answers, Stage};

/// A rehearsal that is ready to begin.
pub struct Rehearsal {
    pub play: Play,
    pub stage: Stage,
    pub checker: Option<Checker>,
    pub settling: Settling,
    pub time_limit: Duration,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    pub judged: Vec<Judged>,
    pub requests: u32,
    pub took: Duration,
    /// The longest answer, where there are answers.
    pub slowest: Option<Duration>,
    /// The subscriber handled no last event: it is stuck, or not there.
    pub is_stuck: bool,
}

impl Rehearsal {
    /// Plays every act, asks, judges. An error means that it could not be played, not that the subscriber is wrong.
    pub async fn run(self) -> Result<Outcome, Error> {
        let limit = self.time_limit;
        let late = |_| {
            Error::Failed(format!(
                "the rehearsal was not over within {} s: the subscriber is too slow, or give it more (--time-limit)",
                limit.as_secs()
            ))
        };
        timeout(limit, self.play_all()).await.map_err(late)?
    }

    async fn play_all(self) -> Result<Outcome, Error> {
        let begun = Instant::now();
        if let Some(checker) = &self.checker {
            self.refuse_a_repeat(checker).await?;
        }
        self.stage.open(&self.play).await?;
        let progress = progress(self.play.acts.len());
        let mut answers = Vec::with_capacity(self.play.acts.len());
        for act in &self.play.acts {
            progress.set_message(act.scene.as_str());
            answers.push(self.stage.play(act).await?);
            progress.inc(1);
        }
        self.stage.close(&self.play).await?;
        progress.set_message("waiting until nothing changes");
        let settled = match &self.checker {
            Some(checker) => Some(checker.settled(&self.play, self.settling).await?),
            None => None,
        };
        progress.finish_and_clear();
        Ok(outcome(&self.play.acts, answers, settled, begun.elapsed()))
    }

    /// The ids depend on the seed alone, so a second rehearsal with the same seed would see the first one's shipments.
    async fn refuse_a_repeat(&self, checker: &Checker) -> Result<(), Error> {
        for act in &self.play.acts {
            let Some(order) = act.orders.first() else { continue };
            if checker.shipped(&self.play.mch_id, order).await? > 0 {
                return Err(Error::Usage(format!(
                    "{} is shipped before anything was sent: seed {} was played against this subscriber before (leave \
                     --seed out, or empty its database), or the check URL counts all orders",
                    order.out_trade_no, self.play.seed
                )));
            }
        }
        Ok(())
    }
}

fn outcome(acts: &[Act], answers: Vec<Answers>, settled: Option<Settled>, took: Duration) -> Outcome {
    let requests = answers.iter().map(|answers| answers.sent).sum();
    let slowest = answers.iter().filter(|answers| answers.has_answers).map(|answers| answers.slowest).max();
    let is_stuck = settled.as_ref().is_some_and(|settled| !settled.has_all);
    let mut shipped = settled.map(|settled| settled.shipped.into_iter());
    let judged = acts
        .iter()
        .zip(answers)
        .map(|(act, answers)| judge(act, answers, shipped.as_mut().and_then(Iterator::next)))
        .collect();
    Outcome { judged, requests, took, slowest, is_stuck }
}

/// On stderr, and only on a terminal.
fn progress(acts: usize) -> ProgressBar {
    let target = ProgressDrawTarget::stderr();
    let progress = ProgressBar::with_draw_target(Some(u64::try_from(acts).unwrap_or(u64::MAX)), target);
    let style = ProgressStyle::with_template("{pos}/{len} {msg}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}
