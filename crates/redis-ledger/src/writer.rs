//! Group commit: what comes while a pipeline is under way goes out as the next one, of few script calls, and everybody
//! is answered when Redis, and a replica where there is one, has it. A second pipeline under way made nothing faster.
//!
//! Refuses to decide what to write: a step says that. Never repeats a write whose outcome is unknown.

mod calls;

use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::PortError;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::LedgerClock;
use crate::error::{Fault, unavailable};
use crate::keys::{FIXED_KEYS, Keys};
use crate::scripts::Name;
use crate::session::Session;
use crate::step::Step;
use crate::supervisor::Link;
use calls::{Call, Job, Refusal, answer, answer_jobs, fail_calls, grouped, refusals};

pub(crate) use calls::CALL_MAX;

/// Jobs that may wait for a pipeline: single steps, but for those of a claim.
const WAITING_MAX: usize = 4096;

/// Jobs in one pipeline.
const PIPELINE_MAX: usize = 2048;

/// How long a replica may take to confirm: well within the deadline of an answer.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    /// Something else is stored than what the step was decided on.
    Refused {
        record: Vec<u8>,
        letter: Vec<u8>,
    },
}

/// Where steps are handed in.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub fn new(link: Link, keys: Arc<Keys>, clock: Arc<LedgerClock>) -> (Self, WriterTask) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        (Self { jobs }, WriterTask { waiting, at: At { link, keys, clock } })
    }

    /// Stores the step if it still fits.
    pub async fn store(&self, step: Step) -> Result<Outcome, PortError> {
        let refused = self.ask(vec![step], None).await?.into_iter().next();
        Ok(refused
            .map_or(Outcome::Stored, |Refusal { record, letter, .. }| Outcome::Refused { record, letter }))
    }

    /// Stores each of the steps that still fits: at most [`CALL_MAX`], all of one shard. Returns the places of the others.
    pub async fn store_all(&self, steps: Vec<Step>) -> Result<Vec<usize>, PortError> {
        Ok(self.ask(steps, None).await?.into_iter().map(|refusal| refusal.place).collect())
    }

    /// Writes for real and changes nothing. Whatever was read before is then as safe as a write.
    pub async fn fence(&self) -> Result<(), PortError> {
        self.ask(Vec::new(), None).await.map(drop)
    }

    /// The same of what was read on this session; refused where another one writes by now.
    pub async fn fence_on(&self, session: &Arc<Session>) -> Result<(), PortError> {
        self.ask(Vec::new(), Some(session.clone())).await.map(drop)
    }

    /// Until nothing is written any more.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    async fn ask(&self, steps: Vec<Step>, on: Option<Arc<Session>>) -> Result<Vec<Refusal>, PortError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { steps, on, answer }).await.map_err(|_| unavailable("closed"))?;
        Ok(answered.await.map_err(|_| unavailable("closed"))??)
    }
}

/// The task behind a [`Writer`].
pub(crate) struct WriterTask {
    waiting: mpsc::Receiver<Job>,
    at: At,
}

struct At {
    link: Link,
    keys: Arc<Keys>,
    clock: Arc<LedgerClock>,
}

impl WriterTask {
    /// Until every writer is dropped, or until it is stopped and what waits is written.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jobs = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    continue;
                }
                count = self.waiting.recv_many(&mut jobs, PIPELINE_MAX) => count,
            };
            if count == 0 {
                return;
            }
            flush(&self.at, std::mem::take(&mut jobs)).await;
        }
    }
}

async fn flush(at: &At, jobs: Vec<Job>) {
    let session = match at.link.session() {
        Ok(session) => session,
        Err(PortError::Unavailable { cause, .. } | PortError::Corrupt { cause, .. }) => {
            return jobs.into_iter().for_each(|job| answer(job.answer, Err(Fault::Refused(cause.clone()))));
        }
    };
    let is_at_home = |job: &Job| job.on.as_ref().is_none_or(|on| Arc::ptr_eq(on, &session));
    let (jobs, strangers): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_at_home);
    let cause = "the server changed since it was read";
    strangers.into_iter().for_each(|job| answer(job.answer, Err(Fault::Refused(cause.to_owned()))));
    let (mut calls, fences) = grouped(jobs);
    let sent = send(at, &session, &calls, !fences.is_empty()).await;
    let mut told = Ok(());
    match sent {
        Ok(mut answers) if answers.iter().any(is_unknown_script) => {
            told = load_and_repeat(at, &session, &mut calls, &mut answers).await;
            answer_calls(&session, calls, answers);
        }
        Ok(answers) => answer_calls(&session, calls, answers),
        Err(fault) => {
            fail_calls(calls, &fault);
            told = Err(fault);
        }
    }
    fences.into_iter().for_each(|to| answer(to, told.clone().map(|()| Vec::new())));
}

