//! Group commit: what comes while a pipeline is under way goes out as the next one, of few script calls, and everybody
//! is answered when Redis, and a replica where there is one, has it. A second pipeline under way made nothing faster.
//!
//! Refuses to decide what to write: a step says that. Never repeats a write whose outcome is unknown.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::ports::PortError;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::LedgerClock;
use crate::error::{Fault, unavailable};
use crate::keys::{FIXED_KEYS, Keys, Shard};
use crate::scripts::Name;
use crate::session::Session;
use crate::step::Step;
use crate::supervisor::Link;

/// Steps that may wait for a pipeline.
const WAITING_MAX: usize = 4096;

/// Steps in one pipeline.
const PIPELINE_MAX: usize = 2048;

/// Steps in one call of the script: it must not hold Redis up for 2 ms.
const CALL_MAX: usize = 64;

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

/// To whom an outcome is told.
type Answer = oneshot::Sender<Result<Outcome, Fault>>;

/// Where steps are handed in.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    /// `None` asks only that everything before is as safe as a write.
    step: Option<Box<Step>>,
    answer: Answer,
}

impl Writer {
    pub fn new(link: Link, keys: Arc<Keys>, clock: Arc<LedgerClock>) -> (Self, WriterTask) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        (Self { jobs }, WriterTask { waiting, at: At { link, keys, clock } })
    }

    /// Stores the step if it still fits.
    pub async fn store(&self, step: Step) -> Result<Outcome, PortError> {
        self.ask(Some(Box::new(step))).await
    }

    /// Writes for real and changes nothing. Whatever was read before is then as safe as a write.
    pub async fn fence(&self) -> Result<(), PortError> {
        self.ask(None).await.map(drop)
    }

    /// Until nothing is written any more.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    async fn ask(&self, step: Option<Box<Step>>) -> Result<Outcome, PortError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { step, answer }).await.map_err(|_| unavailable("closed"))?;
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

/// The steps of one call of the script.
struct Call {
    shard: Shard,
    steps: Vec<(Box<Step>, Answer)>,
}

async fn flush(at: &At, jobs: Vec<Job>) {
    let session = match at.link.session() {
        Ok(session) => session,
        Err(PortError::Unavailable { cause, .. } | PortError::Corrupt { cause, .. }) => {
            return jobs.into_iter().for_each(|job| answer(job.answer, Err(Fault::Refused(cause.clone()))));
        }
    };
    let (mut calls, fences) = grouped(jobs);
    let sent = send(at, &session, &calls, !fences.is_empty()).await;
    let mut told: Result<Outcome, Fault> = Ok(Outcome::Stored);
    match sent {
        Ok(mut answers) if answers.iter().any(is_unknown_script) => {
            let unknown = load_and_repeat(at, &session, &mut calls, &mut answers).await;
            answer_calls(&session, calls, answers);
            told = unknown.map(|()| Outcome::Stored);
        }
        Ok(answers) => answer_calls(&session, calls, answers),
        Err(fault) => {
            let steps = calls.into_iter().flat_map(|call| call.steps);
            steps.for_each(|(_, to)| answer(to, Err(fault.clone())));
            told = Err(fault);
        }
    }
    fences.into_iter().for_each(|to| answer(to, told.clone()));
}

/// Who asked may have gone.
fn answer(to: Answer, what: Result<Outcome, Fault>) {
    let _ = to.send(what);
}

/// Per shard, in pieces that do not hold Redis up. Nobody waits for a job whose caller has gone: it is left out.
fn grouped(jobs: Vec<Job>) -> (Vec<Call>, Vec<Answer>) {
    let mut shards: Vec<Vec<_>> = Shard::all().map(|_| Vec::new()).collect();
    let mut fences = Vec::new();
    for job in jobs.into_iter().filter(|job| !job.answer.is_closed()) {
        let Some(step) = job.step else {
            fences.push(job.answer);
            continue;
        };
        if let Some(steps) = shards.get_mut(step.shard.index()) {
            steps.push((step, job.answer));
        }
    }
    let mut calls = Vec::new();
    for (shard, mut steps) in Shard::all().zip(shards) {
        while !steps.is_empty() {
            let rest = steps.split_off(steps.len().min(CALL_MAX));
            calls.push(Call { shard, steps: std::mem::replace(&mut steps, rest) });
        }
    }
    (calls, fences)
}

