//! Jobs put together to calls of the script, and its answers given back to the jobs. Sends nothing.

use std::sync::Arc;

use redis::Value;
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::keys::Shard;
use crate::session::Session;
use crate::step::Step;

/// Steps in one call of the script: it must not hold Redis up for 2 ms. No job has more.
pub(crate) const CALL_MAX: usize = 64;

/// Steps that are stored together, and to whom the outcome is told.
pub(super) struct Job {
    /// Of one shard. None at all ask only that everything before is as safe as a write.
    pub steps: Vec<Step>,
    /// The only session that may answer it, if there is one.
    pub on: Option<Arc<Session>>,
    pub answer: Answer,
}

/// A step that was refused.
pub(super) struct Refusal {
    /// Its place among the steps of the call, then of the job.
    pub place: usize,
    pub record: Vec<u8>,
    pub letter: Vec<u8>,
}

/// To whom it is told which steps were refused.
pub(super) type Answer = oneshot::Sender<Result<Vec<Refusal>, Fault>>;

/// The jobs of one call of the script.
pub(super) struct Call {
    pub shard: Shard,
    pub jobs: Vec<Job>,
}

impl Call {
    pub fn steps(&self) -> impl Iterator<Item = &Step> + Clone {
        self.jobs.iter().flat_map(|job| &job.steps)
    }
}

/// Who asked may have gone.
pub(super) fn answer(to: Answer, what: Result<Vec<Refusal>, Fault>) {
    let _ = to.send(what);
}

/// Per shard, in pieces that do not hold Redis up. Nobody waits for a job whose caller has gone: it is left out.
pub(super) fn grouped(jobs: Vec<Job>) -> (Vec<Call>, Vec<Answer>) {
    let mut shards: Vec<Vec<_>> = Shard::all().map(|_| Vec::new()).collect();
    let mut fences = Vec::new();
    for job in jobs.into_iter().filter(|job| !job.answer.is_closed()) {
        let Some(shard) = job.steps.first().map(|step| step.shard) else {
            fences.push(job.answer);
            continue;
        };
        if let Some(jobs) = shards.get_mut(shard.index()) {
            jobs.push(job);
        }
    }
    let calls = Shard::all().zip(shards).flat_map(|(shard, jobs)| {
        let pieces = pieces(jobs).into_iter();
        pieces.map(move |jobs| Call { shard, jobs })
    });
    (calls.collect(), fences)
}

/// Jobs in a row as long as their steps fit into one call.
fn pieces(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut pieces: Vec<Vec<Job>> = Vec::new();
    let mut room = 0;
    for job in jobs {
        let steps = job.steps.len();
        match pieces.last_mut().filter(|_| steps <= room) {
            Some(piece) => piece.push(job),
            None => {
                room = CALL_MAX;
                pieces.push(vec![job]);
            }
        }
        room = room.saturating_sub(steps);
    }
    pieces
}

/// Each job hears of its own steps.
pub(super) fn answer_jobs(jobs: Vec<Job>, refused: Vec<Refusal>) {
    let mut refused = refused.into_iter().peekable();
    let mut first = 0;
    for job in jobs {
        let end = first + job.steps.len();
        let mut own = Vec::new();
        while let Some(refusal) = refused.next_if(|refusal| refusal.place < end) {
            own.push(Refusal { place: refusal.place - first, ..refusal });
        }
        answer(job.answer, Ok(own));
        first = end;
    }
}

pub(super) fn fail_calls(calls: Vec<Call>, fault: &Fault) {
    let jobs = calls.into_iter().flat_map(|call| call.jobs);
    jobs.for_each(|job| answer(job.answer, Err(fault.clone())));
}

/// The script names only the steps that it refused, the first one first.
pub(super) fn refusals(value: Value, steps: usize) -> Result<Vec<Refusal>, Fault> {
    let strange = || Fault::strange("store.lua");
    let Value::Array(named) = value else { return Err(strange()) };
    let mut refused: Vec<Refusal> = Vec::with_capacity(named.len() / 3);
    let mut named = named.into_iter();
    while let Some(number) = named.next() {
        let (Value::Int(number), Some(Value::BulkString(record)), Some(Value::BulkString(letter))) =
            (number, named.next(), named.next())
        else {
            return Err(strange());
        };
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let is_next = |place: &usize| *place < steps && refused.last().is_none_or(|last| last.place < *place);
        let place = place.filter(is_next).ok_or_else(strange)?;
        refused.push(Refusal { place, record, letter });
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(numbers: &[i64]) -> Value {
        let bytes = |text: String| Value::BulkString(text.into_bytes());
        let each = |number: &i64| [Value::Int(*number), bytes(format!("r{number}")), bytes(String::new())];
        Value::Array(numbers.iter().flat_map(each).collect())
    }

    fn job(steps: usize) -> (Job, oneshot::Receiver<Result<Vec<Refusal>, Fault>>) {
        let step = || Step { shard: Shard::numbered(3).unwrap(), record: None, letter: None };
        let (answer, answered) = oneshot::channel();
        (Job { steps: std::iter::repeat_with(step).take(steps).collect(), on: None, answer }, answered)
    }

    #[test]
    fn only_refused_steps_are_named_and_each_once() {
        let places =
            |value| Some(refusals(value, 3).ok()?.iter().map(|refusal| refusal.place).collect::<Vec<_>>());
        assert_eq!(places(named(&[])), Some(vec![]));
        assert_eq!(places(named(&[2, 3])), Some(vec![1, 2]));
        for strange in [named(&[4]), named(&[0]), named(&[-1]), named(&[2, 2]), named(&[3, 1]), Value::Okay] {
            assert_eq!(places(strange.clone()), None, "{strange:?}");
        }
        let cut = Value::Array(vec![Value::Int(1), Value::BulkString(Vec::new())]);
        assert_eq!(places(cut), None);
    }

    #[test]
    fn each_job_of_a_call_hears_of_its_own_steps() {
        let (jobs, answers): (Vec<_>, Vec<_>) = [1, 3, 1, 2].map(job).into_iter().unzip();
        answer_jobs(jobs, refusals(named(&[2, 4, 7]), 7).unwrap());
        let told = answers.into_iter().map(|mut answered| {
            let refused = answered.try_recv().unwrap().unwrap();
            refused.into_iter().map(|refusal| (refusal.place, refusal.record)).collect::<Vec<_>>()
        });
        let refused = |place, record: &str| (place, record.as_bytes().to_vec());
        let expected = [vec![], vec![refused(0, "r2"), refused(2, "r4")], vec![], vec![refused(1, "r7")]];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_call_has_more_steps_than_one_may_have_and_none_is_lost() {
        let (jobs, answers): (Vec<_>, Vec<_>) = [1, CALL_MAX, 1, 62, 1, 1, 40].map(job).into_iter().unzip();
        let (calls, fences) = grouped(jobs);
        let counts: Vec<usize> = calls.iter().map(|call| call.steps().count()).collect();
        assert_eq!((counts, fences.len()), (vec![1, CALL_MAX, CALL_MAX, 41], 0));
        drop(answers);
    }

    #[test]
    fn a_job_whose_caller_has_gone_is_left_out() {
        let ((gone, dropped), (kept, _answered), (fence, _told)) = (job(1), job(1), job(0));
        drop(dropped);
        let (calls, fences) = grouped(vec![gone, kept, fence]);
        assert_eq!((calls.len(), fences.len()), (1, 1));
    }
}