/// The answers of the calls, once everything that must be said is said: with a replica, also that it has them.
async fn send(at: &At, session: &Session, calls: &[Call], has_fence: bool) -> Result<Vec<Value>, Fault> {
    if calls.is_empty() && !has_fence {
        return Ok(Vec::new());
    }
    let mut pipeline = Pipeline::with_capacity(calls.len() + 2);
    let waits = session.has_replicas();
    let server_ms = at.clock.reading().map_or(0, |reading| reading.now.millis()) - at.clock.shift_ms();
    for call in calls {
        pipeline.add_command(command(&at.keys, call, server_ms));
    }
    if waits {
        add_wait(&mut pipeline, &at.keys);
    } else {
        if has_fence {
            add_fence(&mut pipeline, &at.keys);
        }
        pipeline.cmd("ROLE");
    }
    let mut answers = session.write(&pipeline).await?;
    let mut last = answers.split_off(calls.len());
    if waits {
        confirmed(session, last)?;
        return Ok(answers);
    }
    session.note_role(last.pop());
    confirmed(session, last)?;
    if session.has_replicas() {
        // One has come since the last look, and may be the next master.
        let mut words = Pipeline::with_capacity(2);
        add_wait(&mut words, &at.keys);
        confirmed(session, session.write(&words).await?)?;
    }
    Ok(answers)
}

fn add_fence(pipeline: &mut Pipeline, keys: &Keys) {
    pipeline.cmd("SET").arg(&keys.fence).arg(1);
}

/// Waits for a replica to have everything before, reads too.
fn add_wait(pipeline: &mut Pipeline, keys: &Keys) {
    add_fence(pipeline, keys);
    pipeline.cmd("WAIT").arg(1).arg(u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX));
}

fn confirmed(session: &Session, answers: Vec<Value>) -> Result<(), Fault> {
    for mut answer in answers {
        session.judge(&mut answer)?;
        if answer == Value::Int(0) {
            let cause = format!("no replica has confirmed the write within {} ms", WAIT_MAX.as_millis());
            return Err(Fault::Refused(cause));
        }
    }
    Ok(())
}

fn command(keys: &Keys, call: &Call, server_ms: i64) -> Cmd {
    let names = keys.of(call.shard);
    let records = call.steps().filter_map(|step| step.record.as_ref());
    let mut command = Name::Store.call(FIXED_KEYS + records.clone().count());
    command.arg(names.fixed.as_slice());
    for record in records {
        command.arg(&record.key);
    }
    command.arg(server_ms).arg(names.tag_chars());
    call.steps().for_each(|step| step.write(&mut command));
    command
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// Somebody made the server forget its scripts: the calls that it did not know did nothing, so they are sent again.
async fn load_and_repeat(
    at: &At,
    session: &Session,
    calls: &mut Vec<Call>,
    answers: &mut Vec<Value>,
) -> Result<(), Fault> {
    let mut words = Pipeline::new();
    words.add_command(Name::Store.load());
    let (mut unknown, mut known) = (Vec::new(), Vec::new());
    let mut known_answers = Vec::new();
    for (call, answer) in calls.drain(..).zip(answers.drain(..)) {
        if is_unknown_script(&answer) {
            unknown.push(call);
        } else {
            known.push(call);
            known_answers.push(answer);
        }
    }
    let repeated = match session.write(&words).await {
        Ok(_) => send(at, session, &unknown, true).await,
        Err(fault) => Err(fault),
    };
    (*calls, *answers) = (known, known_answers);
    match repeated {
        Ok(more) => {
            calls.append(&mut unknown);
            answers.extend(more);
            Ok(())
        }
        Err(fault) => {
            fail_calls(unknown, &fault);
            Err(fault)
        }
    }
}

fn answer_calls(session: &Session, calls: Vec<Call>, answers: Vec<Value>) {
    for (call, mut value) in calls.into_iter().zip(answers) {
        let refused = session.judge(&mut value).and_then(|()| refusals(value, call.steps().count()));
        match refused {
            Ok(refused) => answer_jobs(call.jobs, refused),
            Err(fault) => fail_calls(vec![call], &fault),
        }
    }
}