/// The answers of the calls, once everything that must be said is said: with a replica, also that it has them.
async fn send(at: &At, session: &Session, calls: &[Call], has_fence: bool) -> Result<Vec<Value>, Fault> {
    let mut pipeline = Pipeline::with_capacity(calls.len() + 2);
    let waits = session.has_replicas();
    let server_ms = at.clock.reading().map_or(0, |reading| reading.now.millis()) - at.clock.shift_ms();
    for call in calls {
        pipeline.add_command(command(&at.keys, call, server_ms));
    }
    if waits || has_fence {
        pipeline.cmd("SET").arg(&at.keys.fence).arg(1);
    }
    if waits {
        pipeline.cmd("WAIT").arg(1).arg(u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX));
    }
    if pipeline.is_empty() {
        return Ok(Vec::new());
    }
    let mut answers = session.write(&pipeline).await?;
    for mut last in answers.split_off(calls.len()) {
        session.judge(&mut last)?;
        if last == Value::Int(0) {
            let cause = format!("no replica has confirmed the write within {} ms", WAIT_MAX.as_millis());
            return Err(Fault::Refused(cause));
        }
    }
    Ok(answers)
}

fn command(keys: &Keys, call: &Call, server_ms: i64) -> Cmd {
    let names = keys.of(call.shard);
    let records = call.steps.iter().filter_map(|(step, _)| step.record.as_ref());
    let mut command = Name::Store.call(FIXED_KEYS + records.clone().count());
    command.arg(names.fixed.as_slice());
    for record in records {
        command.arg(&record.key);
    }
    command.arg(server_ms).arg(names.tag_chars());
    call.steps.iter().for_each(|(step, _)| step.write(&mut command));
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
            let steps = unknown.into_iter().flat_map(|call| call.steps);
            steps.for_each(|(_, to)| answer(to, Err(fault.clone())));
            Err(fault)
        }
    }
}

fn answer_calls(session: &Session, calls: Vec<Call>, answers: Vec<Value>) {
    for (call, mut value) in calls.into_iter().zip(answers) {
        let outcomes = session.judge(&mut value).and_then(|()| outcomes(value, call.steps.len()));
        match outcomes {
            Ok(outcomes) => {
                call.steps.into_iter().zip(outcomes).for_each(|((_, to), outcome)| answer(to, Ok(outcome)));
            }
            Err(fault) => call.steps.into_iter().for_each(|(_, to)| answer(to, Err(fault.clone()))),
        }
    }
}

/// The script names only the steps that it refused.
fn outcomes(value: Value, steps: usize) -> Result<Vec<Outcome>, Fault> {
    let strange = || Fault::strange("store.lua");
    let Value::Array(refused) = value else { return Err(strange()) };
    let mut outcomes = vec![Outcome::Stored; steps];
    let mut refused = refused.into_iter();
    while let Some(number) = refused.next() {
        let (Value::Int(number), Some(Value::BulkString(record)), Some(Value::BulkString(letter))) =
            (number, refused.next(), refused.next())
        else {
            return Err(strange());
        };
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let outcome = place.and_then(|place| outcomes.get_mut(place)).ok_or_else(strange)?;
        *outcome = Outcome::Refused { record, letter };
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_steps_are_named() {
        let bytes = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let value = Value::Array(vec![Value::Int(2), bytes("r"), bytes("")]);
        let refused = Outcome::Refused { record: b"r".to_vec(), letter: Vec::new() };
        assert_eq!(outcomes(value, 3).unwrap(), [Outcome::Stored, refused, Outcome::Stored]);
        for strange in [
            Value::Okay,
            Value::Array(vec![Value::Int(4), bytes(""), bytes("")]),
            Value::Array(vec![Value::Int(0), bytes(""), bytes("")]),
            Value::Array(vec![Value::Int(1), bytes("")]),
        ] {
            assert!(outcomes(strange, 3).is_err());
        }
    }
}
